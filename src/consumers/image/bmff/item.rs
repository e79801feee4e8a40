//! The primary image of a HEIF file: which item it is (`pitm`, ISO/IEC 14496-12, 8.11.4),
//! what properties the file has (`ipco`) and which of them are that item's (`ipma`, ISO/IEC
//! 23008-12, 9.3).
//!
//! Of a grid, this is the whole picture: the derived item carries an `ispe` of its own.
//! `irot` is applied, as the standard demands and as libheif and browsers do, so width and
//! height swap at 90° and 270°. `clap` is applied where it only takes off the padding that an
//! encoder added to fill its blocks. A larger crop is reported uncropped, though viewers
//! show less: what a decoder has to make first is what a limit on pixels must see.

use super::{BROKEN, Dimensions, Error, Kind};

/// Properties that are kept; a grid of thousands of tiles may have one `ispe` for each.
const MOST_PROPERTIES: usize = 4096;
/// Bytes of all `ipma` boxes together, of which there is one for each version and flag.
const MOST_ASSOCIATIONS: usize = 64 * 1024;
const MOST_ASSOCIATION_BOXES: usize = 4;
/// The side of the largest block, in pixels: 64 in HEVC, 128 in AV1.
const BLOCK: u32 = 128;
/// A megapixel, far below any sensible limit.
const SMALL: u64 = 1 << 20;

#[derive(Debug, Default)]
pub(super) struct Items {
    primary: Option<u32>,
    /// How many properties have begun; they are numbered from 1.
    count: Option<u32>,
    /// Those that bear on dimensions, by number.
    properties: Vec<(u32, Property)>,
    /// `ipma` boxes as they came: they may precede `pitm`.
    associations: Vec<Box<[u8]>>,
}

#[derive(Debug, Clone, Copy)]
enum Property {
    /// `ispe`: width and height.
    Extent(u32, u32),
    /// `irot`: by a quarter or three quarters.
    QuarterTurn,
    /// `clap`: the width and height that stay.
    Crop(u32, u32),
}

impl Items {
    pub(super) fn primary(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if self.primary.is_some() {
            return Err(Error::Invalid("The file names two primary images."));
        }
        let mut bytes = Bytes(bytes);
        let wide = bytes.u32()? >> 24 > 0;
        self.primary = Some(bytes.id(wide)?);
        Ok(())
    }

    pub(super) fn begin_properties(&mut self) -> Result<(), Error> {
        match self.count.replace(0) {
            None => Ok(()),
            Some(_) => Err(BROKEN),
        }
    }

    /// Another property begins, of whatever type.
    pub(super) fn count_property(&mut self) -> Result<(), Error> {
        let next = self.count.and_then(|count| count.checked_add(1));
        self.count = Some(next.ok_or(BROKEN)?);
        Ok(())
    }

    pub(super) fn property(&mut self, kind: &Kind, bytes: &[u8]) -> Result<(), Error> {
        let mut bytes = Bytes(bytes);
        let property = match kind {
            b"ispe" => {
                bytes.u32()?;
                Property::Extent(bytes.u32()?, bytes.u32()?)
            }
            b"irot" if bytes.u8()? & 1 == 1 => Property::QuarterTurn,
            b"clap" => {
                let (width, height) = (bytes.whole()?, bytes.whole()?);
                match width.zip(height) {
                    Some((width, height)) => Property::Crop(width, height),
                    None => return Ok(()),
                }
            }
            _ => return Ok(()),
        };
        if self.properties.len() == MOST_PROPERTIES {
            return Err(Error::Invalid("The image has too many properties."));
        }
        self.properties.push((self.count.unwrap_or(0), property));
        Ok(())
    }

    pub(super) fn associations(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let held: usize = self.associations.iter().map(|held| held.len()).sum();
        if self.associations.len() == MOST_ASSOCIATION_BOXES
            || held + bytes.len() > MOST_ASSOCIATIONS
        {
            return Err(Error::Invalid("The image lists too many items."));
        }
        self.associations.push(bytes.into());
        Ok(())
    }

