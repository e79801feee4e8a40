//! From bytes to pixels: a decoder a format, and what all of them share. Each shrinks while it
//! reads, so that no more is kept than is wanted, and says what it will take before it takes it.

mod gif;
mod jpeg;
mod png;
mod webp;

use super::container::Kind;
use super::orientation::Orientation;
use super::raster::{Layout, Raster};
use super::shrink::Shrinker;
use super::{Error, Limits, exif};

/// Decoded pixels, as they are stored: not turned, in the image's own colours.
#[derive(Debug)]
pub(super) struct Decoded {
    pub(super) raster: Raster,
    /// How many of the image's pixels go into one of the raster's, in each direction. The last
    /// column and row may stand for less.
    pub(super) shrunk: u32,
    /// The image's own size in pixels.
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) icc: Option<Vec<u8>>,
    pub(super) orientation: Orientation,
}

/// How many of the image's pixels are needed: told by the size of the image as it is stored, the
/// reduction that will follow at least (1 for none).
pub(super) type Reduction<'a> = &'a dyn Fn(u32, u32, Orientation) -> f64;

/// Decodes what the first bytes say that it is.
pub(super) fn decode(
    bytes: &[u8],
    reduction: Reduction<'_>,
    limits: &Limits,
) -> Result<Decoded, Error> {
    let kind = Kind::of(bytes)?;
    let tag = kind.exif(bytes).and_then(exif::orientation_tag);
    let orientation = Orientation::from_tag(tag.unwrap_or(1));
    let wanted = |width, height| reduction(width, height, orientation);
    let mut decoded = match kind {
        Kind::Jpeg => jpeg::decode(bytes, &wanted, limits),
        Kind::Png => png::decode(bytes, &wanted, limits),
        Kind::Gif => gif::decode(bytes, &wanted, limits),
        Kind::Webp => webp::decode(bytes, &wanted, limits),
    }?;
    decoded.orientation = orientation;
    Ok(decoded)
}

type Wanted<'a> = &'a dyn Fn(u32, u32) -> f64;

/// Squares of more than this would not fit the shrinker's sums.
const MOST_SHRUNK: u32 = 4096;

/// How far rows are shrunk by means of squares before the resizing: half of the way, as libvips
/// does, so that what the squares do to the picture is not seen.
fn squares(reduction: f64) -> u32 {
    // A float is cut to the bounds of the integer.
    ((reduction / 2.0) as u32).clamp(1, MOST_SHRUNK)
}

/// A canvas whose pixels come from one frame on it; outside of that they are transparent.
struct Canvas {
    width: u32,
    height: u32,
    left: u32,
    top: u32,
    frame_width: u32,
    frame_height: u32,
    /// Of the frame's rows: [`Layout::Rgb`] or [`Layout::Rgba`].
    frame: Layout,
}

impl Canvas {
    /// Of the canvas's rows.
    fn layout(&self) -> Layout {
        let covered = self.frame_width == self.width && self.frame_height == self.height;
        if covered { self.frame } else { Layout::Rgba }
    }

    fn memory(&self, by: u32) -> u64 {
        let rows = 8 * u64::from(self.width);
        Shrinker::memory(self.width, self.height, self.layout(), by) + rows
    }

    /// Puts the frame's rows, which `next` writes, onto the canvas.
    fn paint(
        &self,
        by: u32,
        mut next: impl FnMut(u32, &mut [u8]) -> Result<(), Error>,
    ) -> Result<Raster, Error> {
        let layout = self.layout();
        let mut shrinker = Shrinker::new(self.width, self.height, layout, by);
        let mut row = vec![0; self.width as usize * layout.channels()];
        let mut frame = vec![0; self.frame_width as usize * self.frame.channels()];
        let start = self.left as usize * layout.channels();
        for y in 0..self.height {
            if y == self.top + self.frame_height {
                row.fill(0);
            }
            if (self.top..self.top + self.frame_height).contains(&y) {
                next(y - self.top, &mut frame)?;
                if layout == self.frame {
                    row[start..start + frame.len()].copy_from_slice(&frame);
                } else {
                    for (to, from) in row[start..].chunks_exact_mut(4).zip(frame.chunks_exact(3)) {
                        to.copy_from_slice(&[from[0], from[1], from[2], u8::MAX]);
                    }
                }
            }
            shrinker.push(&row);
        }
        Ok(shrinker.finish())
    }
}
