//! The files that pixels come in, as far as their structure goes: which blocks there are, what in
//! them is metadata, and how to write the file without it. Nothing is decoded here.

pub(super) mod gif;
pub(super) mod jpeg;
pub(super) mod png;
mod vp8l;
pub(super) mod webp;

#[cfg(test)]
mod tests;

use super::{Error, exif};

/// A colour profile beyond this is not read: the largest of printing presses have 2 to 3 MiB.
pub(super) const MOST_ICC: usize = 4 << 20;

/// An EXIF block beyond this is not read; JPEG's cannot pass 64 KiB.
pub(super) const MOST_EXIF: usize = 1 << 20;

/// The formats that are read, by their first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Jpeg,
    Png,
    Gif,
    Webp,
}

impl Kind {
    pub(super) fn of(bytes: &[u8]) -> Result<Self, Error> {
        match bytes {
            [0xff, 0xd8, 0xff, ..] => Ok(Self::Jpeg),
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Ok(Self::Png),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Ok(Self::Gif),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Ok(Self::Webp),
            [_, _, _, _, b'f', b't', b'y', b'p', ..] => {
                Err(Error::Unsupported("AVIF and HEIC images are kept, but not decoded."))
            }
            _ => Err(Error::Unsupported("The image is no JPEG, PNG, GIF or WebP.")),
        }
    }

    /// The EXIF block, a TIFF file. None where the file breaks before it.
    pub(super) fn exif(self, bytes: &[u8]) -> Option<&[u8]> {
        let block = match self {
            Self::Jpeg => jpeg::exif(bytes),
            Self::Png => png::exif(bytes),
            Self::Webp => webp::exif(bytes),
            Self::Gif => None,
        };
        block.filter(|block| block.len() <= MOST_EXIF)
    }

    pub(super) fn strip(self, bytes: &[u8]) -> Result<Vec<u8>, Error> {
        match self {
            Self::Jpeg => jpeg::strip(bytes),
            Self::Png => png::strip(bytes),
            Self::Gif => gif::strip(bytes),
            Self::Webp => webp::strip(bytes),
        }
    }
}

/// What stands before the TIFF file in a JPEG's APP1, and in some writers' other files.
const EXIF: &[u8] = b"Exif\0\0";

/// An EXIF block that only says how the pixels lie, for an EXIF block that says that they do not
/// lie upright.
fn orientation_only(block: &[u8]) -> Option<[u8; 26]> {
    let value = exif::orientation_tag(block).filter(|value| (2..=8).contains(value))?;
    let mut tiff = *b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\0\0\0\0\0\0\0";
    tiff[19] = u8::try_from(value).ok()?;
    Some(tiff)
}

/// The big-endian number at a place.
fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_be_bytes)
}

/// The little-endian number at a place.
fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_le_bytes)
}