    /// The primary image's dimensions; `None` if there is no primary image.
    pub(super) fn dimensions(&self) -> Option<Result<Dimensions, Error>> {
        self.primary.map(|item| self.dimensions_of(item))
    }

    fn dimensions_of(&self, item: u32) -> Result<Dimensions, Error> {
        let mut own = Vec::new();
        for number in self.numbers_of(item)? {
            if u32::from(number) > self.count.unwrap_or(0) {
                return Err(Error::Invalid("The image refers to a property that is not there."));
            }
            // Numbers grow as properties come, so they are in order.
            let key = |property: &(u32, Property)| property.0;
            if let Ok(found) = self.properties.binary_search_by_key(&number.into(), key) {
                own.push(self.properties[found].1);
            }
        }
        let mut extents = own.iter().filter_map(|property| match property {
            Property::Extent(width, height) => Some((*width, *height)),
            _ => None,
        });
        let (mut width, mut height) = match (extents.next(), extents.next()) {
            (Some(extent), None) => extent,
            (None, _) => return Err(Error::Invalid("The primary image has no dimensions.")),
            _ => return Err(Error::Invalid("The primary image has two dimensions.")),
        };
        // Transformations apply in the order of their association (23008-12, 6.5.1).
        let mut cropped = false;
        for property in own {
            match property {
                Property::Extent(..) => {}
                Property::QuarterTurn => (width, height) = (height, width),
                Property::Crop(..) if cropped => {
                    return Err(Error::Invalid("The primary image is cropped twice."));
                }
                Property::Crop(to_width, to_height) => {
                    cropped = true;
                    if is_padding((width, height), (to_width, to_height)) {
                        (width, height) = (to_width, to_height);
                    }
                }
            }
        }
        Dimensions::still(width, height)
    }

    /// The numbers of an item's properties, in their order.
    fn numbers_of(&self, item: u32) -> Result<Vec<u16>, Error> {
        for held in &self.associations {
            let mut bytes = Bytes(held);
            let head = bytes.u32()?;
            let (wide_ids, wide_numbers) = (head >> 24 > 0, head & 1 == 1);
            for _ in 0..bytes.u32()? {
                let id = bytes.id(wide_ids)?;
                // The highest bit says whether a reader must understand the property; number
                // 0 stands for none.
                let numbers = (0..bytes.u8()?)
                    .map(|_| {
                        if wide_numbers {
                            bytes.u16().map(|number| number & 0x7fff)
                        } else {
                            bytes.u8().map(|number| u16::from(number & 0x7f))
                        }
                    })
                    .filter(|number| *number != Ok(0))
                    .collect::<Result<Vec<_>, _>>()?;
                if id == item {
                    return Ok(numbers);
                }
            }
        }
        Ok(Vec::new())
    }
}

/// Whether a crop takes off no more than an encoder adds: less than a block on each side, and
/// of a picture that is not small anyway (a thin one may be padding for the most part) at
/// most half.
fn is_padding(from: (u32, u32), to: (u32, u32)) -> bool {
    let trims = |from: u32, to: u32| to > 0 && to <= from && from - to < BLOCK;
    let area = |(width, height)| u64::from(width) * u64::from(height);
    let little = area(from) <= SMALL || area(to) >= area(from) / 2;
    trims(from.0, to.0) && trims(from.1, to.1) && little
}

/// Big-endian fields, one after another.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(BROKEN)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u8(&mut self) -> Result<u8, Error> {
        self.take().map(u8::from_be_bytes)
    }

    fn u16(&mut self) -> Result<u16, Error> {
        self.take().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, Error> {
        self.take().map(u32::from_be_bytes)
    }

    fn id(&mut self, wide: bool) -> Result<u32, Error> {
        if wide { self.u32() } else { self.u16().map(u32::from) }
    }

    /// A fraction, if it is a whole number.
    fn whole(&mut self) -> Result<Option<u32>, Error> {
        let (numerator, denominator) = (self.u32()?, self.u32()?);
        let whole = denominator != 0 && numerator.is_multiple_of(denominator);
        Ok(whole.then(|| numerator / denominator))
    }
}
