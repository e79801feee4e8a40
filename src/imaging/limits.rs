//! How much an image may cost, and the one place where that is compared.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::Error;

/// How much one decode, and each rendering of it, may cost.
///
/// An animation's frames need no limit: only the first is ever decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Width × height of the decoded frame and of each variant.
    pub max_pixels: u64,
    /// Bytes allocated at any time, beside the image's own. It is compared with what the
    /// image's head says a decode will take, before anything of that size is allocated.
    pub memory: u64,
    /// Of the thread's processor time, from a decode's beginning to its end: a busy machine is no fault of the
    /// image's. It is looked at between rows where the decoder
    /// gives rows; where it does not (JPEG, WebP, interlaced PNG and GIF) the number of pixels
    /// bounds the work, and of a JPEG its scans times its blocks.
    pub time: Duration,
}

impl Limits {
    pub(super) fn pixels(&self, width: u32, height: u32) -> Result<u64, Error> {
        let pixels = u64::from(width) * u64::from(height);
        if pixels > self.max_pixels {
            return Err(Error::TooManyPixels { pixels, allowed: self.max_pixels });
        }
        Ok(pixels)
    }

    pub(super) fn memory(&self, needed: u64) -> Result<(), Error> {
        if needed > self.memory {
            return Err(Error::TooMuchMemory { needed, allowed: self.memory });
        }
        Ok(())
    }

    pub(super) fn too_slow(&self) -> Error {
        Error::TooSlow { allowed: self.time }
    }

    /// The clock of a decode that begins now.
    pub(super) fn start(&self) -> Clock {
        Clock { limits: *self, began: worked() }
    }
}

/// A decode's clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    limits: Limits,
    /// What the thread had worked by then.
    began: Duration,
}

impl Clock {
    pub(super) fn check(&self) -> Result<(), Error> {
        if worked().saturating_sub(self.began) > self.limits.time {
            return Err(self.limits.too_slow());
        }
        Ok(())
    }
}

/// How long this thread has worked.
fn worked() -> Duration {
    let worked = clock_gettime(ClockId::ThreadCPUTime);
    // Neither is ever negative.
    let (seconds, nanoseconds) = (worked.tv_sec.unsigned_abs(), worked.tv_nsec.unsigned_abs());
    Duration::from_secs(seconds) + Duration::from_nanos(nanoseconds)
}
