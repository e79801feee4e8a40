//! Traces: what leads from one request to all that comes of it, in this process and in others
//! (OpenTelemetry; W3C Trace Context).
//!
//! A leaf that knows no module: whoever begins or carries on a trace uses it, and
//! `telemetry::traces` installs what records spans. Until then traces are off: nothing begins, and who
//! asks whether they are on looks at one static.
//!
//! The span that work belongs to is the thread's current one while the work is polled
//! ([`carried`]). A trace that is not sampled is carried on as well, without spans.

mod context;
mod span;

use std::{future::Future, sync::OnceLock};

use opentelemetry::{
    Context,
    context::FutureExt as _,
    trace::{TraceContextExt as _, TraceId},
};
use opentelemetry_sdk::trace::SdkTracer;

pub use context::{Onward, TRACEPARENT, TRACESTATE, parse, parse_stored, stored};
/// Makes a span the current one until it is dropped.
pub use opentelemetry::ContextGuard as Entered;
pub use opentelemetry::trace::{SpanContext, SpanKind};
pub use span::Span;

static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// Turns traces on, once and for all: spans are begun by `tracer` from now on.
pub fn install(tracer: SdkTracer) {
    // A second start in one process keeps the first, as logging does.
    let _ = TRACER.set(tracer);
}

/// Whether traces are on. Cheap.
pub fn is_on() -> bool {
    TRACER.get().is_some()
}

/// Whether the current span is of a trace that is sampled.
pub fn is_sampled() -> bool {
    is_on() && Context::map_current(|context| context.span().span_context().is_sampled())
}

/// The current trace, sampled or not.
pub fn current_id() -> Option<TraceId> {
    if !is_on() {
        return None;
    }
    Context::map_current(|context| {
        let span = context.span();
        let of = span.span_context();
        of.is_valid().then(|| of.trace_id())
    })
}

/// An HTTP method by its name, if it is one of those that everybody knows: others are as many as clients
/// like.
pub fn known_method(method: &str) -> Option<&'static str> {
    let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"];
    known.into_iter().find(|known| *known == method)
}

/// Does work within a span of this name, where there is a trace that is sampled.
///
/// # Errors
/// Those of the work, which has failed then as the span tells.
pub async fn within<T, E>(
    name: &'static str,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let span = Span::child(SpanKind::Internal, name);
    let context = span.as_ref().map_or_else(Context::current, |span| span.context().clone());
    let done = work.with_context(context).await;
    if let (Some(span), Err(_)) = (span, &done) {
        span.fail("_OTHER", "");
    }
    done
}

/// The same work, which goes on with the current span wherever it is polled.
pub fn carried<F: Future>(work: F) -> impl Future<Output = F::Output> {
    work.with_current_context()
}
