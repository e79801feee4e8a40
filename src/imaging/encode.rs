//! Pixels to a variant's bytes, with the encoders' usual effort and libvips' defaults.

use png::{BitDepth, ColorType, Compression, Encoder};
use turbojpeg::{Compressor, Image, PixelFormat, Subsamp};

use super::Error;
use super::raster::{Layout, Raster};
use super::spec::{Format, Spec};

/// What an encoder takes for a pixel at the most, its output included.
pub(super) const fn bytes_a_pixel(format: Format) -> u64 {
    match format {
        Format::Webp | Format::Jpeg | Format::Png => 14,
        Format::Avif => 96,
    }
}

/// From this quality on JPEGs keep chroma at full resolution.
const FULL_CHROMA: u8 = 90;

/// Encodes a raster in sRGB, [`Layout::Rgb`] or [`Layout::Rgba`].
pub(super) fn encode(raster: Raster, spec: &Spec) -> Result<Vec<u8>, Error> {
    let quality = spec.quality.clamp(1, 100);
    match spec.format {
        Format::Webp => webp(&raster, quality),
        Format::Jpeg => jpeg(raster, quality),
        Format::Png => png(&raster),
        Format::Avif => avif(&raster, quality),
    }
}

fn webp(raster: &Raster, quality: u8) -> Result<Vec<u8>, Error> {
    let encoder = match raster.layout {
        Layout::Rgba => webp::Encoder::from_rgba(&raster.pixels, raster.width, raster.height),
        _ => webp::Encoder::from_rgb(&raster.pixels, raster.width, raster.height),
    };
    let encoded = encoder.encode_simple(false, quality.into()).map_err(|error| {
        Error::internal("it could not be encoded as WebP", format!("libwebp: {error:?}"))
    })?;
    Ok(encoded.to_vec())
}

fn jpeg(mut raster: Raster, quality: u8) -> Result<Vec<u8>, Error> {
    if raster.layout == Layout::Rgba {
        over_white(&mut raster);
    }
    let failed = |error| Error::internal("it could not be encoded as JPEG", error);
    let mut compressor = Compressor::new().map_err(failed)?;
    compressor.set_quality(quality.into()).map_err(failed)?;
    let subsampling = if quality < FULL_CHROMA { Subsamp::Sub2x2 } else { Subsamp::None };
    compressor.set_subsamp(subsampling).map_err(failed)?;
    let format = if raster.layout == Layout::Rgba { PixelFormat::RGBX } else { PixelFormat::RGB };
    let image = Image {
        pixels: &raster.pixels[..],
        width: raster.width as usize,
        pitch: raster.width as usize * raster.layout.channels(),
        height: raster.height as usize,
        format,
    };
    compressor.compress_to_vec(image).map_err(failed)
}

/// The colours as they are over white; the fourth channel means nothing then.
fn over_white(raster: &mut Raster) {
    let (pixels, _) = raster.pixels.as_chunks_mut::<4>();
    for [colors @ .., opacity] in pixels {
        let opacity = u32::from(*opacity);
        for color in colors {
            // A mean of two bytes is a byte.
            *color = ((u32::from(*color) * opacity + 255 * (255 - opacity) + 127) / 255) as u8;
        }
    }
}

fn png(raster: &Raster) -> Result<Vec<u8>, Error> {
    let failed = |error| Error::internal("it could not be encoded as PNG", error);
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, raster.width, raster.height);
    encoder.set_color(match raster.layout {
        Layout::Rgba => ColorType::Rgba,
        _ => ColorType::Rgb,
    });
    encoder.set_depth(BitDepth::Eight);
    encoder.set_compression(Compression::Balanced);
    let mut writer = encoder.write_header().map_err(failed)?;
    writer.write_image_data(&raster.pixels).map_err(failed)?;
    writer.finish().map_err(failed)?;
    Ok(bytes)
}

#[cfg(feature = "avif")]
fn avif(raster: &Raster, quality: u8) -> Result<Vec<u8>, Error> {
    use ravif::{Img, RGB8, RGBA8};

    /// From 1, the best, to 10, the fastest.
    const SPEED: u8 = 9;
    let encoder = ravif::Encoder::new()
        .with_quality(quality.into())
        .with_alpha_quality(quality.into())
        .with_speed(SPEED)
        .with_num_threads(Some(1));
    let (width, height) = (raster.width as usize, raster.height as usize);
    let encoded = if raster.layout == Layout::Rgba {
        let (pixels, _) = raster.pixels.as_chunks::<4>();
        let pixels: Vec<RGBA8> = pixels.iter().map(|pixel| RGBA8::from(*pixel)).collect();
        encoder.encode_rgba(Img::new(&pixels, width, height))
    } else {
        let (pixels, _) = raster.pixels.as_chunks::<3>();
        let pixels: Vec<RGB8> = pixels.iter().map(|pixel| RGB8::from(*pixel)).collect();
        encoder.encode_rgb(Img::new(&pixels, width, height))
    };
    let encoded =
        encoded.map_err(|error| Error::internal("it could not be encoded as AVIF", error))?;
    Ok(encoded.avif_file)
}

#[cfg(not(feature = "avif"))]
fn avif(_: &Raster, _: u8) -> Result<Vec<u8>, Error> {
    Err(Error::Unsupported("This build makes no AVIF."))
}
