//! One upload: chunks are gathered into parts; one part is put whole, more go out as they fill.

use std::sync::Arc;

use aws_runtime::auth::PayloadSigningOverride;
use aws_sdk_s3::{
    config::{
        ConfigBag, Intercept, RuntimeComponents, interceptors::BeforeTransmitInterceptorContextMut,
    },
    error::BoxError,
    types::CompletedPart,
};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use opentelemetry::context::FutureExt as _;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::{
    super::{
        Commit, Error, ErrorKind, Journal, NewObject, Result, Share, Stored, Upload,
        budget::UsedUp,
        buffer::{Filling, Part},
        hex,
    },
    Bucket,
    effect::Effect,
    failure::Failure,
    multipart::{Multipart, Properties, UPLOAD, refused, stream, unquoted},
};

/// S3's most parts of an upload.
const MOST_PARTS: u64 = 10_000;
/// The most parts of one upload that are on their way at once.
const IN_FLIGHT: usize = 2;

pub(super) struct S3Upload {
    bucket: Arc<Bucket>,
    key: String,
    content_type: &'static str,
    upload: Uuid,
    journal: Option<Arc<dyn Journal>>,
    share: Share,
    part_size: usize,
    size: u64,
    filling: Filling,
    sent: Sent,
}

/// The parts of a multipart upload. Fields drop in this order: what is on its way is cancelled
/// before the upload is aborted.
#[derive(Default)]
struct Sent {
    in_flight: JoinSet<Result<CompletedPart>>,
    done: Vec<CompletedPart>,
    number: i32,
    /// Of all parts, those in flight among them.
    bytes: u64,
    multipart: Option<Multipart>,
}

impl S3Upload {
    pub(super) fn new(bucket: Arc<Bucket>, new: NewObject) -> Self {
        let part_size = part_size(bucket.part_size, new.size_hint, new.share.largest());
        Self::of_parts(part_size, bucket, new)
    }

    /// One whose parts, all but the last, have this size.
    pub(super) fn of_parts(part_size: usize, bucket: Arc<Bucket>, new: NewObject) -> Self {
        Self {
            key: bucket.key(&new.key),
            content_type: new.content_type,
            upload: new.upload,
            journal: new.journal,
            filling: Filling::new(&bucket.pool, &new.share, part_size),
            bucket,
            share: new.share,
            part_size,
            size: 0,
            sent: Sent::default(),
        }
    }

    /// Goes on after these parts, all of which are full.
    pub(super) fn after(mut self, multipart: Multipart, done: Vec<CompletedPart>) -> Self {
        self.size = (done.len() * self.part_size) as u64;
        let number = done.len() as i32;
        let (bytes, multipart) = (self.size, Some(multipart));
        self.sent = Sent { done, number, bytes, multipart, ..Sent::default() };
        self
    }

    pub(super) fn bucket(&self) -> &Arc<Bucket> {
        &self.bucket
    }

    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// Bytes written so far.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn part_size(&self) -> usize {
        self.part_size
    }

    pub(super) fn multipart(&mut self) -> Option<&mut Multipart> {
        self.sent.multipart.as_mut()
    }

    /// The bytes behind the last full part.
    pub(super) fn tail(&self) -> Part {
        self.filling.so_far()
    }

    /// Waits until the store has all full parts.
    pub(super) async fn settle(&mut self) -> Result<()> {
        let sent = &mut self.sent;
        while !sent.in_flight.is_empty() {
            sent.join_one().await?;
        }
        // Otherwise a part has failed, or its caller was gone before it was sent.
        let there = sent.bytes + self.filling.len() as u64;
        if sent.done.len() as i32 != sent.number || there != self.size {
            return Err(Error::new(ErrorKind::Internal, "UploadPart").because("a part is missing"));
        }
        sent.done.sort_unstable_by_key(|part| part.part_number);
        Ok(())
    }

    pub(super) async fn write_all(&mut self, mut chunk: Bytes) -> Result<()> {
        while !chunk.is_empty() {
            if self.filling.needs_memory() {
                self.make_room().await?;
            }
            let left = chunk.len();
            self.filling.push(&mut chunk).await.map_err(overloaded)?;
            self.size += (left - chunk.len()) as u64;
            if self.filling.is_full() {
                self.send_filled().await?;
            }
        }
        Ok(())
    }

    /// While memory is short, this upload holds one part: what is on its way goes out before
    /// the next one takes memory.
    async fn make_room(&mut self) -> Result<()> {
        let sent = &mut self.sent;
        while let Some(answer) = sent.in_flight.try_join_next() {
            sent.done.push(joined(answer)?);
        }
        while sent.in_flight.len() >= IN_FLIGHT
            || (!sent.in_flight.is_empty() && !self.share.is_roomy())
        {
            sent.join_one().await?;
        }
        Ok(())
    }

    /// Sends the filling part in the background, and begins the next.
    async fn send_filled(&mut self) -> Result<()> {
        let next = Filling::new(&self.bucket.pool, &self.share, self.part_size);
        let part = std::mem::replace(&mut self.filling, next).seal();
        let sent = &mut self.sent;
        let multipart = match &mut sent.multipart {
            Some(begun) => begun,
            none => {
                let properties = Properties {
                    key: self.key.clone(),
                    content_type: self.content_type,
                    upload: self.upload,
                    journal: self.journal.clone(),
                };
                none.insert(Multipart::create(&self.bucket, properties).await?)
            }
        };
        sent.number += 1;
        if sent.number as u64 > MOST_PARTS {
            return Err(Error::new(ErrorKind::Internal, "UploadPart")
                .because("an upload has at most 10,000 parts: storage.s3.part_size is too small"));
        }
        sent.bytes += part.len() as u64;
        sent.in_flight.spawn(multipart.send(sent.number, part).with_current_context());
        Ok(())
    }

    pub(super) async fn commit(mut self, commit: Commit) -> Result<Stored> {
        let size = self.size;
        if self.sent.multipart.is_none() {
            self.settle().await?;
            return Ok(Stored { etag: self.put(commit).await?, size, sha256: None });
        }
        if self.filling.len() > 0 {
            self.send_filled().await?;
        }
        self.settle().await?;
        let sent = self.sent;
        let Some(multipart) = sent.multipart else {
            return Err(Error::new(ErrorKind::Internal, "CompleteMultipartUpload"));
        };
        let etag = multipart.complete(sent.done, commit.if_absent, self.upload).await?;
        Ok(Stored { etag, size, sha256: None })
    }

    pub(super) async fn throw_away(self) -> Result<()> {
        let mut sent = self.sent;
        sent.in_flight.shutdown().await;
        match sent.multipart {
            Some(multipart) => multipart.abort().await,
            None => Ok(()),
        }
    }

    /// `PutObject`; returns the entity tag.
    async fn put(self, commit: Commit) -> Result<String> {
        let part = self.filling.seal();
        let bucket = &self.bucket;
        let request = bucket
            .client()
            .put_object()
            .bucket(&bucket.name)
            .key(&self.key)
            .content_type(self.content_type)
            .content_length(part.len() as i64)
            .set_server_side_encryption(bucket.encryption.clone())
            .set_ssekms_key_id(bucket.kms_key_id.clone())
            .metadata(UPLOAD, self.upload.to_string())
            .set_if_none_match(commit.if_absent.then(|| "*".to_owned()))
            .body(stream(part));
        let effect = Effect::default();
        let mut request = request.customize().interceptor(effect.clone());
        if let Some(sha256) = &commit.sha256 {
            request = request.interceptor(PayloadHash(hex(sha256)));
        }
        let failure = match request.send().await {
            Ok(answer) => return Ok(unquoted(answer.e_tag)),
            Err(error) => Failure::of(&error),
        };
        // An answer may be lost on its way back; the SDK's second try then finds its own object
        // in the way.
        if failure.is_conflict()
            && let Some(etag) = bucket.etag_if_from(&self.key, self.upload).await
        {
            return Ok(etag);
        }
        Err(refused(failure, "PutObject", &effect))
    }
}

