//! Why a record could not be read or changed.

use crate::database;

/// What a caller decides by.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database failed.
    #[error("the records failed")]
    Database(#[from] database::Error),
    /// The name is taken, and the upload must not replace what has it.
    #[error("the name is taken")]
    Taken,
    /// A condition of the request does not hold for what is there (RFC 9110 section 13).
    #[error("a condition does not hold")]
    Condition,
    /// The tenant's images would come to more than its quota.
    #[error("the quota would be passed")]
    Quota,
    /// There is no such image of the tenant's.
    #[error("no such image")]
    NotFound,
    /// The intent is not this process's any more: another took it for dead.
    #[error("the intent was taken over")]
    Lost,
    /// The name stayed with another change for too long.
    #[error("the name is busy")]
    Busy,
    /// More changes wait than the store and the database get done in time.
    #[error("too many changes wait")]
    Overloaded,
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error.into())
    }
}

/// A result of this module.
pub type Result<T> = std::result::Result<T, Error>;
