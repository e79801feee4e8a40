//! PNG, row by row; only an interlaced one is in memory whole. 16 bits become 8, palettes colours.
//! Gamma and chromaticities without a profile are not looked at, as in libvips.

use std::io::Cursor;

use png::{ColorType, Decoder, DecodingError, Limits as Memory, Reader, Transformations};

use super::super::container::{MOST_ICC, png as container};
use super::super::raster::{Layout, Raster, size};
use super::super::shrink::Shrinker;
use super::super::{Error, Limits};
use super::{Decoded, Wanted, squares};

/// What chunks other than the pixels' may take, one by one and together.
const MOST_CHUNKS: u64 = 2 << 20;

/// The decoder's window and buffers, and the inflating of a profile.
const OWN: u64 = (1 << 20) + 2 * MOST_ICC as u64;

type Rows<'a> = Reader<Cursor<&'a [u8]>>;

pub(super) fn decode(bytes: &[u8], wanted: Wanted<'_>, limits: &Limits) -> Result<Decoded, Error> {
    let mut decoder = Decoder::new_with_limits(Cursor::new(bytes), memory(0));
    decoder.set_transformations(Transformations::normalize_to_color8());
    // Text is not wanted; the profile is inflated where its size has a bound of its own.
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    let info = decoder.read_header_info().map_err(broken)?;
    let (width, height, interlaced) = (info.width, info.height, info.interlaced);
    // As stored, the one before it, and as put out.
    let row = u64::from(width) * (info.bits_per_pixel().div_ceil(8) as u64 * 2 + 8);
    limits.pixels(width, height)?;
    limits.memory(row + OWN + MOST_CHUNKS)?;
    decoder.set_limits(memory(row));
    let mut rows = decoder.read_info().map_err(broken)?;
    let color = rows.output_color_type().0;
    let layout = match color {
        ColorType::Grayscale => Layout::Grey,
        ColorType::GrayscaleAlpha | ColorType::Rgba => Layout::Rgba,
        ColorType::Rgb | ColorType::Indexed => Layout::Rgb,
    };
    let by = squares(wanted(width, height));
    let whole = if interlaced { rows.output_buffer_size().unwrap_or(usize::MAX) } else { 0 };
    let small = Shrinker::memory(width, height, layout, by);
    limits.memory(small.saturating_add(whole as u64).saturating_add(row + OWN + MOST_CHUNKS))?;
    let mut shrinker = Shrinker::new(width, height, layout, by);
    let raster = if interlaced {
        let mut pixels = vec![0; whole];
        rows.next_frame(&mut pixels).map_err(broken)?;
        let line = size(width, 1, layout);
        let line = if color == ColorType::GrayscaleAlpha { line / 2 } else { line };
        pixels.chunks_exact(line).for_each(|row| push(&mut shrinker, row, color));
        drop(pixels);
        shrinker.finish()
    } else {
        stream(&mut rows, shrinker, color, limits)?
    };
    Ok(Decoded {
        raster,
        shrunk: by,
        width,
        height,
        icc: container::icc(bytes),
        orientation: Default::default(),
    })
}

fn stream(
    rows: &mut Rows<'_>,
    mut shrinker: Shrinker,
    color: ColorType,
    limits: &Limits,
) -> Result<Raster, Error> {
    let clock = limits.start();
    while let Some(row) = rows.next_row().map_err(broken)? {
        push(&mut shrinker, row.data(), color);
        clock.check()?;
    }
    Ok(shrinker.finish())
}

fn push(shrinker: &mut Shrinker, row: &[u8], color: ColorType) {
    if color == ColorType::GrayscaleAlpha {
        let (pixels, _) = row.as_chunks::<2>();
        let row: Vec<u8> = pixels.iter().flat_map(|&[grey, a]| [grey, grey, grey, a]).collect();
        shrinker.push(&row);
    } else {
        shrinker.push(row);
    }
}

/// The decoder's own limit, with so many bytes of rows.
fn memory(rows: u64) -> Memory {
    Memory { bytes: usize::try_from(MOST_CHUNKS + rows).unwrap_or(usize::MAX) }
}

fn broken(error: DecodingError) -> Error {
    match error {
        DecodingError::LimitsExceeded => {
            Error::Unsupported("The PNG has more than 2 MiB beside its pixels.")
        }
        error => Error::undecodable("PNG", error),
    }
}
