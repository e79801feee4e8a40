//! GIF's first frame, on its screen. What it does not cover is transparent, as in browsers.

use std::num::NonZeroU64;

use gif::{ColorOutput, DecodeOptions, Decoder, MemoryLimit};

use super::super::raster::Layout;
use super::super::{Error, Limits};
use super::{Canvas, Decoded, Wanted, squares};

/// What the decoder takes by itself.
const OWN: u64 = 1 << 20;

pub(super) fn decode(bytes: &[u8], wanted: Wanted<'_>, limits: &Limits) -> Result<Decoded, Error> {
    let broken = |error| Error::undecodable("GIF", error);
    let clock = limits.start();
    let mut options = DecodeOptions::new();
    options.set_color_output(ColorOutput::Indexed);
    options.allow_unknown_blocks(true);
    options.set_memory_limit(MemoryLimit::Bytes(
        NonZeroU64::new(limits.memory).unwrap_or(NonZeroU64::MIN),
    ));
    let mut decoder = options.read_info(bytes).map_err(broken)?;
    let (screen_width, screen_height) = (decoder.width(), decoder.height());
    let frame = decoder
        .next_frame_info()
        .map_err(broken)?
        .ok_or_else(|| Error::broken("GIF", "it ends before its pixels"))?;
    if frame.width == 0 || frame.height == 0 {
        return Err(Error::broken("GIF", "its first frame has no pixels"));
    }
    let (left, top) = (u32::from(frame.left), u32::from(frame.top));
    let (frame_width, frame_height) = (u32::from(frame.width), u32::from(frame.height));
    let (transparent, interlaced) = (frame.transparent, frame.interlaced);
    let canvas = Canvas {
        // A frame that reaches beyond the screen makes it larger, as in browsers.
        width: u32::from(screen_width).max(left + frame_width),
        height: u32::from(screen_height).max(top + frame_height),
        left,
        top,
        frame_width,
        frame_height,
        frame: if transparent.is_some() { Layout::Rgba } else { Layout::Rgb },
    };
    limits.pixels(canvas.width, canvas.height)?;
    let by = squares(wanted(canvas.width, canvas.height));
    let held = if interlaced { frame_width * frame_height } else { frame_width };
    limits.memory(canvas.memory(by) + u64::from(held) + OWN)?;

    let palette = palette(&decoder, transparent)?;
    let channels = canvas.frame.channels();
    let mut held = vec![0; held as usize];
    if interlaced {
        decoder.read_into_buffer(&mut held).map_err(broken)?;
    }
    let raster = canvas.paint(by, |y, row| {
        clock.check()?;
        let indexes = if interlaced {
            let start = y as usize * frame_width as usize;
            &held[start..start + frame_width as usize]
        } else {
            if !decoder.fill_buffer(&mut held).map_err(broken)? {
                return Err(Error::broken("GIF", "its first frame ends early"));
            }
            &held[..]
        };
        for (to, &index) in row.chunks_exact_mut(channels).zip(indexes) {
            to.copy_from_slice(&palette[usize::from(index)][..channels]);
        }
        Ok(())
    })?;
    Ok(Decoded {
        raster,
        shrunk: by,
        width: canvas.width,
        height: canvas.height,
        icc: None,
        orientation: Default::default(),
    })
}

/// The colour of each index; what the palette does not have is black.
fn palette(decoder: &Decoder<&[u8]>, transparent: Option<u8>) -> Result<[[u8; 4]; 256], Error> {
    let mut colors = [[0, 0, 0, u8::MAX]; 256];
    let palette = decoder.palette().map_err(|error| Error::undecodable("GIF", error))?;
    for (color, rgb) in colors.iter_mut().zip(palette.as_chunks::<3>().0) {
        color[..3].copy_from_slice(rgb);
    }
    if let Some(index) = transparent {
        colors[usize::from(index)] = [0; 4];
    }
    Ok(colors)
}
