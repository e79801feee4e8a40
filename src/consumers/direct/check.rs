//! Looking at staged bytes: what image they are, by those that matter.

use futures_util::StreamExt;

use crate::{
    consumers::{
        error::Error,
        image::{Dimensions, ImageType, Inspector},
    },
    storage::{Read, SharedStorage, Staged},
};

/// Bytes that are read at first. Nearly all heads fit in.
const PIECE: u64 = 64 * 1024;
/// Bytes that are read at once of those that do not.
const LARGEST: u64 = 1024 * 1024;

/// The type and dimensions of exactly this version of a staged object.
///
/// # Errors
/// [`Error::ImageUnsupported`] and [`Error::ImageInvalid`]; or the store fails, or has another version.
pub async fn inspect(
    storage: &SharedStorage,
    staged: &Staged,
) -> Result<(ImageType, Dimensions), Error> {
    let (mut inspector, mut piece) = (Inspector::new(), PIECE);
    while let Some(from) = inspector.wanted().filter(|from| *from < staged.size) {
        inspector.skip();
        let range = Some(from..(from + piece).min(staged.size));
        let how = Read { range, if_match: Some(staged.etag.clone()) };
        let mut reading = storage.read(&staged.key, how).await?;
        while let Some(chunk) = reading.body.next().await {
            inspector.push(&chunk?)?;
        }
        piece = (piece * 2).min(LARGEST);
    }
    Ok(inspector.finish()?)
}
