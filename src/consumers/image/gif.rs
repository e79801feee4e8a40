//! GIF87a and GIF89a (CompuServe, 1990): the logical screen (section 18) and the first image
//! descriptor (section 20).
//!
//! The picture is as large as the logical screen, or larger where the first frame reaches
//! beyond it; a screen of 0 × 0 thus takes the first frame's size. Chrome (Wuffs) and
//! Pillow do the same, and a limit on pixels would be idle otherwise: a screen of 1 × 1 may
//! have a frame of 65535 × 65535.

use super::walk::{ENDS_EARLY, Head, Next, offset};
use super::{Dimensions, Error, ImageType};

#[derive(Debug, Default)]
pub(super) struct Gif {
    expect: Expect,
    screen: Option<(u32, u32)>,
}

#[derive(Debug, Default)]
enum Expect {
    #[default]
    Screen,
    /// An extension's or image's introducer, and the byte after it.
    Block,
    /// The size of an extension's next sub-block; 0 ends it (section 15).
    SubBlock,
    /// Left, top, width, height of the first frame.
    Frame,
}

impl Head for Gif {
    fn image_type(&self) -> Option<ImageType> {
        Some(ImageType::Gif)
    }

    fn first(&self) -> Next {
        // Behind the magic.
        Next::Read { at: 6, len: 7 }
    }

    fn read(&mut self, at: u64, bytes: &[u8]) -> Result<Next, Error> {
        match (&self.expect, bytes) {
            (Expect::Screen, &[w0, w1, h0, h1, packed, _background, _aspect]) => {
                self.screen = Some((little_endian(w0, w1), little_endian(h0, h1)));
                let colours = if packed & 0x80 == 0 { 0 } else { 3u64 << ((packed & 7) + 1) };
                self.go(Expect::Block, offset(at, 7 + colours)?, 1)
            }
            (Expect::Block, b"\x21") => self.go(Expect::SubBlock, offset(at, 2)?, 1),
            (Expect::Block, b"\x2c") => self.go(Expect::Frame, offset(at, 1)?, 8),
            (Expect::Block, b"\x3b") => Err(Error::Invalid("The GIF holds no image.")),
            (Expect::Block, _) => Err(Error::Invalid("A GIF block is broken.")),
            (Expect::SubBlock, &[0]) => self.go(Expect::Block, offset(at, 1)?, 1),
            (Expect::SubBlock, &[size]) => {
                self.go(Expect::SubBlock, offset(at, 1 + u64::from(size))?, 1)
            }
            (Expect::Frame, &[x0, x1, y0, y1, w0, w1, h0, h1]) => {
                let (width, height) = self.screen.unwrap_or_default();
                let right = little_endian(x0, x1) + little_endian(w0, w1);
                let bottom = little_endian(y0, y1) + little_endian(h0, h1);
                Dimensions::still(width.max(right), height.max(bottom)).map(Next::Found)
            }
            _ => Err(Error::Invalid("The GIF's head is broken.")),
        }
    }

    /// Cut off before its first frame, a GIF still has its logical screen.
    fn end(&mut self) -> Result<Dimensions, Error> {
        let (width, height) = self.screen.ok_or(ENDS_EARLY)?;
        Dimensions::still(width, height)
    }
}

impl Gif {
    fn go(&mut self, expect: Expect, at: u64, len: usize) -> Result<Next, Error> {
        self.expect = expect;
        Ok(Next::Read { at, len })
    }
}

fn little_endian(low: u8, high: u8) -> u32 {
    u16::from_le_bytes([low, high]).into()
}

#[cfg(test)]
mod tests {
    use super::super::samples::{found, gif, inspect, is_invalid};
    use super::*;

    #[test]
    fn an_empty_screen_takes_the_first_frames_size() {
        let bytes = gif((0, 0), [0, 0, 50, 60]);
        assert_eq!(inspect(&bytes), found(ImageType::Gif, 50, 60, 1));
    }

    #[test]
    fn a_first_frame_that_reaches_beyond_the_screen_enlarges_it() {
        let bytes = gif((10, 90), [5, 5, u16::MAX, 20]);
        assert_eq!(inspect(&bytes), found(ImageType::Gif, 65_540, 90, 1));
    }

    #[test]
    fn without_a_palette_the_blocks_follow_the_screen_at_once() {
        let bytes = b"GIF87a\x07\0\x05\0\x03\0\0\x2c\0\0\0\0\x07\0\x05\0\0";
        assert_eq!(inspect(bytes), found(ImageType::Gif, 7, 5, 1));
    }

    #[test]
    fn cut_off_behind_its_screen_it_is_fine_if_that_has_a_size() {
        let bytes = b"GIF87a\x07\0\x05\0\x80\0\0";
        assert_eq!(inspect(bytes), found(ImageType::Gif, 7, 5, 1));
        assert!(is_invalid(b"GIF87a\0\0\x05\0\x80\0\0"));
    }

    #[test]
    fn a_broken_head_is_invalid() {
        assert!(is_invalid(&gif((0, 0), [0, 0, 0, 60])));
        assert!(is_invalid(&gif((0, 7), [0, 0, 0, 60])));
        assert!(is_invalid(b"GIF89a\x07\0\x05\0\0\0\0\x3b"));
        assert!(is_invalid(b"GIF89a\x07\0\x05\0\0\0\0junk"));
    }
}
