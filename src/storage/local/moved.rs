//! An upload of a file that is below the root already: it gets its place without being read.

use std::{io, sync::Arc};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use rustix::fs::Stat;

use super::{
    super::{Commit, Error, ErrorKind, ObjectKey, Result, Staged, Stored, Upload},
    Disk,
    read::{etag_of, head_of},
    root::Root,
};

const RENAME: &str = "rename";

pub(super) struct LocalMove {
    disk: Arc<Disk>,
    staged: Staged,
    key: ObjectKey,
}

impl LocalMove {
    pub(super) fn new(disk: Arc<Disk>, staged: Staged, key: ObjectKey) -> Self {
        Self { disk, staged, key }
    }
}

impl Upload for LocalMove {
    fn write(&mut self, _: Bytes) -> BoxFuture<'_, Result<()>> {
        let cause = "the bytes of this upload are in the store already";
        Box::pin(async move { Err(Error::new(ErrorKind::Internal, "write").because(cause)) })
    }

    fn finish(self: Box<Self>, commit: Commit) -> BoxFuture<'static, Result<Stored>> {
        let Self { disk, staged, key } = *self;
        let size = staged.size;
        let moved =
            disk.spawn(RENAME, move |root| root.place_staged(&staged, &key, commit.if_absent));
        Box::pin(async move {
            // The folder may have failed to reach the disk with the new name in it.
            let placed = moved.await.map_err(|e| {
                let refused = matches!(
                    e.kind(),
                    ErrorKind::AlreadyExists | ErrorKind::KeyTooLong | ErrorKind::NotFound
                );
                e.with_possible_effect(!refused)
            })?;
            let stat = placed.ok_or_else(|| Error::new(ErrorKind::Changed, RENAME))?;
            Ok(Stored { etag: etag_of(&stat), size, sha256: None })
        })
    }

    /// There is nothing to throw away: the staged file is its owner's.
    fn abort(self: Box<Self>) -> BoxFuture<'static, Result<()>> {
        Box::pin(async { Ok(()) })
    }
}

impl Root {
    /// Gives the staged file the name `key`, and takes its own from it; none if it is another
    /// version by now.
    fn place_staged(
        &self,
        staged: &Staged,
        key: &ObjectKey,
        if_absent: bool,
    ) -> io::Result<Option<Stat>> {
        let (folder, name) = self.folder_of(&staged.key)?;
        // By a name of our own: another file may get the staged one's at any time.
        let file = self.staging().link(&folder, name)?;
        if head_of(&file.stat()?)?.etag != staged.etag {
            return Ok(None);
        }
        let same = file.file().try_clone()?;
        let before = same.metadata()?.modified()?;
        let placed = self.place(file, key, if_absent);
        if placed.is_err() && rustix::fs::fstat(&same)?.st_nlink == 1 {
            // It has the staged name only: it is to be the version that it was.
            same.set_modified(before)?;
        }
        let stat = placed?;
        self.remove(&staged.key)?;
        Ok(Some(stat))
    }
}
