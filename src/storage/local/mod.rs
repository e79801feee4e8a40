//! Objects as files below a folder: `{root}/{key}`. What is being written stands below
//! `{root}/.gatehouse/`, which no key can reach, and is renamed into its place when it is
//! whole and on the disk.
//!
//! The disk is only touched on blocking threads, a batch of bytes at a time: tokio's own file
//! type hops to one for each write. A small object is one such visit in all.
//!
//! Media types are not kept, and folders are not removed with their last file, but when they are
//! pruned: an upload might be about to use them. A key that is a folder of another key's path
//! is an error. Files whose name is no UTF-8 are no objects.

mod diagnosis;
mod list;
mod moved;
mod read;
mod resume;
mod root;
mod staging;
mod upload;

use std::{collections::HashSet, io, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use tokio::{runtime::Handle, task::spawn_blocking, time::timeout};
use tokio_util::task::TaskTracker;

use self::{moved::LocalMove, resume::LocalResumable, root::Root, upload::LocalUpload};
use super::{
    Budget, BuildError, Error, ErrorKind, Finding, Head, LocalSettings, NewObject, ObjectKey, Page,
    Presigner, Read, Reading, Result, Resumable, SharedStorage, Staged, Storage, Suspended, Upload,
    buffer::Pool, read::check_prefix,
};

/// Bytes that go to the disk at once.
const BATCH: usize = 1024 * 1024;
/// How long readiness waits for the disk.
const READY_WITHIN: Duration = Duration::from_secs(2);

/// Makes the store of `settings`, which are valid.
pub(super) async fn build(
    settings: &LocalSettings,
    budget: &Arc<Budget>,
) -> std::result::Result<SharedStorage, BuildError> {
    let path = settings.root.clone();
    let shown = path.display().to_string();
    let wrong = |message: String| BuildError::new("local.root", message);
    let root = match spawn_blocking(move || Root::open(&path)).await {
        Ok(Ok(root)) => root,
        Ok(Err(cause)) => {
            let remedy = "name a folder that this user may write to";
            let message = format!("names \"{shown}\", which cannot be used ({cause}); {remedy}");
            return Err(wrong(message).because(cause));
        }
        Err(cause) => return Err(wrong(format!("names \"{shown}\"")).because(cause)),
    };
    Ok(Arc::new(Local(Arc::new(Disk {
        root: Arc::new(root),
        batch: BATCH.min(budget.per_owner()),
        pool: Arc::default(),
        tasks: TaskTracker::new(),
        home: Handle::current(),
    }))))
}

struct Local(Arc<Disk>);

/// The folder, and what every upload into it shares.
struct Disk {
    root: Arc<Root>,
    batch: usize,
    pool: Arc<Pool>,
    /// Commits and clean-ups, which `drain` waits for.
    tasks: TaskTracker,
    /// The runtime that outlives the workers; clean-ups run there.
    home: Handle,
}

impl Disk {
    /// Fails for a key with a segment that is too long for the file system.
    fn check_length(&self, key: &ObjectKey) -> Result<()> {
        let longest = key.segments().map(str::len).max().unwrap_or_default();
        if longest > self.root.longest_name() {
            return Err(Error::new(ErrorKind::KeyTooLong, "open"));
        }
        Ok(())
    }

    /// Does `work` on a blocking thread; it runs to its end even if nobody waits for it.
    fn spawn<T, W>(
        &self,
        operation: &'static str,
        work: W,
    ) -> impl Future<Output = Result<T>> + use<T, W>
    where
        T: Send + 'static,
        W: FnOnce(&Root) -> io::Result<T> + Send + 'static,
    {
        let root = Arc::clone(&self.root);
        let done = self.tasks.spawn_blocking(move || work(&root).map_err(|e| root.cause_of(e)));
        async move {
            match done.await {
                Ok(result) => result.map_err(|e| error_of(operation, e)),
                Err(cause) => Err(Error::new(ErrorKind::Internal, operation).because(cause)),
            }
        }
    }
}

impl Storage for Local {
    fn begin(&self, new: NewObject) -> BoxFuture<'_, Result<Box<dyn Upload>>> {
        Box::pin(async move {
            self.0.check_length(&new.key)?;
            Ok(Box::new(LocalUpload::new(Arc::clone(&self.0), new)) as Box<dyn Upload>)
        })
    }

    fn begin_from(&self, staged: Staged, new: NewObject) -> BoxFuture<'_, Result<Box<dyn Upload>>> {
        Box::pin(async move {
            self.0.check_length(&new.key)?;
            Ok(Box::new(LocalMove::new(Arc::clone(&self.0), staged, new.key)) as Box<dyn Upload>)
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
            self.0.check_length(&new.key)?;
            let disk = Arc::clone(&self.0);
            let taken_up = LocalResumable::take_up(disk, new, staging, from).await?;
            Ok(Box::new(taken_up) as Box<dyn Resumable>)
        })
    }

    /// A folder takes no requests.
    fn presigner(&self) -> Option<&dyn Presigner> {
        None
    }

    fn head(&self, key: &ObjectKey) -> BoxFuture<'_, Result<Head>> {
        let key = key.clone();
        Box::pin(self.0.spawn("stat", move |root| root.head(&key)))
    }

    fn read(&self, key: &ObjectKey, how: Read) -> BoxFuture<'_, Result<Reading>> {
        Box::pin(read::open(&self.0, key.clone(), how))
    }

    fn delete(&self, key: &ObjectKey) -> BoxFuture<'_, Result<()>> {
        let key = key.clone();
        Box::pin(self.0.spawn("unlink", move |root| root.remove(&key)))
    }

    fn list(&self, prefix: &str, after: Option<&str>) -> BoxFuture<'_, Result<Page>> {
        let (prefix, after) = (prefix.to_owned(), after.map(str::to_owned));
        Box::pin(async move {
            check_prefix(&prefix, "readdir")?;
            let after = after.unwrap_or_default();
            self.0.spawn("readdir", move |root| root.list(&prefix, &after)).await
        })
    }

    /// There is nothing to do: a dead process's files are in no folder of objects, and swept.
    fn unfinished(&self, _: &ObjectKey) -> BoxFuture<'_, Result<Vec<String>>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn unfinished_below(&self, _: &str) -> BoxFuture<'_, Result<Vec<(ObjectKey, String)>>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn abort(&self, _: &ObjectKey, _: &str) -> BoxFuture<'_, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn secure(&self, key: &ObjectKey) -> BoxFuture<'_, Result<()>> {
        let key = key.clone();
        Box::pin(self.0.spawn("fsync", move |root| root.secure(&key)))
    }

    fn settles_within(&self) -> Duration {
        Duration::ZERO
    }

    fn prune(&self, prefix: &str) -> BoxFuture<'_, Result<()>> {
        let prefix = prefix.to_owned();
        Box::pin(async move {
            check_prefix(&prefix, "rmdir")?;
            self.0.spawn("rmdir", move |root| root.prune(&prefix)).await
        })
    }

    fn ready(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let probe = self.0.spawn("create", |root| root.staging().create().map(drop));
            let late = |e| Error::new(ErrorKind::Unavailable, "create").because(e);
            timeout(READY_WITHIN, probe).await.map_err(late)?
        })
    }

    fn diagnose<'a>(
        &'a self,
        staging: &'a str,
        _: &'a [String],
    ) -> BoxFuture<'a, Result<Vec<Finding>>> {
        Box::pin(diagnosis::diagnose(&self.0, staging))
    }

    fn sweep<'a>(&'a self, _: &'a HashSet<String>) -> BoxFuture<'a, Result<usize>> {
        Box::pin(self.0.spawn("sweep", |root| root.staging().sweep()))
    }

    fn drain(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.0.tasks.close();
            self.0.tasks.wait().await;
            self.0.tasks.reopen();
        })
    }
}

fn error_of(operation: &'static str, cause: io::Error) -> Error {
    use io::ErrorKind as Io;
    let kind = match cause.kind() {
        Io::NotFound => ErrorKind::NotFound,
        Io::AlreadyExists => ErrorKind::AlreadyExists,
        Io::InvalidFilename => ErrorKind::KeyTooLong,
        Io::StorageFull
        | Io::QuotaExceeded
        | Io::StaleNetworkFileHandle
        | Io::TimedOut
        | Io::ResourceBusy
        | Io::OutOfMemory => ErrorKind::Unavailable,
        _ if is_exhaustion(&cause) => ErrorKind::Unavailable,
        _ => ErrorKind::Internal,
    };
    Error::new(kind, operation).because(cause)
}

/// Out of file descriptors, or the disk failed: another try may do better.
fn is_exhaustion(cause: &io::Error) -> bool {
    use rustix::io::Errno;
    let of = [Errno::MFILE, Errno::NFILE, Errno::IO, Errno::NOBUFS];
    Errno::from_io_error(cause).is_some_and(|errno| of.contains(&errno))
}
