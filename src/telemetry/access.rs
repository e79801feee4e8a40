//! The access line: one a request, made straight into its bytes.
//!
//! It is no tracing event: recording thirteen fields through tracing cost a tenth of a small
//! proxied request's instructions, five times what this costs.

use std::{
    cell::RefCell,
    fmt::Write as _,
    io::Write as _,
    net::IpAddr,
    sync::OnceLock,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::{json::write_string, writer::LogWriter};

/// What the filter of `telemetry.log` calls it.
pub const TARGET: &str = "gatehouse::access";

/// Where lines go, once logging has started.
static LOG: OnceLock<AccessLog> = OnceLock::new();

struct AccessLog {
    writer: LogWriter,
    json: bool,
}

/// What is told of a request.
#[derive(Clone, Copy, Debug)]
pub struct AccessLine<'a> {
    /// Its id.
    pub request_id: &'a str,
    /// Its method.
    pub method: &'a str,
    /// Its path, without the query.
    pub path: &'a str,
    /// The service it was for.
    pub service: Option<&'a str>,
    /// The tenant it was for.
    pub tenant: Option<&'a str>,
    /// The principal that sent it, where credentials are asked for.
    pub principal: Option<&'a str>,
    /// The status it was answered with.
    pub status: u16,
    /// The problem's slug, if it was answered with one.
    pub problem: Option<&'a str>,
    /// The one-word cause of an upstream's failure.
    pub reason: Option<&'a str>,
    /// Bytes of its body that came in, where they were counted.
    pub received: Option<u64>,
    /// Bytes of the response's body that went out.
    pub sent: u64,
    /// Whether the response was sent whole.
    pub complete: bool,
    /// From its head to the end of its response.
    pub duration: Duration,
    /// Who sent it.
    pub peer: Option<IpAddr>,
    /// The trace that it belongs to, where there are traces.
    pub trace_id: Option<&'a str>,
}

/// Lets lines go to `writer` from now on; the first call counts.
pub(super) fn start(writer: LogWriter, json: bool) {
    // A second start in one process keeps the first, as tracing does.
    let _ = LOG.set(AccessLog { writer, json });
}

/// Whether the filter lets access lines through. Cheap.
pub fn enabled() -> bool {
    tracing::enabled!(target: TARGET, tracing::Level::INFO)
}

/// Writes a line.
pub fn write(line: &AccessLine<'_>) {
    thread_local! {
        static BUFFER: RefCell<String> = const { RefCell::new(String::new()) };
    }
    let Some(log) = LOG.get() else { return };
    BUFFER.with_borrow_mut(|buffer| {
        buffer.clear();
        timestamp(buffer, log.json);
        // Writing to a string cannot fail, nor can writing to the log's buffer.
        if log.json {
            line.write_json(buffer);
        } else {
            let _ = line.write_text(buffer);
        }
        let _ = (&log.writer).write_all(buffer.as_bytes());
    });
}

impl AccessLine<'_> {
    fn write_json(&self, to: &mut String) {
        to.push_str(",\"level\":\"INFO\",\"target\":\"gatehouse::access\"");
        let texts = [
            (",\"request_id\":", Some(self.request_id)),
            (",\"method\":", Some(self.method)),
            (",\"path\":", Some(self.path)),
            (",\"service\":", self.service),
            (",\"tenant\":", self.tenant),
            (",\"principal\":", self.principal),
            (",\"problem\":", self.problem),
            (",\"reason\":", self.reason),
            (",\"trace_id\":", self.trace_id),
        ];
        for (name, text) in texts {
            if let Some(text) = text {
                to.push_str(name);
                let _ = write_string(to, text);
            }
        }
        let numbers = [
            (",\"status\":", Some(u64::from(self.status))),
            (",\"sent\":", Some(self.sent)),
            (",\"received\":", self.received),
            (",\"duration_us\":", u64::try_from(self.duration.as_micros()).ok()),
        ];
        for (name, number) in numbers {
            if let Some(number) = number {
                to.push_str(name);
                to.push_str(itoa::Buffer::new().format(number));
            }
        }
        to.push_str(if self.complete { ",\"complete\":true" } else { ",\"complete\":false" });
        if let Some(peer) = self.peer {
            to.push_str(",\"peer\":\"");
            address(to, peer);
            to.push('"');
        }
        to.push_str("}\n");
    }

    fn write_text(&self, to: &mut String) -> std::fmt::Result {
        let Self { method, path, status, duration, .. } = self;
        write!(to, "  INFO {method} {path} {status} in {duration:.1?}")?;
        write!(to, " sent={}", self.sent)?;
        if let Some(received) = self.received {
            write!(to, " received={received}")?;
        }
        let optional = [
            ("service", self.service),
            ("tenant", self.tenant),
            ("problem", self.problem),
            ("reason", self.reason),
            ("trace_id", self.trace_id),
        ];
        for (name, text) in optional {
            if let Some(text) = text {
                write!(to, " {name}={text}")?;
            }
        }
        if let Some(principal) = self.principal {
            // A token may say anything.
            write!(to, " principal={principal:?}")?;
        }
        if !self.complete {
            to.push_str(" incomplete");
        }
        writeln!(to, " request_id={}", self.request_id)
    }
}

