//! The folder of objects: finding, placing and removing files below it.
//!
//! Every path is walked segment by segment from the root's descriptor and no symbolic link is
//! followed, so that none can lead outside. The root itself may be one.

use std::{
    collections::HashSet,
    fs, io, mem,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, RenameFlags, Stat},
    io::Errno,
};

use super::{
    super::ObjectKey,
    staging::{Staging, Temporary},
};

/// How many folders are remembered to be on the disk before all are forgotten.
const REMEMBERED: usize = 16 * 1024;
/// How often a file's folder may be pruned away before the file has its name.
const TRIES: usize = 100;

pub(super) struct Root {
    folder: OwnedFd,
    staging: Staging,
    longest_name: usize,
    /// Folders that are known to be on the disk, so that they are not synchronised again.
    durable: Mutex<HashSet<Box<str>>>,
    /// How many folders were removed so far.
    pruned: AtomicU64,
}

impl Root {
    /// Makes the folder if it is missing, and checks that objects can be kept there.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        fs::create_dir_all(path)?;
        let folder = rustix::fs::openat(CWD, path, OFlags::DIRECTORY | OFlags::CLOEXEC, NO_MODE)?;
        let staging = Staging::begin(&folder)?;
        let longest = rustix::fs::fstatvfs(&folder)?.f_namemax;
        let longest_name = usize::try_from(longest).unwrap_or(usize::MAX);
        staging.refuse_case_folding()?;
        rustix::fs::fsync(&folder)?;
        let (durable, pruned) = (Mutex::default(), AtomicU64::default());
        Ok(Self { folder, staging, longest_name, durable, pruned })
    }

    pub(super) fn staging(&self) -> &Staging {
        &self.staging
    }

    /// Bytes in the longest file name that the file system keeps.
    pub(super) fn longest_name(&self) -> usize {
        self.longest_name
    }

    /// Puts `file` on the disk and gives it the name `key`, replacing what has it.
    pub(super) fn place(
        &self,
        file: Temporary,
        key: &ObjectKey,
        if_absent: bool,
    ) -> io::Result<Stat> {
        file.stamp()?;
        file.sync()?;
        let stat = file.stat()?;
        let mut tries = 0;
        let pruned = loop {
            let pruned = self.pruned.load(Ordering::SeqCst);
            match self.rename(&file, key, if_absent) {
                // The folder went between being found and being used.
                Err(e) if e.kind() == io::ErrorKind::NotFound && tries < TRIES => tries += 1,
                Err(e) => return Err(e),
                Ok(()) => break pruned,
            }
        };
        file.keep();
        if self.pruned.load(Ordering::SeqCst) != pruned {
            // The folder may be a new one of the same name that is not on the disk yet.
            self.forget(split(key).0);
            self.folder_for_writing(key)?.sync(self)?;
        }
        Ok(stat)
    }

    fn rename(&self, file: &Temporary, key: &ObjectKey, if_absent: bool) -> io::Result<()> {
        let target = self.folder_for_writing(key)?;
        if if_absent {
            rename_if_absent(file, &target.folder, target.name)?;
        } else {
            rustix::fs::renameat(file.folder(), file.name(), &target.folder, target.name)?;
        }
        // Last: nobody prunes a folder with a file in it, however long this takes.
        target.sync(self)
    }

    /// Puts the file on the disk, and all that leads to it.
    pub(super) fn secure(&self, key: &ObjectKey) -> io::Result<()> {
        let (folder, name) = self.folder_of(key)?;
        let file = rustix::fs::openat(&folder, name, READ, NO_MODE)?;
        rustix::fs::fsync(&file)?;
        self.forget(split(key).0);
        self.folder_for_writing(key)?.sync(self)
    }

    /// Why something failed: nothing is found either where the root itself is gone.
    pub(super) fn cause_of(&self, failure: io::Error) -> io::Error {
        let is_gone = || rustix::fs::fstat(&self.folder).is_ok_and(|stat| stat.st_nlink == 0);
        match failure.kind() {
            io::ErrorKind::NotFound if is_gone() => Errno::STALE.into(),
            _ => failure,
        }
    }

    /// Removes the file, if it is there.
    pub(super) fn remove(&self, key: &ObjectKey) -> io::Result<()> {
        let removed = self.folder_of(key).and_then(|(folder, name)| {
            match rustix::fs::unlinkat(&folder, name, AtFlags::empty()) {
                // Also of one that is gone: who removed it may not have come this far.
                Ok(()) | Err(Errno::NOENT) => Ok(rustix::fs::fsync(&folder)?),
                Err(e) => Err(e.into()),
            }
        });
        match removed.map_err(|e| self.cause_of(e)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    /// Opens `key`'s file for writing, made if it is missing and then on the disk with its name;
    /// with the folder that has it.
    pub(super) fn open_or_create(&self, key: &ObjectKey) -> io::Result<(fs::File, OwnedFd)> {
        let mut tries = 0;
        loop {
            // So that all folders are put on the disk, whoever may have pruned them meanwhile.
            self.forget(split(key).0);
            let target = self.folder_for_writing(key)?;
            let mode = Mode::from_raw_mode(0o666);
            match rustix::fs::openat(&target.folder, target.name, WRITE | OFlags::CREATE, mode) {
                Err(Errno::NOENT) if tries < TRIES => tries += 1,
                opened => {
                    let (file, folder) = (opened?.into(), target.folder.try_clone()?);
                    target.sync(self)?;
                    return Ok((file, folder));
                }
            }
        }
    }

    /// The folder that has `key`'s file, and the file's name.
    pub(super) fn folder_of<'k>(&self, key: &'k ObjectKey) -> io::Result<(OwnedFd, &'k str)> {
        let (parents, name) = split(key);
        Ok((self.folder_at(parents)?, name))
    }

    /// The folder of this path, whose segments are valid; the root itself for none.
    pub(super) fn folder_at(&self, path: &str) -> io::Result<OwnedFd> {
        let mut folder = self.folder.try_clone()?;
        for segment in path.split_terminator('/') {
            folder = open_folder(folder.as_fd(), segment)?;
        }
        Ok(folder)
    }

    /// Removes the folder `name` in `within`, which is `path` from the root, if it is empty.
    pub(super) fn remove_folder(&self, within: &OwnedFd, name: &str, path: &str) -> io::Result<()> {
        // Counted on both sides: who finds the count the same had the same folders all along.
        self.pruned.fetch_add(1, Ordering::SeqCst);
        let removed = rustix::fs::unlinkat(within, name, AtFlags::REMOVEDIR);
        if removed.is_ok() {
            self.forget(path);
        }
        self.pruned.fetch_add(1, Ordering::SeqCst);
        match removed {
            Ok(()) => Ok(rustix::fs::fsync(within)?),
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOENT) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    /// The same, made if it is missing.
    fn folder_for_writing<'k>(&self, key: &'k ObjectKey) -> io::Result<Target<'k>> {
        let (parents, name) = split(key);
        let mut target =
            Target { folder: self.folder.try_clone()?, name, parents, above: Vec::new() };
        if self.is_durable(parents) {
            match self.folder_at(parents) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => self.forget(parents),
                found => return Ok(Target { folder: found?, ..target }),
            }
        }
        for segment in parents.split_terminator('/') {
            let inner = match open_folder(target.folder.as_fd(), segment) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    let mode = Mode::from_raw_mode(0o777);
                    match rustix::fs::mkdirat(&target.folder, segment, mode) {
                        Ok(()) | Err(Errno::EXIST) => {}
                        Err(e) => return Err(e.into()),
                    }
                    open_folder(target.folder.as_fd(), segment)?
                }
                found => found?,
            };
            // Also where it was there: someone else may have made it just now.
            target.above.push(mem::replace(&mut target.folder, inner));
        }
        Ok(target)
    }

    fn is_durable(&self, folder: &str) -> bool {
        self.durable.lock().unwrap_or_else(PoisonError::into_inner).contains(folder)
    }

    fn forget(&self, folder: &str) {
        self.durable.lock().unwrap_or_else(PoisonError::into_inner).remove(folder);
    }

    fn remember(&self, folder: &str) {
        let mut durable = self.durable.lock().unwrap_or_else(PoisonError::into_inner);
        if durable.len() >= REMEMBERED {
            durable.clear();
        }
        durable.insert(folder.into());
    }
}

