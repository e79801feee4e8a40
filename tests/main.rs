//! Everything gatehouse promises on the wire, asked of the real binary, a real MinIO and the
//! real curl. One binary: a file (or a folder of them) an area, the tools in `harness`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test says so by failing")]

mod auth;
mod bad_input;
mod clients;
mod command_line;
mod database;
mod deploy;
mod direct;
mod events;
mod framing;
mod gateway;
mod harness;
mod images;
mod jobs;
mod openapi;
mod operations;
mod rate_limits;
mod records;
mod settings;
mod steps;
mod storage;
mod supply_chain;
mod tidy;
mod traces;
mod tus;
mod uploads;
mod webhooks;
