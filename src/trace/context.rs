//! How a trace is told from one process to the next: `traceparent` and `tracestate` (W3C Trace
//! Context, level 1, sections 3.2 and 3.3).
//!
//! The SDK's own reader takes ids that are too short and numbers with a sign; it is the oracle of the tests
//! for all that is well-formed.

use std::str::FromStr as _;

use opentelemetry::{
    Context,
    trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState},
};

use super::{Span, is_on};

/// The field that names the trace and the span that a request is sent within.
pub const TRACEPARENT: &str = "traceparent";
/// The field of what tracing systems on the way have to say to each other.
pub const TRACESTATE: &str = "tracestate";

/// The length of a `traceparent` of version 00.
const LENGTH: usize = 55;
/// The longest `tracestate` that is passed on: what every system has to (section 3.3.1.5).
const LONGEST_STATE: usize = 512;

/// What a request tells of the trace that it belongs to, by the values of its fields; none where it
/// tells of none, of several, or nothing that can be read: then a trace begins with it. A `tracestate` that
/// cannot be read is left out.
pub fn parse<'a>(
    traceparent: impl IntoIterator<Item = &'a [u8]>,
    tracestate: impl IntoIterator<Item = &'a [u8]>,
) -> Option<SpanContext> {
    let mut parents = traceparent.into_iter();
    let (parent, None) = (parents.next()?, parents.next()) else { return None };
    let (trace, span, flags) = parse_parent(parent)?;
    let state = parse_state(tracestate).unwrap_or_default();
    Some(SpanContext::new(trace, span, flags, true, state))
}

fn parse_parent(text: &[u8]) -> Option<(TraceId, SpanId, TraceFlags)> {
    let text = text.trim_ascii();
    let (known, rest) = text.split_at_checked(LENGTH)?;
    let [version, trace, span, flags] = split(known)?;
    // A later version may have more behind; this one must not, and ff is none.
    match (number(version)?, rest.first()) {
        (0, None) | (1..=254, None | Some(b'-')) => {}
        _ => return None,
    }
    let trace = TraceId::from(number(trace)?);
    let span = SpanId::from(u64::try_from(number(span)?).ok()?);
    // What else there is of flags is not ours to repeat.
    let flags = TraceFlags::new(u8::try_from(number(flags)?).ok()?) & TraceFlags::SAMPLED;
    (trace != TraceId::INVALID && span != SpanId::INVALID).then_some((trace, span, flags))
}

/// The four parts of a `traceparent`, each of its own length.
fn split(text: &[u8]) -> Option<[&[u8]; 4]> {
    let dashes = [2, 35, 52].map(|at| text.get(at) == Some(&b'-'));
    (dashes == [true; 3]).then(|| [&text[..2], &text[3..35], &text[36..52], &text[53..55]])
}

/// A number in lower-case hexadecimal digits.
fn number(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number: u128, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(digit))
    })
}

fn parse_state<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Option<TraceState> {
    let mut joined = String::new();
    for value in values {
        if !joined.is_empty() {
            joined.push(',');
        }
        joined.push_str(std::str::from_utf8(value).ok()?);
        if joined.len() > LONGEST_STATE {
            return None;
        }
    }
    let is_plain = joined.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t'));
    let has_names = joined.split(',').all(|member| !member.trim_start().starts_with('='));
    TraceState::from_str(&joined).ok().filter(|_| is_plain && has_names)
}

/// What a request carries on that is sent within a span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Onward {
    parent: [u8; LENGTH],
    state: Option<String>,
}

impl Onward {
    /// Within this span, or the current one; none where traces are off, or there is neither.
    pub fn from_within(span: Option<&Span>) -> Option<Self> {
        if !is_on() {
            return None;
        }
        match span {
            Some(span) => Self::within(span.context()),
            None => Context::map_current(Self::within),
        }
    }

    /// Within the span of this context, if there is one.
    fn within(context: &Context) -> Option<Self> {
        let span = context.span();
        let of = span.span_context();
        of.is_valid().then(|| Self::of(of))
    }

    fn of(span: &SpanContext) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let (trace, of) = (span.trace_id().to_bytes(), span.span_id().to_bytes());
        let flags = [span.trace_flags().to_u8()];
        let mut parent = *b"00-00000000000000000000000000000000-0000000000000000-00";
        for (at, bytes) in [(3, &trace[..]), (36, &of[..]), (53, &flags[..])] {
            for (digits, byte) in parent[at..].chunks_exact_mut(2).zip(bytes) {
                digits[0] = DIGITS[usize::from(byte >> 4)];
                digits[1] = DIGITS[usize::from(byte & 15)];
            }
        }
        let state = span.trace_state().header();
        Self { parent, state: (!state.is_empty()).then_some(state) }
    }

    /// The value of `traceparent`.
    pub fn parent(&self) -> &[u8] {
        &self.parent
    }

    /// The value of `tracestate`, if there is one.
    pub fn state(&self) -> Option<&str> {
        self.state.as_deref()
    }
}