/// Where a file is to have its name.
struct Target<'k> {
    folder: OwnedFd,
    name: &'k str,
    /// The folder's path from the root.
    parents: &'k str,
    /// The folders above it, as far as it is not known that they are on the disk with it in them.
    above: Vec<OwnedFd>,
}

impl Target<'_> {
    /// Puts the folder on the disk with all that leads to it.
    fn sync(self, root: &Root) -> io::Result<()> {
        for folder in &self.above {
            rustix::fs::fsync(folder)?;
        }
        if !self.above.is_empty() {
            root.remember(self.parents);
        }
        Ok(rustix::fs::fsync(&self.folder)?)
    }
}

pub(super) const NO_MODE: Mode = Mode::empty();
pub(super) const READ: OFlags = OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Not waiting for the other end of what turns out to be a pipe.
pub(super) const WRITE: OFlags =
    OFlags::RDWR.union(OFlags::NONBLOCK).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

pub(super) fn split(key: &ObjectKey) -> (&str, &str) {
    key.as_str().rsplit_once('/').unwrap_or(("", key.as_str()))
}

/// Opens a folder that is in `within`, and no symbolic link.
pub(super) fn open_folder(within: BorrowedFd<'_>, name: &str) -> io::Result<OwnedFd> {
    Ok(rustix::fs::openat(within, name, READ | OFlags::DIRECTORY, NO_MODE)?)
}

/// Renames in one step if the name is free. File systems without such a rename can link.
fn rename_if_absent(file: &Temporary, folder: &OwnedFd, name: &str) -> io::Result<()> {
    let (from, temporary) = (file.folder(), file.name());
    let renamed = rustix::fs::renameat_with(from, temporary, folder, name, RenameFlags::NOREPLACE);
    match renamed {
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            rustix::fs::linkat(from, temporary, folder, name, AtFlags::empty())?;
            rustix::fs::unlinkat(from, temporary, AtFlags::empty())?;
            Ok(())
        }
        other => Ok(other?),
    }
}
