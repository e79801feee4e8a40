//! Making what steps ask for of an image's bytes. Blocks for as long as the image takes.

use serde_json::{Map, Value, json};

use super::settings::{Make, Step};
use crate::imaging::{self, Exif, Limits, Look, Rendered, Spec};

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

/// What all steps have come to.
pub enum Outcome {
    /// These have run.
    Ran(Vec<Run>),
    /// The image is to be rewritten first, which the others are to run on: its bytes, and what has come of
    /// the steps for which it is too late then.
    Rewritten(Vec<u8>, Vec<Run>),
}

/// What each of these steps makes of an image, or why nothing comes of it.
///
/// # Errors
/// When a library fails where the image gave no reason to: it may succeed another time.
pub fn make(bytes: &[u8], steps: &[Step], limits: &Limits) -> Result<Outcome, imaging::Error> {
    let strip = steps.iter().find(|step| step.make == Make::StripMetadata);
    let Some(strip) = strip else { return Ok(Outcome::Ran(run(bytes, steps, limits)?)) };
    let removed = match imaging::strip_metadata(bytes) {
        Ok(Some(stripped)) => {
            let removed = stripped_of(bytes.len().saturating_sub(stripped.len()));
            let mut runs = vec![Run { step: strip.name.clone(), made: Ok(removed) }];
            for step in steps {
                if let Make::Exif { gps } = step.make {
                    let made = Ok(Made::Told(told(imaging::exif(bytes), gps)));
                    runs.push(Run { step: step.name.clone(), made });
                }
            }
            return Ok(Outcome::Rewritten(stripped, runs));
        }
        Ok(None) => Ok(stripped_of(0)),
        Err(error) => Err(of_image(error)?),
    };
    let mut runs = run(bytes, steps, limits)?;
    runs.push(Run { step: strip.name.clone(), made: removed });
    Ok(Outcome::Ran(runs))
}

/// The same where the image stays as it is.
fn run(bytes: &[u8], steps: &[Step], limits: &Limits) -> Result<Vec<Run>, imaging::Error> {
    let specs: Vec<Spec> = steps.iter().filter_map(|step| step.make.spec().cloned()).collect();
    let needs_pixels =
        steps.iter().any(|step| matches!(step.make, Make::Variant(_) | Make::Placeholder));
    // One decode for all that need one; where none does, nobody looks at what comes of it.
    let picture = match needs_pixels.then(|| imaging::decode(bytes, &specs, limits)) {
        Some(Ok(picture)) => Ok(picture),
        Some(Err(error)) => Err(of_image(error)?),
        None => Err(String::new()),
    };
    let (mut held, mut runs) = (0, Vec::with_capacity(steps.len()));
    for step in steps {
        let made = match (&step.make, &picture) {
            (Make::StripMetadata, _) => continue,
            (Make::Exif { gps }, _) => Ok(Made::Told(told(imaging::exif(bytes), *gps))),
            (_, Err(why)) => Err(why.clone()),
            (Make::Placeholder, Ok(picture)) => match picture.look() {
                Ok(look) => Ok(Made::Told(seen(&look))),
                Err(error) => Err(of_image(error)?),
            },
            (Make::Variant(spec), Ok(picture)) => match picture.render(spec) {
                Ok(image) if held + image.bytes.len() as u64 > limits.memory => {
                    Err("The image's variants take more memory together than is allowed."
                        .to_owned())
                }
                Ok(image) => {
                    held += image.bytes.len() as u64;
                    Ok(Made::Image(image))
                }
                Err(error) => Err(of_image(error)?),
            },
        };
        runs.push(Run { step: step.name.clone(), made });
    }
    Ok(runs)
}

/// What the image itself is at fault of: a sentence.
///
/// # Errors
/// What it is not at fault of, and may succeed another time.
fn of_image(error: imaging::Error) -> Result<String, imaging::Error> {
    if error.is_internal() { Err(error) } else { Ok(error.to_string()) }
}

fn stripped_of(bytes: usize) -> Made {
    Made::Told(json!({ "removed": bytes }))
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
