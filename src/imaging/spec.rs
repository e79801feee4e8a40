//! What a variant shall be, and the arithmetic from an image's size to the variant's.

use serde::{Deserialize, Serialize};

/// What a variant shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// In pixels; at least 1. Absent: as the height and the image's shape give it.
    pub width: Option<u32>,
    /// In pixels; at least 1. Absent: as the width and the image's shape give it.
    pub height: Option<u32>,
    /// How the image meets width and height where both are there; with one or none of them it
    /// is always [`Fit::Contain`].
    pub fit: Fit,
    /// What it is encoded as.
    pub format: Format,
    /// 1 to 100, for WebP, JPEG and AVIF; PNG is lossless.
    pub quality: u8,
}

/// How an image meets a width and a height.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Fit {
    /// The whole image, within both; never enlarged.
    #[default]
    Contain,
    /// Exactly both, without distortion: the image's middle, enlarged where it is too small.
    Cover,
    /// Exactly both, the whole image, distorted where the shapes differ.
    Fill,
}

/// A variant's format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Lossy; transparency is kept.
    Webp,
    /// Baseline; chroma at half the resolution below quality 90, as libvips does. What is transparent
    /// becomes white.
    Jpeg,
    /// 8 bits a channel; transparency is kept.
    Png,
    /// Lossy, AV1; transparency is kept. Only in builds with the feature `avif`.
    Avif,
}

impl Format {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Webp => "WebP",
            Self::Jpeg => "JPEG",
            Self::Png => "PNG",
            Self::Avif => "AVIF",
        }
    }

    /// Whether this build has its encoder.
    #[must_use]
    pub const fn can_be_made(self) -> bool {
        !matches!(self, Self::Avif) || cfg!(feature = "avif")
    }

    /// What names of its files end in, without the dot.
    #[must_use]
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Webp => "webp",
            Self::Jpeg => "jpeg",
            Self::Png => "png",
            Self::Avif => "avif",
        }
    }

    /// Its media type.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Webp => "image/webp",
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::Avif => "image/avif",
        }
    }

    pub(super) const fn longest_side(self) -> u32 {
        match self {
            Self::Webp => 16_383,
            Self::Jpeg => 65_500,
            Self::Png => i32::MAX as u32,
            // Larger ones take minutes to encode.
            Self::Avif => 4096,
        }
    }
}

/// A part of an image in pixels, and the size that it shall have.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Target {
    pub(super) left: f64,
    pub(super) top: f64,
    pub(super) crop_width: f64,
    pub(super) crop_height: f64,
    pub(super) width: u32,
    pub(super) height: u32,
}

impl Target {
    /// How often a pixel of the target goes into the image's, on the side where that is less.
    pub(super) fn reduction(&self) -> f64 {
        let across = self.crop_width / f64::from(self.width);
        let down = self.crop_height / f64::from(self.height);
        across.min(down)
    }

    /// The same part of the image lying on its side.
    pub(super) fn transposed(self) -> Self {
        Self {
            left: self.top,
            top: self.left,
            crop_width: self.crop_height,
            crop_height: self.crop_width,
            width: self.height,
            height: self.width,
        }
    }
}

impl Spec {
    /// What to take of an upright image of this size, and how large to make it.
    pub(super) fn target(&self, width: u32, height: u32) -> Target {
        let (image_width, image_height) = (f64::from(width), f64::from(height));
        let whole = |to_width, to_height| Target {
            left: 0.0,
            top: 0.0,
            crop_width: image_width,
            crop_height: image_height,
            width: to_width,
            height: to_height,
        };
        let side = |side: Option<u32>| side.map(|side| side.max(1));
        match (side(self.width), side(self.height), self.fit) {
            (Some(to_width), Some(to_height), Fit::Fill) => whole(to_width, to_height),
            (Some(to_width), Some(to_height), Fit::Cover) => {
                let scale =
                    (image_width / f64::from(to_width)).min(image_height / f64::from(to_height));
                let crop_width = (f64::from(to_width) * scale).min(image_width);
                let crop_height = (f64::from(to_height) * scale).min(image_height);
                Target {
                    left: (image_width - crop_width) / 2.0,
                    top: (image_height - crop_height) / 2.0,
                    crop_width,
                    crop_height,
                    width: to_width,
                    height: to_height,
                }
            }
            (to_width, to_height, _) => {
                let across = to_width.map_or(1.0, |to| f64::from(to) / image_width);
                let down = to_height.map_or(1.0, |to| f64::from(to) / image_height);
                let scale = across.min(down).min(1.0);
                whole(scaled(width, scale), scaled(height, scale))
            }
        }
    }
}

/// A side's length at a scale of at most 1.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a u32 times at most 1 is a u32"
)]
fn scaled(side: u32, scale: f64) -> u32 {
    ((f64::from(side) * scale).round() as u32).max(1)
}
