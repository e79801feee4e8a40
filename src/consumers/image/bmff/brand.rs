//! The `ftyp` box: which of the formats built on boxes a file is (ISO/IEC 14496-12, 4.3).
//!
//! The major brand decides. Only where it names no coding (`mif1` and its like: "some HEIF
//! image") do the compatible brands, the first that does winning. A video that lists an
//! image brand as compatible stays a video.

use super::{Error, ImageType};

#[derive(Debug, Default)]
pub(super) struct Brand {
    image_type: Option<ImageType>,
    sequence: bool,
}

impl Brand {
    /// `Unsupported` when no image begins with this major brand.
    pub(super) fn of_major(major: &[u8]) -> Result<Self, Error> {
        let image_type = coding(major);
        let general = matches!(major, b"mif1" | b"mif2" | b"msf1" | b"miaf");
        if !general && image_type.is_none() {
            return Err(Error::Unsupported);
        }
        Ok(Self { image_type, sequence: sequence(major) })
    }

    /// Takes the compatible brands, four bytes each, into account.
    pub(super) fn settle(&mut self, compatible: &[u8]) -> Result<(), Error> {
        let mut brands = compatible.chunks_exact(4);
        self.sequence |= brands.clone().any(sequence);
        self.image_type = self.image_type.or_else(|| brands.find_map(coding));
        match self.image_type {
            Some(_) => Ok(()),
            None => Err(Error::Unsupported),
        }
    }

    pub(super) fn image_type(&self) -> Option<ImageType> {
        self.image_type
    }

    /// Whether the file may hold its pictures as a track.
    pub(super) fn is_sequence(&self) -> bool {
        self.sequence
    }
}

/// The brands that name a coding: AVIF (section 6) and HEIF (annex B.4).
fn coding(brand: &[u8]) -> Option<ImageType> {
    match brand {
        b"avif" | b"avis" => Some(ImageType::Avif),
        b"heic" | b"heix" | b"hevc" | b"hevx" | b"heim" | b"heis" => Some(ImageType::Heic),
        _ => None,
    }
}

fn sequence(brand: &[u8]) -> bool {
    matches!(brand, b"avis" | b"hevc" | b"hevx" | b"msf1")
}
