//! What is made of an image's bytes after its upload: smaller variants ([`render`]), a placeholder
//! and a colour ([`look()`]), what a camera wrote down ([`exif()`]), and the same image without that
//! ([`strip_metadata`]).
//!
//! A pure module: bytes in, bytes out, no I/O and no threads of its own. Calls take up to seconds
//! and belong on threads that may block. The bytes are anybody's, so everything that decodes takes
//! [`Limits`] and keeps to them; nothing here panics on what it is given.
//!
//! JPEG, PNG, GIF and WebP are read; other types are [`Error::Unsupported`]. Of an animation the
//! first frame is taken. Pixels go through in three steps, of which only the first sees the whole
//! image: [`decode()`] shrinks while it reads, to at least twice the largest size wanted;
//! [`Picture::render`] resizes that (Lanczos, in the image's own colours, as libvips does),
//! converts to sRGB and turns upright; then it is encoded, without metadata.

mod color;
mod container;
mod decode;
mod encode;
mod error;
mod exif;
mod limits;
mod look;
mod orientation;
mod picture;
mod raster;
mod shrink;
mod spec;

#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;

pub use error::Error;
pub use exif::Exif;
pub use limits::Limits;
pub use look::Look;
pub use picture::{Picture, Rendered, decode};
pub use spec::{Fit, Format, Spec};

/// One variant of the image, from a decode of its own. For several, or with a [`Look`], one
/// [`decode()`] serves all.
///
/// # Errors
/// Those of [`decode()`] and [`Picture::render`].
pub fn render(bytes: &[u8], spec: &Spec, limits: &Limits) -> Result<Rendered, Error> {
    decode(bytes, std::slice::from_ref(spec), limits)?.render(spec)
}

/// The image's placeholder and colour, from one small decode.
///
/// # Errors
/// Those of [`decode()`].
pub fn look(bytes: &[u8], limits: &Limits) -> Result<Look, Error> {
    decode(bytes, &[], limits)?.look()
}

/// What the camera wrote into the image: nothing where there is no EXIF block, it cannot be read,
/// or the bytes are no JPEG, PNG or WebP.
#[must_use]
pub fn exif(bytes: &[u8]) -> Exif {
    container::Kind::of(bytes)
        .ok()
        .and_then(|kind| kind.exif(bytes))
        .map(exif::read)
        .unwrap_or_default()
}

/// The same image, bit for bit the same pixels, without EXIF (GPS among it), XMP, IPTC, comments,
/// thumbnails, and whatever stands behind the image's end; `None` where there is nothing of that.
/// What tells how to show the pixels stays: colour profile, gamma, density, animation, and an
/// orientation other than upright, in an EXIF block that has nothing else.
///
/// Second pictures behind a JPEG (a gain map for HDR displays, a preview, a video) go: they have
/// metadata of their own. Damage in the pixels stays as it is, since nothing is decoded.
///
/// # Errors
/// [`Error::Unsupported`] for other types than JPEG, PNG, GIF and WebP, [`Error::Broken`] where
/// the file's structure cannot be followed to its pixels' end.
pub fn strip_metadata(bytes: &[u8]) -> Result<Option<Vec<u8>>, Error> {
    let stripped = container::Kind::of(bytes)?.strip(bytes)?;
    Ok((stripped != bytes).then_some(stripped))
}
