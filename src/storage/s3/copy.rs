//! An upload of what is in the bucket already: one `CopyObject`.

use std::{sync::Arc, time::Duration};

use aws_sdk_s3::{
    Config,
    types::{
        ChecksumAlgorithm, ChecksumMode, CopyObjectResult, MetadataDirective, TaggingDirective,
    },
};
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use opentelemetry::context::FutureExt as _;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{
    super::{Commit, Error, ErrorKind, NewObject, Result, Staged, Stored, Upload},
    Bucket,
    client::timeouts,
    effect::Effect,
    failure::Failure,
    multipart::{UPLOAD, unquoted},
};

const COPY: &str = "CopyObject";
/// What S3 copies in one call.
const LARGEST: u64 = 5 * 1024 * 1024 * 1024;
/// One try: this, and as long as the slowest store takes for the bytes.
const ATTEMPT_WITHIN: Duration = Duration::from_secs(20);
const SLOWEST: u64 = 16 * 1024 * 1024;
/// What a key has as itself in `x-amz-copy-source`.
const KEPT: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'~');

pub(super) struct S3Copy {
    bucket: Arc<Bucket>,
    staged: Staged,
    new: NewObject,
}

/// What not every store takes.
#[derive(Clone, Copy)]
struct Extras {
    /// That the store computes the SHA-256, and leaves the tags behind.
    checksum: bool,
    /// That it checks the name in the same step.
    condition: bool,
}

impl S3Copy {
    pub(super) fn new(bucket: Arc<Bucket>, staged: Staged, new: NewObject) -> Self {
        Self { bucket, staged, new }
    }

    async fn commit(self, commit: Commit) -> Result<Stored> {
        if self.staged.size > LARGEST {
            let cause = "S3 copies at most 5 GiB in one call";
            return Err(Error::new(ErrorKind::Internal, COPY).because(cause));
        }
        // Not every store looks at the condition of a copy.
        if commit.if_absent && self.is_taken().await? {
            return Err(Error::new(ErrorKind::AlreadyExists, COPY));
        }
        let mut extras = Extras { checksum: true, condition: commit.if_absent };
        loop {
            // A store that does not know a field refuses every try at once.
            let effect = Effect::default();
            let failure = match self.copy(extras, &effect).await {
                Ok(result) => return Ok(self.stored(result, extras).await),
                Err(failure) => failure,
            };
            match extras {
                Extras { checksum: true, .. } if failure.is_unsupported() => {
                    extras.checksum = false;
                }
                Extras { condition: true, .. } if failure.is_unsupported() => {
                    extras.condition = false;
                }
                _ => return self.after(failure, commit, &effect).await,
            }
        }
    }

    async fn copy(
        &self,
        extras: Extras,
        effect: &Effect,
    ) -> std::result::Result<Option<CopyObjectResult>, Failure> {
        let Self { bucket, staged, new } = self;
        let source = format!("{}/{}", bucket.name, bucket.key(&staged.key));
        let request = bucket
            .client()
            .copy_object()
            .bucket(&bucket.name)
            .key(bucket.key(&new.key))
            .copy_source(utf8_percent_encode(&source, KEPT).to_string())
            .copy_source_if_match(format!("\"{}\"", staged.etag))
            .metadata_directive(MetadataDirective::Replace)
            .content_type(new.content_type)
            .metadata(UPLOAD, new.upload.to_string())
            .set_server_side_encryption(bucket.encryption.clone())
            .set_ssekms_key_id(bucket.kms_key_id.clone())
            .set_tagging_directive(extras.checksum.then_some(TaggingDirective::Replace))
            .set_checksum_algorithm(extras.checksum.then_some(ChecksumAlgorithm::Sha256))
            .set_if_none_match(extras.condition.then(|| "*".to_owned()));
        let attempt = ATTEMPT_WITHIN + Duration::from_secs(staged.size / SLOWEST);
        let config = Config::builder().timeout_config(timeouts(attempt, 2 * attempt));
        let request = request.customize().config_override(config).interceptor(effect.clone());
        let answer = request.send().await.map_err(|e| Failure::of(&e))?;
        Ok(answer.copy_object_result)
    }

    /// What a failed copy came to. An answer may be lost on its way back: the SDK's second try
    /// then finds its own object in the way, or the staged one gone.
    async fn after(self, failure: Failure, commit: Commit, effect: &Effect) -> Result<Stored> {
        let refused = failure.is_conflict() || failure.is_missing_key();
        let key = self.bucket.key(&self.new.key);
        if refused && let Some(etag) = self.bucket.etag_if_from(&key, self.new.upload).await {
            return Ok(Stored { etag, size: self.staged.size, sha256: None });
        }
        let error = if failure.is_conflict() {
            // Both conditions are told in the same words.
            let taken = commit.if_absent
                && self
                    .is_taken()
                    .await
                    .map_err(|e| e.with_possible_effect(effect.is_possible()))?;
            let kind = if taken { ErrorKind::AlreadyExists } else { ErrorKind::Changed };
            Error::new(kind, COPY).because(failure)
        } else {
            failure.into_error(COPY)
        };
        Err(error.with_possible_effect(effect.is_possible()))
    }

    async fn is_taken(&self) -> Result<bool> {
        match self.bucket.head(self.bucket.key(&self.new.key)).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn stored(&self, result: Option<CopyObjectResult>, extras: Extras) -> Stored {
        let (etag, sha256) = result.map(|r| (r.e_tag, r.checksum_sha256)).unwrap_or_default();
        let etag = unquoted(etag);
        let sha256 = match sha256 {
            // MinIO computes it as well, but tells it only when it is asked again.
            None if extras.checksum => self.checksum_of(&etag).await,
            told => told,
        };
        // A checksum of the parts' checksums would have the number of parts behind it.
        let sha256 = sha256.and_then(|text| BASE64_STANDARD.decode(text).ok()?.try_into().ok());
        Stored { etag, size: self.staged.size, sha256 }
    }

    /// The SHA-256 that the store keeps of the new object, if it is still this version.
    async fn checksum_of(&self, etag: &str) -> Option<String> {
        let bucket = &self.bucket;
        let request = bucket
            .client()
            .head_object()
            .bucket(&bucket.name)
            .key(bucket.key(&self.new.key))
            .checksum_mode(ChecksumMode::Enabled);
        let answer = request.send().await.ok()?;
        answer.checksum_sha256.filter(|_| unquoted(answer.e_tag) == etag)
    }
}

impl Upload for S3Copy {
    fn write(&mut self, _: Bytes) -> BoxFuture<'_, Result<()>> {
        let cause = "the bytes of this upload are in the store already";
        Box::pin(async move { Err(Error::new(ErrorKind::Internal, "write").because(cause)) })
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

    /// There is nothing to throw away: the staged object is its owner's.
    fn abort(self: Box<Self>) -> BoxFuture<'static, Result<()>> {
        Box::pin(async { Ok(()) })
    }
}
