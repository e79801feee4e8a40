//! The server against its description, by Schemathesis.
