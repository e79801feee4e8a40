//! What an uploaded file is: its image type and dimensions, read from its bytes while they
//! stream past, whatever the client declared.
//!
//! Nothing is decoded and no payload is copied. A format is recognised by its magic in the
//! first twelve bytes; from there its own file (`jpeg`, `png`, …) asks for the few bytes it
//! wants next by their place in the file, and `walk` fetches them. Each of those files
//! names the specification whose rules it follows.
//!
//! Dimensions are those of the picture a browser shows, as far as the container itself says
//! so: HEIF's rotation counts, because applying it is mandatory (ISO/IEC 23008-12, 6.5.10);
//! the Exif orientation of a JPEG or TIFF does not, because it is advice inside metadata.
//!
//! It knows bytes only: no HTTP, no storage, no settings. Which types are accepted, and how
//! many pixels, is decided by the caller.

mod bmff;
mod bmp;
mod gif;
mod jpeg;
mod magic;
mod png;
mod saved;
mod tiff;
mod walk;
mod webp;

#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;

use magic::Magic;
pub use saved::Saved;
use walk::Walk;

/// The image types gatehouse can tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ImageType {
    /// ITU-T T.81, whatever is around it (JFIF, Exif, several pictures).
    Jpeg,
    /// PNG, animated or not.
    Png,
    /// GIF87a or GIF89a.
    Gif,
    /// WebP: lossy, lossless or extended.
    Webp,
    /// AV1 in HEIF, one image or a sequence.
    Avif,
    /// HEVC in HEIF, one image or a sequence.
    Heic,
    /// TIFF 6.0 and the camera raw formats built on it, without BigTIFF.
    Tiff,
    /// Windows or OS/2 bitmap.
    Bmp,
}

impl ImageType {
    /// Every type.
    pub const ALL: [Self; 8] = [
        Self::Jpeg,
        Self::Png,
        Self::Gif,
        Self::Webp,
        Self::Avif,
        Self::Heic,
        Self::Tiff,
        Self::Bmp,
    ];

    /// The media type registered with IANA, as stored and served.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::Gif => "image/gif",
            Self::Webp => "image/webp",
            Self::Avif => "image/avif",
            Self::Heic => "image/heic",
            Self::Tiff => "image/tiff",
            Self::Bmp => "image/bmp",
        }
    }

    /// The type with this media type; case does not matter (RFC 9110 section 8.3.1),
    /// parameters and aliases such as `image/jpg` are not known.
    pub fn from_content_type(content_type: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.content_type().eq_ignore_ascii_case(content_type))
    }
}

/// The size of the picture, in pixels. Neither side is ever zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dimensions {
    /// Pixels from left to right.
    pub width: u32,
    /// Pixels from top to bottom.
    pub height: u32,
    /// How many pictures of that size the file says it holds, where its head tells (an
    /// animated PNG's does); 1 elsewhere, for animated GIF, WebP and AVIF too.
    pub frames: u32,
}

impl Dimensions {
    /// One picture of this size, or `Invalid` if a side is zero.
    fn still(width: u32, height: u32) -> Result<Self, Error> {
        if width == 0 || height == 0 {
            return Err(Error::Invalid("The image is zero pixels wide or high."));
        }
        Ok(Self { width, height, frames: 1 })
    }

    /// What a decoder would have to make: width × height × frames, at most 2^96.
    pub fn pixels(&self) -> u128 {
        u128::from(self.width) * u128::from(self.height) * u128::from(self.frames)
    }
}

/// Why a file is not accepted as an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No known image type begins like this.
    #[error("the bytes are of no known image type")]
    Unsupported,
    /// The type is known, but its head is broken. The text is a sentence for the client.
    #[error("{0}")]
    Invalid(&'static str),
}

