//! The images API: what of a tenant's images can be read back, listed and deleted.

mod conditional;
mod disposition;
mod query;
mod range;
