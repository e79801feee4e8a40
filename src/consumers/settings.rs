//! `[consumers]`: the module's own listener, and what it takes in.

use std::{net::SocketAddr, time::Duration};

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

use super::{image::ImageType, steps::StepsSettings};
use crate::{
    imaging::Limits,
    jobs::{Backoff, Pace},
    settings::{Invalid, text},
};

/// The longest that a signed request is good (AWS Signature Version 4).
pub(super) const MOST_SIGNED: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// When a job that failed is tried again.
const BACKOFF: Backoff = Backoff {
    first: Duration::from_secs(2),
    most: Duration::from_secs(10 * 60),
    most_asked: Duration::from_secs(10 * 60),
    jitter: 0.2,
    give_up_after: Duration::from_secs(24 * 60 * 60),
};

/// `[consumers]`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where `/consumers/...` is served as well, for a gateway in another process.
    #[serde(with = "text", skip_serializing_if = "Option::is_none")]
    pub listen: Option<SocketAddr>,
    /// Limits and rules of image uploads.
    pub images: ImageSettings,
    /// Uploads straight to the store.
    pub direct_uploads: DirectSettings,
    /// Uploads that can be gone on with.
    pub resumable_uploads: ResumableSettings,
    /// What is made of images after their upload, by name.
    pub steps: StepsSettings,
    /// What does that.
    pub workers: WorkerSettings,
}

/// `[consumers.workers]`: what is done after uploads in this process.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct WorkerSettings {
    /// Whether it is done here; if not, other processes do it.
    pub enabled: bool,
    /// Whether that is all that this process does: it serves nothing but its health.
    pub only: bool,
    /// Images that are worked on at once; 0 means one for each two cores.
    pub images_at_once: usize,
    /// The most memory that one of them may take, beside its bytes.
    #[serde(with = "text")]
    pub max_memory: ByteSize,
    /// The longest that one of them may take.
    #[serde(with = "text")]
    pub max_time: Duration,
}

impl Default for WorkerSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            only: false,
            images_at_once: 0,
            max_memory: ByteSize::mib(256),
            max_time: Duration::from_secs(30),
        }
    }
}

impl WorkerSettings {
    /// What one image may cost.
    pub fn limits(&self, images: &ImageSettings) -> Limits {
        Limits {
            max_pixels: images.max_pixels,
            memory: self.max_memory.as_u64(),
            time: self.max_time,
        }
    }

    /// How many images are worked on at once.
    pub fn at_once(&self) -> usize {
        match self.images_at_once {
            0 => std::thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2)),
            at_once => at_once,
        }
    }

    /// How jobs on images are done.
    pub fn pace(&self) -> Pace {
        Pace::new(self.at_once(), BACKOFF)
    }
}

/// `[consumers.direct_uploads]`: uploads straight to the store.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct DirectSettings {
    /// How long a client may take from the beginning to the completion; at most 7 days.
    #[serde(with = "text")]
    pub expire_after: Duration,
}

impl Default for DirectSettings {
    fn default() -> Self {
        Self { expire_after: Duration::from_secs(60 * 60) }
    }
}

/// `[consumers.resumable_uploads]`: uploads that can be gone on with (tus).
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ResumableSettings {
    /// How long an upload is kept that nothing comes of.
    #[serde(with = "text")]
    pub expire_after: Duration,
}

impl Default for ResumableSettings {
    fn default() -> Self {
        Self { expire_after: Duration::from_secs(24 * 60 * 60) }
    }
}

