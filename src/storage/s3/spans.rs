//! The span of each call of the store, by OpenTelemetry's conventions for AWS's SDKs: all tries of it, from
//! its first to its last. There is one where the call is made within a trace that is sampled.

use std::future::Future;

use aws_sdk_s3::{
    config::{
        ConfigBag, Intercept, RuntimeComponents,
        interceptors::{
            BeforeSerializationInterceptorContextRef, BeforeTransmitInterceptorContextMut,
            FinalizerInterceptorContextRef,
        },
    },
    error::BoxError,
};
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use aws_smithy_types::config_bag::{Storable, StoreReplace};
use opentelemetry::{
    Context, KeyValue,
    context::FutureExt as _,
    global::{self, BoxedTracer},
    propagation::{Injector, TextMapPropagator as _},
    trace::{SpanBuilder, SpanKind, Status, TraceContextExt as _, Tracer as _},
};
use opentelemetry_sdk::propagation::TraceContextPropagator;

/// Begins and ends the spans.
#[derive(Debug)]
pub(super) struct Spans {
    tracer: BoxedTracer,
    bucket: String,
}

/// The span of a call that is under way.
#[derive(Debug)]
struct Call(Context);

impl Storable for Call {
    type Storer = StoreReplace<Self>;
}

impl Spans {
    /// Of the calls to this bucket, by what records spans in this process now.
    pub(super) fn new(bucket: Option<&str>) -> Self {
        let bucket = bucket.unwrap_or_default().to_owned();
        Self { tracer: global::tracer("gatehouse"), bucket }
    }

    fn begin(&self, parent: &Context, config: &ConfigBag) -> Context {
        let operation = config.load::<Metadata>().map_or("Call", Metadata::name).to_owned();
        let span = SpanBuilder::from_name(format!("S3.{operation}"))
            .with_kind(SpanKind::Client)
            .with_attributes([
                KeyValue::new("rpc.system", "aws-api"),
                KeyValue::new("rpc.service", "S3"),
                KeyValue::new("rpc.method", operation),
                KeyValue::new("aws.s3.bucket", self.bucket.clone()),
            ]);
        parent.with_span(self.tracer.build_with_context(span, parent))
    }
}

impl Intercept for Spans {
    fn name(&self) -> &'static str {
        "Spans"
    }

    fn read_before_serialization(
        &self,
        _: &BeforeSerializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let parent = Context::current();
        if parent.span().span_context().is_sampled() {
            let call = Call(self.begin(&parent, config));
            config.interceptor_state().store_put(call);
        }
        Ok(())
    }

    /// Behind the signature, which does not cover it: a store need not know this field, and a proxy before it
    /// may change it.
    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(Call(call)) = config.load::<Call>() {
            let mut fields = Fields(Vec::new());
            TraceContextPropagator::new().inject_context(call, &mut fields);
            for (name, value) in fields.0 {
                context.request_mut().headers_mut().insert(name, value);
            }
        }
        Ok(())
    }

    fn read_after_execution(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let Some(Call(call)) = config.load::<Call>() else { return Ok(()) };
        let span = call.span();
        let status = context.response().map(|answer| answer.status().as_u16());
        if let Some(status) = status {
            span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status)));
        }
        if let Some(id) = context.response().and_then(|a| a.headers().get("x-amz-request-id")) {
            span.set_attribute(KeyValue::new("aws.request_id", id.to_owned()));
        }
        if !matches!(context.output_or_error(), Some(Ok(_))) {
            let kind = status.map_or_else(|| "_OTHER".to_owned(), |status| status.to_string());
            span.set_attribute(KeyValue::new("error.type", kind));
            span.set_status(Status::error(""));
        }
        span.end();
        Ok(())
    }
}

/// Fields that are not empty.
struct Fields(Vec<(String, String)>);

impl Injector for Fields {
    fn set(&mut self, name: &str, value: String) {
        if !value.is_empty() {
            self.0.push((name.to_owned(), value));
        }
    }
}

/// Signs, which is no call: nothing is sent, and what is signed is others' to send.
pub(super) fn untraced<F: Future>(signing: F) -> impl Future<Output = F::Output> {
    signing.with_context(Context::new())
}
