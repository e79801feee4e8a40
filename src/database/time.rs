//! Times as columns keep them: milliseconds since 1970.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What a column keeps of a time.
pub fn millis(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// The time that a column keeps.
pub fn of_millis(millis: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(u64::try_from(millis).unwrap_or_default())
}
