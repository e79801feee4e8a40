//! An image at a glance: a placeholder of some 25 bytes, and its commonest colour.

use super::raster::{Layout, Raster};
use super::spec::{Fit, Format, Spec, Target};

/// ThumbHash takes no larger image.
const SIDE: u32 = 100;

/// What stands for an image until it is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// A [ThumbHash](https://evanw.github.io/thumbhash/): shape, colours and transparency.
    pub thumb_hash: Vec<u8>,
    /// Red, green and blue (sRGB) of the commonest colour: the mean of the fullest of 4,096 equal
    /// boxes of colours. White where everything is transparent.
    pub dominant: [u8; 3],
}

/// The size at which an image is looked at.
pub(super) fn target(width: u32, height: u32) -> Target {
    let spec = Spec {
        width: Some(SIDE),
        height: Some(SIDE),
        fit: Fit::Contain,
        format: Format::Png,
        quality: 100,
    };
    spec.target(width, height)
}

/// Of a raster in sRGB, no larger than [`target`] says.
pub(super) fn look(raster: Raster) -> Look {
    let rgba = match raster.layout {
        Layout::Rgba => raster.pixels,
        _ => {
            let (pixels, _) = raster.pixels.as_chunks::<3>();
            pixels.iter().flat_map(|&[r, g, b]| [r, g, b, u8::MAX]).collect()
        }
    };
    let (width, height) = (raster.width as usize, raster.height as usize);
    Look {
        thumb_hash: thumbhash::rgba_to_thumb_hash(width, height, &rgba),
        dominant: dominant(&rgba),
    }
}

fn dominant(rgba: &[u8]) -> [u8; 3] {
    // Opacity, and each channel's sum weighed by it.
    let mut boxes = vec![[0_u32; 4]; 4096];
    let (pixels, _) = rgba.as_chunks::<4>();
    for &[r, g, b, opacity] in pixels {
        let index = usize::from(r >> 4) << 8 | usize::from(g >> 4) << 4 | usize::from(b >> 4);
        let opacity = u32::from(opacity);
        let sums =
            [opacity, opacity * u32::from(r), opacity * u32::from(g), opacity * u32::from(b)];
        for (sum, add) in boxes[index].iter_mut().zip(sums) {
            *sum += add;
        }
    }
    match boxes.iter().max_by_key(|sums| sums[0]) {
        Some(&[opacity, sums @ ..]) if opacity > 0 => {
            sums.map(|sum| ((sum + opacity / 2) / opacity) as u8)
        }
        _ => [u8::MAX; 3],
    }
}
