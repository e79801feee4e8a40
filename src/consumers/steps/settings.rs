//! `[consumers.steps.{name}]`: what is made of each image after its upload.

use std::{collections::BTreeMap, time::Duration};

use http::{Uri, uri::Scheme};
use serde::{Deserialize, Serialize};

use crate::{
    imaging::{Fit, Format, Spec},
    outbound::SigningSecret,
    settings::{Invalid, Secret, text},
};

/// The largest side of a variant, in pixels.
const LARGEST: u32 = 8192;
const QUALITY: u8 = 80;
/// How long a request to a step's service may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How long the links that it gets are good.
const ANSWER_WITHIN: Duration = Duration::from_secs(15 * 60);
/// The longest that either may be.
const LONGEST: Duration = Duration::from_secs(60 * 60);

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
    pub fit: Option<Fit>,
    /// What it is encoded as; of a variant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
    /// All that it is encoded as, in place of one format, the best first: a reader gets what it accepts; of a
    /// variant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub formats: Option<Vec<Format>>,
    /// 1 to 100; of a variant that is no PNG.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quality: Option<u8>,
    /// Whether the place where it was taken is kept; of exif.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gps: Option<bool>,
    /// The service that is asked; of http.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// What requests to it are signed with; of http.
    #[serde(skip_serializing)]
    pub secret: Option<Secret>,
    /// Whether images are held back until it lets them pass; of http.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gate: Option<bool>,
    /// How long a request may take; of http.
    #[serde(with = "text", skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// How long the links in a request are good, and so how long an answer may take that comes later;
    /// of http.
    #[serde(with = "text", skip_serializing_if = "Option::is_none")]
    pub answer_within: Option<Duration>,
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
    /// The image itself without metadata.
    #[serde(rename = "strip_metadata")]
    StripMetadata,
    /// Whatever a service outside says of the image.
    Http,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Variant => "variant",
            Self::Placeholder => "placeholder",
            Self::Exif => "exif",
            Self::StripMetadata => "strip_metadata",
            Self::Http => "http",
        }
    }
}

/// A step that this process carries out itself.
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
    /// The image itself without metadata, in the original's place.
    StripMetadata,
}

/// One of the formats that there are of a variant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// What its step is called.
    pub step: String,
    /// Its media type.
    pub content_type: &'static str,
}

/// A step that a service outside carries out.
#[derive(Clone, Debug)]
pub struct Call {
    /// What it is called.
    pub name: String,
    /// The service.
    pub url: Uri,
    /// What requests are signed with.
    pub secret: SigningSecret,
    /// Whether images are held back until it lets them pass.
    pub gate: bool,
    /// How long a request may take.
    pub timeout: Duration,
    /// How long the links in a request are good.
    pub answer_within: Duration,
}

impl Make {
    /// The variant that is made, if one is.
    pub fn spec(&self) -> Option<&Spec> {
        match self {
            Self::Variant(spec) => Some(spec),
            Self::Placeholder | Self::Exif { .. } | Self::StripMetadata => None,
        }
    }
}

impl StepsSettings {
    /// Checks names and what each kind of step knows.
    ///
    /// # Errors
    /// The first key that is wrong.
    pub fn validate(&self) -> Result<(), Invalid> {
        self.0.iter().try_for_each(|(name, step)| step.validate(name))?;
        let mut strips = self.0.iter().filter(|(_, step)| step.kind == Kind::StripMetadata);
        match strips.nth(1) {
            Some((name, _)) => Err(Invalid::new(
                format!("consumers.steps.{name}"),
                "strips metadata a second time; leave it out",
            )),
            None => Ok(()),
        }
    }

    /// Whether originals are rewritten without metadata.
    pub fn strip(&self) -> bool {
        self.0.values().any(|step| step.kind == Kind::StripMetadata)
    }

    /// The steps that this process carries out itself, in the order of their names; of a variant in several
    /// formats, one a format, called `{name}.{format}`.
    pub fn own(&self) -> Vec<Step> {
        self.0.iter().flat_map(|(name, step)| step.own(name)).collect()
    }

    /// The variants that there are in several formats, by name, the best first.
    pub fn offers(&self) -> BTreeMap<String, Vec<Offer>> {
        let several = self.0.iter().filter(|(_, step)| step.formats.is_some());
        let offers = several.map(|(name, step)| {
            let of_step = step.own(name).into_iter().filter_map(|step| {
                let content_type = step.make.spec()?.format.content_type();
                Some(Offer { step: step.name, content_type })
            });
            (name.clone(), of_step.collect())
        });
        offers.collect()
    }

    /// Those that services outside carry out, in the order of their names.
    pub fn calls(&self) -> Vec<Call> {
        self.0.iter().filter_map(|(name, step)| step.call(name)).collect()
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
        if let Some((field, of)) = self.foreign() {
            return Err(Invalid::new(
                key(&format!(".{field}")),
                format!("is of steps of the kind \"{}\" only; leave it out", of.as_str()),
            ));
        }
        match self.kind {
            Kind::Variant => self.validate_variant(key),
            Kind::Http => self.validate_call(key),
            Kind::Placeholder | Kind::Exif | Kind::StripMetadata => Ok(()),
        }
    }

