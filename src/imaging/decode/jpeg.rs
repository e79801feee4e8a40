//! JPEG, by libjpeg-turbo, which scales by 1/2, 1/4 and 1/8 while it decodes.
//!
//! It decodes in one go, so what bounds it is found out before: pixels and memory from the frame
//! header, time from the number of scans. A JPEG that is damaged behind its head is decoded as
//! far as it goes, as browsers and libvips do.

use std::time::Duration;

use turbojpeg::{Decompressor, Image, PixelFormat, ScalingFactor};

use super::super::container::jpeg::{Head, head};
use super::super::raster::{Layout, Raster, size};
use super::super::{Error, Limits};
use super::{Decoded, Wanted};

/// Blocks of a scan that are decoded in a millisecond, at the least: nearly empty ones, as many
/// scans must have, since what is in them has to be in the file. (Measured: 20,000 and more.)
const BLOCKS_A_MILLISECOND: u64 = 10_000;

/// Bytes that the decoder takes for each column: rows of samples before and after upsampling.
const BYTES_A_COLUMN: u64 = 256;

/// What begins libjpeg's warnings; it has decoded what it could then. Its errors begin otherwise.
const WARNINGS: &[&str] = &[
    "Corrupt JPEG data",
    "Premature end of JPEG file",
    "Warning:",
    "Unknown Adobe color transform",
    "Inconsistent progression sequence",
    "Invalid SOS parameters for sequential JPEG",
];

pub(super) fn decode(bytes: &[u8], wanted: Wanted<'_>, limits: &Limits) -> Result<Decoded, Error> {
    let head = head(bytes)?;
    if !matches!(head.process, 0xc0..=0xc2 | 0xc9 | 0xca) || head.precision != 8 {
        return Err(Error::Unsupported("The JPEG is lossless, hierarchical, or of 12 bits."));
    }
    let (layout, format) = match head.sampling.len() {
        1 => (Layout::Grey, PixelFormat::GRAY),
        3 => (Layout::Rgb, PixelFormat::RGB),
        4 => (Layout::Cmyk, PixelFormat::CMYK),
        _ => return Err(Error::Unsupported("The JPEG has two, or more than four, components.")),
    };
    limits.pixels(head.width, head.height)?;
    let shrunk = scale(wanted(head.width, head.height));
    let (width, height) = (head.width.div_ceil(shrunk), head.height.div_ceil(shrunk));
    limits.memory(memory(&head) + size(width, height, layout) as u64)?;
    let scans = head.scans.saturating_mul(head.blocks());
    if Duration::from_millis(scans / BLOCKS_A_MILLISECOND) > limits.time {
        return Err(limits.too_slow());
    }

    let mut pixels = vec![0; size(width, height, layout)];
    let image = Image {
        pixels: &mut pixels[..],
        width: width as usize,
        pitch: width as usize * layout.channels(),
        height: height as usize,
        format,
    };
    decompress(bytes, shrunk, &head, image)?;
    if layout == Layout::Cmyk && !head.adobe {
        pixels.iter_mut().for_each(|ink| *ink = u8::MAX - *ink);
    }
    Ok(Decoded {
        raster: Raster { width, height, layout, pixels },
        shrunk,
        width: head.width,
        height: head.height,
        icc: head.icc,
        orientation: Default::default(),
    })
}

/// As libvips chooses, so that the resizing still has to halve what comes.
fn scale(reduction: f64) -> u32 {
    match reduction {
        r if r >= 16.0 => 8,
        r if r >= 8.0 => 4,
        r if r >= 4.0 => 2,
        _ => 1,
    }
}

/// What the decoder takes beside the pixels: of a JPEG in several scans all coefficients.
fn memory(head: &Head<'_>) -> u64 {
    let coefficients = if head.many_scans() { head.blocks() * 128 } else { 0 };
    coefficients + u64::from(head.width) * BYTES_A_COLUMN + (1 << 20)
}

fn decompress(
    bytes: &[u8],
    shrunk: u32,
    head: &Head<'_>,
    image: Image<&mut [u8]>,
) -> Result<(), Error> {
    let failed = |error| Error::internal("libjpeg-turbo could not be set up", error);
    let mut decompressor = Decompressor::new().map_err(failed)?;
    let factor = ScalingFactor::new(1, shrunk as usize);
    decompressor.set_scaling_factor(factor).map_err(failed)?;
    // The scans were counted by us; that it counts no more holds even if it reads otherwise.
    decompressor
        .set_scan_limit(head.scans.try_into().unwrap_or(i32::MAX as u32))
        .map_err(failed)?;
    match decompressor.decompress(bytes, image) {
        Ok(()) => Ok(()),
        Err(turbojpeg::Error::TurboJpegError(text))
            if WARNINGS.iter().any(|warning| text.contains(warning)) =>
        {
            Ok(())
        }
        Err(error) => Err(Error::undecodable("JPEG", error)),
    }
}
