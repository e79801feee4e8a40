//! A multipart upload's calls, and that nothing of an unfinished one is left.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, SystemTime},
};

use aws_sdk_s3::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
    primitives::{ByteStream, SdkBody},
    types::{CompletedMultipartUpload, CompletedPart, MultipartUpload},
};
use opentelemetry::context::FutureExt as _;
use tokio::time::sleep;
use uuid::Uuid;

use super::{
    super::{
        Error, ErrorKind, Journal, ObjectKey, Result, StoredPart, buffer::Part, read::check_prefix,
    },
    Bucket,
    effect::Effect,
    failure::Failure,
};

/// The user metadata that tells which upload an object is from.
pub(super) const UPLOAD: &str = "gatehouse-upload";
const ABORT: &str = "AbortMultipartUpload";
const LIST: &str = "ListMultipartUploads";
const LIST_PARTS: &str = "ListParts";
/// The pauses before each try to abort an upload in the background.
const ABORT_AFTER: [u64; 7] = [0, 1, 2, 5, 15, 60, 300];

/// A multipart upload that is neither completed nor aborted. Dropping it aborts it in the
/// background, unless it is kept.
pub(super) struct Multipart {
    of: Option<Identity>,
    kept: bool,
}

#[derive(Clone)]
struct Identity {
    bucket: Arc<Bucket>,
    key: String,
    upload_id: String,
}

/// What becomes the object's properties.
pub(super) struct Properties {
    pub(super) key: String,
    pub(super) content_type: &'static str,
    /// Stands in the object's metadata.
    pub(super) upload: Uuid,
    pub(super) journal: Option<Arc<dyn Journal>>,
}

impl Multipart {
    /// `CreateMultipartUpload`, between the two words to the journal. Runs on even if its caller
    /// is dropped, since nobody else would know the id.
    pub(super) async fn create(bucket: &Arc<Bucket>, of: Properties) -> Result<Self> {
        const CREATE: &str = "CreateMultipartUpload";
        let bucket_ = Arc::clone(bucket);
        let create = async move {
            let bucket = bucket_;
            let unwritten = |cause| Error::new(ErrorKind::Unavailable, "journal").because(cause);
            if let Some(journal) = &of.journal {
                journal.opening().await.map_err(unwritten)?;
            }
            let request = bucket
                .client()
                .create_multipart_upload()
                .bucket(&bucket.name)
                .key(&of.key)
                .content_type(of.content_type)
                .metadata(UPLOAD, of.upload.to_string())
                .set_server_side_encryption(bucket.encryption.clone())
                .set_ssekms_key_id(bucket.kms_key_id.clone());
            let answer = request.send().await.map_err(|e| Failure::of(&e).into_error(CREATE))?;
            let upload_id = answer.upload_id.ok_or_else(|| {
                Error::new(ErrorKind::Internal, CREATE).because("the answer has no UploadId")
            })?;
            let identity = Identity { bucket, key: of.key, upload_id: upload_id.clone() };
            let begun = Self { of: Some(identity), kept: false };
            if let Some(journal) = &of.journal
                && let Err(cause) = journal.opened(&upload_id).await
            {
                // Where that fails, it is tried on in the background.
                let _ = begun.abort().await;
                return Err(unwritten(cause));
            }
            Ok(begun)
        };
        let created = bucket.tasks.spawn(create.with_current_context());
        created.await.map_err(|e| Error::new(ErrorKind::Internal, CREATE).because(e))?
    }

    /// One that was kept before.
    pub(super) fn kept(bucket: &Arc<Bucket>, key: &str, upload_id: &str) -> Self {
        let (key, upload_id) = (key.to_owned(), upload_id.to_owned());
        Self { of: Some(Identity { bucket: Arc::clone(bucket), key, upload_id }), kept: true }
    }

    /// From now on it stays when it is dropped or fails; returns the `UploadId`.
    pub(super) fn keep(&mut self) -> Option<String> {
        self.kept = true;
        self.of.as_ref().map(|of| of.upload_id.clone())
    }

    /// `UploadPart`, as a future of its own.
    pub(super) fn send(
        &self,
        number: i32,
        part: Part,
    ) -> impl Future<Output = Result<CompletedPart>> + use<> {
        let of = self.of.clone();
        async move {
            const SEND: &str = "UploadPart";
            let Some(of) = of else {
                return Err(Error::new(ErrorKind::Internal, SEND));
            };
            let request = of
                .bucket
                .client()
                .upload_part()
                .bucket(&of.bucket.name)
                .key(of.key)
                .upload_id(of.upload_id)
                .part_number(number)
                .content_length(part.len() as i64)
                .body(stream(part));
            let answer = request.send().await.map_err(|e| Failure::of(&e).into_error(SEND))?;
            let part = CompletedPart::builder().part_number(number).set_e_tag(answer.e_tag);
            Ok(part.build())
        }
    }

