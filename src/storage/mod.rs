//! Where image bytes are kept: the [`Storage`] trait, its contract, and the backends.
//!
//! This module knows keys and bytes. It knows no HTTP, no tenant and no image; it imports
//! nothing else of this crate. A backend is one file, one arm in [`Settings::build`] and one
//! line in the contract suite (`tests/storage`).

pub mod budget;
mod buffer;
mod diagnosis;
pub mod error;
pub mod key;
mod local;
mod presign;
mod read;
mod s3;
mod settings;

use std::{collections::HashSet, error::Error as StdError, fmt, sync::Arc, time::Duration};

use aws_lc_rs::digest;
use bytes::Bytes;
use futures_util::{TryStreamExt, future::BoxFuture};
use uuid::Uuid;

pub use budget::{Budget, Share};
pub use diagnosis::Finding;
pub use error::{Error, ErrorKind};
pub use key::ObjectKey;
pub use presign::{GetTerms, Presigner, PutTerms, SignedForm, SignedRequest, StoredPart};
pub use read::{Head, Listed, Page, Read, Reading};
pub use settings::{
    BackendKind, BuildError, Encryption, LocalSettings, PresignSettings, S3Settings, Settings,
};

/// A result of this module.
pub type Result<T> = std::result::Result<T, Error>;

/// A store of objects, shared by all workers.
///
/// # Contract
///
/// 1. Nothing is visible under a key before [`Upload::finish`] succeeds. Then the whole object
///    is, and it is durable: it survives a crash of this process and of the machine.
/// 2. Finishing over an existing key replaces the object atomically: a reader sees the old
///    bytes or the new ones, never a mixture. Of two at once one wins whole.
/// 3. An upload that is aborted, dropped, or fails leaves nothing behind: no temporary file,
///    no part, no multipart upload. A drop cleans up in the background.
/// 4. Memory is bounded by the [`Budget`], whatever the number and size of the uploads.
/// 5. Errors tell their [`ErrorKind`]; callers never see a backend's own error type.
/// 6. A reader gets one version of an object, whatever is written meanwhile: the [`Head`] and all
///    bytes are of the same one. A body that cannot be read to its end has an error as its last
///    item, never a clean end.
/// 7. An entity tag names one version of an object's bytes: another one under the same key has
///    another tag. [`Upload::finish`], [`head`](Self::head), [`read`](Self::read) and
///    [`list`](Self::list) tell the same tag of the same version.
pub trait Storage: Send + Sync {
    /// Begins an upload to `new.key`. Nothing need be sent before the first [`Upload::write`].
    ///
    /// # Errors
    /// [`ErrorKind::KeyTooLong`] when this store cannot keep an object of that name.
    fn begin(&self, new: NewObject) -> BoxFuture<'_, Result<Box<dyn Upload>>>;

    /// Begins an upload of what is in the store already, which does not pass through this process:
    /// finishing it puts those bytes under `new.key`. Nothing can be written to it.
    ///
    /// # Errors
    /// [`ErrorKind::Changed`] or [`ErrorKind::NotFound`] from [`Upload::finish`], when the staged
    /// object is not that version any more.
    fn begin_from(&self, staged: Staged, new: NewObject) -> BoxFuture<'_, Result<Box<dyn Upload>>>;

    /// Begins an upload to `new.key` that goes on across requests and processes, or takes it up where
    /// it was suspended. What cannot be kept under the key yet stands at and below `staging`. All but
    /// `new.share` and `new.size_hint` must be the same each time, and one process at a time has it.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when the store has not kept what was suspended; as [`begin`](Self::begin).
    fn resume(
        &self,
        new: NewObject,
        staging: &ObjectKey,
        from: Option<&Suspended>,
    ) -> BoxFuture<'_, Result<Box<dyn Resumable>>>;

    /// Signs requests that clients send to the store themselves; none where it takes no requests.
    fn presigner(&self) -> Option<&dyn Presigner>;

    /// What the store knows of an object.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is no such object.
    fn head(&self, key: &ObjectKey) -> BoxFuture<'_, Result<Head>>;

    /// Opens an object for reading. Bytes are fetched only as fast as the body is polled;
    /// dropping it ends the reading.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is no such object, [`ErrorKind::Changed`] when it is
    /// not the version that `how` asks for.
    fn read(&self, key: &ObjectKey, how: Read) -> BoxFuture<'_, Result<Reading>>;

