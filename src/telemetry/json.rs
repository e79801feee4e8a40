//! Log lines as JSON: one object a line, the event's fields at the top, the request's span
//! under `span` where one is open, and the trace that it belongs to.
//!
//! The format is made straight into the line's buffer, where tracing-subscriber's own goes
//! through serde. An error's causes are told, too.

use std::{
    error::Error,
    fmt::{self, Debug, Write},
    time::SystemTime,
};

use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{
        FmtContext, FormattedFields,
        format::{FormatEvent, FormatFields, Writer},
    },
    registry::LookupSpan,
};

use crate::{problem::chain, trace};

/// The format.
pub(super) struct JsonLines;

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut line: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let metadata = event.metadata();
        let time = humantime::format_rfc3339_micros(SystemTime::now());
        write!(line, "{{\"timestamp\":\"{time}\",\"level\":\"{}\"", metadata.level())?;
        line.write_str(",\"target\":")?;
        write_string(&mut line, metadata.target())?;
        let mut fields = Fields { line: &mut line, result: Ok(()) };
        event.record(&mut fields);
        fields.result?;
        if let Some(id) = trace::current_id() {
            write!(line, ",\"trace_id\":\"{id}\"")?;
        }
        if let Some(span) = context.lookup_current()
            && let Some(fields) = span.extensions().get::<FormattedFields<N>>()
            && !fields.is_empty()
        {
            write!(line, ",\"span\":{fields}")?;
        }
        line.write_str("}\n")
    }
}

/// Writes each field as a member.
struct Fields<'a, 'b> {
    line: &'a mut Writer<'b>,
    result: fmt::Result,
}

impl Fields<'_, '_> {
    fn member(&mut self, field: &Field, value: impl FnOnce(&mut Writer<'_>) -> fmt::Result) {
        if self.result.is_ok() {
            self.result =
                write!(self.line, ",\"{}\":", field.name()).and_then(|()| value(self.line));
        }
    }
}

impl Visit for Fields<'_, '_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.member(field, |line| write_string(line, value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.member(field, |line| write!(line, "{value}"));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.member(field, |line| write!(line, "{value}"));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.member(field, |line| write!(line, "{value}"));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no word for what is no number.
        self.member(field, |line| {
            if value.is_finite() { write!(line, "{value}") } else { line.write_str("null") }
        });
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.member(field, |line| write_string(line, &chain(value)));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.member(field, |line| {
            line.write_char('"')?;
            write!(Escaping(line), "{value:?}")?;
            line.write_char('"')
        });
    }
}

/// Writes a JSON string, quotes and all.
pub(super) fn write_string(line: &mut impl Write, text: &str) -> fmt::Result {
    line.write_char('"')?;
    Escaping(line).write_str(text)?;
    line.write_char('"')
}

/// Escapes what passes through for a JSON string, RFC 8259 section 7.
struct Escaping<'a, W>(&'a mut W);

impl<W: Write> Write for Escaping<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let is_special = |b: u8| b < 0x20 || matches!(b, b'"' | b'\\');
        // Almost no text has any, and looking at every byte of it takes less than stopping early.
        if !text.bytes().fold(false, |found, b| found | is_special(b)) {
            return self.0.write_str(text);
        }
        let mut rest = text;
        while let Some(at) = rest.bytes().position(is_special) {
            let (plain, special) = rest.split_at(at);
            self.0.write_str(plain)?;
            let mut tail = special.chars();
            match tail.next() {
                Some(c @ ('"' | '\\')) => write!(self.0, "\\{c}")?,
                Some(c) => write!(self.0, "\\u{:04x}", u32::from(c))?,
                None => {}
            }
            rest = tail.as_str();
        }
        self.0.write_str(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_is_a_json_string() {
        for text in ["", "plain", "a\"b\\c", "line\nbreak\u{1}\u{7f}", "☃ and 日本", "\"", "\\\\"]
        {
            let mut written = String::new();
            write_string(&mut written, text).unwrap();
            assert_eq!(serde_json::from_str::<String>(&written).unwrap(), text);
        }
    }
}
