//! Storage's error: a kind that callers decide by, and the cause for the log.

use std::{error::Error as StdError, fmt};

/// What went wrong, as far as a caller can act on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// No object has this key.
    NotFound,
    /// The key is taken, and the commit asked that it be free.
    AlreadyExists,
    /// The object is not the version that was asked for.
    Changed,
    /// This store cannot keep a name that long: its prefix leaves less than 1,024 bytes, or its
    /// file system allows less than 255 bytes a segment.
    KeyTooLong,
    /// The store cannot be reached, refuses for now, or ran out of room: worth a later try.
    Unavailable,
    /// This process is at its upload memory budget: worth a later try.
    Overloaded,
    /// The store refuses us or answers nonsense: wrong credentials, no such bucket, a defect.
    Internal,
}

/// An error of a storage operation: what was attempted, its kind, and the cause.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    operation: &'static str,
    may_take_effect: bool,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of `kind` while doing `operation` (the S3 API's or the system call's name).
    pub fn new(kind: ErrorKind, operation: &'static str) -> Self {
        Self { kind, operation, may_take_effect: false, source: None }
    }

    /// Keeps `source` as the cause.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Says whether what failed may have taken effect all the same, or may still.
    #[must_use]
    pub fn with_possible_effect(mut self, possible: bool) -> Self {
        self.may_take_effect = possible;
        self
    }

    /// Whether what failed may have taken effect all the same, or may still, as long as
    /// [`super::Storage::settles_within`] says.
    pub fn may_take_effect(&self) -> bool {
        self.may_take_effect
    }

    /// What a caller decides by.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            ErrorKind::NotFound => "no such object",
            ErrorKind::AlreadyExists => "the key is taken",
            ErrorKind::Changed => "the object is another version",
            ErrorKind::KeyTooLong => "the key is too long for this store",
            ErrorKind::Unavailable => "the store is unavailable",
            ErrorKind::Overloaded => "the upload memory budget is used up",
            ErrorKind::Internal => "the store failed",
        };
        write!(f, "{}: {what}", self.operation)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|e| e as &(dyn StdError + 'static))
    }
}
