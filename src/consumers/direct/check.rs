//! Looking at staged bytes: what image they are, by those that matter.

use futures_util::StreamExt;

use crate::{
    consumers::{
        error::Error,
        image::{Dimensions, ImageType, Inspector},
    },
    storage::{self, ObjectKey, Read, Reading, SharedStorage, Staged},
};

/// Bytes that are read at first. Nearly all heads fit in.
const PIECE: u64 = 64 * 1024;
/// Bytes that are read at once of those that do not.
const LARGEST: u64 = 1024 * 1024;

/// Opens a staged object of so many bytes at its beginning: the version with this entity tag, or
/// whichever is there.
///
/// # Errors
/// [`ErrorKind::Changed`](crate::storage::ErrorKind::Changed) where it is another version, or shorter; or
/// the store fails.
pub async fn open(
    store: &SharedStorage,
    key: &ObjectKey,
    size: u64,
    etag: Option<&str>,
) -> storage::Result<Reading> {
    let how = Read { range: Some(0..PIECE.min(size)), if_match: etag.map(str::to_owned) };
    store.read(key, how).await
}

/// The type and dimensions of exactly this version of a staged object, of which `first` is the
/// beginning.
///
/// # Errors
/// [`Error::ImageUnsupported`] and [`Error::ImageInvalid`]; or the store fails, or has another version.
pub async fn inspect(
    store: &SharedStorage,
    staged: &Staged,
    first: Reading,
) -> Result<(ImageType, Dimensions), Error> {
    let (mut inspector, mut piece, mut reading) = (Inspector::new(), PIECE, first);
    loop {
        while let Some(chunk) = reading.body.next().await {
            inspector.push(&chunk?)?;
        }
        let Some(from) = inspector.wanted().filter(|from| *from < staged.size) else { break };
        inspector.skip();
        piece = (piece * 2).min(LARGEST);
        let range = Some(from..(from + piece).min(staged.size));
        let how = Read { range, if_match: Some(staged.etag.clone()) };
        reading = store.read(&staged.key, how).await?;
    }
    Ok(inspector.finish()?)
}
