//! A span: a piece of work with a name, a beginning and an end.

use std::borrow::Cow;

use opentelemetry::{
    Context, KeyValue, Value,
    trace::{SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt as _, Tracer as _},
};

use super::{Entered, TRACER, is_sampled, known_method};

/// A span, which ends when this is dropped. It may be of a trace that is not sampled: then nothing of it is
/// kept, but what is sent within it tells others so.
#[derive(Debug)]
pub struct Span(Context);

impl Span {
    /// The first span here of what `parent` began elsewhere, or of a new trace; none where traces are off.
    pub fn first(
        parent: Option<SpanContext>,
        kind: SpanKind,
        name: impl Into<Cow<'static, str>>,
    ) -> Option<Self> {
        let parent = match parent {
            Some(parent) => Context::new().with_remote_span_context(parent),
            None => Context::new(),
        };
        Self::beneath(&parent, kind, name)
    }

    /// A span within the current one; none where that is not sampled, or there is none.
    pub fn child(kind: SpanKind, name: impl Into<Cow<'static, str>>) -> Option<Self> {
        if !is_sampled() {
            return None;
        }
        Self::beneath(&Context::current(), kind, name)
    }

    /// The span of a request to others, by OpenTelemetry's conventions for HTTP clients; see [`Self::child`].
    pub fn of_request(method: &str) -> Option<Self> {
        let method = known_method(method);
        let span = Self::child(SpanKind::Client, method.unwrap_or("HTTP"))?;
        span.set("http.request.method", method.unwrap_or("_OTHER"));
        Some(span)
    }

    /// The head of the answer to that request has come.
    pub fn answered(&self, status: u16) {
        self.set("http.response.status_code", i64::from(status));
        if (400..600).contains(&status) {
            self.fail(status.to_string(), "");
        }
    }

    fn beneath(
        parent: &Context,
        kind: SpanKind,
        name: impl Into<Cow<'static, str>>,
    ) -> Option<Self> {
        let tracer = TRACER.get()?;
        let span = SpanBuilder::from_name(name).with_kind(kind);
        Some(Self(parent.with_span(tracer.build_with_context(span, parent))))
    }

    /// Whether what is told of it is kept.
    pub fn is_recording(&self) -> bool {
        self.0.span().is_recording()
    }

    /// What work is done with that belongs to it.
    pub fn context(&self) -> &Context {
        &self.0
    }

    /// Makes it the current one until what this gives is dropped.
    #[must_use = "it is the current span only as long as this lives"]
    pub fn enter(&self) -> Entered {
        self.0.clone().attach()
    }

    /// The id of its trace, in hexadecimal digits.
    pub fn trace_id(&self) -> String {
        self.0.span().span_context().trace_id().to_string()
    }

    /// Gives it another name.
    pub fn rename(&self, name: impl Into<Cow<'static, str>>) {
        self.0.span().update_name(name);
    }

    /// Tells something of it.
    pub fn set(&self, key: &'static str, value: impl Into<Value>) {
        self.0.span().set_attribute(KeyValue::new(key, value));
    }

    /// The same where there is something to tell.
    pub fn set_some(&self, key: &'static str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.set(key, value);
        }
    }

    /// What it is about has failed; `kind` is one word of few (`error.type`).
    pub fn fail(&self, kind: impl Into<Value>, description: impl Into<Cow<'static, str>>) {
        self.set("error.type", kind);
        self.0.span().set_status(Status::error(description));
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        // Work that goes on may hold its context for longer.
        self.0.span().end();
    }
}
