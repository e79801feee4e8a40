//! `[telemetry]`, as far as it is about traces.

use std::fmt;

use ::http::{HeaderName, HeaderValue, Uri};
use serde::{Deserialize, Serialize};

use crate::{
    settings::{Invalid, Secret},
    telemetry::Settings,
};

/// How a collector is spoken to.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OtlpProtocol {
    /// By HTTP where the URL has a path or the port 4318, else by gRPC.
    Auto,
    /// OTLP/gRPC.
    Grpc,
    /// OTLP/HTTP, with protobuf bodies.
    Http,
}

impl OtlpProtocol {
    /// Its name in the settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Grpc => "grpc",
            Self::Http => "http",
        }
    }
}

/// Fields that are sent to the collector. Their values are not printed.
pub(super) struct Headers(pub(super) Vec<(HeaderName, HeaderValue)>);

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

impl Settings {
    /// Checks what is set about traces.
    ///
    /// # Errors
    /// When the endpoint is no URL, the headers are none, or the ratio is no part of one.
    pub(in crate::telemetry) fn validate_traces(&self) -> Result<(), Invalid> {
        if let Some(endpoint) = &self.otlp_endpoint
            && !is_endpoint(endpoint)
        {
            return Err(Invalid::new(
                "telemetry.otlp_endpoint",
                "is no URL of a collector; use for example \"http://127.0.0.1:4317\"",
            ));
        }
        if !(0.0..=1.0).contains(&self.trace_sample_ratio) {
            return Err(Invalid::new(
                "telemetry.trace_sample_ratio",
                "is no part of the whole; use a number from 0 to 1",
            ));
        }
        self.otlp_headers().map(drop)
    }

    /// The fields that are sent along.
    ///
    /// # Errors
    /// When they are none. What stands there is not repeated.
    pub(super) fn otlp_headers(&self) -> Result<Headers, Invalid> {
        let text = self.otlp_headers.as_ref().map(Secret::expose).unwrap_or_default();
        let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
        let headers: Option<Vec<_>> = pairs.map(header).collect();
        headers.map(Headers).ok_or_else(|| {
            Invalid::new(
                "telemetry.otlp_headers",
                "cannot be read; use name=value, with commas between several, and %2C for a comma",
            )
        })
    }

    /// How the collector at `endpoint` is spoken to.
    pub(super) fn protocol(&self, endpoint: &str) -> OtlpProtocol {
        match self.otlp_protocol {
            OtlpProtocol::Auto => {
                let uri: Uri = endpoint.parse().unwrap_or_default();
                let is_http = uri.port_u16() == Some(4318) || !matches!(uri.path(), "" | "/");
                if is_http { OtlpProtocol::Http } else { OtlpProtocol::Grpc }
            }
            set => set,
        }
    }
}

fn is_endpoint(endpoint: &str) -> bool {
    endpoint.parse::<Uri>().is_ok_and(|uri| {
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        matches!(uri.scheme_str(), Some("http" | "https"))
            && !authority.is_empty()
            && !authority.contains('@')
            && uri.query().is_none()
    })
}

/// A field as W3C Baggage writes one, which is what OpenTelemetry's variables are. Only of ASCII: gRPC's metadata
/// and the exporter's HTTP fields are.
fn header(pair: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = pair.split_once('=')?;
    let value = percent_encoding::percent_decode_str(value.trim()).decode_utf8().ok()?;
    let mut value = HeaderValue::from_str(&value).ok().filter(|value| value.to_str().is_ok())?;
    value.set_sensitive(true);
    Some((HeaderName::from_bytes(name.trim().as_bytes()).ok()?, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(endpoint: &str) -> Settings {
        Settings { otlp_endpoint: Some(endpoint.to_owned()), ..Settings::default() }
    }

    #[test]
    fn the_url_tells_the_protocol_unless_it_is_set() {
        for (endpoint, protocol) in [
            ("http://127.0.0.1:4317", OtlpProtocol::Grpc),
            ("https://collector.example/", OtlpProtocol::Grpc),
            ("http://127.0.0.1:4318", OtlpProtocol::Http),
            ("https://otlp.example/v1/traces", OtlpProtocol::Http),
            ("https://otlp.example:4317/v1/traces", OtlpProtocol::Http),
        ] {
            let mut settings = with(endpoint);
            assert_eq!(settings.protocol(endpoint), protocol, "{endpoint}");
            settings.otlp_protocol = OtlpProtocol::Grpc;
            assert_eq!(settings.protocol(endpoint), OtlpProtocol::Grpc);
        }
    }

    #[test]
    fn what_is_no_collector_is_refused() {
        for wrong in ["", "collector:4317", "ftp://a", "http://user:secret@a", "http://a?x=1"] {
            let Invalid { key, message } = with(wrong).validate_traces().unwrap_err();
            assert_eq!(key, "telemetry.otlp_endpoint", "{wrong}");
            assert!(!message.contains("secret"));
        }
        assert!(with("https://collector.example:4317").validate_traces().is_ok());
        for ratio in [-0.1, 1.1, f64::NAN] {
            let settings = Settings { trace_sample_ratio: ratio, ..Settings::default() };
            assert_eq!(settings.validate_traces().unwrap_err().key, "telemetry.trace_sample_ratio");
        }
    }

    #[test]
    fn headers_are_read_as_the_standard_variable_is() {
        let headers = |text: &str| {
            let otlp_headers = Some(serde_json::from_value(text.into()).unwrap());
            Settings { otlp_headers, ..Settings::default() }.otlp_headers()
        };
        let Headers(read) =
            headers("authorization=Bearer%20a%2Cb%3D, x-scope = 1,").expect("headers");
        let read: Vec<_> =
            read.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        assert_eq!(read, [("authorization", "Bearer a,b="), ("x-scope", "1")]);
        for wrong in ["authorization", "a b=c", "a=%0A", "a=secret\u{1}"] {
            let Invalid { key, message } = headers(wrong).unwrap_err();
            assert_eq!(key, "telemetry.otlp_headers", "{wrong}");
            assert!(!message.contains("secret"));
        }
    }
}
