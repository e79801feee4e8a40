//! Pixels in memory: rows from top to bottom without gaps, a byte a channel.

/// What a pixel's bytes mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    Grey,
    Rgb,
    /// Not premultiplied.
    Rgba,
    /// As Adobe's JPEGs have it: 255 is no ink.
    Cmyk,
}

impl Layout {
    pub(super) const fn channels(self) -> usize {
        match self {
            Self::Grey => 1,
            Self::Rgb => 3,
            Self::Rgba | Self::Cmyk => 4,
        }
    }
}

/// Decoded pixels. `pixels` is always `width × height × channels` long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Raster {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) layout: Layout,
    pub(super) pixels: Vec<u8>,
}

/// The bytes of so many pixels.
pub(super) fn size(width: u32, height: u32, layout: Layout) -> usize {
    width as usize * height as usize * layout.channels()
}
