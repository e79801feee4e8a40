//! What the tests are made with: the real binary, a real MinIO, Postgres, nginx, go-httpbin and toxiproxy, a raw
//! HTTP client, a raw upstream, images and multipart bodies made byte by byte.

pub mod app;
pub mod builder;
pub mod collector;
pub mod curl;
pub mod debian;
mod events;
pub mod golang;
pub mod guard;
pub mod http;
pub mod httpbin;
pub mod images;
pub mod invariants;
pub mod issuer;
pub mod jose;
pub mod journal;
pub mod metrics;
pub mod minio;
pub mod minio_keys;
pub mod multipart;
pub mod nginx;
pub mod once;
pub mod port;
pub mod postgres;
pub mod problem;
pub mod redis;
pub mod request;
pub mod scripts;
pub mod text;
pub mod tls;
pub mod toxiproxy;
pub mod upload;
pub mod upstream;

pub use app::App;
pub use minio::minio;
