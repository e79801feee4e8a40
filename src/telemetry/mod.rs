//! Logs: what they look like, and where they go; and traces, see [`traces`].

pub mod access;
mod json;
pub mod metrics;
pub mod traces;
mod writer;

use std::io::{self, IsTerminal};

use serde::{Deserialize, Serialize};
use tracing_subscriber::{EnvFilter, fmt::format::JsonFields};

use self::{json::JsonLines, traces::OtlpProtocol, writer::LogWriter};
use crate::settings::{Invalid, Secret};

/// `[telemetry]`: logs and traces.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// What lines look like.
    pub log_format: LogFormat,
    /// A tracing filter, such as `info` or `gatehouse=debug,info`.
    pub log: String,
    /// The collector that traces are sent to. Without it there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otlp_endpoint: Option<String>,
    /// How it is spoken to.
    pub otlp_protocol: OtlpProtocol,
    /// Fields that are sent along, as `OTEL_EXPORTER_OTLP_HEADERS` has them: `name=value,name=value`.
    #[serde(skip_serializing)]
    pub otlp_headers: Option<Secret>,
    /// Of the traces that begin here, which part is sent: from 0 for none to 1 for all.
    pub trace_sample_ratio: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            log_format: LogFormat::Auto,
            log: "info".to_owned(),
            otlp_endpoint: None,
            otlp_protocol: OtlpProtocol::Auto,
            otlp_headers: None,
            trace_sample_ratio: 1.0,
        }
    }
}

/// What a log line looks like.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Pretty on a terminal, JSON elsewhere.
    Auto,
    /// For people.
    Pretty,
    /// One JSON object a line.
    Json,
}

impl LogFormat {
    /// Whether lines are JSON here and now.
    pub fn is_json(self) -> bool {
        match self {
            Self::Auto => !io::stdout().is_terminal(),
            Self::Pretty => false,
            Self::Json => true,
        }
    }
}

impl Settings {
    /// Checks the filter, and what is set about traces.
    ///
    /// # Errors
    /// When the filter is no tracing filter, or traces could not be sent so.
    pub fn validate(&self) -> Result<(), Invalid> {
        let parsed = EnvFilter::try_new(&self.log);
        parsed.map(drop).map_err(|error| {
            Invalid::new(
                "telemetry.log",
                format!("is no log filter ({error}); use for example \"info\""),
            )
        })?;
        self.validate_traces()
    }

    /// The filter. The server's own notices say nothing that ours do not.
    fn filter(&self) -> EnvFilter {
        EnvFilter::new(format!("actix_server=warn,{}", self.log))
    }

    /// Starts logging to standard output for this process; once only. Lines stand in a buffer
    /// for up to a tenth of a second; dropping the answer writes the rest.
    pub fn start(&self) -> LogGuard {
        let json = self.log_format.is_json();
        let log = LogWriter::new(json);
        let subscriber =
            tracing_subscriber::fmt().with_env_filter(self.filter()).with_writer(log.clone());
        access::start(log.clone(), json);
        // A second start in one process keeps the first: nothing is lost but the settings' say.
        let _ = if json {
            subscriber.fmt_fields(JsonFields::new()).event_format(JsonLines).try_init()
        } else {
            subscriber.with_ansi(io::stdout().is_terminal()).try_init()
        };
        LogGuard(log)
    }
}

impl Settings {
    /// Starts logging to standard error, for a command whose output is on standard output.
    pub fn start_on_stderr(&self) {
        let log = tracing_subscriber::fmt().with_env_filter(self.filter()).with_writer(io::stderr);
        // A second start in one process keeps the first.
        let _ = if self.log_format == LogFormat::Pretty || io::stderr().is_terminal() {
            log.with_ansi(io::stderr().is_terminal()).try_init()
        } else {
            log.fmt_fields(JsonFields::new()).event_format(JsonLines).try_init()
        };
    }
}

/// Writes what is left when the process ends.
#[must_use]
pub struct LogGuard(LogWriter);

impl LogGuard {
    /// Writes all lines so far at once.
    pub fn flush(&self) {
        self.0.write_out();
    }
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        self.flush();
    }
}
