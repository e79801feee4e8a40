//! Colours to sRGB: by the image's profile where it has one that fits, else grey and RGB as sRGB
//! already, and CMYK by the product of ink and black.

use moxcms::{ColorProfile, DataColorSpace, Layout as Channels, TransformOptions};

use super::raster::{Layout, Raster};

/// The raster in sRGB, [`Layout::Rgb`] or [`Layout::Rgba`].
///
/// A profile that is broken, or one of other colours than the pixels', is passed over.
pub(super) fn to_srgb(raster: Raster, icc: Option<&[u8]>) -> Raster {
    if let Some(converted) = icc.and_then(|icc| by_profile(&raster, icc)) {
        return converted;
    }
    let pixels = match raster.layout {
        Layout::Rgb | Layout::Rgba => return raster,
        Layout::Grey => raster.pixels.iter().flat_map(|&grey| [grey; 3]).collect(),
        Layout::Cmyk => {
            let (pixels, _) = raster.pixels.as_chunks::<4>();
            let light =
                |ink: u8, black: u8| ((u32::from(ink) * u32::from(black) + 127) / 255) as u8;
            pixels
                .iter()
                .flat_map(|&[c, m, y, k]| [light(c, k), light(m, k), light(y, k)])
                .collect()
        }
    };
    Raster { layout: Layout::Rgb, pixels, ..raster }
}

fn by_profile(raster: &Raster, icc: &[u8]) -> Option<Raster> {
    let profile = ColorProfile::new_from_slice(icc).ok()?;
    let (colors, channels, layout) = match raster.layout {
        Layout::Grey => (DataColorSpace::Gray, Channels::Gray, Layout::Rgb),
        Layout::Rgb => (DataColorSpace::Rgb, Channels::Rgb, Layout::Rgb),
        Layout::Rgba => (DataColorSpace::Rgb, Channels::Rgba, Layout::Rgba),
        Layout::Cmyk => (DataColorSpace::Cmyk, Channels::Rgba, Layout::Rgb),
    };
    if profile.color_space != colors {
        return None;
    }
    let to = if layout == Layout::Rgba { Channels::Rgba } else { Channels::Rgb };
    let options = TransformOptions::default();
    let srgb = ColorProfile::new_srgb();
    let transform = profile.create_transform_8bit(channels, &srgb, to, options).ok()?;
    let mut pixels = vec![0; raster.width as usize * raster.height as usize * layout.channels()];
    if raster.layout == Layout::Cmyk {
        // A profile counts ink, not its absence.
        let ink: Vec<u8> = raster.pixels.iter().map(|absent| u8::MAX - absent).collect();
        transform.transform(&ink, &mut pixels).ok()?;
    } else {
        transform.transform(&raster.pixels, &mut pixels).ok()?;
    }
    Some(Raster { width: raster.width, height: raster.height, layout, pixels })
}
