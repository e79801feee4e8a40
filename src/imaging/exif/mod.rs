//! What a camera wrote down (Exif 2.32, CIPA DC-008), as far as it is kept.

mod tiff;

#[cfg(test)]
mod tests;

use tiff::{Directory, Field, Tiff};

// Tags of the first directory (4.6.4),
const MAKE: u16 = 271;
const MODEL: u16 = 272;
const ORIENTATION: u16 = 274;
const EXIF_DIRECTORY: u16 = 34665;
const GPS_DIRECTORY: u16 = 34853;
// of EXIF's own (4.6.5),
const TAKEN: u16 = 36867;
const DIGITIZED: u16 = 36868;
const TAKEN_OFFSET: u16 = 36881;
const DIGITIZED_OFFSET: u16 = 36882;
// and of GPS's (4.6.6).
const LATITUDE_REF: u16 = 1;
const LATITUDE: u16 = 2;
const LONGITUDE_REF: u16 = 3;
const LONGITUDE: u16 = 4;

/// A name longer than this is cut.
const MOST_NAME: usize = 64;

/// What the camera wrote into an image. All of it is anybody's claim.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Exif {
    /// The camera's maker.
    pub make: Option<String>,
    /// The camera's model.
    pub model: Option<String>,
    /// When the shutter opened, as RFC 3339 writes it, but in the camera's local time and without
    /// an offset where the camera did not write one: `2024-05-31T18:02:11+02:00`.
    pub taken_at: Option<String>,
    /// Where it was: degrees of latitude (north is positive) and longitude (east is positive), of
    /// WGS 84 as a rule.
    pub gps: Option<(f64, f64)>,
}

/// The fields of an EXIF block, those that can be read.
pub(super) fn read(block: &[u8]) -> Exif {
    let Some((file, first)) = Tiff::open(block) else { return Exif::default() };
    let exif = file.directory(first, EXIF_DIRECTORY);
    let gps = file.directory(first, GPS_DIRECTORY);
    Exif {
        make: file.field(first, MAKE).and_then(text),
        model: file.field(first, MODEL).and_then(text),
        taken_at: exif.and_then(|directory| {
            time(file, directory, TAKEN, TAKEN_OFFSET)
                .or_else(|| time(file, directory, DIGITIZED, DIGITIZED_OFFSET))
        }),
        gps: gps.and_then(|directory| position(file, directory)),
    }
}

/// The orientation's value, 1 to 8 where the block keeps to the standard.
pub(super) fn orientation_tag(block: &[u8]) -> Option<u32> {
    let (file, first) = Tiff::open(block)?;
    file.field(first, ORIENTATION)?.number()
}

fn text(field: Field<'_>) -> Option<String> {
    let text = String::from_utf8_lossy(field.ascii()?);
    let text: String = text.chars().filter(|c| !c.is_control()).take(MOST_NAME).collect();
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// `2024:05:31 18:02:11`, with its offset `+02:00`, as RFC 3339 would have them.
fn time(file: Tiff<'_>, directory: Directory, tag: u16, offset: u16) -> Option<String> {
    let written = file.field(directory, tag)?.ascii()?;
    let [year, month, day, hour, minute, second] =
        numbers(written, b"dddd:dd:dd dd:dd:dd", [0, 5, 8, 11, 14, 17])?;
    let possible = (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    if !possible {
        return None;
    }
    let offset = file.field(directory, offset).and_then(Field::ascii).and_then(|offset| {
        let [hours, minutes] = numbers(offset, b"sdd:dd", [1, 4])?;
        (hours < 24 && minutes < 60).then(|| String::from_utf8_lossy(offset))
    });
    let offset = offset.unwrap_or_default();
    Some(format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{offset}"))
}

/// The numbers at some places of a text that is as its pattern: `d` a digit, `s` a sign, and
/// what else it has, itself.
fn numbers<const COUNT: usize>(
    text: &[u8],
    pattern: &[u8],
    places: [usize; COUNT],
) -> Option<[u32; COUNT]> {
    let fits = |(byte, wanted): (&u8, &u8)| match wanted {
        b'd' => byte.is_ascii_digit(),
        b's' => matches!(byte, b'+' | b'-'),
        other => byte == other,
    };
    if text.len() != pattern.len() || !text.iter().zip(pattern).all(fits) {
        return None;
    }
    Some(places.map(|place| {
        let digits = text[place..].iter().take_while(|byte| byte.is_ascii_digit());
        digits.fold(0, |number, digit| number * 10 + u32::from(digit - b'0'))
    }))
}

fn position(file: Tiff<'_>, directory: Directory) -> Option<(f64, f64)> {
    let axis = |value, side, sides: [u8; 2], most: f64| {
        let value = file.field(directory, value)?;
        // Degrees, minutes, seconds.
        let degrees = value.fraction(0)? + value.fraction(1)? / 60.0 + value.fraction(2)? / 3600.0;
        let sign = match file.field(directory, side)?.ascii()?.first()? {
            letter if *letter == sides[0] => 1.0,
            letter if *letter == sides[1] => -1.0,
            _ => return None,
        };
        (degrees <= most).then_some(degrees * sign)
    };
    let latitude = axis(LATITUDE, LATITUDE_REF, *b"NS", 90.0)?;
    let longitude = axis(LONGITUDE, LONGITUDE_REF, *b"EW", 180.0)?;
    Some((latitude, longitude))
}
