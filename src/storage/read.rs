//! What reading from a store gives: an object's head, its bytes as a stream, a page of a listing.

use std::{fmt, ops::Range, time::SystemTime};

use bytes::{Bytes, BytesMut};
use futures_util::{TryStreamExt, stream::BoxStream};
use uuid::Uuid;

use super::{Error, ErrorKind, Result, key};

/// What a store knows of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The store's entity tag, without quotes; opaque.
    pub etag: String,
    /// Bytes of the whole object.
    pub size: u64,
    /// The upload it came from; none where the store keeps no such thing, or others put it there.
    pub upload: Option<Uuid>,
    /// When it was written, to the second at least.
    pub modified: SystemTime,
    /// The media type it was stored with, where the store keeps one.
    pub content_type: Option<String>,
}

/// What is wanted of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Read {
    /// These bytes only, the end not included. Never empty, and within the object's size: who
    /// asks has looked at the object, and says by `if_match` at which version.
    pub range: Option<Range<u64>>,
    /// Only if this is still the entity tag.
    pub if_match: Option<String>,
}

/// An object that is being read.
pub struct Reading {
    /// The object, not the range of it.
    pub head: Head,
    /// The bytes asked for. The last item is an error when not all of them could be read.
    pub body: BoxStream<'static, Result<Bytes>>,
}

impl Reading {
    /// All bytes at once, for small objects.
    ///
    /// # Errors
    /// When they cannot be read to their end.
    pub async fn collect(self) -> Result<Bytes> {
        let mut all = BytesMut::new();
        let mut body = self.body;
        while let Some(piece) = body.try_next().await? {
            all.extend_from_slice(&piece);
        }
        Ok(all.freeze())
    }
}

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reading({:?})", self.head)
    }
}

/// A part of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The objects, in the order of their keys' bytes.
    pub objects: Vec<Listed>,
    /// The key that the next page comes after, if there is one.
    pub next: Option<String>,
}

/// An object in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its key as it is, which need not be an [`ObjectKey`](super::ObjectKey): others may have
    /// put it there.
    pub key: String,
    /// Bytes.
    pub size: u64,
    /// The store's entity tag, without quotes; opaque.
    pub etag: String,
    /// When it was written.
    pub modified: SystemTime,
}

impl Read {
    /// Fails for an empty range, which no store knows.
    pub(super) fn check(&self, operation: &'static str) -> Result<()> {
        if self.range.as_ref().is_some_and(Range::is_empty) {
            return Err(Error::new(ErrorKind::Internal, operation).because("an empty range"));
        }
        Ok(())
    }
}

/// Fails for what is no prefix of whole segments.
pub(super) fn check_prefix(prefix: &str, operation: &'static str) -> Result<()> {
    if key::is_prefix(prefix) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Internal, operation).because("no prefix of whole segments"))
}

/// The most objects on a page.
pub(super) const PAGE: usize = 1000;
