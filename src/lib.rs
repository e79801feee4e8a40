//! gatehouse: an API gateway with tenant-scoped image uploads into S3, in one process.
//!
//! Read in this order: [`app`] wires everything; [`gateway`] decides where a request goes;
//! [`consumers`] takes an image in; [`storage`] keeps it. [`problem`] is how errors leave,
//! [`edge`] what every request passes first and last, [`imaging`] what is made of an image's
//! bytes. `docs/architecture.md` has the map.

pub mod app;
pub mod cli;
pub mod concurrency;
pub mod connection;
pub mod consumers;
pub mod database;
pub mod edge;
pub mod fault;
pub mod gateway;
pub mod home;
pub mod imaging;
pub mod jobs;
pub mod metrics;
pub mod openapi;
pub mod operations;
pub mod outbound;
pub mod problem;
pub mod reload;
pub mod settings;
pub mod storage;
pub mod telemetry;
pub mod tenant;
pub mod trace;
