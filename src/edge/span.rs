//! The root span of each request, for filters that ask for it (`debug`) and for exporters. The
//! access line alone carries the same fields at a tenth of the cost.

use actix_web::http::{Method, StatusCode};
use tracing::{Span, field::Empty};

use super::Labels;

/// The span of a request that begins.
pub fn begin(method: &Method, labels: &Labels) -> Span {
    tracing::debug_span!(
        "request",
        request_id = labels.request_id().as_str(),
        %method,
        service = Empty,
        tenant = Empty,
        status = Empty,
        received = Empty,
    )
}

/// Tells a span how its request is answered.
pub fn end(span: &Span, status: StatusCode, labels: &Labels) {
    if span.is_disabled() {
        return;
    }
    let values = labels.values();
    span.record("status", status.as_u16());
    span.record("service", values.service.as_deref());
    span.record("tenant", values.tenant.as_deref());
    span.record("received", values.received);
}
