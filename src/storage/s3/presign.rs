//! Requests that others send to the bucket, signed by SigV4 in the URL's query, and the calls
//! of a multipart upload whose parts come by such requests.

use std::time::Duration;

use aws_sdk_s3::{
    config::{
        ConfigBag, Intercept, RuntimeComponents, interceptors::BeforeTransmitInterceptorContextMut,
    },
    error::BoxError,
    presigning::PresignedRequest,
    types::{CompletedMultipartUpload, CompletedPart},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use futures_util::future::BoxFuture;
use uuid::Uuid;

use super::{
    super::{
        Error, ErrorKind, GetTerms, ObjectKey, Presigner, PutTerms, Result, SignedForm,
        SignedRequest, StoredPart,
    },
    Bucket,
    failure::Failure,
    form,
    multipart::UPLOAD,
    signing::Terms,
    spans::untraced,
};

const COMPLETE: &str = "CompleteMultipartUpload";
/// A signed condition that no source of a copy meets.
const NO_COPY: (&str, &str) = ("x-amz-copy-source-if-match", "nothing-is-copied");

impl Presigner for Bucket {
    fn put<'a>(
        &'a self,
        key: &'a ObjectKey,
        terms: &'a PutTerms,
        valid: Duration,
    ) -> BoxFuture<'a, Result<SignedRequest>> {
        Box::pin(async move {
            let with = self.signing.for_upload(valid).await?;
            let request = self
                .client()
                .put_object()
                .bucket(&self.name)
                .key(self.key(key))
                .content_type(&terms.content_type)
                .content_length(signed_size(terms.size)?)
                .metadata(UPLOAD, terms.upload.to_string())
                .set_checksum_sha256(terms.sha256.map(|hash| BASE64_STANDARD.encode(hash)))
                .set_server_side_encryption(self.encryption.clone())
                .set_ssekms_key_id(self.kms_key_id.clone());
            let signed = request.customize().config_override(with.config());
            let signed = signed.interceptor(NoCopy(self.foreign));
            let signed = untraced(signed.presigned(with.presigning()?)).await;
            let signed = signed.map_err(|e| Failure::of(&e).into_error("PutObject"))?;
            Ok(told("PUT", &signed, &with))
        })
    }

    fn form<'a>(
        &'a self,
        key: &'a ObjectKey,
        terms: &'a PutTerms,
        valid: Duration,
    ) -> BoxFuture<'a, Result<SignedForm>> {
        Box::pin(form::sign(self, key, terms, valid))
    }

    fn part<'a>(
        &'a self,
        key: &'a ObjectKey,
        reference: &'a str,
        number: u32,
        size: u64,
        valid: Duration,
    ) -> BoxFuture<'a, Result<SignedRequest>> {
        Box::pin(async move {
            let with = self.signing.for_upload(valid).await?;
            let request = self
                .client()
                .upload_part()
                .bucket(&self.name)
                .key(self.key(key))
                .upload_id(reference)
                .part_number(part_number(number)?)
                .content_length(signed_size(size)?);
            let signed = request.customize().config_override(with.config());
            let signed = signed.interceptor(NoCopy(self.foreign));
            let signed = untraced(signed.presigned(with.presigning()?)).await;
            let signed = signed.map_err(|e| Failure::of(&e).into_error("UploadPart"))?;
            Ok(told("PUT", &signed, &with))
        })
    }

    fn get<'a>(
        &'a self,
        key: &'a ObjectKey,
        terms: &'a GetTerms,
        valid: Duration,
    ) -> BoxFuture<'a, Result<SignedRequest>> {
        Box::pin(async move {
            let with = self.signing.for_link(valid).await?;
            self.signed_get(key, terms, &with).await
        })
    }

    fn part_size(&self) -> u64 {
        self.part_size as u64
    }

    fn begin_parts<'a>(
        &'a self,
        key: &'a ObjectKey,
        content_type: &'a str,
        upload: Uuid,
    ) -> BoxFuture<'a, Result<String>> {
        Box::pin(async move {
            const CREATE: &str = "CreateMultipartUpload";
            let request = self
                .client()
                .create_multipart_upload()
                .bucket(&self.name)
                .key(self.key(key))
                .content_type(content_type)
                .metadata(UPLOAD, upload.to_string())
                .set_server_side_encryption(self.encryption.clone())
                .set_ssekms_key_id(self.kms_key_id.clone());
            let answer = request.send().await.map_err(|e| Failure::of(&e).into_error(CREATE))?;
            answer.upload_id.ok_or_else(|| {
                Error::new(ErrorKind::Internal, CREATE).because("the answer has no UploadId")
            })
        })
    }

    fn parts<'a>(
        &'a self,
        key: &'a ObjectKey,
        reference: &'a str,
    ) -> BoxFuture<'a, Result<Vec<StoredPart>>> {
        Box::pin(async move { Bucket::parts(self, &self.key(key), reference).await })
    }

    fn join_parts<'a>(
        &'a self,
        key: &'a ObjectKey,
        reference: &'a str,
        parts: &'a [StoredPart],
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let completed = parts.iter().map(|part| {
                let number = part_number(part.number)?;
                Ok(CompletedPart::builder().part_number(number).e_tag(&part.etag).build())
            });
            let completed = completed.collect::<Result<Vec<_>>>()?;
            let request = self
                .client()
                .complete_multipart_upload()
                .bucket(&self.name)
                .key(self.key(key))
                .upload_id(reference)
                .multipart_upload(
                    CompletedMultipartUpload::builder().set_parts(Some(completed)).build(),
                );
            let failure = match request.send().await {
                Ok(_) => return Ok(()),
                Err(error) => Failure::of(&error),
            };
            // An answer may be lost on its way back; the next try finds no such upload.
            if failure.is_missing_upload() && self.is_of_parts(key, parts).await? {
                return Ok(());
            }
            Err(failure.of_upload(COMPLETE))
        })
    }
}

