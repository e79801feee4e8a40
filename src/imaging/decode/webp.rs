//! WebP, lossy and lossless, and the first frame of an animation. It is decoded in one go.

use std::io::Cursor;

use image_webp::WebPDecoder;

use super::super::container::MOST_ICC;
use super::super::container::webp::{Frame, first_frame};
use super::super::raster::Layout;
use super::super::{Error, Limits};
use super::{Canvas, Decoded, Wanted, squares};

/// Up to this much the error says how much memory it would have taken.
const ENOUGH: u64 = 128 << 20;

pub(super) fn decode(bytes: &[u8], wanted: Wanted<'_>, limits: &Limits) -> Result<Decoded, Error> {
    let frame = first_frame(bytes)?;
    let canvas = Canvas {
        width: frame.canvas.0,
        height: frame.canvas.1,
        left: frame.left,
        top: frame.top,
        frame_width: frame.width,
        frame_height: frame.height,
        frame: if frame.has_alpha() { Layout::Rgba } else { Layout::Rgb },
    };
    limits.pixels(canvas.width, canvas.height)?;
    let by = squares(wanted(canvas.width, canvas.height));
    let clock = limits.start();
    let memory = memory(&frame) + canvas.memory(by);
    limits.memory(memory)?;
    limits.memory(memory + frame.codes_memory(limits.memory.max(ENOUGH))?)?;
    let broken = |error| Error::undecodable("WebP", error);
    // The one frame as a file: the decoder then makes no canvas of its own.
    let alone = frame.alone();
    let mut decoder = WebPDecoder::new(Cursor::new(&alone[..])).map_err(broken)?;
    let length = frame.width as usize * frame.height as usize * canvas.frame.channels();
    if decoder.output_buffer_size() != Some(length) {
        return Err(Error::broken("WebP", "its sizes contradict each other"));
    }
    let mut pixels = vec![0; length];
    decoder.read_image(&mut pixels).map_err(broken)?;
    drop(decoder);
    clock.check()?;
    let line = frame.width as usize * canvas.frame.channels();
    let raster = canvas.paint(by, |y, row| {
        let start = y as usize * line;
        row.copy_from_slice(&pixels[start..start + line]);
        Ok(())
    })?;
    Ok(Decoded {
        raster,
        shrunk: by,
        width: canvas.width,
        height: canvas.height,
        icc: frame.icc.filter(|profile| profile.len() <= MOST_ICC).map(<[u8]>::to_vec),
        orientation: Default::default(),
    })
}

/// What the decoder takes, the frame's own bytes (twice: the file of one frame, and the parts
/// that the decoder makes of it) and pixels included.
fn memory(frame: &Frame<'_>) -> u64 {
    let pixels =
        u64::from(frame.width.next_multiple_of(16)) * u64::from(frame.height.next_multiple_of(16));
    let compressed = frame.bitstream.len() + frame.alpha.map_or(0, <[u8]>::len);
    let halves = match (frame.lossless, frame.has_alpha()) {
        // The transforms' images, and the pixels; where none is transparent, they are decoded with
        // four channels first.
        (true, true) => 2 + 8,
        (true, false) => 2 + 14,
        // Luma, chroma, the pixels, and of opacity four channels, one more, and its transforms.
        (false, true) => 3 + 8 + 12,
        (false, false) => 3 + 6,
    };
    pixels * halves / 2 + 2 * compressed as u64 + (1 << 20)
}
