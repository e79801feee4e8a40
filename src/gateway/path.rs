//! One view of the request's path: what no later step may read in two ways is refused here.
//!
//! The check works on the raw path, before any routing, and nothing behind it normalises: what
//! is routed, authorised and forwarded are the same bytes.

use crate::problem::Kind;

/// How often a path is percent-decoded in search of dot segments. Encoding more deeply than
/// this is refused as such.
const MAX_DECODINGS: usize = 8;

/// Checks a raw path: no dot segment (raw or encoded, however often), NUL, control byte, raw
/// backslash or broken escape. Both `/` and `\`, however encoded, separate segments.
///
/// # Errors
/// [`Kind::PathInvalid`].
pub fn check(raw: &str) -> Result<(), Kind> {
    // Almost every path is plain: one look over the bytes settles it.
    let suspicious = |b: &u8| matches!(b, b'%' | b'\\' | 0..=0x1f | 0x7f);
    let bytes = raw.as_bytes();
    if !bytes.iter().any(suspicious) && memchr::memmem::find(bytes, b"/.").is_none() {
        return Ok(());
    }
    // No URI may hold a raw backslash (RFC 3986), and some servers take one for a slash.
    if bytes.contains(&b'\\') {
        return Err(Kind::PathInvalid);
    }
    let mut path = bytes.to_vec();
    check_decoded(&path)?;
    let mut first = true;
    for _ in 0..MAX_DECODINGS {
        let Some(decoded) = decode(&path, first)? else {
            return Ok(());
        };
        check_decoded(&decoded)?;
        path = decoded;
        first = false;
    }
    Err(Kind::PathInvalid)
}

fn check_decoded(path: &[u8]) -> Result<(), Kind> {
    let control = path.iter().any(|b| b.is_ascii_control());
    let dot_segment = path.split(|b| matches!(b, b'/' | b'\\')).any(is_dots);
    if control || dot_segment { Err(Kind::PathInvalid) } else { Ok(()) }
}

/// Whether a segment is `.` or `..`. Some servers drop what follows a `;` before they look.
fn is_dots(segment: &[u8]) -> bool {
    let name = segment.split(|b| *b == b';').next().unwrap_or_default();
    matches!(name, b"." | b"..")
}

/// One percent-decoding; none if there is nothing to decode. A broken escape is an error only
/// in what the client sent (`strict`): decoded text may hold a plain `%`.
fn decode(path: &[u8], strict: bool) -> Result<Option<Vec<u8>>, Kind> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut changed = false;
    let mut rest = path;
    while let Some((&byte, tail)) = rest.split_first() {
        let escape = match tail {
            [high, low, ..] if byte == b'%' => hex(*high).zip(hex(*low)),
            _ => None,
        };
        if let Some((high, low)) = escape {
            decoded.push(high << 4 | low);
            changed = true;
            rest = &tail[2..];
        } else if byte == b'%' && strict {
            return Err(Kind::PathInvalid);
        } else {
            decoded.push(byte);
            rest = tail;
        }
    }
    Ok(changed.then_some(decoded))
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|d| u8::try_from(d).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn plain_paths_and_honest_escapes_pass() {
        for path in [
            "/",
            "/a/b",
            "/a//b",
            "/a/.hidden",
            "/a/..b",
            "/a/b..",
            "/a/...",
            "/100%25",
            "/a%20b",
            "/%E2%98%83",
            "/a%2Fb",
            "/%2541",
            "/a%252Fb",
        ] {
            assert_eq!(check(path), Ok(()), "{path}");
        }
    }

    #[test]
    fn whatever_could_climb_or_confuse_is_refused() {
        for path in [
            "/..",
            "/.",
            "/a/../b",
            "/a/./b",
            "/..%2f",
            "/%2e%2e/",
            "/%2E%2e%2F",
            "/..%5c",
            "/..\\x",
            "/a\\..\\b",
            "/%252e%252e%252f",
            "/%25252e%25252e/",
            "/a%00",
            "/a%0d%0a",
            "/a%7f",
            "/%",
            "/%2",
            "/%zz",
            "/a%2",
            "/a%2500",
            "/%25%32%65%25%32%65/",
        ] {
            assert_eq!(check(path), Err(Kind::PathInvalid), "{path}");
        }
    }

    proptest! {
        #[test]
        fn no_number_of_decodings_brings_out_a_dot_segment(path in "(/|\\\\|%|2|5|e|E|f|F|c|C|\\.|a){0,24}") {
            let path = format!("/{path}");
            if check(&path).is_ok() {
                let mut bytes = path.into_bytes();
                for _ in 0..12 {
                    let dots = bytes.split(|b| matches!(b, b'/' | b'\\')).any(|s| s == b"." || s == b"..");
                    prop_assert!(!dots);
                    match decode(&bytes, false) {
                        Ok(Some(decoded)) => bytes = decoded,
                        _ => break,
                    }
                }
            }
        }
    }
}
