//! Rate limits: who is limited, what answers tell, and what replicas share.

mod classes;
mod fields;
mod guesses;
mod shared;

use std::time::{Duration, Instant};

use crate::harness::App;
use crate::harness::builder::Builder;
use crate::harness::http::{Request, Response};
use crate::harness::issuer::{self, Issuer};
use crate::harness::upstream::Upstream;

/// Everything below this is the remote service `up`.
const UP: &str = "/consumer-api/service/up";

/// A gateway in open mode with this limit on remote services, in front of the service `up`.
async fn open(per_second: f64, burst: u32) -> (App, Upstream) {
    let upstream = Upstream::ok().await;
    let app = limited(per_second, burst).service("up", &upstream.url(""), "").start().await;
    (app, upstream)
}

/// Settings with this limit on remote services.
fn limited(per_second: f64, burst: u32) -> Builder {
    App::builder().set("SERVER__WORKERS", "2").file(&format!(
        "[rate_limits]\nenabled = true\nremote = {{ per_second = {per_second}, burst = {burst} }}"
    ))
}

/// A GET of the service for a tenant.
fn get(tenant: &str) -> Request {
    Request::get(&format!("{UP}/x")).tenant(tenant)
}

/// A GET of the service with a token of this tenant.
fn get_by_token(tenant: &str) -> Request {
    let token = issuer::rsa_key().token(&issuer::claims(tenant));
    Request::get(&format!("{UP}/x")).bearer(&token)
}

/// The two numbers of a field such as `"reads";q=3;w=2`, whose name is checked.
#[track_caller]
fn numbers(response: &Response, field: &str, class: &str, names: [&str; 2]) -> [u64; 2] {
    let value = response.header(field).unwrap_or_else(|| panic!("no {field}: {}", response.status));
    let parts: Vec<_> = value.split(';').collect();
    assert_eq!((parts.len(), parts[0]), (3, &*format!("\"{class}\"")), "{value}");
    [0, 1].map(|at| {
        let number = parts[at + 1].strip_prefix(&format!("{}=", names[at]));
        number.unwrap_or_else(|| panic!("{value}")).parse().unwrap()
    })
}

/// What `RateLimit` says: what is left, and the seconds until all of it is there again.
#[track_caller]
fn left(response: &Response, class: &str) -> [u64; 2] {
    numbers(response, "ratelimit", class, ["r", "t"])
}

/// What `RateLimit-Policy` says: the burst, and the seconds to refill it.
#[track_caller]
fn policy(response: &Response, class: &str) -> [u64; 2] {
    numbers(response, "ratelimit-policy", class, ["q", "w"])
}

/// Waits until the log says this.
async fn logged(app: &App, text: &str) {
    let until = Instant::now() + Duration::from_secs(20);
    while !app.log_text().contains(text) {
        assert!(Instant::now() < until, "no {text:?}: {}", app.log_text());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A gateway that asks for tokens, with these settings besides, in front of the service `up`.
async fn guarded(builder: Builder) -> (App, Issuer, Upstream) {
    let (issuer, upstream) = (Issuer::of(&[issuer::rsa_key()]).await, Upstream::ok().await);
    let app = builder.issuer(&issuer).service("up", &upstream.url(""), "").start().await;
    (app, issuer, upstream)
}
