//! The gateway in front of remote services: what arrives there, and what comes back.

mod bodies;
mod chained;
mod failures;
mod fields;
mod https;
mod identity;
mod paths;
mod reload;
mod requests;
mod responses;
mod stalls;
mod targets;
mod upgrades;

use crate::harness::App;
use crate::harness::upstream::Upstream;

/// Everything below this is the remote service `up`.
const UP: &str = "/consumer-api/service/up";

/// A gateway whose service `up` is at this URL.
async fn before(url: &str) -> App {
    App::builder().service("up", url, "").start().await
}

/// A gateway in front of a service that answers 200 `ok`, and that service.
async fn before_ok() -> (App, Upstream) {
    let upstream = Upstream::ok().await;
    let app = before(&upstream.url("/base")).await;
    (app, upstream)
}
