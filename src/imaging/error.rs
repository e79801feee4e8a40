//! Why nothing can be made of an image's bytes.

use std::time::Duration;

/// A decoder's own words, for the log.
type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why nothing can be made of an image's bytes. All but [`Error::Internal`] are the bytes' own
/// fault, or the limits': the same call fails again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A type, or a rare form of a type, that is not decoded here.
    #[error("{0}")]
    Unsupported(&'static str),
    /// The bytes break their format's rules, or end too early.
    #[error("The {format} image is broken: {what}.")]
    Broken {
        /// The format's name.
        format: &'static str,
        /// What is wrong.
        what: &'static str,
        /// What the decoder said.
        #[source]
        cause: Option<Cause>,
    },
    /// More pixels than [`Limits::max_pixels`](super::Limits::max_pixels).
    #[error("The image has {pixels} pixels, more than the {allowed} that are allowed.")]
    TooManyPixels {
        /// Width × height of the image, or of a variant.
        pixels: u64,
        /// The limit.
        allowed: u64,
    },
    /// It would take more memory than [`Limits`](super::Limits)`::memory`.
    #[error("The image would take {needed} bytes of memory, more than the {allowed} allowed.")]
    TooMuchMemory {
        /// Bytes, estimated from the image's head.
        needed: u64,
        /// The limit.
        allowed: u64,
    },
    /// It takes, or would take, longer than [`Limits::time`](super::Limits::time).
    #[error("The image takes longer to decode than the {allowed:?} that are allowed.")]
    TooSlow {
        /// The limit.
        allowed: Duration,
    },
    /// A variant is larger than its format can be (WebP: 16,383 pixels a side, JPEG: 65,500).
    #[error("A {format} image cannot have sides of {width} × {height} pixels.")]
    NoSuchSize {
        /// The variant's format.
        format: &'static str,
        /// The variant's width in pixels.
        width: u32,
        /// The variant's height in pixels.
        height: u32,
    },
    /// A library failed where the image gave no reason to.
    #[error("The image could not be processed: {what}.")]
    Internal {
        /// Which step failed.
        what: &'static str,
        /// What the library said.
        #[source]
        cause: Cause,
    },
}

impl Error {
    /// A broken image, without a decoder's words.
    pub(super) fn broken(format: &'static str, what: &'static str) -> Self {
        Self::Broken { format, what, cause: None }
    }

    /// A broken image, as a decoder found it.
    pub(super) fn undecodable(format: &'static str, cause: impl Into<Cause>) -> Self {
        Self::Broken { format, what: "its pixels cannot be decoded", cause: Some(cause.into()) }
    }

    pub(super) fn internal(what: &'static str, cause: impl Into<Cause>) -> Self {
        Self::Internal { what, cause: cause.into() }
    }

    /// Whether another try may succeed: the image gave no reason for the failure.
    #[must_use]
    pub fn is_internal(&self) -> bool {
        matches!(self, Self::Internal { .. })
    }
}