fn address(to: &mut String, peer: IpAddr) {
    match peer {
        IpAddr::V4(peer) => {
            for (at, octet) in peer.octets().into_iter().enumerate() {
                if at > 0 {
                    to.push('.');
                }
                to.push_str(itoa::Buffer::new().format(octet));
            }
        }
        IpAddr::V6(peer) => {
            let _ = write!(to, "{peer}");
        }
    }
}

/// The time now, RFC 3339 in UTC with microseconds. All but those is made once a second.
fn timestamp(to: &mut String, json: bool) {
    thread_local! {
        static SECOND: RefCell<(u64, String)> = const { RefCell::new((u64::MAX, String::new())) };
    }
    let now = SystemTime::now();
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    to.push_str(if json { "{\"timestamp\":\"" } else { "" });
    SECOND.with_borrow_mut(|(second, text)| {
        if *second != since.as_secs() {
            *second = since.as_secs();
            *text = humantime::format_rfc3339_seconds(now).to_string();
        }
        to.push_str(text.trim_end_matches('Z'));
    });
    // Seven digits of which the first, a one, gives way to the point.
    let from = to.len();
    to.push_str(itoa::Buffer::new().format(1_000_000 + since.subsec_micros()));
    to.replace_range(from..=from, ".");
    to.push_str(if json { "Z\"" } else { "Z" });
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: AccessLine<'_> = AccessLine {
        request_id: "id\"1",
        method: "GET",
        path: "/a\\b",
        service: Some("consumers"),
        tenant: None,
        principal: Some("a\nb"),
        status: 201,
        problem: None,
        reason: None,
        received: None,
        sent: 18_446_744_073_709_551_615,
        complete: true,
        duration: Duration::from_micros(1234),
        peer: Some(IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 255))),
        trace_id: Some("0af7651916cd43dd8448eb211c80319c"),
    };

    #[test]
    fn a_line_is_one_json_object() {
        let mut text = String::new();
        timestamp(&mut text, true);
        LINE.write_json(&mut text);
        assert!(text.ends_with("}\n") && text.lines().count() == 1);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["request_id"], "id\"1");
        assert_eq!(value["path"], "/a\\b");
        assert_eq!(value["principal"], "a\nb");
        assert_eq!(value["sent"], u64::MAX);
        assert_eq!(value["duration_us"], 1234);
        assert_eq!(value["peer"], "10.0.0.255");
        assert_eq!(value["trace_id"], "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(value.get("tenant"), None);
        let time = value["timestamp"].as_str().unwrap();
        assert_eq!(time.len(), "2026-01-02T03:04:05.678901Z".len());
        assert!(humantime::parse_rfc3339(time).is_ok(), "{time}");
    }

    #[test]
    fn a_line_for_people_is_one_line() {
        let mut text = String::new();
        timestamp(&mut text, false);
        LINE.write_text(&mut text).unwrap();
        assert_eq!(text.lines().count(), 1);
        assert!(
            text.contains("GET /a\\b 201 in 1.2ms") && text.contains("service=consumers"),
            "{text}"
        );
    }
}
