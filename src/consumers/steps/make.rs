//! Making what steps ask for of an image's bytes. Blocks for as long as the image takes.

use serde_json::{Map, Value, json};

use super::settings::{Make, Step};
use crate::imaging::{self, Exif, Limits, Look, Picture, Rendered, Spec};

/// What a step has made.
pub enum Made {
    /// What is told of it.
    Told(Value),
    /// Another image.
    Image(Rendered),
}

/// What has come of a step.
pub struct Run {
    /// The step's name.
    pub step: String,
    /// What it has made, or why nothing came of it: a sentence.
    pub made: Result<Made, String>,
}

/// What each of these steps makes of an image, or why nothing comes of it.
///
/// # Errors
/// When a library fails where the image gave no reason to: it may succeed another time.
pub fn make(bytes: &[u8], steps: &[Step], limits: &Limits) -> Result<Vec<Run>, imaging::Error> {
    let specs: Vec<Spec> = steps.iter().filter_map(|step| step.make.spec().cloned()).collect();
    // One decode for all that need one.
    let needs_pixels = steps.iter().any(|step| !matches!(step.make, Make::Exif { .. }));
    let picture = needs_pixels.then(|| imaging::decode(bytes, &specs, limits));
    let mut held = 0;
    let made = steps.iter().map(|step| {
        let made = match &step.make {
            Make::Exif { gps } => Ok(Made::Told(told(imaging::exif(bytes), *gps))),
            Make::Placeholder => {
                with(picture.as_ref(), |picture| Ok(Made::Told(seen(&picture.look()?))))
            }
            Make::Variant(spec) => {
                with(picture.as_ref(), |picture| Ok(Made::Image(picture.render(spec)?)))
            }
        };
        let made = match made {
            Ok(Made::Image(image)) if held + image.bytes.len() as u64 > limits.memory => {
                Err("The image's variants take more memory together than is allowed.".to_owned())
            }
            Ok(Made::Image(image)) => {
                held += image.bytes.len() as u64;
                Ok(Made::Image(image))
            }
            Ok(made) => Ok(made),
            Err(Failed::Image(why)) => Err(why),
            Err(Failed::Here(error)) => return Err(error),
        };
        Ok(Run { step: step.name.clone(), made })
    });
    made.collect()
}

/// Why nothing came of a step.
enum Failed {
    /// The image gave the reason: a sentence.
    Image(String),
    /// It may succeed another time.
    Here(imaging::Error),
}

impl From<imaging::Error> for Failed {
    fn from(error: imaging::Error) -> Self {
        if error.is_internal() { Self::Here(error) } else { Self::Image(error.to_string()) }
    }
}

/// What comes of a picture, or of its decode's failure.
fn with(
    picture: Option<&Result<Picture, imaging::Error>>,
    make: impl FnOnce(&Picture) -> Result<Made, imaging::Error>,
) -> Result<Made, Failed> {
    match picture {
        Some(Ok(picture)) => Ok(make(picture)?),
        Some(Err(error)) if error.is_internal() => {
            // The error itself is the others' as well.
            let cause = error.to_string();
            Err(Failed::Here(imaging::Error::Internal {
                what: "it was not decoded",
                cause: cause.into(),
            }))
        }
        Some(Err(error)) => Err(Failed::Image(error.to_string())),
        None => Err(Failed::Image("The image was not decoded.".to_owned())),
    }
}

fn seen(look: &Look) -> Value {
    use base64::{Engine, prelude::BASE64_STANDARD};
    let [red, green, blue] = look.dominant;
    json!({
        "thumbHash": BASE64_STANDARD.encode(&look.thumb_hash),
        "dominantColor": format!("#{red:02x}{green:02x}{blue:02x}"),
    })
}

fn told(exif: Exif, gps: bool) -> Value {
    let mut told = Map::new();
    let texts = [("make", exif.make), ("model", exif.model), ("takenAt", exif.taken_at)];
    for (name, text) in texts {
        told.extend(text.map(|text| (name.to_owned(), text.into())));
    }
    if let Some((latitude, longitude)) = exif.gps.filter(|_| gps) {
        told.insert("gps".to_owned(), json!({ "latitude": latitude, "longitude": longitude }));
    }
    Value::Object(told)
}
