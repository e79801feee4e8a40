//! A chunked body's framing (RFC 9112, section 7.1), read strictly: where the body ends.
//!
//! actix decodes behind this. It has no limits for extensions and trailers, and takes a bare LF
//! behind the last chunk for the begin of a trailer. Knows only bytes.

use super::head::Refused;

/// The bytes that a chunk's extensions, or a body's trailers, may take.
const MAX_EXTRA: usize = 16 * 1024;

/// How far a chunked body has come.
#[derive(Debug)]
pub(super) struct Chunks {
    at: Place,
    /// The current chunk's size, then what is still to come of its data.
    size: u64,
    /// Digits of the size.
    digits: u8,
    /// Bytes of extensions or trailers.
    extra: usize,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    Size,
    /// Blanks behind a size, which only an extension may follow.
    Blank,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// At the begin of a line behind the last chunk.
    TrailerStart,
    Trailer,
    TrailerLf,
    EndLf,
}

impl Default for Chunks {
    fn default() -> Self {
        Self { at: Place::Size, size: 0, digits: 0, extra: 0 }
    }
}

impl Chunks {
    /// Reads on: how many of these bytes are the body's, and whether it ends there, or is broken
    /// and nothing behind it can be understood.
    pub(super) fn read(&mut self, bytes: &[u8]) -> (usize, Result<bool, Refused>) {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            if let Place::Data = self.at {
                let rest = bytes.len() - at;
                let step = usize::try_from(self.size).map_or(rest, |size| size.min(rest));
                self.size -= step as u64;
                at += step;
                if self.size == 0 {
                    self.at = Place::DataCr;
                }
                continue;
            }
            if let (Place::EndLf, b'\n') = (self.at, byte) {
                return (at + 1, Ok(true));
            }
            match self.step(byte) {
                Ok(next) => self.at = next,
                Err(refused) => return (at, Err(refused)),
            }
            at += 1;
        }
        (at, Ok(false))
    }

    fn step(&mut self, byte: u8) -> Result<Place, Refused> {
        Ok(match (self.at, byte) {
            (Place::Size, b'\r') if self.digits > 0 => Place::SizeLf,
            (Place::Size | Place::Blank, b';') if self.digits > 0 => {
                self.extra(Place::Extension)?
            }
            (Place::Size | Place::Blank, b' ' | b'\t') if self.digits > 0 => {
                self.extra(Place::Blank)?
            }
            (Place::Size, _) => {
                let digit = char::from(byte).to_digit(16).ok_or(Refused)?;
                // More digits than these do not fit the number.
                if self.digits == 16 {
                    return Err(Refused);
                }
                self.digits += 1;
                self.size = self.size << 4 | u64::from(digit);
                Place::Size
            }
            (Place::Extension, b'\r') => Place::SizeLf,
            (Place::SizeLf, b'\n') => {
                (self.digits, self.extra) = (0, 0);
                if self.size == 0 { Place::TrailerStart } else { Place::Data }
            }
            (Place::DataCr, b'\r') => Place::DataLf,
            (Place::DataLf, b'\n') => Place::Size,
            (Place::TrailerStart, b'\r') => Place::EndLf,
            (Place::Trailer, b'\r') => Place::TrailerLf,
            (Place::TrailerLf, b'\n') => Place::TrailerStart,
            (Place::Extension, _) if is_text(byte) => self.extra(Place::Extension)?,
            (Place::TrailerStart | Place::Trailer, _) if is_text(byte) => {
                self.extra(Place::Trailer)?
            }
            _ => return Err(Refused),
        })
    }

    fn extra(&mut self, next: Place) -> Result<Place, Refused> {
        self.extra += 1;
        if self.extra > MAX_EXTRA { Err(Refused) } else { Ok(next) }
    }
}

/// What a field's value may be made of.
fn is_text(byte: u8) -> bool {
    byte == b'\t' || !byte.is_ascii_control()
}
