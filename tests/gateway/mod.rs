//! The gateway in front of remote services: what arrives there, and what comes back.

mod balance;
mod bodies;
mod boundaries;
mod chained;
mod circuit;
mod cors;
mod duplex;
mod expect;
mod failures;
mod fields;
mod health;
mod httpbin;
mod https;
mod identity;
pub mod leaving;
mod network;
mod paths;
mod progress;
mod reload;
mod requests;
mod responses;
mod retries;
mod shortage;
mod stalls;
mod targets;
mod unread;
mod upgrades;
mod websockets;

use std::time::{Duration, Instant};

use crate::harness::App;
use crate::harness::http::{Request, Response};
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

/// A gateway whose service `up` has these instances, with more lines for its table. Two workers,
/// so that what they share is shared.
async fn before_all(instances: &[&Upstream], more: &str) -> App {
    let urls: Vec<_> = instances.iter().map(|upstream| upstream.url("")).collect();
    let table = format!("[services.up]\nurls = {urls:?}\n{more}");
    App::builder().set("SERVER__WORKERS", "2").file(&table).start().await
}

/// The answer to a GET of the service `up`.
async fn get(app: &App) -> Response {
    Request::get(&format!("{UP}/x")).send(app.addr).await
}

/// Waits until this is so.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so().await {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until the log has this text so many times.
async fn log_says(app: &App, text: &str, times: usize) {
    until(text, async || app.log_text().matches(text).count() >= times).await;
    assert_eq!(app.log_text().matches(text).count(), times, "{}", app.log_text());
}