/// The current span as a row keeps it for what is done later: a `traceparent`, and behind a space the
/// `tracestate`, if there is one.
pub fn stored() -> Option<String> {
    let Onward { parent, state } = Onward::from_within(None)?;
    let mut text = String::from_utf8_lossy(&parent).into_owned();
    if let Some(state) = state {
        text.push(' ');
        text.push_str(&state);
    }
    Some(text)
}

/// The span of such a text; none if it is none.
pub fn parse_stored(text: &str) -> Option<SpanContext> {
    let (parent, state) = match text.split_once(' ') {
        Some((parent, state)) => (parent, Some(state.as_bytes())),
        None => (text, None),
    };
    parse([parent.as_bytes()], state)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use opentelemetry::propagation::TextMapPropagator as _;
    use opentelemetry_sdk::propagation::TraceContextPropagator;
    use proptest::prelude::*;

    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn parsed(parent: &str, states: &[&str]) -> Option<SpanContext> {
        parse([parent.as_bytes()], states.iter().map(|state| state.as_bytes()))
    }

    fn by_the_sdk(parent: &str, state: &str) -> SpanContext {
        let fields = [(TRACEPARENT, parent), (TRACESTATE, state)];
        let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let fields = HashMap::from(fields);
        let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &fields);
        context.span().span_context().clone()
    }

    #[test]
    fn the_specifications_example_is_read() {
        let read = parsed(PARENT, &["rojo=00f067aa0ba902b7", "congo=t61rcWkgMzE"]).unwrap();
        assert_eq!(read.trace_id().to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(read.span_id().to_string(), "b7ad6b7169203331");
        assert!(read.is_sampled() && read.is_remote());
        assert_eq!(read.trace_state().header(), "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE");
        assert_eq!(Onward::of(&read).parent(), PARENT.as_bytes());
    }

    #[test]
    fn what_is_malformed_begins_a_new_trace() {
        for wrong in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.x",
        ] {
            assert_eq!(parsed(wrong, &[]), None, "{wrong}");
        }
        let twice = [PARENT.as_bytes(), PARENT.as_bytes()];
        assert_eq!(parse(twice, []), None, "repeated");
    }

    #[test]
    fn a_later_version_is_read_as_far_as_it_is_known() {
        let later = format!("cc-{}-what-is-to-come", &PARENT[3..]);
        assert_eq!(parsed(&later, &[]), parsed(PARENT, &[]));
    }

    #[test]
    fn a_state_that_cannot_be_read_is_left_out() {
        let long = format!("a={}", "x".repeat(600));
        for state in ["nothing", "=", "a=\u{fc}", "a=\n", &long] {
            let read = parsed(PARENT, &[state]).unwrap();
            assert_eq!(read.trace_state().header(), "", "{state}");
        }
    }

    #[test]
    fn a_row_keeps_all_of_it() {
        let with_state = format!("{PARENT} rojo=1,congo=2");
        for text in [PARENT, &with_state] {
            let read = parse_stored(text).unwrap();
            let Onward { parent, state } = Onward::of(&read);
            let state = state.map(|state| format!(" {state}")).unwrap_or_default();
            assert_eq!(format!("{}{state}", String::from_utf8_lossy(&parent)), text);
        }
        assert_eq!(parse_stored("else"), None);
    }

    proptest! {
        #[test]
        fn what_is_well_formed_is_read_as_the_sdk_reads_it(
            trace in 1_u128.., span in 1_u64.., flags in 0_u8..,
            state in "([a-z]{1,3}=[a-z]{1,3}(,[a-z]{4,6}=[!-+]{0,4})?)?",
        ) {
            let parent = format!("00-{trace:032x}-{span:016x}-{flags:02x}");
            let read = parsed(&parent, &[&state]).unwrap();
            prop_assert_eq!(&read, &by_the_sdk(&parent, &state));
            let onward = Onward::of(&read);
            prop_assert_eq!(parse([onward.parent()], onward.state().map(str::as_bytes)), Some(read));
        }

        #[test]
        fn what_is_read_the_sdk_reads_alike(text in "[0-9a-fA-F+ -]{50,60}", state in "\\PC{0,40}") {
            if let Some(read) = parsed(&text, &[&state]) {
                let other = by_the_sdk(&text, "");
                prop_assert_eq!((read.trace_id(), read.span_id()), (other.trace_id(), other.span_id()));
            }
        }

        #[test]
        fn no_bytes_are_too_much(parent: Vec<u8>, state: Vec<u8>) {
            let _ = parse([&parent[..]], [&state[..]]);
        }
    }
}
