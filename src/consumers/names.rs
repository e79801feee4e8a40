//! The names a client chooses, parsed: what cannot be made here cannot become a key.

use unicode_normalization::{UnicodeNormalization, is_nfc};

use crate::{
    storage::{ObjectKey, key::KeyError},
    tenant::TenantId,
};

/// A customer's id: `[A-Za-z0-9][A-Za-z0-9._@+-]{0,127}`, not ending in `.`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomerId(String);

impl CustomerId {
    /// Parses an id that has been percent-decoded; none if it breaks the rule.
    pub fn parse(id: &[u8]) -> Option<Self> {
        let first = id.first()?;
        let valid = id.len() <= 128
            && first.is_ascii_alphanumeric()
            && !id.ends_with(b".")
            && id.iter().all(|b| b.is_ascii_alphanumeric() || b"._@+-".contains(b));
        if !valid {
            return None;
        }
        String::from_utf8(id.to_vec()).ok().map(Self)
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A file's name: 1 to 255 bytes of UTF-8 in Unicode NFC, without control characters and bidi
/// overrides, and not a dot segment. It holds no separator, so it is one segment of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileName(String);

impl FileName {
    /// Parses a name as a client sent it: its base name (after the last `/` or `\`) counts,
    /// brought to NFC. None if that breaks the rule.
    pub fn parse(name: &[u8]) -> Option<Self> {
        let name = std::str::from_utf8(name).ok()?;
        let base = name.rsplit(['/', '\\']).next()?;
        let base = if is_nfc(base) { base.to_owned() } else { base.nfc().collect() };
        let dots = matches!(base.trim(), "" | "." | "..");
        let valid = (1..=255).contains(&base.len()) && !dots && !base.chars().any(is_forbidden);
        // A control character in a folder that the base name leaves behind was still sent.
        (valid && !name.chars().any(is_forbidden)).then_some(Self(base))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Control characters (C0, DEL, C1), and the characters that reorder text around them
/// (Unicode UAX #9: embeddings, overrides, isolates).
fn is_forbidden(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The key an image is kept under: `{tenant}/customer/{customerId}/{file name}`.
///
/// # Errors
/// When the key would be longer than a store takes.
pub fn image_key(
    tenant: &TenantId,
    customer: &CustomerId,
    file: &FileName,
) -> Result<ObjectKey, KeyError> {
    ObjectKey::from_segments(&[tenant.as_str(), "customer", customer.as_str(), file.as_str()])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(name: &str) -> Option<String> {
        FileName::parse(name.as_bytes()).map(|name| name.as_str().to_owned())
    }

    #[test]
    fn a_customer_id_follows_the_rule() {
        let longest = "a".repeat(128);
        for good in ["1", "12345", "a.b_c@d+e-f", longest.as_str()] {
            assert!(CustomerId::parse(good.as_bytes()).is_some(), "{good}");
        }
        let too_long = "a".repeat(129);
        for bad in ["", "@a", ".", "..", "a.", "a/b", "a b", "a%", "é", too_long.as_str()] {
            assert!(CustomerId::parse(bad.as_bytes()).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_file_name_is_its_base_name_in_nfc() {
        assert_eq!(file("image.jpg").as_deref(), Some("image.jpg"));
        assert_eq!(file("C:\\photos\\image.jpg").as_deref(), Some("image.jpg"));
        assert_eq!(file("../../etc/passwd").as_deref(), Some("passwd"));
        assert_eq!(file("e\u{301}.png").as_deref(), Some("\u{e9}.png"));
        assert_eq!(file("日本 語.png").as_deref(), Some("日本 語.png"));
        assert_eq!(file("a\"b.png").as_deref(), Some("a\"b.png"));
        assert_eq!(file(&"a".repeat(255)), Some("a".repeat(255)));
    }

    #[test]
    fn a_name_that_breaks_the_rule_is_refused() {
        let too_long = "a".repeat(256);
        for bad in [
            "",
            ".",
            "..",
            " .. ",
            ". ",
            "a/",
            "a/..",
            "a\\.",
            "a\0b",
            "a\nb",
            "a\rb",
            "a\tb",
            "a\u{7f}",
            "a\u{85}b",
            "a\u{202e}gnp.exe",
            "a\u{2066}b",
            too_long.as_str(),
        ] {
            assert_eq!(file(bad), None, "{bad:?}");
        }
        assert!(FileName::parse(b"\xed\xa0\x80.png").is_none());
        assert!(FileName::parse(b"\xff.png").is_none());
    }

    proptest! {
        #[test]
        fn a_key_never_leaves_its_tenant(
            tenant in "[A-Za-z0-9._/\\\\%-]{0,12}", customer in "[a-z./\\\\@%]{0,12}", name in any::<String>(),
        ) {
            let Ok(tenant) = TenantId::parse(&tenant) else { return Ok(()) };
            let Some(customer) = CustomerId::parse(customer.as_bytes()) else { return Ok(()) };
            let Some(name) = FileName::parse(name.as_bytes()) else { return Ok(()) };
            let Ok(key) = image_key(&tenant, &customer, &name) else { return Ok(()) };
            let segments: Vec<_> = key.as_str().split(['/', '\\']).collect();
            prop_assert_eq!(&segments[..], &[tenant.as_str(), "customer", customer.as_str(), name.as_str()][..]);
            prop_assert!(segments.iter().all(|s| !matches!(*s, "" | "." | "..")));
        }
    }
}
