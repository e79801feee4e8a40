//! Sending batches of spans, by gRPC or HTTP, from a runtime of its own.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use opentelemetry_otlp::{
    SpanExporter as Otlp, WithExportConfig as _, WithHttpConfig as _, WithTonicConfig as _,
    tonic_types::{metadata::MetadataMap, transport::ClientTlsConfig},
};
use opentelemetry_sdk::{
    Resource,
    error::{OTelSdkError, OTelSdkResult},
    trace::{SpanData, SpanExporter},
};
use tokio::runtime::Handle;

use super::{
    http::Collector,
    settings::{Headers, OtlpProtocol},
};
use crate::{
    home::Home,
    outbound,
    telemetry::{Settings, metrics},
};

/// The path of traces at a collector, where the URL tells none.
const PATH: &str = "/v1/traces";

/// Sends batches to a collector, and tells the log when it begins and when it ceases to fail.
pub(super) struct Exporter {
    otlp: Arc<Otlp>,
    home: Home,
    failing: AtomicBool,
}

impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Exporter")
    }
}

impl Exporter {
    /// One that sends to the collector at `endpoint`. Connects when there is something to send.
    ///
    /// # Errors
    /// Why it cannot, as the rest of a sentence about the setting.
    pub(super) fn start(endpoint: &str, settings: &Settings) -> Result<Self, String> {
        let home = Home::start("traces").map_err(|e| format!("cannot be used ({e})"))?;
        // What connects needs a runtime at hand.
        let at_home = home.handle.enter();
        let headers = settings.otlp_headers().map_err(|invalid| invalid.message)?;
        let otlp = match settings.protocol(endpoint) {
            OtlpProtocol::Http => by_http(endpoint, headers, &home.handle)?,
            OtlpProtocol::Grpc | OtlpProtocol::Auto => by_grpc(endpoint, headers)?,
        };
        drop(at_home);
        Ok(Self { otlp: Arc::new(otlp), home, failing: AtomicBool::new(false) })
    }

    /// Tells the log what changes: not each batch that fails.
    fn tell(&self, result: &OTelSdkResult) {
        let was_failing = self.failing.swap(result.is_err(), Ordering::Relaxed);
        match result {
            Err(error) if !was_failing => {
                let cause = cause(error);
                tracing::warn!(cause, "traces cannot be sent; some are lost until they can be");
            }
            Ok(()) if was_failing => tracing::info!("traces can be sent again"),
            _ => {}
        }
    }
}

impl SpanExporter for Exporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let (otlp, spans) = (Arc::clone(&self.otlp), batch.len());
        let sent = self.home.handle.spawn(async move { otlp.export(batch).await }).await;
        let result = sent.unwrap_or_else(|lost| {
            Err(OTelSdkError::InternalFailure(format!("the sending task ended: {lost}")))
        });
        metrics::spans_exported(spans, result.is_ok());
        self.tell(&result);
        result
    }

    fn set_resource(&mut self, resource: &Resource) {
        // Nothing is sent yet that shares it.
        if let Some(otlp) = Arc::get_mut(&mut self.otlp) {
            otlp.set_resource(resource);
        }
    }
}

/// The error in one line, without what the SDK says around it.
fn cause(error: &OTelSdkError) -> String {
    match error {
        OTelSdkError::AlreadyShutdown => "it has been shut down".to_owned(),
        OTelSdkError::Timeout(after) => format!("no answer within {after:?}"),
        OTelSdkError::InternalFailure(cause) => cause.clone(),
    }
}

fn by_grpc(endpoint: &str, headers: Headers) -> Result<Otlp, String> {
    let fields = headers.0.into_iter().collect();
    let mut builder = Otlp::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .with_metadata(MetadataMap::from_headers(fields));
    if endpoint.starts_with("https:") {
        builder = builder.with_tls_config(ClientTlsConfig::new().with_native_roots());
    }
    builder.build().map_err(|error| format!("cannot be used ({error})"))
}

fn by_http(endpoint: &str, headers: Headers, home: &Handle) -> Result<Otlp, String> {
    let uri: ::http::Uri = endpoint.parse().map_err(|e| format!("is no URL ({e})"))?;
    // Set in code, the URL is taken as it stands.
    let url = match uri.path() {
        "" | "/" => format!("{}{PATH}", endpoint.trim_end_matches('/')),
        _ => endpoint.to_owned(),
    };
    outbound::check_trust(&uri)?;
    let text = |(name, value): (::http::HeaderName, ::http::HeaderValue)| {
        Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
    };
    let fields: HashMap<_, _> = headers.0.into_iter().filter_map(text).collect();
    let builder = Otlp::builder()
        .with_http()
        .with_endpoint(url)
        .with_protocol(opentelemetry_otlp::Protocol::HttpBinary)
        .with_headers(fields)
        .with_http_client(Collector::new(home.clone())?);
    builder.build().map_err(|error| format!("cannot be used ({error})"))
}
