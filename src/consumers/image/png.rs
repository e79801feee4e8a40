//! PNG (W3C PNG third edition): IHDR (11.2.1), and acTL (11.3.6.1) where an animation's head
//! stands before the first IDAT.
//!
//! Checksums are left to decoders: a wrong one harms nobody here.

use super::walk::{ENDS_EARLY, Head, Next, offset};
use super::{Dimensions, Error, ImageType};

/// Lengths and dimensions are "PNG four-byte unsigned integers" (7.1).
const LARGEST: u32 = i32::MAX as u32;
/// Of a chunk: its length and type before the data, and all that is around the data.
const CHUNK_HEAD: usize = 8;
const CHUNK_FRAME: u64 = 12;
const IHDR_LENGTH: u32 = 13;

#[derive(Debug, Default)]
pub(super) struct Png {
    expect: Expect,
    header: Option<Dimensions>,
}

#[derive(Debug, Default)]
enum Expect {
    #[default]
    Header,
    Chunk,
    FrameCount,
}

impl Head for Png {
    fn image_type(&self) -> Option<ImageType> {
        Some(ImageType::Png)
    }

    fn first(&self) -> Next {
        // Behind the signature: IHDR's length, type and data.
        Next::Read { at: 8, len: CHUNK_HEAD + IHDR_LENGTH as usize }
    }

    fn read(&mut self, at: u64, bytes: &[u8]) -> Result<Next, Error> {
        match self.expect {
            Expect::Header => {
                self.header = Some(header(bytes)?);
                self.chunk_after(at, IHDR_LENGTH)
            }
            Expect::Chunk => self.chunk(at, bytes),
            Expect::FrameCount => self.animated(bytes),
        }
    }

    /// Cut off between its chunks, a PNG has lost its pixels, but not its dimensions.
    fn end(&mut self) -> Result<Dimensions, Error> {
        self.header.ok_or(ENDS_EARLY)
    }
}

impl Png {
    fn chunk(&mut self, at: u64, bytes: &[u8]) -> Result<Next, Error> {
        let &[l3, l2, l1, l0, ref kind @ ..] = bytes else {
            return Err(BROKEN);
        };
        let length = u32::from_be_bytes([l3, l2, l1, l0]);
        if length > LARGEST || !kind.iter().all(u8::is_ascii_alphabetic) {
            return Err(Error::Invalid("A PNG chunk is broken."));
        }
        match kind {
            b"IDAT" => Ok(Next::Found(self.header.ok_or(BROKEN)?)),
            b"IEND" => Err(Error::Invalid("The PNG has no image data.")),
            b"acTL" => {
                if length != 8 {
                    return Err(Error::Invalid("The PNG's acTL chunk is broken."));
                }
                self.expect = Expect::FrameCount;
                let at = offset(at, CHUNK_HEAD as u64)?;
                Ok(Next::Read { at, len: 4 })
            }
            _ => self.chunk_after(at, length),
        }
    }

    fn chunk_after(&mut self, at: u64, length: u32) -> Result<Next, Error> {
        self.expect = Expect::Chunk;
        Ok(Next::Read { at: offset(at, CHUNK_FRAME + u64::from(length))?, len: CHUNK_HEAD })
    }

    fn animated(&mut self, bytes: &[u8]) -> Result<Next, Error> {
        let frames = big_endian(bytes)?;
        if frames == 0 || frames > LARGEST {
            return Err(Error::Invalid("The PNG's number of frames is impossible."));
        }
        let header = self.header.ok_or(BROKEN)?;
        Ok(Next::Found(Dimensions { frames, ..header }))
    }
}

const BROKEN: Error = Error::Invalid("The PNG's header is broken.");

fn big_endian(bytes: &[u8]) -> Result<u32, Error> {
    bytes.try_into().map(u32::from_be_bytes).map_err(|_| BROKEN)
}