impl Bucket {
    /// `GetObject` by whoever signs.
    pub(super) async fn signed_get(
        &self,
        key: &ObjectKey,
        terms: &GetTerms,
        with: &Terms,
    ) -> Result<SignedRequest> {
        let request = self
            .client()
            .get_object()
            .bucket(&self.name)
            .key(self.key(key))
            .response_content_type(&terms.content_type)
            .response_content_disposition(&terms.disposition)
            .response_cache_control(&terms.cache_control);
        let signed = request.customize().config_override(with.config());
        let signed = untraced(signed.presigned(with.presigning()?)).await;
        let signed = signed.map_err(|e| Failure::of(&e).into_error("GetObject"))?;
        Ok(told("GET", &signed, with))
    }

    /// Whether the object is one of so many parts and bytes. Under a key that only the holder of
    /// signed requests can put something, it is then the one of these parts.
    async fn is_of_parts(&self, key: &ObjectKey, parts: &[StoredPart]) -> Result<bool> {
        match self.head(self.key(key)).await {
            Ok(head) => {
                let size = parts.iter().map(|part| part.size).sum::<u64>();
                Ok(head.size == size && head.etag.ends_with(&format!("-{}", parts.len())))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Keeps a signed `PUT` from becoming a copy of what its sender may not read: MinIO follows an
/// `x-amz-copy-source` that is not signed. AWS refuses every such field by itself, and might
/// not know this one here.
#[derive(Debug)]
struct NoCopy(bool);

impl Intercept for NoCopy {
    fn name(&self) -> &'static str {
        "NoCopy"
    }

    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> std::result::Result<(), BoxError> {
        if self.0 {
            context.request_mut().headers_mut().insert(NO_COPY.0, NO_COPY.1);
        }
        Ok(())
    }
}

/// The request as its sender is told it: `Host` and `Content-Length` are signed, but every
/// client sends them by itself.
fn told(method: &'static str, signed: &PresignedRequest, with: &Terms) -> SignedRequest {
    let headers = signed.headers().map(|(name, value)| (name.to_lowercase(), value.to_owned()));
    SignedRequest {
        method,
        url: signed.uri().to_owned(),
        headers: headers.filter(|(n, _)| n != "host" && n != "content-length").collect(),
        expires_at: with.expires_at(),
    }
}

fn signed_size(size: u64) -> Result<i64> {
    i64::try_from(size).map_err(|e| Error::new(ErrorKind::Internal, "sign").because(e))
}

fn part_number(number: u32) -> Result<i32> {
    i32::try_from(number).map_err(|e| Error::new(ErrorKind::Internal, "UploadPart").because(e))
}