    /// `CompleteMultipartUpload`; returns the entity tag. A failed one is aborted, unless it is
    /// kept.
    pub(super) async fn complete(
        mut self,
        parts: Vec<CompletedPart>,
        if_absent: bool,
        upload: Uuid,
    ) -> Result<String> {
        const COMPLETE: &str = "CompleteMultipartUpload";
        let Some(of) = &self.of else {
            return Err(Error::new(ErrorKind::Internal, COMPLETE));
        };
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let request = of
            .bucket
            .client()
            .complete_multipart_upload()
            .bucket(&of.bucket.name)
            .key(&of.key)
            .upload_id(&of.upload_id)
            .multipart_upload(parts)
            .set_if_none_match(if_absent.then(|| "*".to_owned()));
        let effect = Effect::default();
        let failure = match request.customize().interceptor(effect.clone()).send().await {
            Ok(answer) => {
                self.of = None;
                return Ok(unquoted(answer.e_tag));
            }
            Err(error) => Failure::of(&error),
        };
        // An answer may be lost on its way back; the SDK's second try then finds no such upload,
        // or its own object in the way.
        if (failure.is_missing_upload() || failure.is_conflict())
            && let Some(etag) = of.bucket.etag_if_from(&of.key, upload).await
        {
            self.of = None;
            return Ok(etag);
        }
        Err(refused(failure, COMPLETE, &effect))
    }

    /// Aborts the upload and waits until nothing of it is left. Where that fails, it is tried on
    /// in the background.
    pub(super) async fn abort(mut self) -> Result<()> {
        self.kept = false;
        if let Some(of) = &self.of {
            of.abort_fully().await.map_err(|f| f.into_error(ABORT))?;
            self.of = None;
        }
        Ok(())
    }
}

impl Identity {
    /// `AbortMultipartUpload` until `ListParts` knows no such upload: a part that was on its
    /// way may land after an abort.
    async fn abort_fully(&self) -> std::result::Result<(), Failure> {
        for pause in [0, 100, 500, 2000] {
            sleep(Duration::from_millis(pause)).await;
            let client = self.bucket.client();
            let (bucket, key, id) = (&self.bucket.name, &self.key, &self.upload_id);
            let abort = client.abort_multipart_upload().bucket(bucket).key(key).upload_id(id);
            gone(abort.send().await)?;
            if self.is_gone().await? {
                return Ok(());
            }
        }
        Err(Failure::lingering())
    }

    /// Whether `ListParts` knows no such upload. (An abort of one that is gone may succeed.)
    async fn is_gone(&self) -> std::result::Result<bool, Failure> {
        let list = self.bucket.client().list_parts().bucket(&self.bucket.name).key(&self.key);
        gone(list.upload_id(&self.upload_id).max_parts(1).send().await)
    }

    async fn abort_in_background(self) {
        for pause in ABORT_AFTER {
            sleep(Duration::from_secs(pause)).await;
            match self.abort_fully().await {
                Ok(()) => return,
                Err(error) => tracing::debug!(%error, "an unfinished upload is not aborted yet"),
            }
        }
        let (key, upload_id) = (&self.key, &self.upload_id);
        tracing::warn!(key, upload_id, "gave up aborting an unfinished multipart upload");
    }
}

impl Drop for Multipart {
    fn drop(&mut self) {
        if let Some(of) = self.of.take().filter(|_| !self.kept) {
            let bucket = Arc::clone(&of.bucket);
            bucket.tasks.spawn_on(of.abort_in_background(), &bucket.home);
        }
    }
}

impl Bucket {
    /// `ListParts`: what the multipart upload has, by number.
    pub(super) async fn parts(&self, key: &str, upload_id: &str) -> Result<Vec<StoredPart>> {
        let list = self.client().list_parts().bucket(&self.name).key(key).upload_id(upload_id);
        let mut pages = list.into_paginator().send();
        let mut parts = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|e| Failure::of(&e).of_upload(LIST_PARTS))?;
            parts.extend(page.parts.unwrap_or_default().into_iter().filter_map(|part| {
                Some(StoredPart {
                    number: u32::try_from(part.part_number?).ok()?,
                    size: u64::try_from(part.size?).ok()?,
                    etag: part.e_tag?,
                })
            }));
        }
        Ok(parts)
    }

    /// The entity tag of the object at `key`, if it came from `upload`.
    pub(super) async fn etag_if_from(&self, key: &str, upload: Uuid) -> Option<String> {
        let head = self.head(key.to_owned()).await.ok()?;
        (head.upload == Some(upload)).then_some(head.etag)
    }
}

