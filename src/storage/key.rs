//! Object keys: parsed once, then trusted by every backend.
//!
//! A backend turns a key into a path or a URL without looking at it again, so what a key can
//! be is settled here and nowhere else.

use std::{fmt, sync::Arc};

/// The longest key, in bytes (S3's own limit, which a backend's prefix counts against too).
pub const MAX_KEY: usize = 1024;
/// The longest segment, in bytes (what common file systems allow for a file name).
pub const MAX_SEGMENT: usize = 255;

/// The name of an object: segments joined by `/`, such as `acme/customer/12/cat.jpg`.
///
/// # Invariants
///
/// 1. 1 to 1,024 bytes of UTF-8 as a whole; each segment 1 to 255 bytes.
/// 2. No segment is `.` or `..`, so that no key resolves outside its first segment.
/// 3. No segment has a `/`, a `\` or a control character (C0, DEL, C1).
/// 4. The first segment does not begin with a dot: such names at a store's root are its own.
///
/// Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey(Arc<str>);

/// Why a text is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No segment at all, or one without a character.
    #[error("an object key has no empty segment")]
    Empty,
    /// More than 1,024 bytes as a whole, or 255 in a segment.
    #[error("an object key is at most 1,024 bytes long, each segment at most 255")]
    TooLong,
    /// A segment is `.` or `..`, or the first begins with a dot.
    #[error("an object key has no dot segment, and does not begin with a dot")]
    Dots,
    /// A `/` within a segment, a `\` or a control character.
    #[error("an object key has no slash within a segment, no backslash and no control character")]
    Character,
}

impl ObjectKey {
    /// The key with these segments.
    ///
    /// # Errors
    /// When an invariant would not hold.
    pub fn from_segments(segments: &[&str]) -> Result<Self, KeyError> {
        let first = segments.first().ok_or(KeyError::Empty)?;
        if first.starts_with('.') {
            return Err(KeyError::Dots);
        }
        segments.iter().try_for_each(|s| check_segment(s))?;
        let key = segments.join("/");
        if key.len() > MAX_KEY {
            return Err(KeyError::TooLong);
        }
        Ok(Self(key.into()))
    }

    /// The key that is written `text`.
    ///
    /// # Errors
    /// When an invariant would not hold.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        if text.len() > MAX_KEY {
            return Err(KeyError::TooLong);
        }
        Self::from_segments(&text.split('/').collect::<Vec<_>>())
    }

    /// The key as it is written, with `/` between segments.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its segments, at least one.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }
}

/// Whether `prefix` is that of whole segments of a key, such as `acme/customer/12/`, or empty.
pub(super) fn is_prefix(prefix: &str) -> bool {
    prefix.is_empty() || prefix.strip_suffix('/').is_some_and(|key| ObjectKey::parse(key).is_ok())
}

fn check_segment(segment: &str) -> Result<(), KeyError> {
    match segment {
        "" => Err(KeyError::Empty),
        "." | ".." => Err(KeyError::Dots),
        s if s.len() > MAX_SEGMENT => Err(KeyError::TooLong),
        s if s.chars().any(|c| matches!(c, '/' | '\\') || c.is_control()) => {
            Err(KeyError::Character)
        }
        _ => Ok(()),
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Component, Path};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ordinary_keys_are_kept_as_they_are() {
        for text in ["a", "a/b", "tenant-abc/customer/12345/image.jpg", "_staging/x", "a/ü 漢.jpg"]
        {
            assert_eq!(ObjectKey::parse(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn each_rule_refuses_with_its_reason() {
        use KeyError::{Character, Dots, Empty, TooLong};
        let long = format!("a/{}", "b".repeat(256));
        let whole = ["c".repeat(200), "c".repeat(205)].join("/").repeat(3);
        for (text, why) in [
            ("", Empty),
            ("/a", Empty),
            ("a/", Empty),
            ("a//b", Empty),
            ("..", Dots),
            ("a/../b", Dots),
            ("a/./b", Dots),
            (".hidden/a", Dots),
            ("a\\b", Character),
            ("a/b\0", Character),
            ("a/\u{7f}", Character),
            ("a/\u{85}", Character),
            (&long, TooLong),
            (&whole, TooLong),
        ] {
            assert_eq!(ObjectKey::parse(text), Err(why), "{text:?}");
        }
        assert_eq!(ObjectKey::from_segments(&["a", "b/c"]), Err(Character));
        assert_eq!(ObjectKey::from_segments(&[]), Err(Empty));
    }

    #[test]
    fn a_prefix_is_whole_segments() {
        for good in ["", "a/", "acme/customer/12/"] {
            assert!(is_prefix(good), "{good:?}");
        }
        for bad in ["/", "a", "a//", "a/b", "../", ".gatehouse/", "a/../", "a\\/"] {
            assert!(!is_prefix(bad), "{bad:?}");
        }
    }

    #[test]
    fn the_limits_are_inclusive() {
        assert!(ObjectKey::parse(&format!("a/{}", "b".repeat(255))).is_ok());
        let key = format!("{}/{}", "abc/".repeat(200), "d".repeat(223));
        assert_eq!(key.len(), 1024);
        assert_eq!(ObjectKey::parse(&key), Err(KeyError::Empty), "the slash is doubled");
        assert!(ObjectKey::parse(&key.replacen("//", "/e", 1)).is_ok());
    }

    proptest! {
        #[test]
        fn no_key_resolves_outside_its_first_segment(
            segments in proptest::collection::vec(
                prop_oneof![
                    Just("..".to_owned()),
                    Just(".".to_owned()),
                    "[./\\\\a]{0,4}",
                    any::<String>(),
                ],
                0..6,
            )
        ) {
            let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
            if let Ok(key) = ObjectKey::from_segments(&segments) {
                let root = Path::new("/root");
                let path = root.join(key.as_str());
                prop_assert!(path.starts_with(root.join(segments[0])));
                prop_assert!(
                    path.components().skip(1).all(|c| matches!(c, Component::Normal(_)))
                );
                prop_assert_eq!(path.components().count(), segments.len() + 2);
                prop_assert_eq!(ObjectKey::parse(key.as_str()), Ok(key.clone()));
                prop_assert_eq!(key.segments().collect::<Vec<_>>(), segments);
            }
        }

        #[test]
        fn parsing_never_panics(text in any::<String>()) {
            let _ = ObjectKey::parse(&text);
        }
    }
}
