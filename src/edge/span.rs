//! The root span that tracing-actix-web opens for each request.

use actix_web::{
    Error, HttpMessage,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
};
use tracing::Span;
use tracing_actix_web::RootSpanBuilder;

use super::Labels;

/// The request's root span, for filters that ask for it (`debug`) and for exporters. The
/// access line alone carries the same fields at a tenth of the cost.
pub struct RequestSpan;

impl RootSpanBuilder for RequestSpan {
    fn on_request_start(request: &ServiceRequest) -> Span {
        let span = tracing::debug_span!(
            "request",
            request_id = tracing::field::Empty,
            method = %request.method(),
            service = tracing::field::Empty,
            tenant = tracing::field::Empty,
            status = tracing::field::Empty,
            received = tracing::field::Empty,
        );
        if !span.is_disabled()
            && let Some(labels) = request.extensions().get::<Labels>()
        {
            span.record("request_id", labels.request_id().as_str());
        }
        span
    }

    fn on_request_end<B: MessageBody>(span: Span, outcome: &Result<ServiceResponse<B>, Error>) {
        if span.is_disabled() {
            return;
        }
        let Ok(response) = outcome else { return };
        span.record("status", response.status().as_u16());
        if let Some(labels) = response.request().extensions().get::<Labels>() {
            let values = labels.values();
            span.record("service", values.service.as_deref());
            span.record("tenant", values.tenant.as_deref());
            span.record("received", values.received);
        }
    }
}
