//! The span of a request of this process's own, by OpenTelemetry's conventions for HTTP clients: to the head
//! of its answer. Of the URL only the host is told: paths and queries of receivers have secrets in them.

use http::{HeaderName, HeaderValue, Request, Response};

use super::Error;
use crate::trace::{self, Onward, Span, SpanKind, TRACEPARENT, TRACESTATE, known_method};

/// The request begins; it tells of the trace that it is sent within. None where that is not sampled, or there
/// is none.
pub(super) fn begin<B>(request: &mut Request<B>) -> Option<Span> {
    if !trace::is_on() {
        return None;
    }
    let method = known_method(request.method().as_str());
    let span = Span::child(SpanKind::Client, method.unwrap_or("HTTP"));
    if let Some(span) = &span {
        span.set("http.request.method", method.unwrap_or("_OTHER"));
        let uri = request.uri();
        span.set_some("url.scheme", uri.scheme_str().map(str::to_owned));
        span.set_some("server.address", uri.host().map(str::to_owned));
        span.set_some("server.port", uri.port_u16().map(i64::from));
    }
    if let Some(onward) = span.as_ref().map_or_else(Onward::current, Span::onward) {
        let fields =
            [(TRACEPARENT, Some(onward.parent())), (TRACESTATE, onward.state().map(str::as_bytes))];
        for (name, value) in fields {
            if let Some(Ok(value)) = value.map(HeaderValue::from_bytes) {
                request.headers_mut().insert(HeaderName::from_static(name), value);
            }
        }
    }
    span
}

/// The head of an answer has come, or none does.
pub(super) fn end<B>(span: Option<Span>, sent: &Result<Response<B>, Error>) {
    let Some(span) = span else { return };
    match sent {
        Ok(answer) => {
            let status = answer.status();
            span.set("http.response.status_code", i64::from(status.as_u16()));
            if status.is_client_error() || status.is_server_error() {
                span.fail(status.as_str().to_owned(), "");
            }
        }
        Err(Error::Refused) => span.fail("refused", ""),
        Err(_) => span.fail("unreachable", ""),
    }
}
