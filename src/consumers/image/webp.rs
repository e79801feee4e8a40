//! WebP (RFC 9649): the first chunk's picture or canvas: `VP8 ` (2.5, RFC 6386 section 9.1),
//! `VP8L` (2.6, 3.4) or `VP8X` (2.7).

use super::walk::{Head, Next};
use super::{Dimensions, Error, ImageType};

/// Where the first chunk's data begins: behind `RIFF`, size, `WEBP`, chunk type and size.
const DATA: u64 = 20;

#[derive(Debug, Default)]
pub(super) struct Webp {
    chunk: Chunk,
}

#[derive(Debug, Default)]
enum Chunk {
    #[default]
    Unknown,
    Lossy,
    Lossless,
    Extended,
}

impl Head for Webp {
    fn image_type(&self) -> Option<ImageType> {
        Some(ImageType::Webp)
    }

    fn first(&self) -> Next {
        Next::Read { at: 0, len: DATA as usize }
    }

    fn read(&mut self, _at: u64, bytes: &[u8]) -> Result<Next, Error> {
        match self.chunk {
            Chunk::Unknown => self.first_chunk(bytes),
            Chunk::Lossy => lossy(bytes).map(Next::Found),
            Chunk::Lossless => lossless(bytes).map(Next::Found),
            Chunk::Extended => extended(bytes).map(Next::Found),
        }
    }
}

impl Webp {
    fn first_chunk(&mut self, bytes: &[u8]) -> Result<Next, Error> {
        let &[_, _, _, _, r0, r1, r2, r3, _, _, _, _, ref kind @ .., s0, s1, s2, s3] = bytes else {
            return Err(BROKEN);
        };
        let riff = u32::from_le_bytes([r0, r1, r2, r3]);
        let size = u32::from_le_bytes([s0, s1, s2, s3]);
        // The RIFF size counts `WEBP` and the chunk's own eight bytes too.
        if riff.checked_sub(12).is_none_or(|room| room < size) {
            return Err(Error::Invalid("The WebP's sizes contradict each other."));
        }
        let (chunk, len, fits) = match kind {
            b"VP8 " => (Chunk::Lossy, 10, size >= 10),
            b"VP8L" => (Chunk::Lossless, 5, size >= 5),
            // libwebp takes no other size either.
            b"VP8X" => (Chunk::Extended, 10, size == 10),
            _ => return Err(Error::Invalid("The WebP does not begin with its image.")),
        };
        if !fits {
            return Err(BROKEN);
        }
        self.chunk = chunk;
        Ok(Next::Read { at: DATA, len })
    }
}

const BROKEN: Error = Error::Invalid("The WebP's header is broken.");

/// A VP8 frame's header: frame tag, start code, and 14 bits a side below two of scaling.
fn lossy(bytes: &[u8]) -> Result<Dimensions, Error> {
    let &[tag, _, _, 0x9d, 0x01, 0x2a, w0, w1, h0, h1] = bytes else {
        return Err(BROKEN);
    };
    let (key_frame, version, shown) = (tag & 1 == 0, tag >> 1 & 7, tag & 0x10 != 0);
    if !key_frame || version > 3 || !shown {
        return Err(BROKEN);
    }
    let side = |low, high| u32::from(u16::from_le_bytes([low, high]) & 0x3fff);
    Dimensions::still(side(w0, w1), side(h0, h1))
}

/// A VP8L header: signature, then from the lowest bit on 14 bits of each side less one, the
/// alpha hint, and three bits of version that must be 0.
fn lossless(bytes: &[u8]) -> Result<Dimensions, Error> {
    let &[0x2f, b0, b1, b2, b3] = bytes else {
        return Err(BROKEN);
    };
    let bits = u32::from_le_bytes([b0, b1, b2, b3]);
    if bits >> 29 != 0 {
        return Err(BROKEN);
    }
    Dimensions::still((bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1)
}

/// The extended header: flags, three reserved bytes, then 24 bits of each side less one.
fn extended(bytes: &[u8]) -> Result<Dimensions, Error> {
    let &[_, _, _, _, w0, w1, w2, h0, h1, h2] = bytes else {
        return Err(BROKEN);
    };
    let width = u32::from_le_bytes([w0, w1, w2, 0]) + 1;
    let height = u32::from_le_bytes([h0, h1, h2, 0]) + 1;
    if width.checked_mul(height).is_none() {
        return Err(Error::Invalid("The WebP's canvas is too large."));
    }
    Dimensions::still(width, height)
}

#[cfg(test)]
mod tests {
    use super::super::samples::{found, inspect, is_invalid, webp};
    use super::*;

    #[test]
    fn the_scaling_bits_of_a_lossy_frame_are_no_part_of_its_sides() {
        let bytes = webp(b"VP8 ", b"\x10\0\0\x9d\x01\x2a\xff\xff\x01\xc0");
        assert_eq!(inspect(&bytes), found(ImageType::Webp, 16_383, 1, 1));
    }

    #[test]
    fn the_largest_lossless_picture_is_found() {
        let bytes = webp(b"VP8L", b"\x2f\xff\xff\xff\x1f");
        assert_eq!(inspect(&bytes), found(ImageType::Webp, 16_384, 16_384, 1));
    }

    #[test]
    fn a_canvas_must_not_have_2_to_the_32_pixels() {
        let canvas = |height| webp(b"VP8X", &[0, 0, 0, 0, 255, 255, 255, height, 0, 0]);
        let expected = found(ImageType::Webp, 1 << 24, 255, 1);
        assert_eq!(inspect(&canvas(254)), expected);
        assert!(is_invalid(&canvas(255)));
    }

    #[test]
    fn a_broken_head_is_invalid() {
        for (kind, data) in [
            (b"VP8 ", &b"\x11\0\0\x9d\x01\x2a\x07\0\x05\0"[..]),
            (b"VP8 ", b"\x18\0\0\x9d\x01\x2a\x07\0\x05\0"),
            (b"VP8 ", b"\x00\0\0\x9d\x01\x2a\x07\0\x05\0"),
            (b"VP8 ", b"\x10\0\0\x9d\x01\x2b\x07\0\x05\0"),
            (b"VP8 ", b"\x10\0\0\x9d\x01\x2a\0\0\x05\0"),
            (b"VP8 ", b"\x10\0\0\x9d\x01\x2a\x07\0\0\0"),
            (b"VP8 ", b"\x10\0\0\x9d\x01\x2a\x07\0\x05"),
            (b"VP8L", b"\x2e\x4c\x01\x32\x10"),
            (b"VP8L", b"\x2f\x4c\x01\x32\x20"),
            (b"VP8X", b"\0\0\0\0\x4c\x01\0\xc8\0\0\0\0"),
            (b"ICCP", b"\0\0\0\0\x4c\x01\0\xc8\0\0"),
        ] {
            assert!(is_invalid(&webp(kind, data)), "{kind:?} {data:x?}");
        }
    }

    #[test]
    fn a_chunk_larger_than_its_file_is_invalid() {
        let mut bytes = webp(b"VP8L", b"\x2f\x4c\x01\x32\x10");
        bytes[4] -= 1;
        assert!(is_invalid(&bytes));
        bytes[4..8].fill(0);
        assert!(is_invalid(&bytes));
    }
}
