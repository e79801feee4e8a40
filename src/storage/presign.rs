//! Requests that others send to the store themselves, signed by this process: with what is signed,
//! for as long as is signed, and nothing else.

use std::time::{Duration, SystemTime};

use futures_util::future::BoxFuture;
use uuid::Uuid;

use super::{ObjectKey, Result};

/// Signs requests to the store. Times are from now on, at most 7 days.
pub trait Presigner: Send + Sync {
    /// `PutObject` of a whole object.
    ///
    /// # Errors
    /// When there is no credential to sign with.
    fn put<'a>(
        &'a self,
        key: &'a ObjectKey,
        terms: &'a PutTerms,
        valid: Duration,
    ) -> BoxFuture<'a, Result<SignedRequest>>;

    /// The same as an HTML form (POST policy), for stores that know it.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    fn form<'a>(
        &'a self,
        key: &'a ObjectKey,
        terms: &'a PutTerms,
        valid: Duration,
    ) -> BoxFuture<'a, Result<SignedForm>>;

    /// `UploadPart` of the multipart upload `reference`, of so many bytes.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    fn part<'a>(
        &'a self,
        key: &'a ObjectKey,
        reference: &'a str,
        number: u32,
        size: u64,
        valid: Duration,
    ) -> BoxFuture<'a, Result<SignedRequest>>;

    /// `GetObject`, answered with these fields.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    fn get<'a>(
        &'a self,
        key: &'a ObjectKey,
        terms: &'a GetTerms,
        valid: Duration,
    ) -> BoxFuture<'a, Result<SignedRequest>>;

    /// Bytes of each part of a large object but the last.
    fn part_size(&self) -> u64;

    /// `CreateMultipartUpload`; its `UploadId`, which [`super::Storage::abort`] takes, too.
    ///
    /// # Errors
    /// When the store fails.
    fn begin_parts<'a>(
        &'a self,
        key: &'a ObjectKey,
        content_type: &'a str,
        upload: Uuid,
    ) -> BoxFuture<'a, Result<String>>;

    /// `ListParts`: what is there, by number.
    ///
    /// # Errors
    /// [`super::ErrorKind::NotFound`] when there is no such upload (any more).
    fn parts<'a>(
        &'a self,
        key: &'a ObjectKey,
        reference: &'a str,
    ) -> BoxFuture<'a, Result<Vec<StoredPart>>>;

    /// `CompleteMultipartUpload` of these parts.
    ///
    /// # Errors
    /// [`super::ErrorKind::NotFound`] when there is no such upload (any more).
    fn join_parts<'a>(
        &'a self,
        key: &'a ObjectKey,
        reference: &'a str,
        parts: &'a [StoredPart],
    ) -> BoxFuture<'a, Result<()>>;
}

/// What an object must be that a signed request brings.
#[derive(Clone, Debug)]
pub struct PutTerms {
    /// Exactly so many bytes.
    pub size: u64,
    /// Sent as this media type.
    pub content_type: String,
    /// With these bytes, if given: the store refuses others.
    pub sha256: Option<[u8; 32]>,
    /// The upload that the object tells of, see [`super::Head::upload`].
    pub upload: Uuid,
}

/// With what fields an object is answered.
#[derive(Clone, Debug)]
pub struct GetTerms {
    /// `Content-Type`.
    pub content_type: String,
    /// `Content-Disposition`.
    pub disposition: String,
    /// `Cache-Control`.
    pub cache_control: String,
}

/// A request as it must be sent.
#[derive(Clone, Debug)]
pub struct SignedRequest {
    /// Its method.
    pub method: &'static str,
    /// Its URL, with the signature in its query.
    pub url: String,
    /// The fields that it must have, in lower case; without `Host` and `Content-Length`.
    pub headers: Vec<(String, String)>,
    /// Until when it must have begun.
    pub expires_at: SystemTime,
}

/// A form as it must be sent: the fields first, then the file as `file`.
#[derive(Clone, Debug)]
pub struct SignedForm {
    /// Where to.
    pub url: String,
    /// All fields but the file.
    pub fields: Vec<(String, String)>,
    /// Until when it must have begun.
    pub expires_at: SystemTime,
}

/// A part that the store has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPart {
    /// Its number, from 1.
    pub number: u32,
    /// Its bytes.
    pub size: u64,
    /// Its entity tag, as the store tells it.
    pub etag: String,
}
