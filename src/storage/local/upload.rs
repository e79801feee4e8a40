//! One upload: chunks are gathered into batches, which blocking threads append to a temporary
//! file. A small object is written, put on the disk and named in one go.

use std::{io, sync::Arc};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::task::JoinHandle;

use super::{
    super::{
        Commit, Error, ErrorKind, NewObject, ObjectKey, Result, Share, Stored, Upload,
        buffer::{Filling, Part},
    },
    Disk, error_of,
    read::{etag_of, size_of},
    staging::Temporary,
};

pub(super) struct LocalUpload {
    share: Share,
    key: ObjectKey,
    size: u64,
    filling: Filling,
    spool: Spool,
}

/// An upload's temporary file, which is with one thread at a time.
struct Spool {
    disk: Arc<Disk>,
    file: File,
}

enum File {
    /// Not made yet.
    None,
    /// A blocking thread writes to it.
    Busy(JoinHandle<io::Result<Temporary>>),
    Idle(Temporary),
}

impl LocalUpload {
    pub(super) fn new(disk: Arc<Disk>, new: NewObject) -> Self {
        Self {
            filling: Filling::new(&disk.pool, &new.share, disk.batch),
            spool: Spool { disk, file: File::None },
            share: new.share,
            key: new.key,
            size: 0,
        }
    }

    /// One whose first bytes, so many, are in `file`.
    pub(super) fn after(file: Temporary, size: u64, disk: Arc<Disk>, new: NewObject) -> Self {
        let mut upload = Self::new(disk, new);
        upload.spool.file = File::Idle(file);
        Self { size, ..upload }
    }

    pub(super) fn disk(&self) -> &Arc<Disk> {
        &self.spool.disk
    }

    /// Puts all that was written on the disk; returns how much that is.
    pub(super) async fn sync(&mut self) -> Result<u64> {
        if self.filling.len() > 0 {
            self.append_filled().await?;
        }
        self.spool.sync(self.size).await?;
        Ok(self.size)
    }

    async fn append_filled(&mut self) -> Result<()> {
        let Disk { pool, batch, .. } = &*self.spool.disk;
        let next = Filling::new(pool, &self.share, *batch);
        let full = std::mem::replace(&mut self.filling, next).seal();
        self.spool.append(full).await
    }

    pub(super) async fn write_all(&mut self, mut chunk: Bytes) -> Result<()> {
        while !chunk.is_empty() {
            if self.filling.needs_memory() && !self.share.is_roomy() {
                self.spool.settle().await?;
            }
            let left = chunk.len();
            let pushed = self.filling.push(&mut chunk).await;
            pushed.map_err(|e| Error::new(ErrorKind::Overloaded, "write").because(e))?;
            self.size += (left - chunk.len()) as u64;
            if self.filling.is_full() {
                self.append_filled().await?;
            }
        }
        Ok(())
    }

    pub(super) async fn commit(mut self, commit: Commit) -> Result<Stored> {
        let last = self.filling.seal();
        self.spool.settle().await?;
        let file = self.spool.take();
        let (key, size) = (self.key, self.size);
        let placed = self.spool.disk.spawn("rename", move |root| {
            let mut file = match file {
                Some(file) => file,
                None => root.staging().create()?,
            };
            append(&mut file, &last)?;
            drop(last);
            check_whole(&file, size)?;
            root.place(file, &key, commit.if_absent)
        });
        // The folder may have failed to reach the disk with the new name in it.
        let placed = placed.await.map_err(|e| {
            let refused = matches!(e.kind(), ErrorKind::AlreadyExists | ErrorKind::KeyTooLong);
            e.with_possible_effect(!refused)
        });
        let etag = etag_of(&placed?);
        Ok(Stored { etag, size, sha256: None })
    }
}

impl Upload for LocalUpload {
    fn write(&mut self, chunk: Bytes) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.write_all(chunk))
    }

    fn finish(self: Box<Self>, commit: Commit) -> BoxFuture<'static, Result<Stored>> {
        Box::pin(async move {
            let disk = Arc::clone(&self.spool.disk);
            let committed = disk.tasks.spawn(self.commit(commit)).await;
            committed.map_err(|e| Error::new(ErrorKind::Internal, "finish").because(e))?
        })
    }

    fn abort(mut self: Box<Self>) -> BoxFuture<'static, Result<()>> {
        Box::pin(async move {
            // An upload that failed to write has no file left.
            let _ = self.spool.settle().await;
            match self.spool.take() {
                Some(file) => self.spool.disk.spawn("unlink", |_| file.remove()).await,
                None => Ok(()),
            }
        })
    }
}

impl Spool {
    /// Gives `batch` to a blocking thread, once the one before is written.
    async fn append(&mut self, batch: Part) -> Result<()> {
        self.settle().await?;
        let file = self.take();
        let root = Arc::clone(&self.disk.root);
        self.file = File::Busy(self.disk.tasks.spawn_blocking(move || {
            let mut file = match file {
                Some(file) => file,
                None => root.staging().create()?,
            };
            append(&mut file, &batch)?;
            Ok(file)
        }));
        Ok(())
    }

    /// Puts the file, which is to have `size` bytes, on the disk.
    async fn sync(&mut self, size: u64) -> Result<()> {
        self.settle().await?;
        let missing = || Error::new(ErrorKind::Internal, "fsync").because("a write has failed");
        let file = self.take().ok_or_else(missing)?;
        self.file = File::Busy(self.disk.tasks.spawn_blocking(move || {
            check_whole(&file, size)?;
            file.sync()?;
            Ok(file)
        }));
        self.settle().await
    }

    /// Waits until no blocking thread writes to the file.
    async fn settle(&mut self) -> Result<()> {
        if let File::Busy(writing) = &mut self.file {
            let written = writing.await;
            self.file = File::None;
            let written =
                written.map_err(|cause| Error::new(ErrorKind::Internal, "write").because(cause))?;
            self.file = File::Idle(written.map_err(|e| error_of("write", e))?);
        }
        Ok(())
    }

    fn take(&mut self) -> Option<Temporary> {
        match std::mem::replace(&mut self.file, File::None) {
            File::Idle(file) => Some(file),
            other => {
                self.file = other;
                None
            }
        }
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        if let Some(file) = self.take() {
            self.disk.tasks.spawn_blocking_on(move || drop(file), &self.disk.home);
        }
    }
}

/// Fails when a write has failed before, or its caller was gone.
fn check_whole(file: &Temporary, size: u64) -> io::Result<()> {
    if size_of(&file.stat()?) == size {
        return Ok(());
    }
    Err(io::Error::other("not all bytes are in the file"))
}

fn append(file: &mut Temporary, part: &Part) -> io::Result<()> {
    part.blocks().iter().try_for_each(|block| file.write(block))
}