/// `[consumers.images]`: limits and rules of image uploads.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ImageSettings {
    /// The largest image, inclusive.
    #[serde(with = "text")]
    pub max_file_size: ByteSize,
    /// The most pixels: width × height × frames, where the head tells frames.
    pub max_pixels: u64,
    /// The media types that are taken in, as the bytes tell them.
    pub accept: Vec<String>,
    /// What happens when the name is taken.
    pub on_conflict: OnConflict,
    /// Bytes that all uploads together may hold in memory; one tenant may hold half.
    #[serde(with = "text")]
    pub upload_memory: ByteSize,
    /// The longest text field.
    #[serde(with = "text")]
    pub max_text_field: ByteSize,
    /// The most bytes of one part's header fields.
    #[serde(with = "text")]
    pub max_part_headers: ByteSize,
    /// The most parts of one body.
    pub max_parts: usize,
    /// The slowest a client may send, a second.
    #[serde(with = "text")]
    pub min_rate: ByteSize,
    /// The time over which `min_rate` is looked at, counting only time spent waiting for the client.
    #[serde(with = "text")]
    pub min_rate_window: Duration,
}

/// What happens when an image of the same name is there already.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OnConflict {
    /// The new content replaces the old.
    Overwrite,
    /// The new upload is refused.
    Reject,
}

impl Default for ImageSettings {
    fn default() -> Self {
        let accept =
            ["image/jpeg", "image/png", "image/gif", "image/webp", "image/avif", "image/heic"];
        Self {
            max_file_size: ByteSize::mib(32),
            max_pixels: 100_000_000,
            accept: accept.map(str::to_owned).to_vec(),
            on_conflict: OnConflict::Overwrite,
            upload_memory: ByteSize::mib(256),
            max_text_field: ByteSize::kib(64),
            max_part_headers: ByteSize::kib(16),
            max_parts: 100,
            min_rate: ByteSize::kib(1),
            min_rate_window: Duration::from_secs(30),
        }
    }
}

impl Settings {
    /// Checks what the types alone cannot.
    ///
    /// # Errors
    /// The first key that is wrong.
    pub fn validate(&self) -> Result<(), Invalid> {
        let images = &self.images;
        let key = |name: &str| format!("consumers.images.{name}");
        if let Some(unknown) =
            images.accept.iter().find(|t| ImageType::from_content_type(t).is_none())
        {
            return Err(Invalid::new(
                key("accept"),
                format!(
                    "lists \"{unknown}\", which cannot be taken in; there are image/jpeg, image/png, image/gif, \
                     image/webp, image/avif, image/heic, image/tiff and image/bmp"
                ),
            ));
        }
        if images.accept.is_empty() {
            return Err(Invalid::new(
                key("accept"),
                "is empty, so no upload could succeed; list a type",
            ));
        }
        let positive = [
            ("max_file_size", images.max_file_size.as_u64()),
            ("max_pixels", images.max_pixels),
            ("max_part_headers", images.max_part_headers.as_u64()),
            ("max_parts", images.max_parts as u64),
        ];
        if let Some((name, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return Err(Invalid::new(key(name), "is 0, so no upload could succeed; raise it"));
        }
        if images.min_rate_window.is_zero() {
            return Err(Invalid::new(
                key("min_rate_window"),
                "is zero; use a time such as \"30s\"",
            ));
        }
        let direct = self.direct_uploads.expire_after;
        if direct.is_zero() || direct > MOST_SIGNED {
            return Err(Invalid::new(
                "consumers.direct_uploads.expire_after",
                "must be over zero and at most \"7days\", which stores sign for",
            ));
        }
        if self.resumable_uploads.expire_after.is_zero() {
            return Err(Invalid::new(
                "consumers.resumable_uploads.expire_after",
                "is zero; use a time such as \"24h\"",
            ));
        }
        self.steps.validate()?;
        if self.workers.only && !self.workers.enabled {
            return Err(Invalid::new(
                "consumers.workers.only",
                "leaves nothing to do while consumers.workers.enabled is false; set one of them",
            ));
        }
        if self.workers.max_memory < ByteSize::mib(16) || self.workers.max_time.is_zero() {
            return Err(Invalid::new(
                "consumers.workers",
                "allow too little for any image; use at least max_memory = \"16MiB\" and max_time = \"1s\"",
            ));
        }
        // Half of it is one tenant's, and a tenant must be able to fill one part of the store's.
        if images.upload_memory < ByteSize::mib(32) {
            return Err(Invalid::new(key("upload_memory"), "is too small; use at least \"32MiB\""));
        }
        Ok(())
    }
}
