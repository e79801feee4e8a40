//! The span of each request, by OpenTelemetry's conventions for HTTP servers. It begins with the request's
//! head and ends with its response's body. What a client says that may be a secret (its query, its fields)
//! is not told.

use actix_http::RequestHead;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};

use super::access::Access;
use crate::trace::{self, Span, SpanKind, TRACEPARENT, TRACESTATE, known_method};

/// Balancers ask so often that it would bury everything else.
const UNTRACED: [&str; 2] = ["/healthz", "/readyz"];

/// The span of a request with this head; none where traces are off.
pub(super) fn begin(head: &RequestHead) -> Option<Span> {
    if !trace::is_on() || UNTRACED.contains(&head.uri.path()) {
        return None;
    }
    let parent = trace::parse(
        values(head.headers(), HeaderName::from_static(TRACEPARENT)),
        values(head.headers(), HeaderName::from_static(TRACESTATE)),
    );
    // Its name is known in the end.
    Span::first(parent, SpanKind::Server, known_method(head.method.as_str()).unwrap_or("HTTP"))
}

fn values(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &[u8]> {
    headers.get_all(name).map(HeaderValue::as_bytes)
}

/// Tells the span what its request was, and what became of it.
pub(super) fn end(span: &Span, access: &Access) {
    if !span.is_recording() {
        return;
    }
    let labels = access.labels.values();
    let method = known_method(access.method.as_str());
    if let Some(route) = &labels.route {
        span.rename(format!("{} {route}", method.unwrap_or("HTTP")));
        span.set("http.route", route.clone());
    }
    span.set("http.request.method", method.unwrap_or("_OTHER"));
    if method.is_none() {
        span.set("http.request.method_original", access.method.as_str().to_owned());
    }
    span.set("url.scheme", "http");
    span.set("url.path", access.uri.path().to_owned());
    span.set_some("client.address", access.peer.map(|peer| peer.to_string()));
    span.set("gatehouse.request_id", access.request_id().as_str().to_owned());
    span.set_some("gatehouse.service", labels.service.clone());
    span.set_some("gatehouse.tenant", labels.tenant.clone());
    span.set_some("http.request.body.size", labels.received.map(number));
    span.set("http.response.body.size", number(labels.sent.unwrap_or(access.sent)));
    let status = access.status.as_u16();
    // Nobody was told a status where the client left before there was one.
    let is_answered = status != 499;
    if is_answered {
        span.set("http.response.status_code", i64::from(status));
    }
    let (slug, reason) = access.problem_words();
    span.set_some("gatehouse.problem", slug);
    span.set_some("gatehouse.reason", reason);
    if status >= 500 {
        span.fail(slug.map_or_else(|| status.to_string(), str::to_owned), "");
    } else if !is_answered {
        span.fail("client-gone", "");
    } else if access.broken {
        span.fail("response-broken", "");
    }
}

fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
