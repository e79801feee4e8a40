//! A bounded buffer in front of standard output.
//!
//! A line is appended under a short lock; a thread of its own writes the buffer out. When the
//! reader of the log is slower than the log, lines are dropped and counted, never piled up.

use std::{
    io::{self, Write},
    mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use tracing_subscriber::fmt::MakeWriter;

use super::metrics;

/// Bytes that may wait to be written.
const BUFFER_LIMIT: usize = 1 << 20;
/// The size from which the writing thread is woken before its time.
const WAKE_SIZE: usize = 64 << 10;
/// How long a line may wait.
const WRITE_INTERVAL: Duration = Duration::from_millis(100);

#[derive(Default)]
struct Buffer {
    bytes: Vec<u8>,
    /// Memory that was written out of, for the next turn.
    spare: Vec<u8>,
    dropped: u64,
}

/// The bounded buffer in front of standard output.
#[derive(Clone)]
pub(super) struct LogWriter {
    shared: Arc<(Mutex<Buffer>, Condvar)>,
    json: bool,
}

impl LogWriter {
    /// A writer of lines that are JSON or text, with its thread.
    pub(super) fn new(json: bool) -> Self {
        let log = Self { shared: Arc::default(), json };
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

    /// Writes all lines so far.
    pub(super) fn write_out(&self) {
        // Whoever has the output first writes first: lines keep their order.
        let mut out = io::stdout().lock();
        let (mut bytes, dropped) = {
            let mut buffer = self.lock();
            let spare = mem::take(&mut buffer.spare);
            (mem::replace(&mut buffer.bytes, spare), mem::take(&mut buffer.dropped))
        };
        // A log that cannot be written has nowhere to say so.
        let _ = out.write_all(&bytes);
        bytes.clear();
        bytes.shrink_to(2 * WAKE_SIZE);
        self.lock().spare = bytes;
        if dropped > 0 {
            let time = humantime::format_rfc3339_micros(SystemTime::now());
            let what = format!("{dropped} log lines were dropped: standard output is too slow");
            let _ = if self.json {
                writeln!(
                    out,
                    "{{\"timestamp\":\"{time}\",\"level\":\"WARN\",\"target\":\"gatehouse::telemetry\",\"message\":\"{what}\"}}"
                )
            } else {
                writeln!(out, "{time}  WARN gatehouse::telemetry: {what}")
            };
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
            metrics::line_dropped();
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
