//! JPEG's segments (ITU-T T.81, annex B), the application's among them: JFIF, EXIF, ICC, Adobe.

use memchr::memchr;

use super::super::Error;
use super::{EXIF, MOST_ICC, orientation_only};

const ICC: &[u8] = b"ICC_PROFILE\0";

const SOI: u8 = 0xd8;
const EOI: u8 = 0xd9;
const SOS: u8 = 0xda;
const APP0: u8 = 0xe0;
const APP1: u8 = 0xe1;
const APP2: u8 = 0xe2;
const APP14: u8 = 0xee;
const APP15: u8 = 0xef;
const COM: u8 = 0xfe;

/// A marker and what follows it to the next one.
struct Segment<'a> {
    marker: u8,
    /// Behind the two bytes of length.
    payload: &'a [u8],
    /// All of it, from its 0xFF; a scan's coded pixels too.
    raw: &'a [u8],
}

/// The segments in the order of the file. It ends after EOI, or where the file does within a
/// scan; bytes between segments are skipped, as decoders do.
struct Segments<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Segments<'a> {
    fn of(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The place of the next marker's code. In coded pixels 0xFF 0x00 and RSTn are none.
    fn next_marker(&self, from: usize, in_scan: bool) -> Option<usize> {
        let mut at = from;
        loop {
            at += memchr(0xff, self.bytes.get(at..)?)?;
            while *self.bytes.get(at)? == 0xff {
                at += 1;
            }
            match self.bytes.get(at)? {
                0 => {}
                0xd0..=0xd7 | 1 if in_scan => {}
                _ => return Some(at),
            }
            at += 1;
        }
    }
}

impl<'a> Iterator for Segments<'a> {
    type Item = Result<Segment<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let code = self.next_marker(self.at, false)?;
        let marker = self.bytes[code];
        let start = code - 1;
        let behind = code + 1;
        if matches!(marker, SOI | EOI | 0x01 | 0xd0..=0xd7) {
            self.at = if marker == EOI { self.bytes.len() } else { behind };
            return Some(Ok(Segment { marker, payload: &[], raw: &self.bytes[start..behind] }));
        }
        let length = self.bytes.get(behind..).and_then(<[u8]>::first_chunk);
        let length = usize::from(u16::from_be_bytes(*length?));
        let Some(payload) =
            (length >= 2).then(|| self.bytes.get(behind + 2..behind + length)).flatten()
        else {
            self.at = self.bytes.len();
            return Some(Err(Error::broken("JPEG", "a segment is longer than the file")));
        };
        let mut end = behind + length;
        if marker == SOS {
            // Where the next marker's 0xFF stands, or the file ends.
            end = self.next_marker(end, true).map_or(self.bytes.len(), |code| code - 1);
        }
        self.at = end;
        Some(Ok(Segment { marker, payload, raw: &self.bytes[start..end] }))
    }
}

/// What a decode has to know before it begins.
#[derive(Debug, Default)]
pub(in super::super) struct Head<'a> {
    /// The code of SOFn: which process the pixels are coded by.
    pub(in super::super) process: u8,
    /// Bits a sample.
    pub(in super::super) precision: u8,
    pub(in super::super) width: u32,
    pub(in super::super) height: u32,
    /// Of each component, how often it is sampled in a block of pixels: across, down.
    pub(in super::super) sampling: Vec<(u32, u32)>,
    /// How many scans the pixels are in. Where one has them all, those behind it are not counted:
    /// no decoder reads them.
    pub(in super::super) scans: u64,
    /// Whether there is an Adobe marker: CMYK is inverted then.
    pub(in super::super) adobe: bool,
    pub(in super::super) exif: Option<&'a [u8]>,
    pub(in super::super) icc: Option<Vec<u8>>,
}

impl Head<'_> {
    /// Whether the decoder keeps all coefficients until it has read every scan.
    pub(in super::super) fn many_scans(&self) -> bool {
        self.scans > 1 || matches!(self.process, 0xc2 | 0xca)
    }

    /// How many blocks of 8 × 8 samples all components have, as rounded up by decoders.
    pub(in super::super) fn blocks(&self) -> u64 {
        let most = |side: fn(&(u32, u32)) -> u32| self.sampling.iter().map(side).max().unwrap_or(1);
        let (across, down) = (most(|s| s.0), most(|s| s.1));
        let units =
            u64::from(self.width.div_ceil(8 * across)) * u64::from(self.height.div_ceil(8 * down));
        self.sampling.iter().map(|&(h, v)| units * u64::from(h * v)).sum()
    }
}

