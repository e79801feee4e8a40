//! What a request to go on with an upload says of it, and whether that fits.

use super::{ResumableUploads, fields::Checksum};
use crate::consumers::{error::Error, records::Session};

/// What a request wants of an upload, as its head says.
pub struct Terms {
    /// Where its bytes begin.
    pub offset: u64,
    /// The upload's length, where it is told only now.
    pub length: Option<u64>,
    /// The bytes of the body, where that is known.
    pub body: Option<u64>,
    /// What its bytes must have.
    pub checksum: Option<Checksum>,
}

impl Terms {
    /// Whether the request fits the upload as it is. Takes its length, where it is told only now.
    ///
    /// # Errors
    /// [`Error::UploadConflict`], [`Error::UploadInvalid`], [`Error::UploadOverrun`]; the upload is where
    /// it was.
    pub fn check(&self, resumable: &ResumableUploads, session: &mut Session) -> Result<(), Error> {
        if self.offset != session.received {
            return Err(Error::UploadConflict(
                "The Upload-Offset is not how far the upload is; ask by HEAD, and go on from there.",
            ));
        }
        if let Some(length) = self.length {
            if session.length.is_some_and(|known| known != length) || length < session.received {
                return Err(Error::UploadInvalid("The Upload-Length is not what it was before."));
            }
            resumable.check_length(Some(length)).map_err(refused)?;
            session.length = Some(length);
        }
        let limit = session.length.unwrap_or(resumable.settings().max_file_size.as_u64());
        match self.body {
            Some(body) if body > limit - session.received.min(limit) => Err(Error::UploadOverrun),
            _ => Ok(()),
        }
    }
}

/// What is wrong with a request's head does not end the upload.
fn refused(error: Error) -> Error {
    match error {
        Error::TooLarge(_) => Error::UploadInvalid("The Upload-Length is over the limit."),
        other => other,
    }
}
