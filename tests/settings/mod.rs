//! Settings and the command line: what starts the server, what stops it before it starts.

mod auth;
mod commands;
mod diagnosis;
mod layers;
mod refusals;