/// Reads the segments as far as they matter to a decode.
pub(in super::super) fn head(bytes: &[u8]) -> Result<Head<'_>, Error> {
    let mut head = Head::default();
    let mut icc = Vec::new();
    for segment in Segments::of(bytes) {
        let segment = segment?;
        match segment.marker {
            // Tables and conditions of coding, and what is reserved, are among SOFn's codes.
            0xc4 | 0xc8 | 0xcc => {}
            0xc0..=0xcf if head.process == 0 => frame(&mut head, segment.marker, segment.payload)?,
            APP1 if head.exif.is_none() => head.exif = segment.payload.strip_prefix(EXIF),
            APP2 => icc.extend(segment.payload.strip_prefix(ICC)),
            APP14 => head.adobe |= segment.payload.starts_with(b"Adobe"),
            SOS => {
                head.scans += 1;
                let all = segment.payload.first().map(|&n| usize::from(n));
                if head.scans == 1 && !head.many_scans() && all == Some(head.sampling.len()) {
                    break;
                }
            }
            _ => {}
        }
    }
    if head.process == 0 || head.scans == 0 {
        return Err(Error::broken("JPEG", "it ends before its pixels"));
    }
    head.icc = profile(icc);
    Ok(head)
}

/// SOFn (B.2.2).
fn frame(head: &mut Head<'_>, process: u8, payload: &[u8]) -> Result<(), Error> {
    let [precision, h1, h0, w1, w0, count, components @ ..] = payload else {
        return Err(Error::broken("JPEG", "its frame header is too short"));
    };
    head.process = process;
    head.precision = *precision;
    head.height = u16::from_be_bytes([*h1, *h0]).into();
    head.width = u16::from_be_bytes([*w1, *w0]).into();
    head.sampling = components
        .chunks_exact(3)
        .take((*count).into())
        .map(|component| (u32::from(component[1] >> 4), u32::from(component[1] & 15)))
        .collect();
    let sampled = head.sampling.iter().all(|&(h, v)| (1..=4).contains(&h) && (1..=4).contains(&v));
    if head.width == 0 || head.height == 0 || head.sampling.is_empty() || !sampled {
        return Err(Error::broken("JPEG", "its frame header makes no sense"));
    }
    Ok(())
}

/// The profile whose parts stand in several segments, each with its number (ICC.1:2022, B.4).
fn profile(mut parts: Vec<&[u8]>) -> Option<Vec<u8>> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    if parts.is_empty() || length > MOST_ICC || parts.iter().any(|part| part.len() < 2) {
        return None;
    }
    parts.sort_by_key(|part| part[0]);
    Some(parts.iter().flat_map(|part| &part[2..]).copied().collect())
}

/// The first EXIF block, a TIFF file.
pub(super) fn exif(bytes: &[u8]) -> Option<&[u8]> {
    Segments::of(bytes)
        .map_while(Result::ok)
        .take_while(|segment| segment.marker != SOS)
        .filter(|segment| segment.marker == APP1)
        .find_map(|segment| segment.payload.strip_prefix(EXIF))
}

/// The file without metadata; what is behind EOI is gone too.
pub(super) fn strip(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let mut kept = Vec::with_capacity(bytes.len());
    let mut exif = None;
    let mut scanned = false;
    for segment in Segments::of(bytes) {
        let segment = segment?;
        scanned |= segment.marker == SOS;
        match segment.marker {
            APP0 if segment.payload.starts_with(b"JFIF\0") => jfif(&mut kept, &segment),
            APP1 if exif.is_none() => {
                exif = segment.payload.strip_prefix(EXIF);
                if let Some(tiff) = exif.and_then(orientation_only) {
                    // Two bytes of length, six of name, and the block.
                    kept.extend_from_slice(&[0xff, APP1, 0, 34]);
                    kept.extend_from_slice(EXIF);
                    kept.extend_from_slice(&tiff);
                }
            }
            APP2 if segment.payload.starts_with(ICC) => kept.extend_from_slice(segment.raw),
            APP14 if segment.payload.starts_with(b"Adobe") => kept.extend_from_slice(segment.raw),
            APP0..=APP15 | COM => {}
            _ => kept.extend_from_slice(segment.raw),
        }
    }
    if !scanned {
        return Err(Error::broken("JPEG", "it ends before its pixels"));
    }
    Ok(kept)
}

/// JFIF's own segment, without the thumbnail that it may have.
fn jfif(kept: &mut Vec<u8>, segment: &Segment<'_>) {
    match segment.payload.get(..12) {
        Some(fields) if segment.payload.len() > 14 => {
            kept.extend_from_slice(&[0xff, APP0, 0, 16]);
            kept.extend_from_slice(fields);
            kept.extend_from_slice(&[0, 0]);
        }
        _ => kept.extend_from_slice(segment.raw),
    }
}
