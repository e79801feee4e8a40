//! What an API key looks like: `gh_`, 256 random bits, and a checksum by which secret scanners
//! tell a key from other text. Of a key only its hash is ever kept.

use std::fmt;

use aws_lc_rs::{
    digest::{SHA256, digest},
    error::Unspecified,
    rand,
};
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

/// How every key begins.
pub const PREFIX: &str = "gh_";

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The digits of 256 bits, and of the checksum's 32.
const BODY: usize = 43;
const CHECKSUM: usize = 6;

/// A new key, as its owner gets to see it once.
#[derive(Debug)]
pub struct ApiKey(SecretString);

impl ApiKey {
    /// A key that nobody can guess.
    ///
    /// # Errors
    /// When the system has no random bytes.
    pub fn generate() -> Result<Self, Unspecified> {
        let mut secret = [0; 32];
        rand::fill(&mut secret)?;
        let body = base62(&secret, BODY);
        Ok(Self(format!("{PREFIX}{body}{}", checksum(&body)).into()))
    }

    /// The key itself.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// What is kept of it.
    pub fn hash(&self) -> KeyHash {
        KeyHash::of(self.expose())
    }
}

/// The SHA-256 of a key. Keys are as random as can be, so that a slow hash would add nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyHash([u8; 32]);

impl KeyHash {
    /// The hash of what may be a key; none if it cannot be one.
    pub fn of_presented(text: &str) -> Option<Self> {
        let rest = text.strip_prefix(PREFIX)?;
        let (body, sum) = rest.split_at_checked(BODY)?;
        let is_key = rest.bytes().all(|b| b.is_ascii_alphanumeric()) && sum == checksum(body);
        is_key.then(|| Self::of(text))
    }

    fn of(key: &str) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, key.as_bytes()).as_ref());
        Self(hash)
    }

    /// Whether this is the hash that was kept, told in the same time wherever they differ.
    pub fn is(&self, kept: &str) -> bool {
        self.to_string().as_bytes().ct_eq(kept.as_bytes()).into()
    }
}

impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHash(…)")
    }
}

/// The digits that follow a key's body.
fn checksum(body: &str) -> String {
    base62(&digest(&SHA256, body.as_bytes()).as_ref()[..4], CHECKSUM)
}

/// A number in so many digits, zeros ahead.
fn base62(number: &[u8], digits: usize) -> String {
    let mut number = number.to_vec();
    let mut text = vec![0; digits];
    for digit in text.iter_mut().rev() {
        let mut rest = 0_u32;
        for byte in &mut number {
            let part = rest << 8 | u32::from(*byte);
            (*byte, rest) = ((part / 62) as u8, part % 62);
        }
        *digit = DIGITS[rest as usize];
    }
    String::from_utf8(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_look_alike_and_none_is_like_another() {
        let keys: HashSet<_> =
            (0..1000).map(|_| ApiKey::generate().unwrap().expose().to_owned()).collect();
        assert_eq!(keys.len(), 1000);
        for key in keys {
            assert_eq!(key.len(), 52, "{key}");
            assert!(KeyHash::of_presented(&key).is_some(), "{key}");
        }
    }

    #[test]
    fn one_letter_too_many_too_few_or_another_is_no_key() {
        let key = ApiKey::generate().unwrap().expose().to_owned();
        assert!(KeyHash::of_presented(&format!("{key}0")).is_none());
        assert!(KeyHash::of_presented(&key[..51]).is_none());
        assert!(KeyHash::of_presented(&key[1..]).is_none());
        for at in 0..key.len() {
            let mut other = key.clone().into_bytes();
            other[at] = if other[at] == b'a' { b'b' } else { b'a' };
            assert!(KeyHash::of_presented(std::str::from_utf8(&other).unwrap()).is_none(), "{at}");
        }
    }

    #[test]
    fn numbers_are_written_whole() {
        assert_eq!(base62(&[0; 4], 6), "000000");
        assert_eq!(base62(&[0, 0, 0, 61], 6), "00000z");
        assert_eq!(base62(&[0, 0, 0, 62], 6), "000010");
        assert_eq!(base62(&[255; 4], 6), "4gfFC3");
    }

    #[test]
    fn a_hash_is_its_own_only_and_is_not_shown() {
        let (one, other) = (ApiKey::generate().unwrap(), ApiKey::generate().unwrap());
        assert!(one.hash().is(&one.hash().to_string()));
        assert!(!one.hash().is(&other.hash().to_string()));
        assert!(!one.hash().is(""));
        assert!(!format!("{one:?} {:?}", one.hash()).contains(&one.hash().to_string()));
        assert!(!format!("{one:?}").contains(one.expose()));
    }

    proptest! {
        #[test]
        fn no_text_breaks_it(text in "\\PC{0,60}") {
            KeyHash::of_presented(&text);
            KeyHash::of_presented(&format!("gh_{text}"));
        }
    }
}