impl Upload for S3Upload {
    fn write(&mut self, chunk: Bytes) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.write_all(chunk))
    }

    fn finish(self: Box<Self>, commit: Commit) -> BoxFuture<'static, Result<Stored>> {
        Box::pin(async move {
            let bucket = Arc::clone(&self.bucket);
            // In a box: a task is moved a few times, and this one has all of the SDK's call in it.
            let committed =
                bucket.tasks.spawn(Box::pin(self.commit(commit)).with_current_context()).await;
            committed.map_err(|e| Error::new(ErrorKind::Internal, "finish").because(e))?
        })
    }

    fn abort(self: Box<Self>) -> BoxFuture<'static, Result<()>> {
        Box::pin(self.throw_away())
    }
}

impl Sent {
    async fn join_one(&mut self) -> Result<()> {
        if let Some(answer) = self.in_flight.join_next().await {
            self.done.push(joined(answer)?);
        }
        Ok(())
    }
}

/// Signs the payload by a hash that is known already, instead of computing it again.
#[derive(Debug)]
struct PayloadHash(String);

impl Intercept for PayloadHash {
    fn name(&self) -> &'static str {
        "PayloadHash"
    }

    fn modify_before_signing(
        &self,
        _: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> std::result::Result<(), BoxError> {
        let hash = PayloadSigningOverride::Precomputed(self.0.clone());
        config.interceptor_state().store_put(hash);
        Ok(())
    }
}

/// The size of all parts but the last: `configured`, or more where the hint says that 10,000
/// parts would not do, but never more than one owner can hold.
fn part_size(configured: usize, hint: Option<u64>, largest: usize) -> usize {
    let needed = hint.unwrap_or(0).div_ceil(MOST_PARTS).next_multiple_of(1024 * 1024);
    usize::try_from(needed).unwrap_or(usize::MAX).max(configured).min(largest)
}

fn joined(
    answer: std::result::Result<Result<CompletedPart>, tokio::task::JoinError>,
) -> Result<CompletedPart> {
    answer.map_err(|e| Error::new(ErrorKind::Internal, "UploadPart").because(e))?
}

fn overloaded(cause: UsedUp) -> Error {
    Error::new(ErrorKind::Overloaded, "write").because(cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_grow_only_for_objects_that_need_it() {
        const MIB: u64 = 1024 * 1024;
        let size = |hint| part_size(8 * MIB as usize, hint, 128 * MIB as usize) as u64;
        assert_eq!(size(None), 8 * MIB);
        assert_eq!(size(Some(80_000 * MIB)), 8 * MIB);
        assert_eq!(size(Some(80_000 * MIB + 1)), 9 * MIB);
        assert_eq!(size(Some(5 * MIB * MIB)), 128 * MIB);
        assert_eq!(size(Some(u64::MAX)), 128 * MIB);
    }
}
