//! `[consumers.steps.{name}]`: what is made of each image after its upload.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    imaging::{Fit, Format, Spec},
    settings::Invalid,
};

/// The largest side of a variant, in pixels.
const LARGEST: u32 = 8192;
const QUALITY: u8 = 80;

/// The steps, by name.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(transparent)]
pub struct StepsSettings(BTreeMap<String, StepSettings>);

/// `[consumers.steps.{name}]`: one step.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct StepSettings {
    /// What is made.
    pub kind: Kind,
    /// The most pixels from left to right; of a variant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    /// The most pixels from top to bottom; of a variant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
    /// How the image meets both; of a variant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fit: Option<FitSetting>,
    /// What it is encoded as; of a variant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<FormatSetting>,
    /// 1 to 100; of a variant that is WebP or JPEG.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quality: Option<u8>,
    /// Whether the place where it was taken is kept; of exif.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gps: Option<bool>,
}

/// What a step makes.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The same picture in another size or format.
    #[default]
    Variant,
    /// A ThumbHash and the dominant colour.
    Placeholder,
    /// What the camera wrote down.
    Exif,
}

/// See [`Fit`].
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FitSetting {
    /// The whole image, within both sides, never enlarged.
    Contain,
    /// Exactly both sides, the image's middle.
    Cover,
    /// Exactly both sides, the whole image, distorted.
    Fill,
}

/// See [`Format`].
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FormatSetting {
    /// Lossy WebP.
    Webp,
    /// JPEG.
    Jpeg,
    /// PNG.
    Png,
}

/// A step as it is carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What it is called.
    pub name: String,
    /// What is made.
    pub make: Make,
}

/// What a step makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Make {
    /// A variant.
    Variant(Spec),
    /// A ThumbHash and the dominant colour.
    Placeholder,
    /// What the camera wrote down, with the place or without.
    Exif {
        /// Whether the place is kept.
        gps: bool,
    },
}

impl Make {
    /// The variant that is made, if one is.
    pub fn spec(&self) -> Option<&Spec> {
        match self {
            Self::Variant(spec) => Some(spec),
            Self::Placeholder | Self::Exif { .. } => None,
        }
    }
}

impl StepsSettings {
    /// Checks names and what each kind of step knows.
    ///
    /// # Errors
    /// The first key that is wrong.
    pub fn validate(&self) -> Result<(), Invalid> {
        self.0.iter().try_for_each(|(name, step)| step.validate(name))
    }

    /// The steps, in the order of their names.
    pub fn build(&self) -> Vec<Step> {
        self.0.iter().map(|(name, step)| Step { name: name.clone(), make: step.build() }).collect()
    }
}

impl StepSettings {
    fn validate(&self, name: &str) -> Result<(), Invalid> {
        let key = |field: &str| format!("consumers.steps.{name}{field}");
        let is_name =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
        if name.is_empty() || name.len() > 32 || !name.bytes().all(is_name) {
            return Err(Invalid::new(
                key(""),
                "is no step's name; use 1 to 32 small letters, digits, '-' and '_'",
            ));
        }
        let foreign = self.foreign();
        if let Some((field, of)) = foreign {
            return Err(Invalid::new(
                key(&format!(".{field}")),
                format!("is of steps of the kind \"{of}\" only; leave it out"),
            ));
        }
        if self.kind != Kind::Variant {
            return Ok(());
        }
        for (field, side) in [(".width", self.width), (".height", self.height)] {
            if side.is_some_and(|side| !(1..=LARGEST).contains(&side)) {
                return Err(Invalid::new(key(field), format!("must be 1 to {LARGEST} pixels")));
            }
        }
        let sides = usize::from(self.width.is_some()) + usize::from(self.height.is_some());
        if sides == 0 {
            return Err(Invalid::new(key(".width"), "is missing; set width, height or both"));
        }
        if self.fit.is_some_and(|fit| fit != FitSetting::Contain) && sides < 2 {
            return Err(Invalid::new(key(".fit"), "needs width and height; set both"));
        }
        if self.quality.is_some_and(|quality| !(1..=100).contains(&quality)) {
            return Err(Invalid::new(key(".quality"), "must be 1 to 100"));
        }
        Ok(())
    }

    /// A key that steps of this kind do not know, and the kind that does.
    fn foreign(&self) -> Option<(&'static str, &'static str)> {
        let of_variants = [
            ("width", self.width.is_some()),
            ("height", self.height.is_some()),
            ("fit", self.fit.is_some()),
            ("format", self.format.is_some()),
            ("quality", self.quality.is_some()),
        ];
        let of_variants =
            of_variants.into_iter().map(|(field, set)| (field, set, Kind::Variant, "variant"));
        let gps = ("gps", self.gps.is_some(), Kind::Exif, "exif");
        let mut all = of_variants.chain([gps]);
        all.find(|(_, set, kind, _)| *set && *kind != self.kind)
            .map(|(field, _, _, of)| (field, of))
    }

    fn build(&self) -> Make {
        match self.kind {
            Kind::Placeholder => Make::Placeholder,
            Kind::Exif => Make::Exif { gps: self.gps.unwrap_or(false) },
            Kind::Variant => Make::Variant(Spec {
                width: self.width,
                height: self.height,
                fit: match self.fit {
                    None | Some(FitSetting::Contain) => Fit::Contain,
                    Some(FitSetting::Cover) => Fit::Cover,
                    Some(FitSetting::Fill) => Fit::Fill,
                },
                format: match self.format {
                    None | Some(FormatSetting::Webp) => Format::Webp,
                    Some(FormatSetting::Jpeg) => Format::Jpeg,
                    Some(FormatSetting::Png) => Format::Png,
                },
                quality: self.quality.unwrap_or(QUALITY),
            }),
        }
    }
}
