//! What is known of an upload's bytes so far, in a form that another process can go on with: the
//! image's inspection, and the SHA-256 on its way.
//!
//! `sha2` hashes here, since it can be written down in the middle, and aws-lc cannot.

use base64::{Engine as _, prelude::BASE64_STANDARD_NO_PAD as BASE64};
use serde::{Deserialize, Serialize};
use sha2::{
    Digest as _, Sha256,
    digest::common::hazmat::{SerializableState as _, SerializedState},
};

use crate::{
    consumers::{
        error::Error,
        image::{Inspector, Saved},
    },
    storage::Suspended,
};

/// What is known of the bytes so far.
pub struct Seen {
    /// Which image they are of.
    pub inspector: Inspector,
    hash: Sha256,
}

/// An upload as it is written down between two requests.
#[derive(Deserialize, Serialize)]
pub struct Kept {
    inspection: Saved,
    hash: String,
    /// The first bytes, while they do not tell the image's type.
    head: String,
    /// What the store has: bytes, and its own note.
    store: Option<(u64, String)>,
}

impl Seen {
    /// Nothing yet.
    pub fn new() -> Self {
        Self { inspector: Inspector::resumable(), hash: Sha256::new() }
    }

    /// Looks at the next bytes.
    ///
    /// # Errors
    /// When they are no image's.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.inspector.push(bytes)?;
        self.hash.update(bytes);
        Ok(())
    }

    /// The SHA-256 of all of them.
    pub fn sha256(&self) -> [u8; 32] {
        self.hash.clone().finalize().into()
    }

    /// Writes down what is known, together with what is kept of the bytes.
    pub fn keep(&self, head: &[u8], store: Option<&Suspended>) -> Result<String, Error> {
        let kept = Kept {
            inspection: self.inspector.save().ok_or(Error::ImageUnsupported)?,
            hash: BASE64.encode(self.hash.serialize()),
            head: BASE64.encode(head),
            store: store.map(|suspended| (suspended.size, suspended.state.clone())),
        };
        serde_json::to_string(&kept).map_err(|_| Error::CommitLost)
    }

    /// Goes on where `kept` was written: what was known, the first bytes, and what the store has.
    ///
    /// # Errors
    /// When it was not written by [`keep`](Self::keep).
    pub fn again(kept: &str) -> Result<(Self, Vec<u8>, Option<Suspended>), Error> {
        let kept: Kept = serde_json::from_str(kept).map_err(|_| Error::CommitLost)?;
        let decoded = |text: &str| BASE64.decode(text).map_err(|_| Error::CommitLost);
        let state = SerializedState::<Sha256>::try_from(&decoded(&kept.hash)?[..]);
        let hash = state.ok().and_then(|state| Sha256::deserialize(&state).ok());
        let seen = Self {
            inspector: Inspector::restore(&kept.inspection)?,
            hash: hash.ok_or(Error::CommitLost)?,
        };
        let store = kept.store.map(|(size, state)| Suspended { size, state });
        Ok((seen, decoded(&kept.head)?, store))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_goes_on_wherever_it_was_written_down() {
        let bytes: Vec<u8> = b"BM".iter().copied().chain((0..300).map(|n| n as u8)).collect();
        let whole = <[u8; 32]>::from(Sha256::digest(&bytes));
        for cut in 0..bytes.len() {
            let mut seen = Seen::new();
            if seen.push(&bytes[..cut]).is_err() {
                break;
            }
            let store = Suspended { size: 7, state: "s".to_owned() };
            let kept = seen.keep(b"head", Some(&store)).unwrap();
            let (mut again, head, kept_store) = Seen::again(&kept).unwrap();
            assert_eq!((head.as_slice(), kept_store), (&b"head"[..], Some(store)));
            if again.push(&bytes[cut..]).is_ok() {
                assert_eq!(again.sha256(), whole);
            }
        }
    }
}
