//! TIFF 6.0 (Adobe, 1992): ImageWidth and ImageLength of the first image file directory
//! (section 2), which may stand anywhere behind the header, often at the file's end.
//!
//! Entries are looked at one by one as they pass, so that neither what stands before the
//! directory nor the directory itself is held. BigTIFF has another magic and is not known;
//! camera raw files that are built on TIFF are TIFF here.

use super::walk::{Head, Next, offset};
use super::{Dimensions, Error, ImageType};

const IMAGE_WIDTH: u16 = 256;
const IMAGE_LENGTH: u16 = 257;
const SHORT: u16 = 3;
const LONG: u16 = 4;
const HEADER_LENGTH: u32 = 8;
const ENTRY_LENGTH: usize = 12;

#[derive(Debug)]
pub(super) struct Tiff {
    little_endian: bool,
    expect: Expect,
    width: Option<u32>,
    height: Option<u32>,
}

#[derive(Debug)]
enum Expect {
    DirectoryOffset,
    EntryCount,
    Entry { left: u16 },
}

impl Head for Tiff {
    fn image_type(&self) -> Option<ImageType> {
        Some(ImageType::Tiff)
    }

    fn first(&self) -> Next {
        // Behind the magic.
        Next::Read { at: 4, len: 4 }
    }

    fn read(&mut self, at: u64, bytes: &[u8]) -> Result<Next, Error> {
        match self.expect {
            Expect::DirectoryOffset => {
                let directory = self.long(bytes)?;
                if directory < HEADER_LENGTH {
                    return Err(Error::Invalid("The TIFF's directory lies in its header."));
                }
                self.expect = Expect::EntryCount;
                Ok(Next::Read { at: directory.into(), len: 2 })
            }
            Expect::EntryCount => {
                let left = self.short(bytes)?;
                self.entry_or_end(offset(at, 2)?, left)
            }
            Expect::Entry { left } => {
                self.entry(bytes)?;
                if let (Some(width), Some(height)) = (self.width, self.height) {
                    return Dimensions::still(width, height).map(Next::Found);
                }
                self.entry_or_end(offset(at, ENTRY_LENGTH as u64)?, left)
            }
        }
    }
}

impl Tiff {
    pub(super) fn little_endian() -> Self {
        Self::new(true)
    }

    pub(super) fn big_endian() -> Self {
        Self::new(false)
    }

    fn new(little_endian: bool) -> Self {
        Self { little_endian, expect: Expect::DirectoryOffset, width: None, height: None }
    }

    fn entry_or_end(&mut self, at: u64, left: u16) -> Result<Next, Error> {
        let left =
            left.checked_sub(1).ok_or(Error::Invalid("The TIFF's directory has no dimensions."))?;
        self.expect = Expect::Entry { left };
        Ok(Next::Read { at, len: ENTRY_LENGTH })
    }

    /// Tag, type, count, and the value itself, since it fits four bytes (page 15).
    fn entry(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let tag = self.short(bytes)?;
        let known = match tag {
            IMAGE_WIDTH => self.width,
            IMAGE_LENGTH => self.height,
            _ => return Ok(()),
        };
        // The first of a repeated tag counts, as in libtiff.
        if known.is_some() {
            return Ok(());
        }
        let (kind, count, value) = (&bytes[2..], &bytes[4..], &bytes[8..]);
        let value = match (self.short(kind)?, self.long(count)?) {
            // Shorter values stand at the left of the four bytes in either byte order.
            (SHORT, 1) => self.short(value)?.into(),
            (LONG, 1) => self.long(value)?,
            _ => return Err(Error::Invalid("The TIFF's dimensions are no numbers.")),
        };
        match tag {
            IMAGE_WIDTH => self.width = Some(value),
            _ => self.height = Some(value),
        }
        Ok(())
    }

    fn short(&self, bytes: &[u8]) -> Result<u16, Error> {
        let bytes = *bytes.first_chunk().ok_or(BROKEN)?;
        Ok(if self.little_endian { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
    }

    fn long(&self, bytes: &[u8]) -> Result<u32, Error> {
        let bytes = *bytes.first_chunk().ok_or(BROKEN)?;
        Ok(if self.little_endian { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    }
}

const BROKEN: Error = Error::Invalid("The TIFF's directory is broken.");

#[cfg(test)]
mod tests {
    use super::super::samples::{found, inspect, inspect_in, is_invalid};
    use super::*;

    const WIDTH: &[u8; 12] = b"\0\x01\x03\0\x01\0\0\0\x07\0\xaa\xaa";
    const LENGTH: &[u8; 12] = b"\x01\x01\x04\0\x01\0\0\0\x05\0\x01\0";

    fn tiff(count: u16, entries: &[&[u8]]) -> Vec<u8> {
        let entries = entries.concat();
        [b"II*\0\x08\0\0\0", &count.to_le_bytes()[..], &entries].concat()
    }

    #[test]
    fn short_and_long_sides_are_read_in_any_order_of_entries() {
        let expected = found(ImageType::Tiff, 7, 65_541, 1);
        assert_eq!(inspect(&tiff(2, &[WIDTH, LENGTH])), expected);
        assert_eq!(inspect(&tiff(2, &[LENGTH, WIDTH])), expected);
        assert_eq!(inspect(&tiff(9, &[LENGTH, LENGTH, WIDTH])), expected);
    }

    #[test]
    fn a_directory_behind_gigabytes_is_found_without_holding_any() {
        let mut walk = super::super::walk::Walk::new(Box::new(Tiff::little_endian()), false);
        assert_eq!(walk.feed(b"II*\0\0\0\0\xc0"), Ok(None));
        let nothing = vec![0xaa; 1 << 20];
        for sent in 0..3 << 10 {
            let bytes = if sent == 0 { &nothing[8..] } else { &nothing };
            assert_eq!(walk.feed(bytes), Ok(None));
        }
        let directory = &tiff(2, &[WIDTH, LENGTH])[8..];
        let (_, dimensions) = found(ImageType::Tiff, 7, 65_541, 1).unwrap();
        assert_eq!(walk.feed(directory), Ok(Some(dimensions)));
    }

    #[test]
    fn a_broken_directory_is_invalid() {
        let empty = b"\0\x01\x03\0\x01\0\0\0\0\0\0\0";
        let text = b"\0\x01\x02\0\x01\0\0\0\x07\0\0\0";
        let many = b"\0\x01\x03\0\x02\0\0\0\x07\0\x07\0";
        for broken in [
            tiff(0, &[WIDTH, LENGTH]),
            tiff(1, &[WIDTH, LENGTH]),
            tiff(2, &[WIDTH, WIDTH, LENGTH]),
            tiff(2, &[empty, LENGTH]),
            tiff(2, &[text, LENGTH]),
            tiff(2, &[many, LENGTH]),
            b"II*\0\x07\0\0\0\x02\0".to_vec(),
            b"II*\0\0\0\0\0".to_vec(),
        ] {
            assert!(is_invalid(&broken), "{broken:x?}");
            assert_eq!(inspect_in(&broken, 1), inspect(&broken));
        }
    }
}
