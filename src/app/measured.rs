//! The store with a clock: how long each of its operations takes, and what it comes to. It wraps any
//! backend, which so need not know of metrics.

use std::{
    collections::HashSet,
    future::Future,
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::{
    metrics::{HistogramVec, are_told, durations},
    storage::{
        Commit, ErrorKind, Finding, Head, NewObject, ObjectKey, Page, Presigner, Read, Reading,
        Result, Resumable, SharedStorage, Staged, Storage, Stored, Suspended, Upload,
    },
};

static OPERATIONS: LazyLock<HistogramVec> = LazyLock::new(|| {
    durations(
        "gatehouse_storage_operation_duration_seconds",
        "Operations of the store, by what they came to; read: until its first byte is there; write: one piece, with the wait for memory and for parts on their way.",
        &["operation", "outcome"],
    )
});

/// Makes them, so that they are told from the start.
pub(super) fn register() {
    for operation in ["write", "finish", "read", "delete"] {
        for outcome in [OK, "unavailable", "internal"] {
            OPERATIONS.with_label_values(&[operation, outcome]);
        }
    }
}

const OK: &str = "ok";

/// The outcome as a label.
fn outcome<T>(result: &Result<T>) -> &'static str {
    match result.as_ref().map_err(|error| error.kind()) {
        Ok(_) => OK,
        Err(ErrorKind::NotFound) => "not-found",
        Err(ErrorKind::AlreadyExists) => "already-exists",
        Err(ErrorKind::Changed) => "changed",
        Err(ErrorKind::KeyTooLong) => "key-too-long",
        Err(ErrorKind::Unavailable) => "unavailable",
        Err(ErrorKind::Overloaded) => "overloaded",
        Err(ErrorKind::Internal) => "internal",
    }
}

async fn timed<T>(operation: &'static str, work: impl Future<Output = Result<T>>) -> Result<T> {
    let began = Instant::now();
    let result = work.await;
    let took = began.elapsed().as_secs_f64();
    OPERATIONS.with_label_values(&[operation, outcome(&result)]).observe(took);
    result
}

/// The store with its clock, where metrics are told; else as it is.
pub(super) fn where_told(store: SharedStorage) -> SharedStorage {
    if are_told() { Arc::new(Measured(store)) } else { store }
}

/// A store whose operations are measured.
struct Measured(SharedStorage);

impl Storage for Measured {
    fn begin(&self, new: NewObject) -> BoxFuture<'_, Result<Box<dyn Upload>>> {
        Box::pin(async { Ok(Box::new(MeasuredUpload(self.0.begin(new).await?)) as _) })
    }

    fn begin_from(&self, staged: Staged, new: NewObject) -> BoxFuture<'_, Result<Box<dyn Upload>>> {
        Box::pin(async { Ok(Box::new(MeasuredUpload(self.0.begin_from(staged, new).await?)) as _) })
    }

    fn resume(
        &self,
        new: NewObject,
        staging: &ObjectKey,
        from: Option<&Suspended>,
    ) -> BoxFuture<'_, Result<Box<dyn Resumable>>> {
        let resumed = timed("resume", self.0.resume(new, staging, from));
        Box::pin(async { Ok(Box::new(MeasuredUpload(resumed.await?)) as _) })
    }

    fn presigner(&self) -> Option<&dyn Presigner> {
        self.0.presigner()
    }

    fn head(&self, key: &ObjectKey) -> BoxFuture<'_, Result<Head>> {
        Box::pin(timed("head", self.0.head(key)))
    }

    fn read(&self, key: &ObjectKey, how: Read) -> BoxFuture<'_, Result<Reading>> {
        Box::pin(timed("read", self.0.read(key, how)))
    }

    fn sha256<'a>(&'a self, key: &'a ObjectKey, etag: &'a str) -> BoxFuture<'a, Result<[u8; 32]>> {
        Box::pin(timed("hash", self.0.sha256(key, etag)))
    }

    fn delete(&self, key: &ObjectKey) -> BoxFuture<'_, Result<()>> {
        Box::pin(timed("delete", self.0.delete(key)))
    }

    fn list(&self, prefix: &str, after: Option<&str>) -> BoxFuture<'_, Result<Page>> {
        Box::pin(timed("list", self.0.list(prefix, after)))
    }

    fn unfinished(&self, key: &ObjectKey) -> BoxFuture<'_, Result<Vec<String>>> {
        self.0.unfinished(key)
    }

    fn unfinished_below(&self, prefix: &str) -> BoxFuture<'_, Result<Vec<(ObjectKey, String)>>> {
        self.0.unfinished_below(prefix)
    }

    fn abort(&self, key: &ObjectKey, reference: &str) -> BoxFuture<'_, Result<()>> {
        Box::pin(timed("abort", self.0.abort(key, reference)))
    }

    fn secure(&self, key: &ObjectKey) -> BoxFuture<'_, Result<()>> {
        self.0.secure(key)
    }

    fn settles_within(&self) -> Duration {
        self.0.settles_within()
    }

    fn prune(&self, prefix: &str) -> BoxFuture<'_, Result<()>> {
        self.0.prune(prefix)
    }

    fn ready(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(timed("ready", self.0.ready()))
    }

    fn diagnose<'a>(
        &'a self,
        staging: &'a str,
        origins: &'a [String],
    ) -> BoxFuture<'a, Result<Vec<Finding>>> {
        self.0.diagnose(staging, origins)
    }

    fn sweep<'a>(&'a self, kept: &'a HashSet<String>) -> BoxFuture<'a, Result<usize>> {
        self.0.sweep(kept)
    }

    fn drain(&self) -> BoxFuture<'_, ()> {
        self.0.drain()
    }
}

/// An upload whose operations are measured.
struct MeasuredUpload<U: ?Sized>(Box<U>);

impl<U: Upload + ?Sized> Upload for MeasuredUpload<U> {
    fn write(&mut self, chunk: Bytes) -> BoxFuture<'_, Result<()>> {
        Box::pin(timed("write", self.0.write(chunk)))
    }

    fn finish(self: Box<Self>, commit: Commit) -> BoxFuture<'static, Result<Stored>> {
        Box::pin(timed("finish", self.0.finish(commit)))
    }

    fn abort(self: Box<Self>) -> BoxFuture<'static, Result<()>> {
        Box::pin(timed("abort", self.0.abort()))
    }
}

impl<U: Resumable + ?Sized> Resumable for MeasuredUpload<U> {
    fn step(&self) -> u64 {
        self.0.step()
    }

    fn checkpoint(&mut self) -> BoxFuture<'_, Result<Suspended>> {
        Box::pin(timed("checkpoint", self.0.checkpoint()))
    }
}
