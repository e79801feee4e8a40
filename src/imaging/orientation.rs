//! The eight ways in which an EXIF block may say that pixels lie (Exif 2.32, 4.6.4 A, tag 274).

use super::raster::{Raster, size};

/// How stored pixels are turned to be upright.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Orientation {
    /// First rows become columns,
    pub(super) transpose: bool,
    /// then left and right change places,
    mirror: bool,
    /// and then top and bottom.
    flip: bool,
}

impl Orientation {
    /// That of the tag's value; what it does not know is upright.
    pub(super) fn from_tag(value: u32) -> Self {
        let (transpose, mirror, flip) = match value {
            2 => (false, true, false),
            3 => (false, true, true),
            4 => (false, false, true),
            5 => (true, false, false),
            6 => (true, true, false),
            7 => (true, true, true),
            8 => (true, false, true),
            _ => (false, false, false),
        };
        Self { transpose, mirror, flip }
    }

    /// The pixels upright.
    pub(super) fn apply(self, raster: Raster) -> Raster {
        if self == Self::default() {
            return raster;
        }
        match raster.layout.channels() {
            1 => self.turn::<1>(&raster),
            3 => self.turn::<3>(&raster),
            _ => self.turn::<4>(&raster),
        }
    }

    fn turn<const CHANNELS: usize>(self, from: &Raster) -> Raster {
        let (width, height) =
            if self.transpose { (from.height, from.width) } else { (from.width, from.height) };
        let (pixels, _) = from.pixels.as_chunks::<CHANNELS>();
        let mut turned = Vec::with_capacity(size(width, height, from.layout));
        for y in 0..height {
            let y = if self.flip { height - 1 - y } else { y };
            for x in 0..width {
                let x = if self.mirror { width - 1 - x } else { x };
                let (row, column) = if self.transpose { (x, y) } else { (y, x) };
                let at = row as usize * from.width as usize + column as usize;
                turned.extend_from_slice(&pixels[at]);
            }
        }
        Raster { width, height, layout: from.layout, pixels: turned }
    }
}
