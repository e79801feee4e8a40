//! The module's error, and what the client is told of it.

use std::{error::Error as _, time::Duration};

use actix_web::http::header::{CONTENT_RANGE, HeaderValue};

use super::records;
use crate::{
    database,
    problem::{Kind, Problem},
    storage::{self, ErrorKind},
};

/// Why an upload was refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The customer's id in the path breaks its rule.
    #[error("invalid customer id")]
    CustomerInvalid,
    /// No file came.
    #[error("no file")]
    FileMissing,
    /// A file's name, or the key it would make, breaks its rule.
    #[error("invalid file name: {0}")]
    FileNameInvalid(&'static str),
    /// A parameter of the query is wrong; which, and what would be right.
    #[error("invalid query")]
    QueryInvalid(String),
    /// The multipart body is not well-formed or passes a limit.
    #[error("invalid multipart body: {0}")]
    MultipartInvalid(&'static str),
    /// The body is of a media type or coding that is not taken in.
    #[error("unsupported media type")]
    MediaTypeUnsupported(&'static str),
    /// The bytes are no image of an accepted type.
    #[error("not a supported image")]
    ImageUnsupported,
    /// The image's head is broken or promises too many pixels.
    #[error("invalid image: {0}")]
    ImageInvalid(String),
    /// More bytes than allowed; the limit.
    #[error("more than {0} bytes")]
    TooLarge(u64),
    /// The client sends too slowly.
    #[error("the client sends too slowly")]
    TooSlow,
    /// The body ended early or its framing is broken.
    #[error("the body broke off")]
    BodyBroken(#[source] actix_web::error::PayloadError),
    /// The store failed.
    #[error("the store failed")]
    Storage(#[from] storage::Error),
    /// The record could not be read or changed.
    #[error("the record failed")]
    Records(#[from] records::Error),
    /// Its content is held back until the gates among its steps let it pass.
    #[error("held back")]
    Quarantined,
    /// What a step's service answers later is not what was asked for.
    #[error("invalid answer")]
    AnswerInvalid(&'static str),
    /// No step of this name has made an image, or not yet.
    #[error("no such variant")]
    VariantMissing,
    /// The range lies beyond the image's size.
    #[error("beyond {0} bytes")]
    Range(u64),
    /// The image's object is not there, or not the one that the record tells.
    #[error("the record has no object")]
    ObjectLost(#[source] storage::Error),
    /// A request that begins an upload, or goes on with one, is malformed; what is wrong.
    #[error("invalid upload request: {0}")]
    UploadInvalid(&'static str),
    /// The upload is not where the request takes it to be; what to do.
    #[error("the upload is elsewhere: {0}")]
    UploadConflict(&'static str),
    /// What is staged was not sent as the upload's answer said.
    #[error("what is staged is not what was signed for")]
    UploadForeign,
    /// Another request works on the upload and does not let go.
    #[error("the upload is locked")]
    UploadLocked,
    /// A request would bring more than is missing of an upload.
    #[error("more than is missing")]
    UploadOverrun,
    /// A body came too slowly or broke off; what has come is kept.
    #[error("the body of a resumable upload ended early")]
    UploadInterrupted(#[source] Box<Error>),
    /// Changes of the tenant's wait longer than they should already.
    #[error("the tenant is behind")]
    Behind,
    /// The process is about to end; what has come of the upload is kept.
    #[error("stopping")]
    Stopping,
    /// As many streams of events are open as can be.
    #[error("too many streams of events")]
    TooManyStreams,
    /// What is said of a webhook is wrong; what.
    #[error("invalid webhook: {0}")]
    WebhookInvalid(&'static str),
    /// The webhooks there are do not allow it; why.
    #[error("the webhooks do not allow it: {0}")]
    WebhookConflict(&'static str),
    /// The bytes do not have the declared checksum.
    #[error("the checksum differs")]
    ChecksumMismatch,
    /// A link's signature is wrong, or it has expired.
    #[error("invalid link")]
    LinkInvalid,
    /// A request that is not the one that a link is for.
    #[error("not what the link is for")]
    LinkTerms,
    /// A step of the upload ended without an answer: a defect.
    #[error("the commit was lost")]
    CommitLost,
}

impl Error {
    /// Whether the bytes themselves are refused: nothing but other bytes will do.
    pub(super) fn is_of_the_bytes(&self) -> bool {
        matches!(
            self,
            Self::ImageUnsupported
                | Self::ImageInvalid(_)
                | Self::TooLarge(_)
                | Self::UploadForeign
        )
    }

    /// The type of problem that it is told as.
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::CustomerInvalid => Kind::CustomerInvalid,
            Self::FileMissing => Kind::FileMissing,
            Self::FileNameInvalid(_) => Kind::FileNameInvalid,
            Self::QueryInvalid(_) => Kind::QueryInvalid,
            Self::MultipartInvalid(_) | Self::BodyBroken(_) => Kind::MultipartInvalid,
            Self::MediaTypeUnsupported(_) => Kind::MediaTypeUnsupported,
            Self::ImageUnsupported => Kind::ImageUnsupported,
            Self::ImageInvalid(_) => Kind::ImageInvalid,
            Self::TooLarge(_) | Self::UploadOverrun => Kind::TooLarge,
            Self::TooSlow => Kind::RequestTimeout,
            Self::Storage(cause) => kind_of_storage(cause),
            Self::Records(cause) => kind_of_records(cause),
            Self::Quarantined | Self::VariantMissing => Kind::NotFound,
            Self::AnswerInvalid(_) => Kind::BodyInvalid,
            Self::Range(_) => Kind::RangeNotSatisfiable,
            Self::UploadInvalid(_) => Kind::UploadInvalid,
            Self::UploadConflict(_) | Self::UploadForeign => Kind::UploadConflict,
            Self::UploadLocked => Kind::UploadLocked,
            Self::UploadInterrupted(cause) => match **cause {
                Self::TooSlow => Kind::RequestTimeout,
                _ => Kind::BodyInvalid,
            },
            Self::Behind | Self::Stopping | Self::TooManyStreams => Kind::Overloaded,
            Self::WebhookInvalid(_) => Kind::WebhookInvalid,
            Self::WebhookConflict(_) => Kind::WebhookConflict,
            Self::ChecksumMismatch => Kind::ChecksumMismatch,
            Self::LinkInvalid | Self::LinkTerms => Kind::Forbidden,
            Self::ObjectLost(_) | Self::CommitLost => Kind::Internal,
        }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let problem = Self::new(error.kind());
        match error {
            // A full quota is no failure, for all that its status is a server's.
            Error::Storage(_) | Error::Records(_) if problem.kind() == Kind::QuotaExceeded => {
                problem
            }
            Error::Storage(_) | Error::Records(_) | Error::ObjectLost(_) | Error::CommitLost => {
                problem.because(error)
            }
            Error::FileNameInvalid(what)
            | Error::MultipartInvalid(what)
            | Error::MediaTypeUnsupported(what)
            | Error::AnswerInvalid(what)
            | Error::UploadInvalid(what)
            | Error::UploadConflict(what)
            | Error::WebhookInvalid(what)
            | Error::WebhookConflict(what) => problem.detail(what),
            Error::QueryInvalid(what) | Error::ImageInvalid(what) => problem.detail(what),
            Error::TooLarge(limit) => problem
                .detail(format!("Send at most {limit} bytes; nothing of this upload was kept.")),
            Error::BodyBroken(_) => problem.detail(
                "The body broke off before its end; send it whole. Nothing of it was kept.",
            ),
            Error::Range(size) => beyond(problem, size),
            Error::Quarantined => problem.detail(
                "The image is held back until it was checked; its record tells how far that is.",
            ),
            Error::VariantMissing => problem
                .detail("The image has no such variant, or not yet; its record tells what there is."),
            Error::UploadForeign => problem.detail(
                "What was sent is not what this upload was begun for, and was thrown away; begin a new one.",
            ),
            Error::Behind => problem.detail(
                "Earlier uploads of this tenant still wait to be stored; send this again later.",
            ),
            Error::UploadLocked => problem.retry_after(Duration::from_secs(1)),
            Error::UploadOverrun => problem.detail(
                "The body is longer than what is missing of the upload, which is where it was.",
            ),
            Error::UploadInterrupted(_) => problem.detail(
                "The body came too slowly or broke off. What came is kept: ask by HEAD how far, and go on.",
            ),
            Error::LinkInvalid => {
                problem.detail("The link is wrong or has expired; ask for a new one.")
            }
            Error::LinkTerms => problem.detail(
                "The link is for exactly the size and type that it was asked for; send those.",
            ),
            Error::CustomerInvalid
            | Error::FileMissing
            | Error::ImageUnsupported
            | Error::TooSlow
            | Error::Stopping
            | Error::TooManyStreams
            | Error::ChecksumMismatch => problem,
        }
    }
}

/// Tells the size that a range has to be within (RFC 9110 15.5.17).
fn beyond(problem: Problem, size: u64) -> Problem {
    match HeaderValue::try_from(format!("bytes */{size}")) {
        Ok(told) => problem.field(CONTENT_RANGE, told),
        Err(_) => problem,
    }
}

fn kind_of_storage(error: &storage::Error) -> Kind {
    // The journal of an upload failed, not the store.
    if let Some(error) = error.source().and_then(|cause| cause.downcast_ref()) {
        return kind_of_records(error);
    }
    match error.kind() {
        ErrorKind::NotFound => Kind::NotFound,
        ErrorKind::AlreadyExists => Kind::AlreadyExists,
        ErrorKind::Unavailable | ErrorKind::Changed => Kind::StorageUnavailable,
        ErrorKind::Overloaded => Kind::Overloaded,
        ErrorKind::KeyTooLong => Kind::FileNameInvalid,
        ErrorKind::Internal => Kind::Internal,
    }
}

fn kind_of_records(error: &records::Error) -> Kind {
    match error {
        records::Error::Taken => Kind::AlreadyExists,
        records::Error::Condition => Kind::PreconditionFailed,
        records::Error::Quota => Kind::QuotaExceeded,
        records::Error::NotFound => Kind::NotFound,
        records::Error::Lost | records::Error::Busy => Kind::StorageUnavailable,
        records::Error::Overloaded => Kind::Overloaded,
        records::Error::Database(error) => match error.kind() {
            database::ErrorKind::Unavailable => Kind::StorageUnavailable,
            database::ErrorKind::Taken | database::ErrorKind::Internal => Kind::Internal,
        },
    }
}
