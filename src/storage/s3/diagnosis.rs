//! What is found out about a bucket by trying it: each call that uploads and reads are made of, on
//! objects of its own, and what may be missing where one fails.

mod exchange;
mod remedy;
mod signed;

use std::sync::Arc;

use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use uuid::Uuid;

use self::remedy::Remedy;
use super::{
    super::{
        Budget, Commit, Error, ErrorKind, NewObject, ObjectKey, Presigner, Read, Result, Staged,
        Stored, Upload,
        diagnosis::{Finding, keys},
    },
    Bucket, HEAD_BUCKET, S3Copy, S3Upload,
    failure::Failure,
    multipart::unfinished,
};

const BYTES: &[u8] = b"gatehouse check";
const CONTENT_TYPE: &str = "application/octet-stream";

const LIST: &str = "ListObjectsV2";
const LIST_UPLOADS: &str = "ListMultipartUploads";
const PUT: &str = "PutObject";
const HEAD: &str = "HeadObject";
const GET: &str = "GetObject";
const COPY: &str = "CopyObject";
const CREATE: &str = "CreateMultipartUpload";
const PART: &str = "UploadPart";
const LIST_PARTS: &str = "ListParts";
const ABORT: &str = "AbortMultipartUpload";
const DELETE: &str = "DeleteObject";

pub(super) async fn diagnose(
    bucket: &Arc<Bucket>,
    staging: &str,
    origins: &[String],
) -> Result<Vec<Finding>> {
    let [object, copy, parts, put] = keys(staging)?;
    let mut diagnosis = Diagnosis { bucket, staging, findings: Vec::new() };
    // Without it, all that follows would fail for the same reason.
    if diagnosis.reach().await {
        let stored = diagnosis.objects(&object, &copy).await;
        diagnosis.parts(&parts).await;
        let there = stored.map(|_| &object);
        Box::pin(signed::diagnose(&mut diagnosis, there, &put, origins)).await;
        diagnosis.clean_up([&object, &copy, &put]).await;
    }
    Ok(diagnosis.findings)
}

/// What was found so far.
struct Diagnosis<'a> {
    bucket: &'a Arc<Bucket>,
    staging: &'a str,
    findings: Vec<Finding>,
}

