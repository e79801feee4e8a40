//! Temporary files: `{root}/.gatehouse/{process}/{number}`, and `{process}.lock` beside the
//! folder. The lock is held as long as the process lives, whatever ends it, so that another
//! one on the same root knows whose files are left over.

use std::{
    fs::{File, TryLockError},
    io::{self, Write},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustix::{
    fs::{AtFlags, Dir, Mode, OFlags, Stat},
    io::Errno,
};
use uuid::Uuid;

use super::root::{NO_MODE, READ, open_folder};

/// Begins with a dot, as no key does.
const HOME: &str = ".gatehouse";
const LOCK: &str = ".lock";
const NEW: OFlags = OFlags::CREATE
    .union(OFlags::EXCL)
    .union(OFlags::RDWR)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// This process's folder of temporary files.
pub(super) struct Staging {
    home: OwnedFd,
    folder: Arc<OwnedFd>,
    process: String,
    next: AtomicU64,
    _lock: File,
}

/// A file that is removed when it is dropped, unless it got its place, or is another's.
pub(super) struct Temporary {
    file: File,
    folder: Arc<OwnedFd>,
    name: String,
    kept: bool,
}

impl Staging {
    pub(super) fn begin(root: &OwnedFd) -> io::Result<Self> {
        make_folder(root.as_fd(), HOME)?;
        let home = open_folder(root.as_fd(), HOME)?;
        // A sweep that finds the file before it is locked takes it for a dead process's and
        // removes it: then another is needed.
        let (process, lock) = loop {
            let process = Uuid::now_v7().to_string();
            let lock = create(home.as_fd(), &format!("{process}{LOCK}"))?;
            lock.lock()?;
            if rustix::fs::fstat(&lock)?.st_nlink > 0 {
                break (process, lock);
            }
        };
        make_folder(home.as_fd(), &process)?;
        let folder = Arc::new(open_folder(home.as_fd(), &process)?);
        Ok(Self { home, folder, process, next: AtomicU64::new(0), _lock: lock })
    }

    /// A new, empty file.
    pub(super) fn create(&self) -> io::Result<Temporary> {
        let name = self.next.fetch_add(1, Ordering::Relaxed).to_string();
        let file = create(self.folder.as_fd(), &name)?;
        Ok(Temporary { file, folder: Arc::clone(&self.folder), name, kept: false })
    }

    /// Another name for the file `name` in `within`, whatever becomes of that one.
    pub(super) fn link(&self, within: &OwnedFd, name: &str) -> io::Result<Temporary> {
        let link = self.next.fetch_add(1, Ordering::Relaxed).to_string();
        rustix::fs::linkat(within, name, &self.folder, link.as_str(), AtFlags::empty())?;
        // Not waiting for the other end of what turns out to be a pipe.
        let flags = READ.union(OFlags::NONBLOCK);
        match rustix::fs::openat(&self.folder, link.as_str(), flags, NO_MODE) {
            Ok(file) => Ok(Temporary {
                file: file.into(),
                folder: Arc::clone(&self.folder),
                name: link,
                kept: false,
            }),
            Err(e) => {
                rustix::fs::unlinkat(&self.folder, link.as_str(), AtFlags::empty())?;
                Err(e.into())
            }
        }
    }

    /// Fails on a file system where names that differ in case only are the same.
    pub(super) fn refuse_case_folding(&self) -> io::Result<()> {
        create(self.folder.as_fd(), "Case")?;
        let other = rustix::fs::statat(&self.folder, "case", AtFlags::empty());
        rustix::fs::unlinkat(&self.folder, "Case", AtFlags::empty())?;
        match other {
            Err(Errno::NOENT) => Ok(()),
            Ok(_) => Err(io::Error::other(
                "its file system ignores case, so that tenants \"A\" and \"a\" would share files",
            )),
            Err(e) => Err(e.into()),
        }
    }

    /// Removes what processes left that are gone; returns how many files there were.
    pub(super) fn sweep(&self) -> io::Result<usize> {
        let mut swept = 0;
        for name in names(&self.home)? {
            let Some(process) = name.strip_suffix(LOCK).filter(|p| *p != self.process) else {
                continue;
            };
            let lock = match rustix::fs::openat(
                &self.home,
                name.as_str(),
                OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC,
                NO_MODE,
            ) {
                Ok(lock) => File::from(lock),
                Err(Errno::NOENT) => continue,
                Err(e) => return Err(e.into()),
            };
            match lock.try_lock() {
                Ok(()) => swept += self.remove_process(process)?,
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(e)) => return Err(e),
            }
        }
        Ok(swept)
    }

    fn remove_process(&self, process: &str) -> io::Result<usize> {
        let mut removed = 0;
        match open_folder(self.home.as_fd(), process) {
            Ok(folder) => {
                for name in names(&folder)? {
                    rustix::fs::unlinkat(&folder, name.as_str(), AtFlags::empty())?;
                    removed += 1;
                }
                rustix::fs::unlinkat(&self.home, process, AtFlags::REMOVEDIR)?;
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
        rustix::fs::unlinkat(&self.home, format!("{process}{LOCK}"), AtFlags::empty())?;
        Ok(removed)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // What is left otherwise, the next sweep finds.
        let _ = self.remove_process(&self.process);
    }
}

impl Temporary {
    /// A file that stays when it is dropped.
    pub(super) fn kept(file: File, folder: OwnedFd, name: &str) -> Self {
        Self { file, folder: Arc::new(folder), name: name.to_owned(), kept: true }
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    pub(super) fn stat(&self) -> io::Result<Stat> {
        Ok(rustix::fs::fstat(&self.file)?)
    }

    /// Gives the file a time of its own, by which it is told from every other version of it: the
    /// kernel's stands still for milliseconds, and a removed file's inode is soon used again.
    pub(super) fn stamp(&self) -> io::Result<()> {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let now = u64::try_from(now).unwrap_or(u64::MAX);
        let last = LAST.fetch_max(now, Ordering::Relaxed);
        let stamp = if now > last { now } else { LAST.fetch_add(1, Ordering::Relaxed) + 1 };
        self.file.set_modified(UNIX_EPOCH + Duration::from_nanos(stamp))
    }

    pub(super) fn folder(&self) -> BorrowedFd<'_> {
        self.folder.as_fd()
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Says that the file has its final name.
    pub(super) fn keep(mut self) {
        self.kept = true;
    }

    pub(super) fn remove(mut self) -> io::Result<()> {
        self.kept = true;
        Ok(rustix::fs::unlinkat(&self.folder, self.name.as_str(), AtFlags::empty())?)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.kept {
            // What is left otherwise, the next start's sweep finds.
            let _ = rustix::fs::unlinkat(&self.folder, self.name.as_str(), AtFlags::empty());
        }
    }
}

fn create(folder: BorrowedFd<'_>, name: &str) -> io::Result<File> {
    Ok(rustix::fs::openat(folder, name, NEW, Mode::from_raw_mode(0o666))?.into())
}

fn make_folder(within: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    match rustix::fs::mkdirat(within, name, Mode::from_raw_mode(0o777)) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

pub(super) fn names(folder: &OwnedFd) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        if let Ok(name) = entry.file_name().to_str()
            && !matches!(name, "." | "..")
        {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}
