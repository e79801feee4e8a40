//! Range requests, RFC 9110 section 14: which bytes of an image a `Range` field asks for.

use std::ops::Range;

/// What to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// 200, all of it.
    Whole,
    /// 206, these bytes: not empty, within the size.
    Part(Range<u64>),
    /// 416.
    Unsatisfiable,
}

/// What a field of this value asks for of `size` bytes.
///
/// What is no valid byte range is ignored (section 14.2). Of several ranges, those that touch are
/// one; where more than one is left, all bytes are the answer, as section 14.2 allows: clients
/// that can read `multipart/byteranges` can read that, too.
pub fn wanted(field: &[u8], size: u64) -> Wanted {
    let Some(specs) = parse(field) else {
        return Wanted::Whole;
    };
    let mut ranges: Vec<_> = specs.iter().filter_map(|spec| spec.within(size)).collect();
    ranges.sort_unstable_by_key(|range| range.start);
    let mut ranges = ranges.into_iter();
    let Some(mut one) = ranges.next() else {
        return Wanted::Unsatisfiable;
    };
    for next in ranges {
        if next.start > one.end {
            return Wanted::Whole;
        }
        one.end = one.end.max(next.end);
    }
    if one.is_empty() { Wanted::Whole } else { Wanted::Part(one) }
}

/// One element of the set (section 14.1.1). A number that is too large is as large as can be:
/// no image has that many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spec {
    From(u64),
    /// The last byte included.
    Between(u64, u64),
    Last(u64),
}

impl Spec {
    /// None if it is not satisfiable (section 14.1.2).
    fn within(self, size: u64) -> Option<Range<u64>> {
        match self {
            Self::From(first) => (first < size).then_some(first..size),
            Self::Between(first, last) => {
                (first < size).then(|| first..last.saturating_add(1).min(size))
            }
            Self::Last(length) => (length > 0).then(|| size.saturating_sub(length)..size),
        }
    }
}

/// The set of `bytes=…`; none if any of it is not valid.
fn parse(field: &[u8]) -> Option<Vec<Spec>> {
    let equals = field.iter().position(|b| *b == b'=')?;
    if !field[..equals].eq_ignore_ascii_case(b"bytes") {
        return None;
    }
    let elements = field[equals + 1..].split(|b| *b == b',').map(<[u8]>::trim_ascii);
    // Empty elements are none (section 5.6.1.2).
    let specs: Option<Vec<_>> = elements.filter(|e| !e.is_empty()).map(parse_spec).collect();
    specs.filter(|specs| !specs.is_empty())
}

fn parse_spec(element: &[u8]) -> Option<Spec> {
    let dash = element.iter().position(|b| *b == b'-')?;
    let (first, last) = (&element[..dash], &element[dash + 1..]);
    match (first, last) {
        ([], length) => Some(Spec::Last(number(length)?)),
        (first, []) => Some(Spec::From(number(first)?)),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(Spec::Between(first, last))
        }
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits.iter().fold(0_u64, |number, digit| {
        number.saturating_mul(10).saturating_add(u64::from(digit - b'0'))
    }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_form_asks_for_its_bytes() {
        use Wanted::{Part, Unsatisfiable, Whole};
        let huge = "9".repeat(40);
        for (field, answer) in [
            ("bytes=0-0", Part(0..1)),
            ("bytes=0-99", Part(0..100)),
            ("bytes=0-", Part(0..100)),
            ("bytes=99-", Part(99..100)),
            ("bytes=10-19", Part(10..20)),
            ("bytes=10-500", Part(10..100)),
            ("bytes=-1", Part(99..100)),
            ("bytes=-100", Part(0..100)),
            ("bytes=-500", Part(0..100)),
            ("Bytes=00010-00019", Part(10..20)),
            ("bytes= 10-19 , ", Part(10..20)),
            ("bytes=,10-19", Part(10..20)),
            // Several that touch, in any order; those out of reach are left out.
            ("bytes=0-9,10-19", Part(0..20)),
            ("bytes=50-, 10-60, -1", Part(10..100)),
            ("bytes=0-99,3-4", Part(0..100)),
            ("bytes=0-9,200-300", Part(0..10)),
            // Several that do not.
            ("bytes=0-9,11-19", Whole),
            ("bytes=-1,0-0", Whole),
            // Out of reach.
            ("bytes=100-", Unsatisfiable),
            ("bytes=100-200,300-", Unsatisfiable),
            ("bytes=-0", Unsatisfiable),
            // No byte ranges.
            ("bytes=", Whole),
            ("bytes=,", Whole),
            ("bytes=5", Whole),
            ("bytes=-", Whole),
            ("bytes=9-5", Whole),
            ("bytes=a-b", Whole),
            ("bytes=+1-2", Whole),
            ("bytes=1 - 2", Whole),
            ("bytes=1--2", Whole),
            ("bytes=0-9;10-19", Whole),
            ("bytes=0-9,x", Whole),
            ("bytes 0-9", Whole),
            ("bytes =0-9", Whole),
            ("lines=0-9", Whole),
            ("", Whole),
            (&format!("bytes=0-{huge}"), Part(0..100)),
            (&format!("bytes=-{huge}"), Part(0..100)),
            (&format!("bytes={huge}-"), Unsatisfiable),
            ("bytes=18446744073709551615-18446744073709551615", Unsatisfiable),
        ] {
            assert_eq!(wanted(field.as_bytes(), 100), answer, "{field:?}");
        }
        assert_eq!(wanted(b"bytes=0-", 0), Unsatisfiable);
        assert_eq!(wanted(b"bytes=-5", 0), Whole);
        assert_eq!(wanted(b"bytes=0-18446744073709551615", u64::MAX), Part(0..u64::MAX));
    }

    proptest! {
        #[test]
        fn a_part_is_what_was_asked_for(
            specs in proptest::collection::vec((0_u64..40, 0_u64..40, 0_u8..3), 1..5), size in 1_u64..30,
        ) {
            let mut asked = vec![false; size as usize];
            let mut elements = Vec::new();
            for (a, b, form) in specs {
                let (element, range) = match form {
                    0 => (format!("{}-{}", a.min(b), a.max(b)), a.min(b)..a.max(b) + 1),
                    1 => (format!("{a}-"), a..size),
                    _ => (format!("-{a}"), size.saturating_sub(a)..size),
                };
                elements.push(element);
                range.filter(|at| *at < size).for_each(|at| asked[at as usize] = true);
            }
            let field = format!("bytes={}", elements.join(", "));
            let runs = asked.chunk_by(|a, b| a == b).filter(|run| run[0]).count();
            match wanted(field.as_bytes(), size) {
                Wanted::Part(part) => {
                    prop_assert_eq!(runs, 1);
                    for at in 0..size {
                        prop_assert_eq!(asked[at as usize], part.contains(&at), "{} at {}", field, at);
                    }
                }
                Wanted::Whole => prop_assert!(runs > 1, "{}", field),
                Wanted::Unsatisfiable => prop_assert_eq!(runs, 0),
            }
        }

        #[test]
        fn no_field_is_too_odd(field in "(bytes=)?[0-9,\\- a]{0,60}", size: u64) {
            if let Wanted::Part(part) = wanted(field.as_bytes(), size) {
                prop_assert!(part.start < part.end && part.end <= size);
            }
        }
    }
}
