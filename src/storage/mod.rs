//! Where image bytes are kept: the [`Storage`] trait, its contract, and the backends.
//!
//! This module knows keys and bytes. It knows no HTTP, no tenant and no image; it imports
//! nothing else of this crate. A backend is one file, one arm in [`Settings::build`] and one
//! line in the contract suite (`tests/storage.rs`).

pub mod budget;
mod buffer;
pub mod error;
pub mod key;
mod local;
mod s3;
mod settings;

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;

pub use budget::{Budget, Share};
pub use error::{Error, ErrorKind};
pub use key::ObjectKey;
pub use settings::{BackendKind, BuildError, Encryption, LocalSettings, S3Settings, Settings};

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
pub trait Storage: Send + Sync {
    /// Begins an upload to `new.key`. Nothing need be sent before the first [`Upload::write`].
    ///
    /// # Errors
    /// [`ErrorKind::KeyTooLong`] when this store cannot keep an object of that name.
    fn begin(&self, new: NewObject) -> BoxFuture<'_, Result<Box<dyn Upload>>>;

    /// Reads a whole object's bytes back, for the checks of small objects and tests.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is no such object.
    fn get(&self, key: &ObjectKey) -> BoxFuture<'_, Result<Object>>;

    /// Removes an object. Removing what is not there succeeds.
    fn delete(&self, key: &ObjectKey) -> BoxFuture<'_, Result<()>>;

    /// Whether the store can be reached and used right now; for readiness. Bounded in time.
    fn ready(&self) -> BoxFuture<'_, Result<()>>;

    /// Clears what earlier processes left unfinished (temporary files, multipart uploads), and
    /// returns how many there were. Never touches what a live process is writing.
    fn sweep(&self) -> BoxFuture<'_, Result<usize>>;

    /// Waits until all background work (aborts of dropped uploads, commits) has ended.
    fn drain(&self) -> BoxFuture<'_, ()>;
}

/// What [`Storage::begin`] needs to know of an object.
#[derive(Clone, Debug)]
pub struct NewObject {
    /// Where it will be visible.
    pub key: ObjectKey,
    /// The media type to store with it, where the backend keeps one.
    pub content_type: &'static str,
    /// Bytes the object will have if known, an upper bound otherwise; a hint, never trusted.
    pub size_hint: Option<u64>,
    /// Whose share of the memory budget the buffers count against.
    pub share: Share,
}

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
    fn finish(self: Box<Self>, commit: Commit) -> BoxFuture<'static, Result<Stored>>;

    /// Throws the upload away and waits until nothing of it is left.
    fn abort(self: Box<Self>) -> BoxFuture<'static, Result<()>>;
}

/// What is known only when all bytes have passed.
#[derive(Clone, Copy, Debug)]
pub struct Commit {
    /// SHA-256 of all bytes; where the backend can, the store verifies them against it.
    pub sha256: [u8; 32],
    /// Fail with [`ErrorKind::AlreadyExists`] if the key has an object already.
    pub if_absent: bool,
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
}

/// An object read back.
#[derive(Clone, Debug)]
pub struct Object {
    /// The bytes.
    pub bytes: Bytes,
    /// The media type it was stored with, where the backend keeps one.
    pub content_type: Option<String>,
}

/// A store as the rest of the program holds it.
pub type SharedStorage = Arc<dyn Storage>;
