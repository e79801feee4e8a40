//! JPEG (ITU-T T.81): the frame header, found by walking the marker segments by their
//! lengths (Annex B.1.1), so that an Exif thumbnail's own frame header inside APP1 is passed
//! over unseen.
//!
//! Stricter than T.81 where browsers are: a frame without lines (DNL, B.2.5) is refused,
//! and so are bytes between segments, which libjpeg would warn of and skip.

use super::walk::{Head, Next, offset};
use super::{Dimensions, Error, ImageType};

#[derive(Debug, Default)]
pub(super) struct Jpeg {
    expect: Expect,
}

#[derive(Debug, Default)]
enum Expect {
    /// `FF` and the code after it.
    #[default]
    Marker,
    /// The code after a marker's `FF` and one fill byte.
    Code,
    /// The two bytes of a segment's length.
    Length,
    /// Length, precision, lines, samples per line, components (B.2.2).
    Frame,
}

impl Head for Jpeg {
    fn image_type(&self) -> Option<ImageType> {
        Some(ImageType::Jpeg)
    }

    fn first(&self) -> Next {
        // Behind SOI, which was the magic.
        Next::Read { at: 2, len: 2 }
    }

    fn read(&mut self, at: u64, bytes: &[u8]) -> Result<Next, Error> {
        match (&self.expect, bytes) {
            (Expect::Marker, &[0xff, code]) => self.marker(code, at + 2),
            (Expect::Marker, _) => Err(Error::Invalid("A JPEG segment does not begin with FF.")),
            (Expect::Code, &[code]) => self.marker(code, at + 1),
            (Expect::Length, &[high, low]) => {
                let length = u16::from_be_bytes([high, low]);
                if length < 2 {
                    return Err(Error::Invalid("A JPEG segment is shorter than its length."));
                }
                self.expect = Expect::Marker;
                let at = offset(at, u64::from(length))?;
                Ok(Next::Read { at, len: 2 })
            }
            (Expect::Frame, &[l1, l0, _precision, y1, y0, x1, x0, components]) => {
                let length = u16::from_be_bytes([l1, l0]);
                if components == 0 || length != 8 + 3 * u16::from(components) {
                    return Err(Error::Invalid("The JPEG's frame header is broken."));
                }
                let height = u16::from_be_bytes([y1, y0]);
                let width = u16::from_be_bytes([x1, x0]);
                Dimensions::still(width.into(), height.into()).map(Next::Found)
            }
            _ => Err(Error::Invalid("The JPEG's head is broken.")),
        }
    }
}

impl Jpeg {
    /// What follows a marker that ended at `at` (Table B.1).
    fn marker(&mut self, code: u8, at: u64) -> Result<Next, Error> {
        let (expect, len) = match code {
            // Any number of FF may stand before a marker's code (B.1.1.2).
            0xff => (Expect::Code, 1),
            // TEM and RSTn have no segment.
            0x01 | 0xd0..=0xd7 => (Expect::Marker, 2),
            // SOFn, without DHT (C4), JPG (C8) and DAC (CC), which stand among them.
            0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => (Expect::Frame, 8),
            0xd9 | 0xda => {
                return Err(Error::Invalid("The JPEG has no frame header before its data."));
            }
            // A stuffed zero or a second SOI.
            0x00 | 0xd8 => return Err(Error::Invalid("A JPEG marker is out of place.")),
            _ => (Expect::Length, 2),
        };
        self.expect = expect;
        Ok(Next::Read { at, len })
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{found, frame, inspect, is_invalid, segment};
    use super::*;

    fn jpeg(segments: &[Vec<u8>]) -> Vec<u8> {
        [b"\xff\xd8".to_vec(), segments.concat()].concat()
    }

    #[test]
    fn every_frame_header_counts_and_nothing_between_their_codes_does() {
        for code in 0xc0..=0xcf {
            let bytes = jpeg(&[frame(code, 640, 480), frame(0xc0, 7, 5)]);
            let expected = match code {
                0xc4 | 0xc8 | 0xcc => found(ImageType::Jpeg, 7, 5, 1),
                _ => found(ImageType::Jpeg, 640, 480, 1),
            };
            assert_eq!(inspect(&bytes), expected, "{code:x}");
        }
    }

    #[test]
    fn fill_bytes_and_markers_without_segments_are_passed_over() {
        let odd = [0xff, 0x01, 0xff, 0xff, 0xd0, 0xff, 0xff, 0xff, 0xff].to_vec();
        let bytes = jpeg(&[odd, frame(0xc1, 9, 8)]);
        assert_eq!(inspect(&bytes), found(ImageType::Jpeg, 9, 8, 1));
    }

    #[test]
    fn any_number_of_long_segments_may_come_first() {
        let mut segments = vec![segment(0xe2, &[0xff; 65_533]); 40];
        segments.push(frame(0xc0, 9, 8));
        assert_eq!(inspect(&jpeg(&segments)), found(ImageType::Jpeg, 9, 8, 1));
    }

    #[test]
    fn a_broken_head_is_invalid() {
        let good = frame(0xc0, 9, 8);
        for broken in [
            vec![0xff, 0xd9],
            segment(0xda, &[0; 10]),
            vec![0xff, 0x00],
            vec![0xff, 0xd8],
            vec![0xff, 0xe0, 0, 0],
            vec![0xff, 0xe0, 0, 1],
            vec![0xff, 0xe0, 0, 3, 0, 0],
            frame(0xc0, 0, 8),
            frame(0xc0, 9, 0),
            segment(0xc0, &[8, 0, 8, 0, 9, 0]),
            segment(0xc0, &[8, 0, 8, 0, 9, 3]),
        ] {
            assert!(is_invalid(&jpeg(&[broken.clone(), good.clone()])), "{broken:x?}");
        }
    }
}
