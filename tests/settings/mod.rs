//! Settings and the command line: what starts the server, what stops it before it starts.

mod commands;
mod layers;
mod refusals;
