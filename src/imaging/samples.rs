//! Images for this module's tests, made here: nothing binary is kept in the repository.

use std::borrow::Cow;
use std::time::Duration;

use turbojpeg::{Colorspace, Compressor, Image, PixelFormat, Subsamp};

use super::Limits;
use super::raster::{Layout, Raster};

/// More than any sample takes.
pub(super) const LIMITS: Limits =
    Limits { max_pixels: 100_000_000, memory: 128 << 20, time: Duration::from_secs(20) };

pub(super) const RED: [u8; 3] = [220, 30, 40];
pub(super) const GREEN: [u8; 3] = [40, 200, 60];
pub(super) const BLUE: [u8; 3] = [30, 50, 210];
pub(super) const WHITE: [u8; 3] = [250, 250, 250];

/// Red, green; blue, white: a quarter of the picture each.
pub(super) fn quarters(width: u32, height: u32) -> Raster {
    picture(width, height, |x, y| match (x < width / 2, y < height / 2) {
        (true, true) => RED,
        (false, true) => GREEN,
        (true, false) => BLUE,
        (false, false) => WHITE,
    })
}

pub(super) fn picture(width: u32, height: u32, color: impl Fn(u32, u32) -> [u8; 3]) -> Raster {
    let pixels = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
    let pixels = pixels.flat_map(|(x, y)| color(x, y)).collect();
    Raster { width, height, layout: Layout::Rgb, pixels }
}