    fn validate_variant(&self, key: impl Fn(&str) -> String) -> Result<(), Invalid> {
        for (field, side) in [(".width", self.width), (".height", self.height)] {
            if side.is_some_and(|side| !(1..=LARGEST).contains(&side)) {
                return Err(Invalid::new(key(field), format!("must be 1 to {LARGEST} pixels")));
            }
        }
        let sides = usize::from(self.width.is_some()) + usize::from(self.height.is_some());
        if sides == 0 {
            return Err(Invalid::new(key(".width"), "is missing; set width, height or both"));
        }
        if self.fit.is_some_and(|fit| fit != Fit::Contain) && sides < 2 {
            return Err(Invalid::new(key(".fit"), "needs width and height; set both"));
        }
        self.validate_formats(&key)?;
        if self.quality.is_some_and(|quality| !(1..=100).contains(&quality)) {
            return Err(Invalid::new(key(".quality"), "must be 1 to 100"));
        }
        Ok(())
    }

    fn validate_formats(&self, key: impl Fn(&str) -> String) -> Result<(), Invalid> {
        let formats = self.formats.as_deref().unwrap_or_default();
        if self.formats.is_some() && self.format.is_some() {
            return Err(Invalid::new(
                key(".formats"),
                "is there beside format; leave one of them out",
            ));
        }
        let is_twice = |(at, format): (usize, &Format)| formats[..at].contains(format);
        if self.formats.is_some() && formats.len() < 2 || formats.iter().enumerate().any(is_twice) {
            return Err(Invalid::new(
                key(".formats"),
                "must list two formats or more, each once, such as [\"webp\", \"jpeg\"]",
            ));
        }
        let avif = self.format.iter().chain(formats).any(|format| *format == Format::Avif);
        if avif && !Format::Avif.can_be_made() {
            let field = if self.format.is_some() { ".format" } else { ".formats" };
            return Err(Invalid::new(
                key(field),
                "asks for AVIF, which this build cannot make; build it with `--features avif`",
            ));
        }
        Ok(())
    }

    fn validate_call(&self, key: impl Fn(&str) -> String) -> Result<(), Invalid> {
        if service(self.url.as_deref()).is_none() {
            return Err(Invalid::new(
                key(".url"),
                "must be where the step's service is, such as \"http://labels:8000/\"",
            ));
        }
        if self.secret.as_ref().and_then(|secret| SigningSecret::parse(secret.expose())).is_none() {
            return Err(Invalid::new(
                key(".secret"),
                "must be \"whsec_\" and 24 to 64 random bytes in Base64, which requests are signed with; \
                 `echo whsec_$(openssl rand -base64 32)` makes one",
            ));
        }
        for (field, time) in [(".timeout", self.timeout), (".answer_within", self.answer_within)] {
            if time.is_some_and(|time| time.is_zero() || time > LONGEST) {
                return Err(Invalid::new(key(field), "must be over zero and at most \"1h\""));
            }
        }
        Ok(())
    }

    /// A key that steps of this kind do not know, and the kind that does.
    fn foreign(&self) -> Option<(&'static str, Kind)> {
        let all = [
            ("width", self.width.is_some(), Kind::Variant),
            ("height", self.height.is_some(), Kind::Variant),
            ("fit", self.fit.is_some(), Kind::Variant),
            ("format", self.format.is_some(), Kind::Variant),
            ("formats", self.formats.is_some(), Kind::Variant),
            ("quality", self.quality.is_some(), Kind::Variant),
            ("gps", self.gps.is_some(), Kind::Exif),
            ("url", self.url.is_some(), Kind::Http),
            ("secret", self.secret.is_some(), Kind::Http),
            ("gate", self.gate.is_some(), Kind::Http),
            ("timeout", self.timeout.is_some(), Kind::Http),
            ("answer_within", self.answer_within.is_some(), Kind::Http),
        ];
        let foreign = all.into_iter().find(|(_, set, kind)| *set && *kind != self.kind);
        foreign.map(|(field, _, of)| (field, of))
    }

    fn call(&self, name: &str) -> Option<Call> {
        Some(Call {
            name: name.to_owned(),
            url: service(self.url.as_deref())?,
            secret: SigningSecret::parse(self.secret.as_ref()?.expose())?,
            gate: self.gate.unwrap_or(false),
            timeout: self.timeout.unwrap_or(TIMEOUT),
            answer_within: self.answer_within.unwrap_or(ANSWER_WITHIN),
        })
    }

    /// The steps that this process carries out itself for it.
    fn own(&self, name: &str) -> Vec<Step> {
        let one = |make| vec![Step { name: name.to_owned(), make }];
        match self.kind {
            Kind::Http => Vec::new(),
            Kind::Placeholder => one(Make::Placeholder),
            Kind::StripMetadata => one(Make::StripMetadata),
            Kind::Exif => one(Make::Exif { gps: self.gps.unwrap_or(false) }),
            Kind::Variant => match &self.formats {
                None => one(self.variant(self.format.unwrap_or(Format::Webp))),
                Some(formats) => {
                    let steps = formats.iter().map(|format| {
                        let name = format!("{name}.{}", format.extension());
                        Step { name, make: self.variant(*format) }
                    });
                    steps.collect()
                }
            },
        }
    }

    fn variant(&self, format: Format) -> Make {
        Make::Variant(Spec {
            width: self.width,
            height: self.height,
            fit: self.fit.unwrap_or_default(),
            format,
            quality: self.quality.unwrap_or(QUALITY),
        })
    }
}

/// The URL of a step's service: whole, of HTTP.
fn service(url: Option<&str>) -> Option<Uri> {
    let url: Uri = url?.parse().ok()?;
    let is_http = [Scheme::HTTP, Scheme::HTTPS].iter().any(|scheme| url.scheme() == Some(scheme));
    let has_user = url.authority().is_some_and(|authority| authority.as_str().contains('@'));
    (is_http && !has_user).then_some(url)
}
