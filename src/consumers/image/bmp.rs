//! BMP (Windows `BITMAPFILEHEADER` and what follows it, OS/2 1.x and 2.x included): the
//! dimensions in the information header.
//!
//! Two letters are a weak magic, which any text may begin with. A file counts as BMP only
//! when its information header is also plausible; until then nothing is `Invalid`.

use super::walk::{Head, Next};
use super::{Dimensions, Error, ImageType};

/// Where the information header begins: behind the file header.
const INFO: u64 = 14;
/// `BITMAPCOREHEADER`, with sides of 16 bits.
const CORE: u32 = 12;
/// `BITMAPINFOHEADER`, its V2 to V5 and OS/2 2.x forms, all with sides of 32 bits.
const LONGER: [u32; 6] = [40, 52, 56, 64, 108, 124];

#[derive(Debug, Default)]
pub(super) struct Bmp {
    certain: bool,
    expect: Expect,
}

#[derive(Debug, Default)]
enum Expect {
    #[default]
    HeaderSize,
    /// Sides, planes and bits per pixel, sides of 16 bits.
    Core,
    /// The same, sides of 32 bits.
    Longer,
}

impl Head for Bmp {
    fn image_type(&self) -> Option<ImageType> {
        self.certain.then_some(ImageType::Bmp)
    }

    fn first(&self) -> Next {
        Next::Read { at: INFO, len: 4 }
    }

    fn read(&mut self, at: u64, bytes: &[u8]) -> Result<Next, Error> {
        match (&self.expect, bytes) {
            (Expect::HeaderSize, &[b0, b1, b2, b3]) => {
                let (expect, len) = match u32::from_le_bytes([b0, b1, b2, b3]) {
                    CORE => (Expect::Core, 8),
                    size if LONGER.contains(&size) => (Expect::Longer, 12),
                    _ => return Err(Error::Unsupported),
                };
                self.expect = expect;
                Ok(Next::Read { at: at + 4, len })
            }
            (Expect::Core, &[w0, w1, h0, h1, ref layout @ ..]) => {
                self.confirm(layout)?;
                let width = u16::from_le_bytes([w0, w1]);
                let height = u16::from_le_bytes([h0, h1]);
                Dimensions::still(width.into(), height.into()).map(Next::Found)
            }
            (Expect::Longer, &[w0, w1, w2, w3, h0, h1, h2, h3, ref layout @ ..]) => {
                self.confirm(layout)?;
                let width = u32::try_from(i32::from_le_bytes([w0, w1, w2, w3]))
                    .map_err(|_| Error::Invalid("The BMP's width is negative."))?;
                // A negative height means that the rows stand from top to bottom.
                let height = i32::from_le_bytes([h0, h1, h2, h3]).unsigned_abs();
                Dimensions::still(width, height).map(Next::Found)
            }
            _ => Err(Error::Unsupported),
        }
    }
}

impl Bmp {
    /// One plane, and a number of bits per pixel that exists.
    fn confirm(&mut self, layout: &[u8]) -> Result<(), Error> {
        if !matches!(layout, [1, 0, 1 | 2 | 4 | 8 | 16 | 24 | 32, 0]) {
            return Err(Error::Unsupported);
        }
        self.certain = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{bmp, found, inspect, is_invalid};
    use super::*;

    #[test]
    fn every_header_size_is_read_and_rows_may_stand_either_way() {
        for size in LONGER {
            let expected = found(ImageType::Bmp, 70_000, 33, 1);
            assert_eq!(inspect(&bmp(size, 70_000, 33)), expected);
            assert_eq!(inspect(&bmp(size, 70_000, -33)), expected);
        }
        let lowest = found(ImageType::Bmp, 1, 1 << 31, 1);
        assert_eq!(inspect(&bmp(40, 1, i32::MIN)), lowest);
    }

    #[test]
    fn what_only_begins_with_the_letters_is_unsupported() {
        for size in [0, 11, 16, 39, 41, 125, u32::MAX] {
            assert_eq!(inspect(&bmp(size, 7, 5)), Err(Error::Unsupported));
        }
        for (place, value) in [(26, 0), (26, 2), (27, 1), (28, 0), (28, 3), (29, 1)] {
            let mut bytes = bmp(40, 7, 5);
            bytes[place] = value;
            assert_eq!(inspect(&bytes), Err(Error::Unsupported), "{place} {value}");
        }
    }

    #[test]
    fn impossible_sides_are_invalid() {
        for (width, height) in [(0, 5), (7, 0), (-7, 5), (i32::MIN, 5)] {
            assert!(is_invalid(&bmp(40, width, height)));
        }
    }
}
