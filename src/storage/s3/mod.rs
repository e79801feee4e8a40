//! Objects in an S3 bucket, by aws-sdk-s3: AWS, MinIO, R2 and others that speak its API.
//!
//! What fits one part is one `PutObject`, whose signature covers the payload's SHA-256 that the
//! caller computed anyway. More is a multipart upload of equal parts. Checksum headers are sent
//! only where S3 requires them: other stores reject them, and they would hash the bytes again.

mod client;
mod copy;
mod diagnosis;
mod effect;
mod failure;
mod form;
mod multipart;
mod presign;
mod read;
mod resume;
mod signing;
mod spans;
mod upload;

use std::{collections::HashSet, sync::Arc, time::Duration};

use aws_sdk_s3::{Client, types::ServerSideEncryption};
use futures_util::future::BoxFuture;
use tokio::{runtime::Handle, time::timeout};
use tokio_util::task::TaskTracker;

use self::{
    client::Clients, copy::S3Copy, failure::Failure, resume::S3Resumable, signing::Signing,
    upload::S3Upload,
};
use super::{
    Budget, BuildError, Encryption, Error, ErrorKind, Finding, Head, NewObject, ObjectKey, Page,
    Presigner, Read, Reading, Result, Resumable, S3Settings, SharedStorage, Staged, Storage,
    Suspended, Upload, buffer::Pool, key::MAX_KEY, read::check_prefix,
};

/// How long readiness waits for the bucket's answer.
const READY_WITHIN: Duration = Duration::from_secs(2);
/// A request that a process sent whole before it was gone has its effect by then.
const SETTLES_WITHIN: Duration = Duration::from_secs(10);
/// An unfinished multipart upload that is older was left by a process that is gone.
const ABANDONED_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

const HEAD_BUCKET: &str = "HeadBucket";

/// Makes the store of `settings`, which are valid.
pub(super) async fn build(
    settings: &S3Settings,
    budget: &Arc<Budget>,
) -> std::result::Result<SharedStorage, BuildError> {
    let part_size = usize::try_from(settings.part_size.as_u64()).unwrap_or(usize::MAX);
    if part_size > budget.per_owner() {
        let limit = "must fit into half of the upload memory, which is what one tenant can hold";
        return Err(BuildError::new("s3.part_size", limit));
    }
    let (clients, signing) = client::load(settings).await?;
    Ok(Arc::new(S3(Arc::new(Bucket {
        foreign: clients.are_foreign(),
        clients,
        signing,
        name: settings.bucket.clone().unwrap_or_default(),
        prefix: settings.prefix.clone(),
        encryption: settings.server_side_encryption.map(|encryption| match encryption {
            Encryption::Aes256 => ServerSideEncryption::Aes256,
            Encryption::Kms => ServerSideEncryption::AwsKms,
            Encryption::KmsDsse => ServerSideEncryption::AwsKmsDsse,
        }),
        kms_key_id: settings.kms_key_id.clone(),
        part_size,
        pool: Arc::default(),
        tasks: TaskTracker::new(),
        home: Handle::current(),
    }))))
}

struct S3(Arc<Bucket>);

/// The bucket, and what every upload into it shares.
struct Bucket {
    clients: Clients,
    signing: Signing,
    /// Whether it is not AWS's own.
    foreign: bool,
    name: String,
    prefix: String,
    encryption: Option<ServerSideEncryption>,
    kms_key_id: Option<String>,
    part_size: usize,
    pool: Arc<Pool>,
    /// Commits and clean-ups, which `drain` waits for.
    tasks: TaskTracker,
    /// The runtime that outlives the workers; clean-ups run there.
    home: Handle,
}

impl Bucket {
    fn client(&self) -> Client {
        self.clients.client()
    }

    fn key(&self, key: &ObjectKey) -> String {
        format!("{}{key}", self.prefix)
    }

    /// Fails for a key that is too long with the prefix.
    fn check_length(&self, key: &ObjectKey, operation: &'static str) -> Result<()> {
        if self.prefix.len() + key.as_str().len() > MAX_KEY {
            return Err(Error::new(ErrorKind::KeyTooLong, operation));
        }
        Ok(())
    }

    async fn delete(&self, key: String) -> Result<()> {
        let request = self.client().delete_object().bucket(&self.name).key(key);
        match request.send().await.map_err(|e| Failure::of(&e)) {
            Err(failure) if !failure.is_missing_key() => Err(failure.into_error("DeleteObject")),
            _ => Ok(()),
        }
    }

    /// Whether the bucket is there and ours to use.
    async fn exists(&self) -> Result<()> {
        let request = self.client().head_bucket().bucket(&self.name);
        let answer = request.send().await.map(drop);
        answer.map_err(|e| Failure::of(&e).into_error(HEAD_BUCKET))
    }
}

