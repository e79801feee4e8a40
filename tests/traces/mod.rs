//! Traces: what a collector is sent, and what others are told of the trace that a request belongs to.

mod collectors;
mod gateway;
mod jobs;
mod uploads;

use crate::harness::http::Request;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";
/// Everything below this is the remote service `up`.
const UP: &str = "/consumer-api/service/up";

/// A request that belongs to the trace [`TRACE`], as its sender's span [`PARENT`] says; sampled or not.
fn within(request: Request, sampled: bool) -> Request {
    let flags = if sampled { "01" } else { "00" };
    request.header("traceparent", format!("00-{TRACE}-{PARENT}-{flags}"))
}

/// The trace, the span and the flags of a `traceparent`.
fn parts(traceparent: &str) -> [String; 3] {
    let parts: Vec<_> = traceparent.split('-').collect();
    assert_eq!((parts.len(), parts[0]), (4, "00"), "{traceparent}");
    [parts[1].to_owned(), parts[2].to_owned(), parts[3].to_owned()]
}