/// Smooth shapes with noise on them, so that compressed it has the size of a photograph.
pub(super) fn photo(width: u32, height: u32) -> Raster {
    picture(width, height, |x, y| {
        let mut state = (u64::from(x) << 32 | u64::from(y)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        state ^= state >> 29;
        let noise = (state.wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 60) as u32;
        let wave = |of: u32, by: u32| (of * by / width.max(height)) % 200;
        [wave(x, 300), wave(y, 500), wave(x + y, 700)].map(|value| (value + noise) as u8)
    })
}

/// The same picture with another number of channels.
pub(super) fn with_alpha(from: &Raster, alpha: impl Fn(u32, u32) -> u8) -> Raster {
    let pixels = from.pixels.chunks_exact(3).zip(0..).flat_map(|(rgb, index): (_, u32)| {
        [rgb[0], rgb[1], rgb[2], alpha(index % from.width, index / from.width)]
    });
    Raster { layout: Layout::Rgba, pixels: pixels.collect(), ..*from }
}

pub(super) fn grey(from: &Raster) -> Raster {
    let pixels = from.pixels.chunks_exact(3).map(|rgb| rgb[1]).collect();
    Raster { layout: Layout::Grey, pixels, ..*from }
}

/// Without black, and inverted as [`Layout::Cmyk`] is: inks are the colours then.
pub(super) fn cmyk(from: &Raster) -> Raster {
    let mut cmyk = with_alpha(from, |_, _| 255);
    cmyk.layout = Layout::Cmyk;
    cmyk
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Jpeg {
    pub(super) quality: i32,
    pub(super) subsampling: Subsamp,
    pub(super) progressive: bool,
    pub(super) colors: Option<Colorspace>,
}

impl Default for Jpeg {
    fn default() -> Self {
        Self { quality: 90, subsampling: Subsamp::Sub2x2, progressive: false, colors: None }
    }
}

pub(super) fn jpeg_as(from: &Raster, options: Jpeg) -> Vec<u8> {
    let mut compressor = Compressor::new().unwrap();
    compressor.set_quality(options.quality).unwrap();
    let format = match from.layout {
        Layout::Grey => PixelFormat::GRAY,
        Layout::Rgb => PixelFormat::RGB,
        Layout::Rgba => PixelFormat::RGBA,
        Layout::Cmyk => PixelFormat::CMYK,
    };
    let grey = from.layout == Layout::Grey;
    let subsampling = if grey { Subsamp::Gray } else { options.subsampling };
    compressor.set_subsamp(subsampling).unwrap();
    compressor.set_progressive(options.progressive).unwrap();
    if let Some(colors) = options.colors {
        compressor.set_colorspace(colors).unwrap();
    }
    let pitch = from.width as usize * from.layout.channels();
    let (width, height) = (from.width as usize, from.height as usize);
    compressor
        .compress_to_vec(Image { pixels: &from.pixels[..], width, pitch, height, format })
        .unwrap()
}

pub(super) fn jpeg(from: &Raster) -> Vec<u8> {
    jpeg_as(from, Jpeg::default())
}

/// Puts segments right behind SOI.
pub(super) fn with_segments(jpeg: &[u8], segments: &[(u8, &[u8])]) -> Vec<u8> {
    let mut bytes = jpeg[..2].to_vec();
    for (marker, payload) in segments {
        bytes.extend_from_slice(&[0xff, *marker]);
        bytes.extend_from_slice(&u16::try_from(payload.len() + 2).unwrap().to_be_bytes());
        bytes.extend_from_slice(payload);
    }
    bytes.extend_from_slice(&jpeg[2..]);
    bytes
}

pub(super) fn png(from: &Raster) -> Vec<u8> {
    let color = match from.layout {
        Layout::Grey => png::ColorType::Grayscale,
        Layout::Rgb => png::ColorType::Rgb,
        Layout::Rgba | Layout::Cmyk => png::ColorType::Rgba,
    };
    png_as(from.width, from.height, color, png::BitDepth::Eight, &from.pixels)
}

pub(super) fn png_as(
    width: u32,
    height: u32,
    color: png::ColorType,
    depth: png::BitDepth,
    data: &[u8],
) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(color);
    encoder.set_depth(depth);
    if color == png::ColorType::Indexed {
        encoder.set_palette([RED, GREEN, BLUE, WHITE].concat());
        encoder.set_trns(&[255, 255, 255, 0][..]);
    }
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(data).unwrap();
    writer.finish().unwrap();
    bytes
}

pub(super) fn chunk(name: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let mut chunk = (data.len() as u32).to_be_bytes().to_vec();
    chunk.extend_from_slice(name);
    chunk.extend_from_slice(data);
    let checksum = crc32fast::hash(&chunk[4..]);
    chunk.extend_from_slice(&checksum.to_be_bytes());
    chunk
}

/// Puts chunks right behind IHDR.
pub(super) fn with_chunks(png: &[u8], chunks: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
    let mut bytes = png[..33].to_vec();
    for (name, data) in chunks {
        bytes.extend_from_slice(&chunk(name, data));
    }
    bytes.extend_from_slice(&png[33..]);
    bytes
}

/// A PNG's head, before its pixels.
pub(super) fn png_head(width: u32, height: u32, depth: u8, color: u8, interlaced: bool) -> Vec<u8> {
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut header = [width.to_be_bytes(), height.to_be_bytes()].concat();
    header.extend_from_slice(&[depth, color, 0, 0, interlaced.into()]);
    bytes.extend_from_slice(&chunk(b"IHDR", &header));
    bytes
}

/// 8 × 8 pixels of RGB, in the seven passes of Adam7.
pub(super) fn interlaced_png(from: &Raster) -> Vec<u8> {
    let mut rows = Vec::new();
    let passes = [
        (0, 0, 8, 8),
        (4, 0, 8, 8),
        (0, 4, 4, 8),
        (2, 0, 4, 4),
        (0, 2, 2, 4),
        (1, 0, 2, 2),
        (0, 1, 1, 2),
    ];
    for (left, top, across, down) in passes {
        for y in (top..8).step_by(down) {
            rows.push(0);
            for x in (left..8).step_by(across) {
                let at = (y * 8 + x) * 3;
                rows.extend_from_slice(&from.pixels[at..at + 3]);
            }
        }
    }
    let mut bytes = png_head(8, 8, 8, 2, true);
    bytes.extend_from_slice(&chunk(b"IDAT", &fdeflate::compress_to_vec(&rows)));
    bytes.extend_from_slice(&chunk(b"IEND", &[]));
    bytes
}

/// A GIF of the same frame so many times.
pub(super) fn gif(from: &Raster, frames: usize) -> Vec<u8> {
    let (width, height) = (from.width as u16, from.height as u16);
    let palette = [RED, GREEN, BLUE, WHITE].concat();
    let indexes: Vec<u8> = from
        .pixels
        .chunks_exact(3)
        .map(|rgb| [RED, GREEN, BLUE].iter().position(|color| color == rgb).unwrap_or(3) as u8)
        .collect();
    let mut bytes = Vec::new();
    let mut encoder = gif::Encoder::new(&mut bytes, width, height, &palette).unwrap();
    encoder.set_repeat(gif::Repeat::Infinite).unwrap();
    for _ in 0..frames {
        let buffer = Cow::Borrowed(&indexes[..]);
        encoder.write_frame(&gif::Frame { width, height, buffer, ..Default::default() }).unwrap();
    }
    drop(encoder);
    bytes
}

pub(super) fn webp(from: &Raster, lossless: bool) -> Vec<u8> {
    let layout = match from.layout {
        Layout::Rgba => webp::PixelLayout::Rgba,
        _ => webp::PixelLayout::Rgb,
    };
    let encoder = webp::Encoder::new(&from.pixels, layout, from.width, from.height);
    encoder.encode_simple(lossless, 90.0).unwrap().to_vec()
}

pub(super) fn riff(name: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let mut chunk = name.to_vec();
    chunk.extend_from_slice(&(data.len() as u32).to_le_bytes());
    chunk.extend_from_slice(data);
    chunk.extend(std::iter::repeat_n(0, data.len() % 2));
    chunk
}

/// A file of VP8X with these flags, and these chunks.
pub(super) fn extended_webp(width: u32, height: u32, flags: u8, chunks: &[Vec<u8>]) -> Vec<u8> {
    let mut head = vec![flags, 0, 0, 0];
    head.extend_from_slice(&(width - 1).to_le_bytes()[..3]);
    head.extend_from_slice(&(height - 1).to_le_bytes()[..3]);
    let body = [riff(b"VP8X", &head), chunks.concat()].concat();
    riff(b"RIFF", &[&b"WEBP"[..], &body].concat())
}

/// The chunks of a file that has no VP8X.
pub(super) fn bitstream(webp: &[u8]) -> Vec<u8> {
    webp[12..].to_vec()
}

/// An EXIF block of such fields (tag, type, count, values): the first directory's, EXIF's, GPS's.
pub(super) type Fields<'a> = [&'a [(u16, u16, u32, &'a [u8])]; 3];

pub(super) fn tiff(little: bool, directories: Fields<'_>) -> Vec<u8> {
    let u16s = |n: u16| if little { n.to_le_bytes() } else { n.to_be_bytes() };
    let u32s = |n: u32| if little { n.to_le_bytes() } else { n.to_be_bytes() };
    let mut bytes = if little { b"II*\0".to_vec() } else { b"MM\0*".to_vec() };
    bytes.extend_from_slice(&u32s(8));
    // Each directory has 600 bytes: entries from its beginning, longer values from its middle.
    for (index, fields) in directories.iter().enumerate() {
        let start = 8 + index * 600;
        let mut entries = Vec::new();
        let mut values = Vec::new();
        let pointers = [(34_665, start + 600), (34_853, start + 1200)];
        let pointers = if index == 0 { &pointers[..] } else { &[] };
        entries.extend_from_slice(&u16s((fields.len() + pointers.len()) as u16));
        for &(tag, kind, count, data) in *fields {
            entries.extend([u16s(tag), u16s(kind)].concat());
            entries.extend(u32s(count));
            if data.len() <= 4 {
                entries.extend_from_slice(data);
                entries.extend(std::iter::repeat_n(0, 4 - data.len()));
            } else {
                entries.extend(u32s((start + 300 + values.len()) as u32));
                values.extend_from_slice(data);
            }
        }
        for &(tag, to) in pointers {
            entries.extend([u16s(tag), u16s(4)].concat());
            entries.extend([u32s(1), u32s(to as u32)].concat());
        }
        entries.resize(300, 0);
        values.resize(300, 0);
        bytes.extend(entries);
        bytes.extend(values);
    }
    bytes
}

pub(super) fn orientation(value: u8) -> Vec<u8> {
    tiff(false, [&[(274, 3, 1, &[0, value])], &[], &[]])
}

/// An EXIF block as a JPEG's APP1 has it.
pub(super) fn app1(tiff: &[u8]) -> Vec<u8> {
    [b"Exif\0\0", tiff].concat()
}
