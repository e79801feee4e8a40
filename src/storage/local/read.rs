//! Reading a file: it is opened once, and what is checked is what is read.

use std::{
    io,
    os::fd::OwnedFd,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use rustix::{
    buffer::spare_capacity,
    fs::{AtFlags, FileType, OFlags, Stat},
    io::Errno,
};
use tokio::task::spawn_blocking;

use super::{
    super::{Error, ErrorKind, Head, ObjectKey, Read, Reading, Result},
    Disk, error_of,
    root::{NO_MODE, READ, Root},
};

/// Bytes that a reader takes from the disk at once, and all that it holds.
const BATCH: usize = 256 * 1024;

/// The part of a file that is still to be read.
struct Rest {
    file: Arc<OwnedFd>,
    from: u64,
    to: u64,
}

/// Opens the file of `key`, if it is the version asked for. The first bytes are read in the same
/// visit to the disk: a small object is one visit in all.
pub(super) async fn open(disk: &Disk, key: ObjectKey, how: Read) -> Result<Reading> {
    how.check("open")?;
    let (head, first, rest) = disk
        .spawn("open", move |root| {
            let (folder, name) = root.folder_of(&key)?;
            // Not waiting for the other end of what turns out to be a pipe.
            let flags = READ.union(OFlags::NONBLOCK);
            let file = rustix::fs::openat(&folder, name, flags, NO_MODE)?;
            let head = head_of(&rustix::fs::fstat(&file)?)?;
            if how.if_match.is_some_and(|etag| etag != head.etag) {
                return Ok(Err(ErrorKind::Changed));
            }
            let range = how.range.unwrap_or(0..head.size);
            if range.end > head.size {
                return Ok(Err(ErrorKind::Changed));
            }
            let mut rest = Rest { file: Arc::new(file), from: range.start, to: range.end };
            let first = rest.read()?;
            Ok(Ok((head, first, rest)))
        })
        .await?
        .map_err(|kind| Error::new(kind, "open"))?;
    let first = stream::iter((!first.is_empty()).then_some(Ok(first)));
    Ok(Reading { head, body: first.chain(stream::unfold(Some(rest), next)).boxed() })
}

/// The next batch, once it is asked for.
async fn next(rest: Option<Rest>) -> Option<(Result<Bytes>, Option<Rest>)> {
    let mut rest = rest.filter(|rest| rest.from < rest.to)?;
    let read = spawn_blocking(move || rest.read().map(|bytes| (bytes, rest))).await;
    Some(match read {
        Ok(Ok((bytes, rest))) => (Ok(bytes), Some(rest)),
        Ok(Err(e)) => (Err(error_of("pread", e)), None),
        Err(cause) => (Err(Error::new(ErrorKind::Internal, "pread").because(cause)), None),
    })
}

impl Rest {
    fn read(&mut self) -> io::Result<Bytes> {
        let len = usize::try_from(self.to - self.from).unwrap_or(BATCH).min(BATCH);
        let mut bytes = Vec::with_capacity(len);
        while bytes.len() < len {
            let at = self.from + bytes.len() as u64;
            match rustix::io::pread(&*self.file, spare_capacity(&mut bytes), at) {
                // Others have cut the file short.
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) | Err(Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
        bytes.truncate(len);
        self.from += len as u64;
        Ok(bytes.into())
    }
}

impl Root {
    pub(super) fn head(&self, key: &ObjectKey) -> io::Result<Head> {
        let (folder, name) = self.folder_of(key)?;
        head_of(&rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW)?)
    }
}

/// A file's head. A folder is no object; anything else has no business here.
pub(super) fn head_of(stat: &Stat) -> io::Result<Head> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {}
        FileType::Directory => return Err(io::ErrorKind::NotFound.into()),
        FileType::Symlink => return Err(Errno::LOOP.into()),
        _ => return Err(io::Error::other("it is no regular file")),
    }
    let size = size_of(stat);
    let (etag, modified) = (etag_of(stat), modified(stat));
    Ok(Head { etag, size, upload: None, modified, content_type: None })
}

/// Tells one version of a file from any other, without reading it. A file's inode is used
/// again once it is gone, but not with a time that was given before (see `Temporary::stamp`).
pub(super) fn etag_of(stat: &Stat) -> String {
    let time = nanoseconds(stat);
    format!("{:x}-{:x}-{:x}", stat.st_ino, time, stat.st_size)
}

pub(super) fn modified(stat: &Stat) -> SystemTime {
    let since = Duration::from_nanos(u64::try_from(nanoseconds(stat)).unwrap_or_default());
    UNIX_EPOCH + since
}

pub(super) fn size_of(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or_default()
}

#[allow(clippy::unnecessary_cast, reason = "the fields' types differ between platforms")]
fn nanoseconds(stat: &Stat) -> i128 {
    stat.st_mtime as i128 * 1_000_000_000 + stat.st_mtime_nsec as i128
}
