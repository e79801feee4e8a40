//! An upload across requests and processes: the parts of a multipart upload that is kept, and
//! beside it the bytes behind the last full part as an object of their own.
//!
//! Nothing that a told [`Suspended`] needs is ever written again or removed before a later one
//! was told: each checkpoint puts its tail under a new key, `{staging}/{size}`, and parts
//! beyond those that it counts are written again by who takes it up.

use std::sync::Arc;

use aws_sdk_s3::types::CompletedPart;
use bytes::Bytes;
use futures_util::{TryStreamExt, future::BoxFuture};
use opentelemetry::context::FutureExt as _;
use serde::{Deserialize, Serialize};

use super::{
    super::{
        Commit, Error, ErrorKind, NewObject, ObjectKey, Read, Result, Resumable, Stored, Suspended,
        Upload, buffer::Part, key::MAX_KEY,
    },
    Bucket,
    failure::Failure,
    multipart::{Multipart, stream},
    upload::S3Upload,
};

const RESUME: &str = "resume";
/// Bytes of the longest `/{size}`.
const LONGEST_TAIL: usize = 21;

pub(super) struct S3Resumable {
    upload: S3Upload,
    staging: ObjectKey,
    /// The size at which the last checkpoint told of a tail.
    tail: Option<u64>,
    /// Those of the tails before, which nobody needs once another checkpoint is asked for.
    stale: Vec<u64>,
}

/// What is kept in [`Suspended::state`].
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct State {
    part_size: u64,
    /// None while there was no full part.
    upload_id: Option<String>,
}

impl S3Resumable {
    pub(super) async fn take_up(
        bucket: Arc<Bucket>,
        new: NewObject,
        staging: ObjectKey,
        from: Option<Suspended>,
    ) -> Result<Self> {
        if bucket.prefix.len() + staging.as_str().len() + LONGEST_TAIL > MAX_KEY {
            return Err(Error::new(ErrorKind::KeyTooLong, RESUME));
        }
        let Some(from) = from else {
            let upload = S3Upload::new(bucket, new);
            return Ok(Self { upload, staging, tail: None, stale: Vec::new() });
        };
        let state = State::read(&from)?;
        let part_size = usize::try_from(state.part_size).unwrap_or(usize::MAX);
        if part_size > new.share.largest() {
            let cause = "its parts do not fit into half of the upload memory any more";
            return Err(Error::new(ErrorKind::Internal, RESUME).because(cause));
        }
        let mut upload = S3Upload::of_parts(part_size, Arc::clone(&bucket), new);
        if let Some(upload_id) = state.upload_id {
            let done = full_parts(&bucket, upload.key(), &upload_id, &from, part_size).await?;
            let multipart = Multipart::kept(&bucket, upload.key(), &upload_id);
            upload = upload.after(multipart, done);
        }
        let tail = Some(from.size).filter(|size| size % state.part_size > 0);
        let mut resumed = Self { upload, staging, tail, stale: Vec::new() };
        if tail.is_some() {
            resumed.read_tail(from.size).await?;
        }
        Ok(resumed)
    }

    /// Fills the part behind the full ones again.
    async fn read_tail(&mut self, size: u64) -> Result<()> {
        let key = self.tail_key(size);
        let reading = self.upload.bucket().read(key, Read::default()).await?;
        if self.upload.size() + reading.head.size != size {
            return Err(lost("what is behind the last full part has another size"));
        }
        let mut body = reading.body;
        while let Some(bytes) = body.try_next().await? {
            self.upload.write_all(bytes).await?;
        }
        Ok(())
    }

    async fn suspend(&mut self) -> Result<Suspended> {
        self.upload.settle().await?;
        self.remove_stale().await;
        let size = self.upload.size();
        let part = self.upload.tail();
        let tail = Some(size).filter(|_| part.len() > 0);
        if tail != self.tail {
            if tail.is_some() {
                self.upload.bucket().put_tail(self.tail_key(size), part).await?;
            }
            self.stale.extend(self.tail);
            self.tail = tail;
        }
        let part_size = self.upload.part_size() as u64;
        // From now on others know of it.
        let upload_id = self.upload.multipart().and_then(Multipart::keep);
        Ok(Suspended { size, state: State { part_size, upload_id }.write()? })
    }

    /// What cannot be removed now is removed with the upload's end.
    async fn remove_stale(&mut self) {
        for size in std::mem::take(&mut self.stale) {
            let _ = self.upload.bucket().delete(self.tail_key(size)).await;
        }
    }

