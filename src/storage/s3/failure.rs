//! What the SDK's errors mean to us, and what may be said of them.

use std::fmt;

use aws_sdk_s3::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};

use super::super::{Error, ErrorKind};

/// A failed call: the store's answer, or why there was none. Never has a request's headers,
/// nor any credential.
#[derive(Debug)]
pub(super) struct Failure {
    kind: ErrorKind,
    status: Option<u16>,
    code: Option<String>,
    message: String,
}

impl Failure {
    pub(super) fn of<E>(error: &SdkError<E, HttpResponse>) -> Self
    where
        E: std::error::Error + ProvideErrorMetadata + 'static,
    {
        let status = error.raw_response().map(|r| r.status().as_u16());
        let code = error.code().map(str::to_owned);
        let message = match error {
            SdkError::ServiceError(context) => {
                context.err().message().unwrap_or("no message").to_owned()
            }
            other => chain(other),
        };
        let kind = match error {
            SdkError::TimeoutError(_) => ErrorKind::Unavailable,
            // Neither a timeout nor a broken connection: no credentials, or a request that
            // cannot be made.
            SdkError::DispatchFailure(failure)
                if failure.is_user() || (failure.is_other() && failure.as_other().is_none()) =>
            {
                ErrorKind::Internal
            }
            SdkError::DispatchFailure(_) => ErrorKind::Unavailable,
            SdkError::ServiceError(_) | SdkError::ResponseError(_) => {
                kind_of(status, code.as_deref())
            }
            _ => ErrorKind::Internal,
        };
        Self { kind, status, code, message }
    }

    /// Whether the answer was that a precondition (`If-None-Match`) does not hold.
    pub(super) fn is_conflict(&self) -> bool {
        self.status == Some(412) || self.code.as_deref() == Some("ConditionalRequestConflict")
    }

    /// Whether the answer was that the object is another version, or too short for the range.
    pub(super) fn is_changed(&self) -> bool {
        matches!(self.status, Some(412 | 416))
    }

    /// Whether a `HEAD` was answered that something is missing: the answer has no body to tell
    /// what.
    pub(super) fn is_missing_something(&self) -> bool {
        self.status == Some(404)
    }

    /// Whether the answer was that there is no such multipart upload.
    pub(super) fn is_missing_upload(&self) -> bool {
        self.code.as_deref() == Some("NoSuchUpload")
    }

    /// Whether the answer was that the store does not know what was asked of it.
    pub(super) fn is_unsupported(&self) -> bool {
        let codes = ["NotImplemented", "InvalidRequest", "InvalidArgument"];
        self.code.as_deref().is_some_and(|code| codes.contains(&code))
    }

    /// Whether the answer was that there is no such object.
    pub(super) fn is_missing_key(&self) -> bool {
        self.kind == ErrorKind::NotFound
    }

    /// The error of a call on a multipart upload that may be gone.
    pub(super) fn of_upload(self, operation: &'static str) -> Error {
        if self.is_missing_upload() {
            return Error::new(ErrorKind::NotFound, operation).because(self);
        }
        self.into_error(operation)
    }

    pub(super) fn into_error(self, operation: &'static str) -> Error {
        Error::new(self.kind, operation).because(self)
    }
}

impl Failure {
    /// The answer to a request that the SDK did not send.
    pub(super) fn told(status: u16, code: Option<String>, message: &str) -> Self {
        let kind = kind_of(Some(status), code.as_deref());
        Self { kind, status: Some(status), code, message: message.to_owned() }
    }

    /// Why an operation failed, if its cause is a call's failure.
    pub(super) fn behind(error: &Error) -> Option<&Self> {
        std::error::Error::source(error)?.downcast_ref()
    }

    pub(super) fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }

    pub(super) fn is_unanswered(&self) -> bool {
        self.status.is_none()
    }

    /// Whether the answer was that this key may not do that.
    pub(super) fn is_refusal(&self) -> bool {
        self.status == Some(403)
    }

    /// An aborted multipart upload that goes on having parts.
    pub(super) fn lingering() -> Self {
        let message = "the aborted multipart upload still has parts".to_owned();
        Self { kind: ErrorKind::Unavailable, status: None, code: None, message }
    }
}

/// An error and its causes in one line.
pub(super) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn kind_of(status: Option<u16>, code: Option<&str>) -> ErrorKind {
    match (status, code) {
        (_, Some("NoSuchKey")) => ErrorKind::NotFound,
        (_, Some("NoSuchBucket")) => ErrorKind::Internal,
        (_, Some("KeyTooLongError")) => ErrorKind::KeyTooLong,
        (_, Some("RequestTimeout" | "SlowDown" | "OperationAborted" | "InternalError")) => {
            ErrorKind::Unavailable
        }
        (Some(429 | 500..), _) => ErrorKind::Unavailable,
        _ => ErrorKind::Internal,
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.status, &self.code) {
            (Some(status), Some(code)) => write!(f, "{status} {code}: {}", self.message),
            (Some(status), None) => write!(f, "{status}: {}", self.message),
            _ => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for Failure {}