    /// The SHA-256 of an object, which is read for it.
    ///
    /// # Errors
    /// As [`read`](Self::read): [`ErrorKind::Changed`] when its entity tag is not `etag`.
    fn sha256<'a>(&'a self, key: &'a ObjectKey, etag: &'a str) -> BoxFuture<'a, Result<[u8; 32]>> {
        Box::pin(async move {
            let how = Read { range: None, if_match: Some(etag.to_owned()) };
            let mut body = self.read(key, how).await?.body;
            let mut hash = digest::Context::new(&digest::SHA256);
            while let Some(bytes) = body.try_next().await? {
                hash.update(&bytes);
            }
            Ok(finished(hash))
        })
    }

    /// Removes an object. Removing what is not there succeeds.
    fn delete(&self, key: &ObjectKey) -> BoxFuture<'_, Result<()>>;

    /// The objects whose key begins with `prefix`, in the order of their keys' bytes: those
    /// behind the key `after`, 1,000 at most. What is written or removed meanwhile may be there
    /// or not; everything else is.
    ///
    /// A prefix is whole segments, such as `acme/customer/12/`, or empty for all objects.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] for another prefix.
    fn list(&self, prefix: &str, after: Option<&str>) -> BoxFuture<'_, Result<Page>>;

    /// What was begun under exactly this key and is neither finished nor aborted, by the references
    /// that a [`Journal`] is told.
    fn unfinished(&self, key: &ObjectKey) -> BoxFuture<'_, Result<Vec<String>>>;

    /// The same for all keys that begin with `prefix`, as far as the store can list that: MinIO
    /// cannot, and answers none.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] for what is no prefix, see [`list`](Self::list).
    fn unfinished_below(&self, prefix: &str) -> BoxFuture<'_, Result<Vec<(ObjectKey, String)>>>;

    /// Ends an upload to `key` that a process which is gone has begun, until nothing is left of
    /// it; succeeds if there is none of this reference. Must not be used on what a live process
    /// is writing.
    fn abort(&self, key: &ObjectKey, reference: &str) -> BoxFuture<'_, Result<()>>;

    /// Makes sure that an object which others put there outlives the loss of power, as one does
    /// that [`Upload::finish`] told of.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is none.
    fn secure(&self, key: &ObjectKey) -> BoxFuture<'_, Result<()>>;

    /// How long what was sent to the store may still take effect after its sender is gone.
    fn settles_within(&self) -> Duration;

    /// Removes the folders at and below `prefix` that have no object, where the store has
    /// folders. Uploads to such a folder meanwhile do not fail.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] for what is no prefix, see [`list`](Self::list).
    fn prune(&self, prefix: &str) -> BoxFuture<'_, Result<()>>;

    /// Whether the store can be reached and used right now; for readiness. Bounded in time.
    fn ready(&self) -> BoxFuture<'_, Result<()>>;

    /// Tries all that is asked of a store on objects of its own below the folder `staging`, which it
    /// removes again: what works, and what is missing. `origins` are those of the pages that are
    /// to send requests to it themselves.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] when `staging` is no segment of a key.
    fn diagnose<'a>(
        &'a self,
        staging: &'a str,
        origins: &'a [String],
    ) -> BoxFuture<'a, Result<Vec<Finding>>>;

    /// Clears what earlier processes left unfinished (temporary files, multipart uploads), and
    /// returns how many there were. Never touches what a live process is writing, nor what is kept to
    /// be gone on with: the references of those are `kept`.
    fn sweep<'a>(&'a self, kept: &'a HashSet<String>) -> BoxFuture<'a, Result<usize>>;

    /// Waits until all background work (aborts of dropped uploads, commits) has ended.
    fn drain(&self) -> BoxFuture<'_, ()>;
}

/// What [`Storage::begin`] needs to know of an object.
#[derive(Clone)]
pub struct NewObject {
    /// Where it will be visible.
    pub key: ObjectKey,
    /// The media type to store with it, where the backend keeps one.
    pub content_type: &'static str,
    /// Bytes the object will have if known, an upper bound otherwise; a hint, never trusted.
    pub size_hint: Option<u64>,
    /// Whose share of the memory budget the buffers count against.
    pub share: Share,
    /// Names this upload, of all that there will ever be. The object tells it again
    /// ([`Head::upload`]) where the backend keeps such a thing.
    pub upload: Uuid,
    /// Who is told of what would outlive this process.
    pub journal: Option<Arc<dyn Journal>>,
}

impl fmt::Debug for NewObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, content_type, size_hint, upload, .. } = self;
        write!(f, "NewObject({key:?}, {content_type}, {size_hint:?}, {upload})")
    }
}

