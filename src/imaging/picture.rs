//! A decoded image, and the variants that are made of it.

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

use super::decode::{self, Decoded};
use super::look::{self, Look};
use super::raster::{Layout, Raster, size};
use super::spec::{Spec, Target};
use super::{Error, Limits, color, encode};

/// An image decoded as far as is wanted of it.
#[derive(Debug)]
pub struct Picture {
    decoded: Decoded,
    limits: Limits,
}

/// A variant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// The encoded image, without metadata; its colours are sRGB.
    pub bytes: Vec<u8>,
    /// Its media type.
    pub content_type: &'static str,
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
}

/// Decodes an image once for all the variants wanted, as small as the largest of them allows, and
/// large enough for its [`Look`] in any case.
///
/// # Errors
/// [`Error::Unsupported`] and [`Error::Broken`] of the bytes; what is over a limit; and
/// [`Error::Internal`].
pub fn decode(bytes: &[u8], wanted: &[Spec], limits: &Limits) -> Result<Picture, Error> {
    let decoded = decode::decode(
        bytes,
        &|width, height, orientation| {
            let (width, height) =
                if orientation.transpose { (height, width) } else { (width, height) };
            let reductions = wanted.iter().map(|spec| spec.target(width, height).reduction());
            reductions.fold(look::target(width, height).reduction(), f64::min).max(1.0)
        },
        limits,
    )?;
    Ok(Picture { decoded, limits: *limits })
}

impl Picture {
    /// The whole image's width in pixels, upright.
    #[must_use]
    pub fn width(&self) -> u32 {
        let Decoded { width, height, orientation, .. } = self.decoded;
        if orientation.transpose { height } else { width }
    }

    /// The whole image's height in pixels, upright.
    #[must_use]
    pub fn height(&self) -> u32 {
        let Decoded { width, height, orientation, .. } = self.decoded;
        if orientation.transpose { width } else { height }
    }

    /// One of the variants that the image was decoded for. (Another, larger one has the size that
    /// it says, but is no sharper than what was decoded.)
    ///
    /// # Errors
    /// [`Error::TooManyPixels`], [`Error::TooMuchMemory`] and [`Error::NoSuchSize`] of the
    /// variant, and [`Error::Internal`].
    pub fn render(&self, spec: &Spec) -> Result<Rendered, Error> {
        let target = spec.target(self.width(), self.height());
        let (width, height) = (target.width, target.height);
        let pixels = self.limits.pixels(width, height)?;
        let longest = spec.format.longest_side();
        if width > longest || height > longest {
            return Err(Error::NoSuchSize { format: spec.format.name(), width, height });
        }
        let own = self.decoded.raster.pixels.len() as u64;
        let resizing = pixels * 4 + self.premultiplied();
        let encoding = pixels * (4 + encode::bytes_a_pixel(spec.format));
        self.limits.memory(own + resizing.max(encoding))?;
        let raster = self.resized(target)?;
        Ok(Rendered {
            bytes: encode::encode(raster, spec)?,
            content_type: spec.format.content_type(),
            width,
            height,
        })
    }

    /// The image's placeholder and colour.
    ///
    /// # Errors
    /// [`Error::Internal`].
    pub fn look(&self) -> Result<Look, Error> {
        let raster = self.resized(look::target(self.width(), self.height()))?;
        Ok(look::look(raster))
    }

    /// What resizing takes to weigh colours by their opacity.
    fn premultiplied(&self) -> u64 {
        let raster = &self.decoded.raster;
        if raster.layout == Layout::Rgba { raster.pixels.len() as u64 } else { 0 }
    }

    /// A part of the image, upright and in sRGB.
    fn resized(&self, target: Target) -> Result<Raster, Error> {
        let orientation = self.decoded.orientation;
        let stored = if orientation.transpose { target.transposed() } else { target };
        let resized = resize(&self.decoded, stored)?;
        Ok(orientation.apply(color::to_srgb(resized, self.decoded.icc.as_deref())))
    }
}

/// Lanczos with three lobes, on the values as they are stored: as libvips does.
fn resize(decoded: &Decoded, target: Target) -> Result<Raster, Error> {
    let from = &decoded.raster;
    let by = f64::from(decoded.shrunk);
    // The raster's last column and row may stand for less than the others do.
    let left = (target.left / by).min(f64::from(from.width) - 1.0);
    let top = (target.top / by).min(f64::from(from.height) - 1.0);
    let crop_width = (target.crop_width / by).min(f64::from(from.width) - left);
    let crop_height = (target.crop_height / by).min(f64::from(from.height) - top);
    let Target { width, height, .. } = target;
    if decoded.shrunk == 1
        && (crop_width, crop_height) == (f64::from(width), f64::from(height))
        && (width, height) == (from.width, from.height)
    {
        return Ok(from.clone());
    }
    let failed = |error| Error::internal("resizing failed", error);
    let pixel = match from.layout {
        Layout::Grey => PixelType::U8,
        Layout::Rgb => PixelType::U8x3,
        Layout::Rgba | Layout::Cmyk => PixelType::U8x4,
    };
    let image = ImageRef::new(from.width, from.height, &from.pixels, pixel)
        .map_err(|error| Error::internal("resizing failed", error))?;
    let mut pixels = vec![0; size(width, height, from.layout)];
    let mut to = Image::from_slice_u8(width, height, &mut pixels, pixel)
        .map_err(|error| Error::internal("resizing failed", error))?;
    let options = ResizeOptions::new()
        .resize_alg(ResizeAlg::Convolution(FilterType::Lanczos3))
        .crop(left, top, crop_width, crop_height)
        .use_alpha(from.layout == Layout::Rgba);
    Resizer::new().resize(&image, &mut to, &options).map_err(failed)?;
    Ok(Raster { width, height, layout: from.layout, pixels })
}
