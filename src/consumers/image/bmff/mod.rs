//! AVIF and HEIC: the ISO base media file format (ISO/IEC 14496-12) as HEIF (ISO/IEC
//! 23008-12) and AVIF (AOMedia, AV1 Image File Format 1.1) use it.
//!
//! This file walks the boxes: down into the few that lead to dimensions, past all others by
//! their sizes. The `meta` box may stand anywhere, behind `mdat` too, and may be of any size,
//! since only a few bytes of it are read. [`boxes`] knows the way, and what is found there
//! means something in [`brand`] (which type), [`item`] (the primary image) and [`sequence`]
//! (a track, for animations without a primary image).

mod boxes;
mod brand;
mod item;
mod sequence;

#[cfg(test)]
mod tests;

use super::walk::{ENDS_EARLY, Head, Next, offset};
use super::{Dimensions, Error, ImageType};
use boxes::{Interest, Kind, Nesting};
use brand::Brand;
use item::Items;
use sequence::Sequence;

const BROKEN: Error = Error::Invalid("The image's boxes are broken.");

/// A box's size and type, and both with a 64-bit size behind them.
const HEADER: u64 = 8;
const LARGE_HEADER: u64 = 16;
/// More brands than this are no honest file's.
const LONGEST_FTYP: u32 = 4096;

#[derive(Debug, Default)]
pub(super) struct Bmff {
    expect: Expect,
    brand: Brand,
    around: Nesting,
    items: Items,
    sequence: Sequence,
}

#[derive(Debug, Default)]
enum Expect {
    /// `ftyp`'s size and type, and the major brand.
    #[default]
    MajorBrand,
    /// The major brand's version, and the compatible brands.
    Brands,
    Header,
    /// The 64-bit size of a box of this type.
    LargeSize(Kind),
    /// The data of a box that ends at `end`.
    Data {
        kind: Kind,
        end: u64,
    },
}

impl Head for Bmff {
    fn image_type(&self) -> Option<ImageType> {
        self.brand.image_type()
    }

    fn first(&self) -> Next {
        Next::Read { at: 0, len: 12 }
    }

    fn read(&mut self, at: u64, bytes: &[u8]) -> Result<Next, Error> {
        match self.expect {
            Expect::MajorBrand => self.major_brand(bytes),
            Expect::Brands => {
                self.brand.settle(bytes.get(4..).unwrap_or_default())?;
                self.header_at(offset(at, bytes.len() as u64)?)
            }
            Expect::Header => {
                let &[s3, s2, s1, s0, k0, k1, k2, k3] = bytes else {
                    return Err(BROKEN);
                };
                let kind = [k0, k1, k2, k3];
                match u32::from_be_bytes([s3, s2, s1, s0]) {
                    0 => self.open(kind, offset(at, HEADER)?, None),
                    1 => {
                        self.expect = Expect::LargeSize(kind);
                        let at = offset(at, HEADER)?;
                        Ok(Next::Read { at, len: 8 })
                    }
                    size => self.sized(kind, at, HEADER, size.into()),
                }
            }
            Expect::LargeSize(kind) => {
                let size = u64::from_be_bytes(bytes.try_into().map_err(|_| BROKEN)?);
                self.sized(kind, at - HEADER, LARGE_HEADER, size)
            }
            Expect::Data { kind, end } => {
                self.data(&kind, bytes)?;
                self.header_at(end)
            }
        }
    }

    /// A last box of open size ends here, and so its dimensions may be complete only now.
    fn end(&mut self) -> Result<Dimensions, Error> {
        if self.image_type().is_none() {
            return Err(Error::Unsupported);
        }
        if let Some(kind) = self.around.end()
            && let Some(dimensions) = self.close(kind)?
        {
            return Ok(dimensions);
        }
        self.sequence.dimensions().ok_or(ENDS_EARLY)?
    }
}

impl Bmff {
    fn major_brand(&mut self, bytes: &[u8]) -> Result<Next, Error> {
        let &[s3, s2, s1, s0, _, _, _, _, ref major @ ..] = bytes else {
            return Err(Error::Unsupported);
        };
        let size = u32::from_be_bytes([s3, s2, s1, s0]);
        if !(16..=LONGEST_FTYP).contains(&size) || !size.is_multiple_of(4) {
            return Err(Error::Unsupported);
        }
        self.brand = Brand::of_major(major)?;
        self.expect = Expect::Brands;
        let len = size as usize - bytes.len();
        Ok(Next::Read { at: 12, len })
    }

    fn sized(&mut self, kind: Kind, at: u64, header: u64, size: u64) -> Result<Next, Error> {
        if size < header {
            return Err(Error::Invalid("A box of the image is shorter than its header."));
        }
        let end = offset(at, size)?;
        self.open(kind, offset(at, header)?, Some(end))
    }

    /// Decides what to do with a box whose data begin at `at`.
    fn open(&mut self, kind: Kind, at: u64, end: Option<u64>) -> Result<Next, Error> {
        self.around.check(end)?;
        let parent = self.around.innermost();
        match (parent.as_ref(), &kind) {
            (None, b"meta") => self.items = Items::default(),
            (Some(b"iprp"), b"ipco") => self.items.begin_properties()?,
            (Some(b"ipco"), _) => self.items.count_property()?,
            (Some(b"moov"), b"trak") => self.sequence.begin_track(),
            _ => {}
        }
        let available = end.map(|end| end - at);
        match (Interest::of(parent, kind, available, self.brand.is_sequence())?, end) {
            (Interest::Children(skip), _) => {
                let at = offset(at, skip)?;
                self.around.enter(kind, at, end)?;
                self.header_at(at)
            }
            (Interest::Data(len), Some(end)) => {
                self.expect = Expect::Data { kind, end };
                let len = usize::try_from(len).map_err(|_| BROKEN)?;
                Ok(Next::Read { at, len })
            }
            (_, Some(end)) => self.header_at(end),
            (_, None) => Ok(Next::Nothing),
        }
    }

    /// Reads the next box's header, after leaving the boxes that end here.
    fn header_at(&mut self, at: u64) -> Result<Next, Error> {
        while let Some(kind) = self.around.leave(at)? {
            if let Some(dimensions) = self.close(kind)? {
                return Ok(Next::Found(dimensions));
            }
        }
        self.expect = Expect::Header;
        let len = HEADER as usize;
        Ok(Next::Read { at, len })
    }

    fn data(&mut self, kind: &Kind, bytes: &[u8]) -> Result<(), Error> {
        match kind {
            b"pitm" => self.items.primary(bytes),
            b"ipma" => self.items.associations(bytes),
            b"hdlr" => {
                self.sequence.handler(bytes);
                Ok(())
            }
            b"stsd" => {
                self.sequence.sample_entry(bytes);
                Ok(())
            }
            property => self.items.property(property, bytes),
        }
    }

    /// A box is complete: whether the dimensions are, too.
    fn close(&mut self, kind: Kind) -> Result<Option<Dimensions>, Error> {
        match &kind {
            b"meta" => match self.items.dimensions() {
                // A sequence's `meta` may describe it as a whole and no image.
                None if self.brand.is_sequence() => Ok(None),
                None => Err(Error::Invalid("The file names no primary image.")),
                Some(found) => found.map(Some),
            },
            b"trak" => {
                self.sequence.end_track();
                Ok(None)
            }
            _ => Ok(None),
        }
    }
}
