//! The dimensions of an image sequence's track, for AVIF and HEIF sequences without a primary
//! image (ISO/IEC 23008-12, 7).
//!
//! They are the coded ones of the first sample entry (ISO/IEC 14496-12, 12.1.3), which are
//! pixels; a track header's need not be (8.3.3). Tracks of handlers other than `pict` and
//! `vide` (sound, alpha, depth) do not count; of those that do, the first.

use super::{Dimensions, Error};

#[derive(Debug, Default)]
pub(super) struct Sequence {
    pictures: bool,
    entry: Option<(u16, u16)>,
    found: Option<(u16, u16)>,
}

impl Sequence {
    pub(super) fn begin_track(&mut self) {
        self.pictures = false;
        self.entry = None;
    }

    /// The beginning of `hdlr`: version and flags, four bytes that are zero, the type.
    pub(super) fn handler(&mut self, bytes: &[u8]) {
        self.pictures = matches!(bytes.get(8..), Some(b"pict" | b"vide"));
    }

    /// The beginning of `stsd`: version and flags, a count, and the first entry, whose sides
    /// stand 32 bytes into it when it is a visual one.
    pub(super) fn sample_entry(&mut self, bytes: &[u8]) {
        if let Some(&[w1, w0, h1, h0]) = bytes.get(40..44) {
            self.entry = Some((u16::from_be_bytes([w1, w0]), u16::from_be_bytes([h1, h0])));
        }
    }

    pub(super) fn end_track(&mut self) {
        if self.pictures {
            self.found = self.found.or(self.entry);
        }
    }

    /// The track's dimensions, if there was one.
    pub(super) fn dimensions(&self) -> Option<Result<Dimensions, Error>> {
        self.found.map(|(width, height)| Dimensions::still(width.into(), height.into()))
    }
}