/// The IHDR chunk; Apple's CgBI variant, which no browser shows, has another one first.
fn header(bytes: &[u8]) -> Result<Dimensions, Error> {
    let (frame, data) = bytes.split_at_checked(CHUNK_HEAD).ok_or(BROKEN)?;
    if frame != b"\0\0\0\x0dIHDR" {
        return Err(Error::Invalid("The PNG does not begin with its header."));
    }
    let (sizes, rest) = data.split_at_checked(8).ok_or(BROKEN)?;
    let (width, height) = (big_endian(&sizes[..4])?, big_endian(&sizes[4..])?);
    let &[depth, colour, compression, filter, interlace] = rest else {
        return Err(BROKEN);
    };
    let depth_fits = match colour {
        0 => matches!(depth, 1 | 2 | 4 | 8 | 16),
        3 => matches!(depth, 1 | 2 | 4 | 8),
        2 | 4 | 6 => matches!(depth, 8 | 16),
        _ => false,
    };
    let plain = compression == 0 && filter == 0 && interlace <= 1;
    if !depth_fits || !plain || width > LARGEST || height > LARGEST {
        return Err(BROKEN);
    }
    Dimensions::still(width, height)
}

#[cfg(test)]
mod tests {
    use super::super::samples::{chunk, found, ihdr, inspect, is_invalid, png};
    use super::*;

    #[test]
    fn dimensions_are_found_when_the_first_idat_begins() {
        let bytes = png(&[ihdr(7, 5), b"\x7f\xff\xff\xffIDAT".to_vec()]);
        assert_eq!(inspect(&bytes), found(ImageType::Png, 7, 5, 1));
    }

    #[test]
    fn an_animation_chunk_counts_only_before_the_first_idat() {
        let frames = chunk(b"acTL", &[0, 0, 0, 9, 0, 0, 0, 0]);
        let bytes = png(&[ihdr(7, 5), chunk(b"IDAT", &[0]), frames]);
        assert_eq!(inspect(&bytes), found(ImageType::Png, 7, 5, 1));
    }

    #[test]
    fn cut_off_behind_its_header_it_is_fine() {
        let bytes = png(&[ihdr(7, 5)]);
        assert_eq!(inspect(&bytes), found(ImageType::Png, 7, 5, 1));
    }

    #[test]
    fn the_largest_sides_are_2_to_the_31_less_1() {
        let bytes = png(&[ihdr(LARGEST, LARGEST)]);
        assert_eq!(inspect(&bytes), found(ImageType::Png, LARGEST, LARGEST, 1));
        assert!(is_invalid(&png(&[ihdr(LARGEST + 1, 1)])));
        assert!(is_invalid(&png(&[ihdr(1, LARGEST + 1)])));
    }

    #[test]
    fn a_broken_head_is_invalid() {
        let header = |rest: [u8; 5]| {
            let sides = [0, 0, 0, 7, 0, 0, 0, 5];
            chunk(b"IHDR", &[&sides[..], &rest].concat())
        };
        let frames = |count| chunk(b"acTL", &[count, 0, 0, 0, 0, 0, 0, 0]);
        for broken in [
            vec![ihdr(0, 5)],
            vec![ihdr(7, 0)],
            vec![chunk(b"CgBI", &[0; 4]), ihdr(7, 5)],
            vec![chunk(b"IHDR", &[1; 12])],
            vec![header([3, 0, 0, 0, 0])],
            vec![header([16, 3, 0, 0, 0])],
            vec![header([4, 2, 0, 0, 0])],
            vec![header([8, 1, 0, 0, 0])],
            vec![header([8, 2, 1, 0, 0])],
            vec![header([8, 2, 0, 1, 0])],
            vec![header([8, 2, 0, 0, 2])],
            vec![ihdr(7, 5), chunk(b"IEND", b"")],
            vec![ihdr(7, 5), chunk(b"ID\0T", b"")],
            vec![ihdr(7, 5), b"\x80\0\0\0IDAT".to_vec()],
            vec![ihdr(7, 5), frames(0)],
            vec![ihdr(7, 5), frames(0x80)],
            vec![ihdr(7, 5), chunk(b"acTL", &[0, 0, 0, 5])],
        ] {
            assert!(is_invalid(&png(&broken)), "{broken:x?}");
        }
    }
}