/// A part as the SDK's body, which can be sent again.
pub(super) fn stream(part: Part) -> ByteStream {
    ByteStream::new(SdkBody::retryable(move || SdkBody::from_body_1_x(part.body())))
}

/// The error of a commit that failed.
pub(super) fn refused(failure: Failure, operation: &'static str, effect: &Effect) -> Error {
    let error = if failure.is_conflict() {
        Error::new(ErrorKind::AlreadyExists, operation).because(failure)
    } else {
        failure.into_error(operation)
    };
    error.with_possible_effect(effect.is_possible())
}

pub(super) fn unquoted(etag: Option<String>) -> String {
    etag.unwrap_or_default().trim_matches('"').to_owned()
}

/// Whether the answer was that there is no such upload.
fn gone<T, E>(
    answer: std::result::Result<T, SdkError<E, HttpResponse>>,
) -> std::result::Result<bool, Failure>
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
{
    match answer.map_err(|e| Failure::of(&e)) {
        Ok(_) => Ok(false),
        Err(failure) if failure.is_missing_upload() => Ok(true),
        Err(failure) => Err(failure),
    }
}

/// Aborts the upload of this `UploadId`, if there is one.
pub(super) async fn abort(bucket: Arc<Bucket>, key: String, upload_id: String) -> Result<()> {
    let of = Identity { bucket, key, upload_id };
    if of.is_gone().await.map_err(|f| f.into_error(LIST_PARTS))? {
        return Ok(());
    }
    of.abort_fully().await.map_err(|f| f.into_error(ABORT))
}

/// The `UploadId`s of all unfinished uploads to exactly this key.
pub(super) async fn unfinished(bucket: Arc<Bucket>, key: String) -> Result<Vec<String>> {
    let found = listed(&bucket, &key, |upload| upload.key() == Some(&key)).await?;
    Ok(found.into_iter().map(|of| of.upload_id).collect())
}

/// The `UploadId`s of all unfinished uploads to keys of ours that begin with `prefix`.
pub(super) async fn unfinished_below(
    bucket: &Arc<Bucket>,
    prefix: &str,
) -> Result<Vec<(ObjectKey, String)>> {
    check_prefix(prefix, LIST)?;
    let found = listed(bucket, &format!("{}{prefix}", bucket.prefix), |_| true).await?;
    let ours = |of: Identity| {
        let key = ObjectKey::parse(of.key.strip_prefix(&bucket.prefix)?).ok()?;
        Some((key, of.upload_id))
    };
    Ok(found.into_iter().filter_map(ours).collect())
}

/// Aborts what is below the bucket's prefix and older than `age`; returns how many there were.
pub(super) async fn sweep(
    bucket: &Arc<Bucket>,
    age: Duration,
    kept: &HashSet<String>,
) -> Result<usize> {
    let before = SystemTime::now().checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH);
    let old = |upload: &MultipartUpload| {
        let since = upload.initiated().and_then(|since| SystemTime::try_from(*since).ok());
        since.is_some_and(|since| since < before)
    };
    let ours = |upload: &MultipartUpload| {
        let key = upload.key().and_then(|key| key.strip_prefix(&bucket.prefix));
        key.is_some_and(|key| ObjectKey::parse(key).is_ok())
    };
    let abandoned = listed(bucket, &bucket.prefix, |upload| old(upload) && ours(upload)).await?;
    let abandoned: Vec<_> =
        abandoned.into_iter().filter(|of| !kept.contains(&of.upload_id)).collect();
    for of in &abandoned {
        of.abort_fully().await.map_err(|f| f.into_error(ABORT))?;
    }
    Ok(abandoned.len())
}

/// The unfinished uploads to keys that begin with `prefix`, of which `which` says so.
async fn listed(
    bucket: &Arc<Bucket>,
    prefix: &str,
    which: impl Fn(&MultipartUpload) -> bool,
) -> Result<Vec<Identity>> {
    let list = bucket.client().list_multipart_uploads().bucket(&bucket.name).prefix(prefix);
    let (mut key_marker, mut id_marker) = (None, None);
    let mut found = Vec::new();
    loop {
        let list = list.clone().set_key_marker(key_marker).set_upload_id_marker(id_marker);
        let page = list.send().await.map_err(|e| Failure::of(&e).into_error(LIST))?;
        for upload in page.uploads.unwrap_or_default().into_iter().filter(&which) {
            if let (Some(key), Some(upload_id)) = (upload.key, upload.upload_id) {
                found.push(Identity { bucket: Arc::clone(bucket), key, upload_id });
            }
        }
        if page.is_truncated != Some(true) {
            return Ok(found);
        }
        (key_marker, id_marker) = (page.next_key_marker, page.next_upload_id_marker);
    }
}
