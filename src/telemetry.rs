//! Logs: what they look like, and a writer that keeps them off the requests' path.
//!
//! A line is appended to one bounded buffer under a short lock; a thread of its own writes the
//! buffer out. When the reader of the log is slower than the log, lines are dropped and counted,
//! never piled up.

use std::{
    io::{self, IsTerminal, Write},
    mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

use crate::settings::Invalid;

/// `[telemetry]`: logs.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// What lines look like.
    pub log_format: LogFormat,
    /// A tracing filter, such as `info` or `gatehouse=debug,info`.
    pub log: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self { log_format: LogFormat::Auto, log: "info".to_owned() }
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
    /// Checks the filter.
    ///
    /// # Errors
    /// When it is no tracing filter.
    pub fn validate(&self) -> Result<(), Invalid> {
        let parsed = EnvFilter::try_new(&self.log);
        parsed.map(drop).map_err(|error| {
            Invalid::new(
                "telemetry.log",
                format!("is no log filter ({error}); use for example \"info\""),
            )
        })
    }

    /// The filter. The server's own notices say nothing that ours do not.
    fn filter(&self) -> EnvFilter {
        EnvFilter::new(format!("actix_server=warn,{}", self.log))
    }

    /// Starts logging to standard output for this process; once only. Lines stand in a buffer
    /// for up to a tenth of a second; dropping the answer writes the rest.
    pub fn start(&self) -> LogGuard {
        let log = LogWriter::new();
        let json = self.log_format.is_json();
        let subscriber =
            tracing_subscriber::fmt().with_env_filter(self.filter()).with_writer(log.clone());
        // A second start in one process keeps the first: nothing is lost but the settings' say.
        let _ = if json {
            subscriber
                .json()
                .flatten_event(true)
                .with_current_span(true)
                .with_span_list(false)
                .try_init()
        } else {
            subscriber.with_ansi(io::stdout().is_terminal()).try_init()
        };
        LogGuard(log)
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

/// Bytes that may wait to be written.
const BUFFER_LIMIT: usize = 1 << 20;
/// The size from which the writing thread is woken before its time.
const WAKE_SIZE: usize = 64 << 10;
/// How long a line may wait.
const WRITE_INTERVAL: Duration = Duration::from_millis(100);

#[derive(Default)]
struct Buffer {
    bytes: Vec<u8>,
    dropped: u64,
}

/// The bounded buffer in front of standard output.
#[derive(Clone)]
struct LogWriter {
    shared: Arc<(Mutex<Buffer>, Condvar)>,
}

impl LogWriter {
    fn new() -> Self {
        let log = Self { shared: Arc::default() };
        let writer = log.clone();
        let spawned =
            std::thread::Builder::new().name("log".to_owned()).spawn(move || writer.run());
        if let Err(error) = spawned {
            let _ =
                writeln!(io::stderr(), "cannot start the log's thread, logs come late: {error}");
        }
        log
    }

    fn run(&self) {
        loop {
            let signal = &self.shared.1;
            let buffer = signal
                .wait_while(self.lock(), |b| b.bytes.is_empty())
                .unwrap_or_else(PoisonError::into_inner);
            // More lines are likely to follow the first: one write for all of them.
            drop(signal.wait_timeout_while(buffer, WRITE_INTERVAL, |b| b.bytes.len() < WAKE_SIZE));
            self.write_out();
        }
    }

    fn write_out(&self) {
        let Buffer { bytes, dropped } = mem::take(&mut *self.lock());
        let mut out = io::stdout().lock();
        // A log that cannot be written has nowhere to say so.
        let _ = out.write_all(&bytes);
        if dropped > 0 {
            let _ = writeln!(
                out,
                "{{\"level\":\"WARN\",\"message\":\"{dropped} log lines were dropped: standard output is too slow\"}}"
            );
        }
        let _ = out.flush();
    }

    fn lock(&self) -> MutexGuard<'_, Buffer> {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Write for &LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut buffer = self.lock();
        if buffer.bytes.len() + line.len() > BUFFER_LIMIT {
            buffer.dropped += 1;
        } else {
            let before = buffer.bytes.len();
            buffer.bytes.extend_from_slice(line);
            let after = buffer.bytes.len();
            if before == 0 || (before < WAKE_SIZE && after >= WAKE_SIZE) {
                self.shared.1.notify_one();
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = &'a LogWriter;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}