    fn tail_key(&self, size: u64) -> String {
        format!("{}/{size}", self.upload.bucket().key(&self.staging))
    }

    async fn commit(self, commit: Commit) -> Result<Stored> {
        let bucket = Arc::clone(self.upload.bucket());
        let stored = self.upload.commit(commit).await?;
        // The object is there, whatever becomes of this: the caller cleans up as well.
        if let Err(error) = bucket.remove_below(&self.staging).await {
            tracing::debug!(%error, "what a finished upload had staged is not removed yet");
        }
        Ok(stored)
    }
}

impl Upload for S3Resumable {
    fn write(&mut self, chunk: Bytes) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.upload.write_all(chunk))
    }

    fn finish(self: Box<Self>, commit: Commit) -> BoxFuture<'static, Result<Stored>> {
        Box::pin(async move {
            let bucket = Arc::clone(self.upload.bucket());
            // In a box: a task is moved a few times, and this one has all of the SDK's call in it.
            let committed =
                bucket.tasks.spawn(Box::pin(self.commit(commit)).with_current_context()).await;
            committed.map_err(|e| Error::new(ErrorKind::Internal, "finish").because(e))?
        })
    }

    fn abort(self: Box<Self>) -> BoxFuture<'static, Result<()>> {
        Box::pin(async move {
            let bucket = Arc::clone(self.upload.bucket());
            self.upload.throw_away().await?;
            bucket.remove_below(&self.staging).await
        })
    }
}

impl Resumable for S3Resumable {
    fn step(&self) -> u64 {
        self.upload.part_size() as u64
    }

    fn checkpoint(&mut self) -> BoxFuture<'_, Result<Suspended>> {
        Box::pin(self.suspend())
    }
}

impl State {
    fn write(&self) -> Result<String> {
        serde_json::to_string(self)
            .map_err(|e| Error::new(ErrorKind::Internal, "checkpoint").because(e))
    }

    /// What was written, as far as it can have been: others may have had it in their hands.
    fn read(from: &Suspended) -> Result<Self> {
        const LARGEST_PART: u64 = 5 * 1024 * 1024 * 1024;
        let wrong = || Error::new(ErrorKind::Internal, RESUME);
        let state: Self = serde_json::from_str(&from.state).map_err(|e| wrong().because(e))?;
        let sized = (1..=LARGEST_PART).contains(&state.part_size);
        let named = state.upload_id.as_ref().is_none_or(|id| !id.is_empty());
        if !sized || !named || state.upload_id.is_some() != (from.size >= state.part_size) {
            return Err(wrong().because("no state of an upload"));
        }
        Ok(state)
    }
}

impl Bucket {
    async fn put_tail(&self, key: String, tail: Part) -> Result<()> {
        let request = self
            .client()
            .put_object()
            .bucket(&self.name)
            .key(key)
            .content_length(tail.len() as i64)
            .set_server_side_encryption(self.encryption.clone())
            .set_ssekms_key_id(self.kms_key_id.clone())
            .body(stream(tail));
        let answer = request.send().await.map(drop);
        answer.map_err(|e| Failure::of(&e).into_error("PutObject"))
    }

    async fn remove_below(&self, staging: &ObjectKey) -> Result<()> {
        let (prefix, mut after) = (format!("{staging}/"), None);
        loop {
            let page = self.list(&prefix, after.as_deref()).await?;
            for object in page.objects {
                self.delete(format!("{}{}", self.prefix, object.key)).await?;
            }
            after = page.next;
            if after.is_none() {
                return Ok(());
            }
        }
    }
}

/// The full parts that `from` counts, as the store has them.
async fn full_parts(
    bucket: &Bucket,
    key: &str,
    upload_id: &str,
    from: &Suspended,
    part_size: usize,
) -> Result<Vec<CompletedPart>> {
    let counted = from.size / part_size as u64;
    let parts = bucket.parts(key, upload_id).await?;
    let full = parts.into_iter().zip(1..).take_while(|(part, number)| {
        part.number == *number && u64::from(*number) <= counted && part.size == part_size as u64
    });
    let full: Vec<_> = full
        .map(|(part, number)| {
            CompletedPart::builder().part_number(number as i32).e_tag(part.etag).build()
        })
        .collect();
    if full.len() as u64 != counted {
        return Err(lost("a part is missing or has another size"));
    }
    Ok(full)
}

fn lost(cause: &'static str) -> Error {
    Error::new(ErrorKind::NotFound, RESUME).because(cause)
}