/// Is told of what will outlive this process before it exists: S3's multipart uploads. An upload
/// that fits one part begins nothing of the kind, and neither does one to local files.
pub trait Journal: Send + Sync {
    /// Awaited before something is begun at the store that a crash would leave behind.
    ///
    /// # Errors
    /// Fail the upload, as [`ErrorKind::Unavailable`].
    fn opening(&self) -> BoxFuture<'_, JournalResult>;

    /// Awaited right after, with the store's name for it (S3's `UploadId`), which
    /// [`Storage::abort`] takes.
    ///
    /// # Errors
    /// Abort the upload, and fail it as [`ErrorKind::Unavailable`].
    fn opened<'a>(&'a self, reference: &'a str) -> BoxFuture<'a, JournalResult>;
}

/// What a [`Journal`] answers: an error's cause is its own.
pub type JournalResult = std::result::Result<(), Box<dyn StdError + Send + Sync>>;

/// One upload in progress. [`finish`](Upload::finish) and [`abort`](Upload::abort) consume it,
/// so nothing can be finished twice.
pub trait Upload: Send {
    /// Takes the next bytes. Waits (back-pressure) while the backend is behind or the memory
    /// budget is used up.
    ///
    /// # Errors
    /// [`ErrorKind::Overloaded`] when the budget stays used up; [`ErrorKind::Unavailable`]
    /// when the store cannot be reached. After an error the upload can only be dropped or aborted.
    fn write(&mut self, chunk: Bytes) -> BoxFuture<'_, Result<()>>;

    /// Makes the object durable and visible under its key.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`] as the commit asks. After an error the object is not
    /// there, and never will be, unless [`Error::may_take_effect`].
    fn finish(self: Box<Self>, commit: Commit) -> BoxFuture<'static, Result<Stored>>;

    /// Throws the upload away and waits until nothing of it is left.
    fn abort(self: Box<Self>) -> BoxFuture<'static, Result<()>>;
}

/// An upload that goes on across requests and processes. Dropping it leaves what the store has:
/// it can be taken up again from the last [`checkpoint`](Resumable::checkpoint).
/// [`Upload::finish`] and [`Upload::abort`] end it; where finishing fails it can be taken up again,
/// unless [`Error::may_take_effect`].
///
/// What it begins at the store after the last checkpoint that was kept, only the [`Journal`] was
/// told of: who takes it up from there ends the other by [`Storage::abort`].
pub trait Resumable: Upload {
    /// Bytes between two places at which a checkpoint costs least, counted from the beginning.
    fn step(&self) -> u64;

    /// Makes all that was written durable, and tells how to take it up again. Earlier answers are
    /// good until the next checkpoint. Writing can go on.
    ///
    /// # Errors
    /// As [`Upload::write`].
    fn checkpoint(&mut self) -> BoxFuture<'_, Result<Suspended>>;
}

/// How a [`Resumable`] upload is taken up again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspended {
    /// The bytes that are there.
    pub size: u64,
    /// The store's own note of where they are.
    pub state: String,
}

/// One version of an object that waits to become another.
#[derive(Clone, Debug)]
pub struct Staged {
    /// Where it is.
    pub key: ObjectKey,
    /// The version, see [`Head::etag`].
    pub etag: String,
    /// Its bytes.
    pub size: u64,
}

/// What is known only when all bytes have passed.
#[derive(Clone, Copy, Debug)]
pub struct Commit {
    /// SHA-256 of all bytes, if known; where the backend can, the store verifies them against it.
    pub sha256: Option<[u8; 32]>,
    /// Fail with [`ErrorKind::AlreadyExists`] if the key has an object already.
    pub if_absent: bool,
}

/// The SHA-256 of these bytes.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = digest::Context::new(&digest::SHA256);
    hash.update(bytes);
    finished(hash)
}

/// What a SHA-256 of all bytes comes to.
pub fn finished(hash: digest::Context) -> [u8; 32] {
    let mut sha256 = [0; 32];
    sha256.copy_from_slice(hash.finish().as_ref());
    sha256
}

/// A SHA-256 in lower-case hexadecimal digits.
pub fn hex(bytes: &[u8; 32]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |n: u8| char::from(DIGITS[usize::from(n)]);
    bytes.iter().flat_map(|b| [digit(b >> 4), digit(b & 15)]).collect()
}

/// What a finished upload became.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The store's entity tag, without quotes; opaque.
    pub etag: String,
    /// Bytes.
    pub size: u64,
    /// Their SHA-256, where the store has computed it.
    pub sha256: Option<[u8; 32]>,
}

/// A store as the rest of the program holds it.
pub type SharedStorage = Arc<dyn Storage>;
