//! An upload across requests and processes: a file at the staging key, which gets its place when
//! it is finished.
//!
//! Who writes to it holds the file's lock, so that what a dropped upload still has on its way to
//! the disk is there before another goes on.

use std::{
    fs::{File, TryLockError},
    io::{self, Seek, SeekFrom},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use rustix::{
    fs::{AtFlags, fstat, statat},
    io::Errno,
};
use tokio::time::sleep;

use super::{
    super::{
        Commit, Error, ErrorKind, NewObject, ObjectKey, Result, Resumable, Stored, Suspended,
        Upload,
    },
    Disk,
    read::head_of,
    root::{NO_MODE, Root, WRITE, split},
    staging::Temporary,
    upload::LocalUpload,
};

/// Bytes between checkpoints: the disk is waited for as seldom as with S3's parts.
const STEP: u64 = 8 * 1024 * 1024;
/// All that is to know is the size.
const STATE: &str = r#"{"file":true}"#;
/// A batch is on the disk by then, if the disk is well.
const LOCKED_WITHIN: Duration = Duration::from_secs(5);
const LOCK_AGAIN: Duration = Duration::from_millis(10);

pub(super) struct LocalResumable {
    upload: LocalUpload,
    staging: ObjectKey,
}

impl LocalResumable {
    pub(super) async fn take_up(
        disk: Arc<Disk>,
        new: NewObject,
        staging: ObjectKey,
        from: Option<Suspended>,
    ) -> Result<Self> {
        disk.check_length(&staging)?;
        if from.as_ref().is_some_and(|from| from.state != STATE) {
            return Err(Error::new(ErrorKind::Internal, "open").because("no state of an upload"));
        }
        let size = from.map(|from| from.size);
        let file = open(&disk, &staging, size).await?;
        let upload = LocalUpload::after(file, size.unwrap_or_default(), disk, new);
        Ok(Self { upload, staging })
    }

    async fn suspend(&mut self) -> Result<Suspended> {
        Ok(Suspended { size: self.upload.sync().await?, state: STATE.to_owned() })
    }
}

impl Upload for LocalResumable {
    fn write(&mut self, chunk: Bytes) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.upload.write_all(chunk))
    }

    fn finish(self: Box<Self>, commit: Commit) -> BoxFuture<'static, Result<Stored>> {
        Box::new(self.upload).finish(commit)
    }

    fn abort(self: Box<Self>) -> BoxFuture<'static, Result<()>> {
        Box::pin(async move {
            let disk = Arc::clone(self.upload.disk());
            Box::new(self.upload).abort().await?;
            let staging = self.staging;
            // Also where a failed write has left the upload without it.
            disk.spawn("unlink", move |root| root.remove(&staging)).await
        })
    }
}

impl Resumable for LocalResumable {
    fn step(&self) -> u64 {
        STEP
    }

    fn checkpoint(&mut self) -> BoxFuture<'_, Result<Suspended>> {
        Box::pin(self.suspend())
    }
}

/// Opens the file, as soon as who wrote to it before has let it go.
async fn open(disk: &Disk, staging: &ObjectKey, size: Option<u64>) -> Result<Temporary> {
    let since = Instant::now();
    loop {
        let key = staging.clone();
        if let Some(file) = disk.spawn("open", move |root| root.take_up(&key, size)).await? {
            return Ok(file);
        }
        if since.elapsed() > LOCKED_WITHIN {
            return Err(Error::new(ErrorKind::Unavailable, "flock").because("it is written to"));
        }
        sleep(LOCK_AGAIN).await;
    }
}

impl Root {
    /// The file at `staging` to be written on behind its first `size` bytes, or anew; none while
    /// another writes to it.
    fn take_up(&self, staging: &ObjectKey, size: Option<u64>) -> io::Result<Option<Temporary>> {
        let (mut file, folder): (File, _) = match size {
            None => self.open_or_create(staging)?,
            Some(_) => {
                let (folder, name) = self.folder_of(staging)?;
                (rustix::fs::openat(&folder, name, WRITE, NO_MODE)?.into(), folder)
            }
        };
        let found = fstat(&file)?;
        head_of(&found)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(e)) => return Err(e),
        }
        // Who had the lock may have finished or removed it: then it is no longer ours to cut.
        let name = split(staging).1;
        match statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(named) if (named.st_dev, named.st_ino) == (found.st_dev, found.st_ino) => {}
            Ok(_) | Err(Errno::NOENT) => return Ok(None),
            Err(e) => return Err(e.into()),
        }
        let size = size.unwrap_or_default();
        if file.metadata()?.len() < size {
            return Err(io::ErrorKind::NotFound.into());
        }
        file.set_len(size)?;
        // At a place of its own instead of the end, which is the file's.
        file.seek(SeekFrom::Start(size))?;
        Ok(Some(Temporary::kept(file, folder, name)))
    }
}
