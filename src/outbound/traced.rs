//! The span of a request of this process's own, by OpenTelemetry's conventions for HTTP clients: to the head
//! of its answer. Of the URL only the host is told: paths and queries of receivers have secrets in them.

use http::{HeaderName, HeaderValue, Request, Response};

use super::Error;
use crate::trace::{self, Onward, Span, TRACEPARENT, TRACESTATE};

/// The request begins; it tells of the trace that it is sent within. None where that is not sampled, or there
/// is none.
pub(super) fn begin<B>(request: &mut Request<B>) -> Option<Span> {
    if !trace::is_on() {
        return None;
    }
    let span = Span::of_request(request.method().as_str());
    if let Some(span) = &span {
        let uri = request.uri();
        span.set_some("url.scheme", uri.scheme_str().map(str::to_owned));
        span.set_some("server.address", uri.host().map(str::to_owned));
        span.set_some("server.port", uri.port_u16().map(i64::from));
    }
    if let Some(onward) = Onward::from_within(span.as_ref()) {
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
        Ok(answer) => span.answered(answer.status().as_u16()),
        Err(Error::Refused) => span.fail("refused", ""),
        Err(_) => span.fail("unreachable", ""),
    }
}