impl Storage for S3 {
    fn begin(&self, new: NewObject) -> BoxFuture<'_, Result<Box<dyn Upload>>> {
        Box::pin(async move {
            self.0.check_length(&new.key, "PutObject")?;
            Ok(Box::new(S3Upload::new(Arc::clone(&self.0), new)) as Box<dyn Upload>)
        })
    }

    fn begin_from(&self, staged: Staged, new: NewObject) -> BoxFuture<'_, Result<Box<dyn Upload>>> {
        Box::pin(async move {
            self.0.check_length(&new.key, "CopyObject")?;
            Ok(Box::new(S3Copy::new(Arc::clone(&self.0), staged, new)) as Box<dyn Upload>)
        })
    }

    fn resume(
        &self,
        new: NewObject,
        staging: &ObjectKey,
        from: Option<&Suspended>,
    ) -> BoxFuture<'_, Result<Box<dyn Resumable>>> {
        let (staging, from) = (staging.clone(), from.cloned());
        Box::pin(async move {
            self.0.check_length(&new.key, "PutObject")?;
            let taken_up = S3Resumable::take_up(Arc::clone(&self.0), new, staging, from).await?;
            Ok(Box::new(taken_up) as Box<dyn Resumable>)
        })
    }

    fn presigner(&self) -> Option<&dyn Presigner> {
        Some(&*self.0)
    }

    fn head(&self, key: &ObjectKey) -> BoxFuture<'_, Result<Head>> {
        Box::pin(self.0.head(self.0.key(key)))
    }

    fn read(&self, key: &ObjectKey, how: Read) -> BoxFuture<'_, Result<Reading>> {
        Box::pin(self.0.read(self.0.key(key), how))
    }

    fn delete(&self, key: &ObjectKey) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.0.delete(self.0.key(key)))
    }

    fn list(&self, prefix: &str, after: Option<&str>) -> BoxFuture<'_, Result<Page>> {
        let (prefix, after) = (prefix.to_owned(), after.map(str::to_owned));
        Box::pin(async move { self.0.list(&prefix, after.as_deref()).await })
    }

    fn unfinished(&self, key: &ObjectKey) -> BoxFuture<'_, Result<Vec<String>>> {
        Box::pin(multipart::unfinished(Arc::clone(&self.0), self.0.key(key)))
    }

    fn unfinished_below(&self, prefix: &str) -> BoxFuture<'_, Result<Vec<(ObjectKey, String)>>> {
        let prefix = prefix.to_owned();
        Box::pin(async move { multipart::unfinished_below(&self.0, &prefix).await })
    }

    fn abort(&self, key: &ObjectKey, reference: &str) -> BoxFuture<'_, Result<()>> {
        Box::pin(multipart::abort(Arc::clone(&self.0), self.0.key(key), reference.to_owned()))
    }

    fn settles_within(&self) -> Duration {
        SETTLES_WITHIN
    }

    /// There is nothing to do: what S3 shows is durable.
    fn secure(&self, _: &ObjectKey) -> BoxFuture<'_, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    /// There is nothing to do: S3 has no folders.
    fn prune(&self, prefix: &str) -> BoxFuture<'_, Result<()>> {
        let checked = check_prefix(prefix, "prune");
        Box::pin(async { checked })
    }

    fn ready(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let late = |elapsed| Error::new(ErrorKind::Unavailable, HEAD_BUCKET).because(elapsed);
            timeout(READY_WITHIN, self.0.exists()).await.map_err(late)?
        })
    }

    fn diagnose<'a>(
        &'a self,
        staging: &'a str,
        origins: &'a [String],
    ) -> BoxFuture<'a, Result<Vec<Finding>>> {
        Box::pin(diagnosis::diagnose(&self.0, staging, origins))
    }

    /// Aborts multipart uploads below the prefix that are more than 24 hours old.
    ///
    /// S3 does not tell whose an upload is, nor whether it is still alive: only below a prefix,
    /// which is ours alone, and only after a day it is safe to say. Without a prefix the bucket
    /// may be shared, so nothing is touched: a lifecycle rule with
    /// `AbortIncompleteMultipartUpload` has to clear what a killed process left. (MinIO lists
    /// the uploads of exact keys only, and clears old ones by itself.)
    fn sweep<'a>(&'a self, kept: &'a HashSet<String>) -> BoxFuture<'a, Result<usize>> {
        Box::pin(async move {
            if self.0.prefix.is_empty() {
                return Ok(0);
            }
            multipart::sweep(&self.0, ABANDONED_AFTER, kept).await
        })
    }

    fn drain(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.0.tasks.close();
            self.0.tasks.wait().await;
            self.0.tasks.reopen();
        })
    }
}