impl Diagnosis<'_> {
    fn remedy(&self) -> Remedy<'_> {
        Remedy::of_own(self.bucket)
    }

    /// Whether the bucket answers, and to us.
    async fn reach(&mut self) -> bool {
        let name = &self.bucket.name;
        let tried = format!("{HEAD_BUCKET} of \"{name}\"");
        let Err(error) = self.bucket.exists().await else {
            self.findings.push(Finding::fine(tried));
            return true;
        };
        // An answer to HEAD does not tell why; another call's does.
        let error = match self.bucket.list("", None).await {
            Err(better) if self.remedy().is_fundamental(&better) => better,
            _ => error,
        };
        let why = self.remedy().of_bucket("s3:ListBucket").sentence(&error);
        self.findings.push(Finding::missing(tried, why));
        !self.remedy().is_fundamental(&error)
    }

    /// One object's life but for its end; it, if it is there.
    async fn objects(&mut self, object: &ObjectKey, copy: &ObjectKey) -> Option<Stored> {
        let bucket = self.bucket;
        let listed = bucket.list(&format!("{}/", self.staging), None).await;
        self.note(LIST, listed, Remedy::of_own(bucket).of_bucket("s3:ListBucket"));
        let listed = unfinished(Arc::clone(bucket), bucket.key(object)).await;
        let needed = Remedy::of_own(bucket).of_bucket("s3:ListBucketMultipartUploads");
        self.note(LIST_UPLOADS, listed, needed);

        let needed = |action| Remedy::of_own(bucket).of_objects(action);
        let stored = put(bucket, object).await;
        let stored = self.note(PUT, stored, needed("s3:PutObject"))?;
        let head = bucket.head(bucket.key(object)).await;
        self.note(HEAD, head, needed("s3:GetObject"));
        let read = read(bucket, object).await;
        self.note(GET, read, needed("s3:GetObject"));
        let copied = self::copy(bucket, object, &stored, copy).await;
        self.note(COPY, copied, needed("s3:GetObject and s3:PutObject"));
        Some(stored)
    }

    /// A multipart upload that is aborted.
    async fn parts(&mut self, key: &ObjectKey) {
        let bucket = self.bucket;
        let needed = |action| Remedy::of_own(bucket).of_objects(action);
        let begun = bucket.begin_parts(key, CONTENT_TYPE, Uuid::now_v7()).await;
        let Some(id) = self.note(CREATE, begun, needed("s3:PutObject")) else { return };
        let client = bucket.client();
        let (name, key) = (&bucket.name, bucket.key(key));
        let part = client.upload_part().bucket(name).key(&key).upload_id(&id).part_number(1);
        let part = part.body(ByteStream::from_static(BYTES)).send().await;
        let part = part.map_err(|e| Failure::of(&e).into_error(PART));
        self.note(PART, part, needed("s3:PutObject"));
        let listed = bucket.parts(&key, &id).await;
        self.note(LIST_PARTS, listed, needed("s3:ListMultipartUploadParts"));
        let aborted = client.abort_multipart_upload().bucket(name).key(&key).upload_id(&id);
        let aborted = aborted.send().await.map_err(|e| Failure::of(&e).into_error(ABORT));
        self.note(ABORT, aborted, needed("s3:AbortMultipartUpload"));
    }

    /// Removes what was made, all of it whatever fails.
    async fn clean_up(&mut self, keys: [&ObjectKey; 3]) {
        let mut outcome = Ok(());
        for key in keys {
            outcome = outcome.and(self.bucket.delete(self.bucket.key(key)).await);
        }
        self.note(DELETE, outcome, Remedy::of_own(self.bucket).of_objects("s3:DeleteObject"));
    }

    fn note<T>(&mut self, tried: &str, outcome: Result<T>, needed: Remedy<'_>) -> Option<T> {
        match outcome {
            Ok(value) => {
                self.findings.push(Finding::fine(tried));
                Some(value)
            }
            Err(error) => {
                self.findings.push(Finding::missing(tried, needed.sentence(&error)));
                None
            }
        }
    }
}

fn new(bucket: &Bucket, key: &ObjectKey) -> NewObject {
    NewObject {
        key: key.clone(),
        content_type: CONTENT_TYPE,
        size_hint: Some(BYTES.len() as u64),
        share: Budget::new(2 * bucket.part_size).share("gatehouse-check"),
        upload: Uuid::now_v7(),
        journal: None,
    }
}

async fn put(bucket: &Arc<Bucket>, key: &ObjectKey) -> Result<Stored> {
    let mut upload = Box::new(S3Upload::new(Arc::clone(bucket), new(bucket, key)));
    upload.write(Bytes::from_static(BYTES)).await?;
    upload.finish(Commit { sha256: None, if_absent: false }).await
}

async fn read(bucket: &Bucket, key: &ObjectKey) -> Result<()> {
    let read = bucket.read(bucket.key(key), Read::default()).await?.collect().await?;
    if read != BYTES {
        return Err(Error::new(ErrorKind::Internal, GET).because("other bytes came back"));
    }
    Ok(())
}

async fn copy(
    bucket: &Arc<Bucket>,
    key: &ObjectKey,
    stored: &Stored,
    to: &ObjectKey,
) -> Result<Stored> {
    let staged = Staged { key: key.clone(), etag: stored.etag.clone(), size: stored.size };
    let copy = Box::new(S3Copy::new(Arc::clone(bucket), staged, new(bucket, to)));
    copy.finish(Commit { sha256: None, if_absent: false }).await
}
