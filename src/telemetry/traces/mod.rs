//! Traces, sent to a collector by OTLP: how that is set up, and how it ends.
//!
//! A thread of the SDK's gathers spans and hands them over in batches; another one, with a runtime of
//! its own, sends them. Requests never wait for either: of spans that there is no room for, none is kept.

mod counted;
mod exporter;
mod http;
mod settings;

use std::time::Duration;

use opentelemetry::{KeyValue, global, trace::TracerProvider as _};
use opentelemetry_sdk::{
    Resource,
    trace::{BatchSpanProcessor, Sampler, SdkTracerProvider},
};
use uuid::Uuid;

pub use self::settings::OtlpProtocol;
use self::{counted::Counted, exporter::Exporter};
use crate::{settings::Invalid, telemetry::Settings, trace};

/// How long the end of the process may wait for the last spans to be taken.
const FLUSH_WITHIN: Duration = Duration::from_secs(2);

/// What sends spans. Dropped, it sends the last ones.
#[must_use]
pub struct Traces(SdkTracerProvider);

impl Traces {
    /// Turns traces on if these settings, which are valid, name a collector. One that cannot be reached
    /// disturbs nobody.
    ///
    /// # Errors
    /// When what sends spans cannot be set up.
    pub fn start(settings: &Settings) -> Result<Option<Self>, Invalid> {
        let Some(endpoint) = &settings.otlp_endpoint else { return Ok(None) };
        let exporter = Exporter::start(endpoint, settings)
            .map_err(|message| Invalid::new("telemetry.otlp_endpoint", message))?;
        let roots = Sampler::TraceIdRatioBased(settings.trace_sample_ratio);
        let provider = SdkTracerProvider::builder()
            .with_resource(resource())
            .with_sampler(Sampler::ParentBased(Box::new(roots)))
            .with_span_processor(Counted(BatchSpanProcessor::builder(exporter).build()))
            .build();
        trace::install(provider.tracer("gatehouse"));
        // For the store, which knows no other module.
        global::set_tracer_provider(provider.clone());
        let (ratio, protocol) = (settings.trace_sample_ratio, settings.protocol(endpoint).as_str());
        tracing::info!(endpoint, protocol, ratio, "traces are sent to a collector");
        Ok(Some(Self(provider)))
    }
}

impl Drop for Traces {
    fn drop(&mut self) {
        // That a collector takes nothing has been told.
        let _ = self.0.shutdown_with_timeout(FLUSH_WITHIN);
    }
}

/// What tells this process from others. `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` have the last word.
fn resource() -> Resource {
    let detected = Resource::builder().build();
    let name = detected.get(&"service.name".into()).map(|name| name.to_string());
    let is_named = name.is_some_and(|name| !name.starts_with("unknown_service"));
    let mut builder = Resource::builder_empty().with_attributes([
        KeyValue::new("service.name", "gatehouse"),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", Uuid::now_v7().to_string()),
    ]);
    for (key, value) in detected.iter() {
        if is_named || key.as_str() != "service.name" {
            builder = builder.with_attribute(KeyValue::new(key.clone(), value.clone()));
        }
    }
    builder.build()
}