/// Reads a file's type and dimensions from its bytes as they pass.
///
/// How the bytes are cut into pushes makes no difference. Memory is bounded whatever the
/// file claims: a few hundred bytes as a rule, at most about 200 KiB for a HEIF file with
/// thousands of items.
#[derive(Debug)]
pub struct Inspector {
    image_type: Option<ImageType>,
    state: State,
    /// Whether it can be saved.
    traced: bool,
}

#[derive(Debug)]
enum State {
    Beginning(Magic),
    Head(Magic, Walk),
    Known(Dimensions),
    Failed(Error),
}

impl Inspector {
    /// One for a file of which nothing has come yet.
    pub fn new() -> Self {
        Self { image_type: None, state: State::Beginning(Magic::default()), traced: false }
    }

    /// From where on in the file bytes matter; none where only its end does.
    pub fn wanted(&self) -> Option<u64> {
        match &self.state {
            State::Beginning(magic) => Some(magic.prefix().len() as u64),
            State::Head(_, walk) => walk.wanted(),
            State::Known(_) | State::Failed(_) => None,
        }
    }

    /// Passes over the bytes before [`wanted`](Self::wanted), as if they had been pushed.
    pub fn skip(&mut self) {
        if let State::Head(_, walk) = &mut self.state {
            walk.skip();
        }
    }

    /// Feeds the next bytes of the file; nothing is left to do once the dimensions are known.
    ///
    /// # Errors
    /// As soon as the bytes cannot become an accepted image. The error stays: further pushes
    /// and [`finish`](Self::finish) repeat it.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), Error> {
        match &mut self.state {
            State::Known(_) => Ok(()),
            State::Failed(error) => Err(*error),
            State::Beginning(magic) => {
                let before = magic.prefix().len();
                match magic.feed(bytes) {
                    Ok(None) => Ok(()),
                    Ok(Some(head)) => {
                        let magic = *magic;
                        self.state = State::Head(magic, Walk::new(head(), self.traced));
                        self.advance(magic.prefix())?;
                        self.push(&bytes[magic.prefix().len() - before..])
                    }
                    Err(error) => self.fail(error),
                }
            }
            State::Head(..) => self.advance(bytes),
        }
    }

    /// The type, as soon as the magic decides; it stays known when the head proves broken.
    pub fn image_type(&self) -> Option<ImageType> {
        self.image_type
    }

    /// The dimensions, once they are known.
    pub fn dimensions(&self) -> Option<Dimensions> {
        match self.state {
            State::Known(dimensions) => Some(dimensions),
            _ => None,
        }
    }

    /// At the end of the file: type and dimensions.
    ///
    /// # Errors
    /// `Unsupported` if the file ended before its magic was complete, `Invalid` if it ended
    /// before its dimensions, or whatever `push` has said already.
    pub fn finish(&mut self) -> Result<(ImageType, Dimensions), Error> {
        let ended = match &mut self.state {
            State::Beginning(_) => Err(Error::Unsupported),
            State::Head(_, walk) => walk.end(),
            State::Known(dimensions) => Ok(*dimensions),
            State::Failed(error) => Err(*error),
        };
        let ended = ended.and_then(|dimensions| {
            let image_type = self.image_type.ok_or(Error::Unsupported)?;
            Ok((image_type, dimensions))
        });
        self.state = match ended {
            Ok((_, dimensions)) => State::Known(dimensions),
            Err(error) => State::Failed(error),
        };
        ended
    }

    fn advance(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let State::Head(_, walk) = &mut self.state else {
            return Ok(());
        };
        let step = walk.feed(bytes);
        self.image_type = walk.image_type();
        match step {
            Ok(None) => Ok(()),
            Ok(Some(dimensions)) => {
                self.state = State::Known(dimensions);
                Ok(())
            }
            Err(error) => self.fail(error),
        }
    }

    fn fail(&mut self, error: Error) -> Result<(), Error> {
        self.state = State::Failed(error);
        Err(error)
    }
}

impl Default for Inspector {
    fn default() -> Self {
        Self::new()
    }
}
