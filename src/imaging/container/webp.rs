//! WebP's chunks (RFC 9649, 2.3 to 2.7), and of an animation its first frame.

use super::super::Error;
use super::{EXIF, le32, orientation_only, vp8l};

/// VP8X's flags (2.7.1).
const EXIF_FLAG: u8 = 0b0000_1000;
const XMP_FLAG: u8 = 0b0000_0100;

struct Chunk<'a> {
    name: [u8; 4],
    data: &'a [u8],
    /// All of it, with the byte that makes its length even.
    raw: &'a [u8],
}

/// The chunks of a RIFF file, or of one chunk that has chunks; an error where it ends within one.
struct Chunks<'a> {
    bytes: &'a [u8],
}

impl<'a> Chunks<'a> {
    /// Those of the file: no further than its header says that it goes.
    fn of(bytes: &'a [u8]) -> Self {
        let end = le32(bytes, 4).map_or(0, |length| (length as usize).saturating_add(8));
        Self { bytes: bytes.get(12..end.min(bytes.len())).unwrap_or_default() }
    }

    fn read(&self) -> Option<Chunk<'a>> {
        let length = le32(self.bytes, 4)? as usize;
        let end = length.checked_add(8)?;
        let data = self.bytes.get(8..end)?;
        // Some writers leave the last chunk's padding out.
        let padded = (end + length % 2).min(self.bytes.len());
        Some(Chunk { name: *self.bytes.first_chunk()?, data, raw: &self.bytes[..padded] })
    }
}

impl<'a> Iterator for Chunks<'a> {
    type Item = Result<Chunk<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.bytes.is_empty() {
            return None;
        }
        let chunk = self.read().ok_or_else(|| Error::broken("WebP", "it ends within a chunk"));
        self.bytes = chunk.as_ref().map_or(&[][..], |chunk| &self.bytes[chunk.raw.len()..]);
        Some(chunk)
    }
}

/// One frame's bitstream, and where on the canvas it stands.
#[derive(Debug, Default)]
pub(in super::super) struct Frame<'a> {
    pub(in super::super) canvas: (u32, u32),
    pub(in super::super) left: u32,
    pub(in super::super) top: u32,
    pub(in super::super) width: u32,
    pub(in super::super) height: u32,
    /// VP8L's; else VP8's.
    pub(in super::super) lossless: bool,
    pub(in super::super) bitstream: &'a [u8],
    /// ALPH's, which only VP8 has.
    pub(in super::super) alpha: Option<&'a [u8]>,
    pub(in super::super) icc: Option<&'a [u8]>,
}

/// The first frame, or the only one.
pub(in super::super) fn first_frame(bytes: &[u8]) -> Result<Frame<'_>, Error> {
    let mut frame = Frame::default();
    for chunk in Chunks::of(bytes) {
        let chunk = chunk?;
        match &chunk.name {
            b"VP8X" => frame.canvas = (u24(chunk.data, 4)? + 1, u24(chunk.data, 7)? + 1),
            b"ICCP" => frame.icc = Some(chunk.data),
            b"ANMF" => {
                let place = |at| u24(chunk.data, at).map(|half| half * 2);
                (frame.left, frame.top) = (place(0)?, place(3)?);
                let inner = chunk.data.get(16..).unwrap_or_default();
                for part in (Chunks { bytes: inner }) {
                    frame.take(&part?)?;
                }
                break;
            }
            _ => frame.take(&chunk)?,
        }
        if !frame.bitstream.is_empty() {
            break;
        }
    }
    if frame.bitstream.is_empty() {
        return Err(Error::broken("WebP", "it ends before its pixels"));
    }
    if frame.canvas == (0, 0) {
        frame.canvas = (frame.width, frame.height);
    }
    let inside =
        frame.left + frame.width <= frame.canvas.0 && frame.top + frame.height <= frame.canvas.1;
    if frame.width == 0 || frame.height == 0 || !inside {
        return Err(Error::broken("WebP", "its sizes contradict each other"));
    }
    Ok(frame)
}

impl<'a> Frame<'a> {
    /// Takes a chunk that belongs to a frame, with the size that its own header says.
    fn take(&mut self, chunk: &Chunk<'a>) -> Result<(), Error> {
        let short = || Error::broken("WebP", "its bitstream is too short");
        match &chunk.name {
            b"ALPH" => self.alpha = Some(chunk.data),
            b"VP8 " if self.bitstream.is_empty() => {
                // A frame tag of three bytes, a start code of three, two sides of 14 bits.
                let sides = le32(chunk.data, 6).ok_or_else(short)?;
                (self.width, self.height) = (sides & 0x3fff, (sides >> 16) & 0x3fff);
                self.bitstream = chunk.data;
            }
            b"VP8L" if self.bitstream.is_empty() => {
                let sides = le32(chunk.data, 1).ok_or_else(short)?;
                (self.width, self.height) = ((sides & 0x3fff) + 1, ((sides >> 14) & 0x3fff) + 1);
                self.lossless = true;
                self.bitstream = chunk.data;
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether the bitstream may be transparent anywhere.
    pub(in super::super) fn has_alpha(&self) -> bool {
        if self.lossless {
            le32(self.bitstream, 1).is_some_and(|bits| bits >> 28 & 1 == 1)
        } else {
            self.alpha.is_some()
        }
    }

    /// The bytes that a decoder takes for the frame's prefix codes, counted until they are more
    /// than `enough`.
    ///
    /// # Errors
    /// Where the lossless part of the bitstream breaks before its pixels.
    pub(in super::super) fn codes_memory(&self, enough: u64) -> Result<u64, Error> {
        // Behind VP8L's header of five bytes; behind ALPH's of one, where it says that it is
        // compressed.
        let lossless = match (self.lossless, self.alpha) {
            (true, _) => self.bitstream.get(5..),
            (false, Some(&[head, ref alpha @ ..])) if head & 3 == 1 => Some(alpha),
            _ => return Ok(0),
        };
        lossless
            .and_then(|bitstream| vp8l::codes_memory(bitstream, self.width, self.height, enough))
            .ok_or_else(|| Error::broken("WebP", "its bitstream breaks before its pixels"))
    }

    /// A file of this frame alone, its size that of the frame.
    pub(in super::super) fn alone(&self) -> Vec<u8> {
        let mut file = b"RIFF\0\0\0\0WEBP".to_vec();
        let name = if self.lossless { b"VP8L" } else { b"VP8 " };
        if let (Some(alpha), false) = (self.alpha, self.lossless) {
            let mut head = [0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            head[4..7].copy_from_slice(&(self.width - 1).to_le_bytes()[..3]);
            head[7..].copy_from_slice(&(self.height - 1).to_le_bytes()[..3]);
            write(&mut file, b"VP8X", &head);
            write(&mut file, b"ALPH", alpha);
        }
        write(&mut file, name, self.bitstream);
        close(&mut file);
        file
    }
}

fn u24(bytes: &[u8], at: usize) -> Result<u32, Error> {
    match bytes.get(at..at + 3) {
        Some(&[b0, b1, b2]) => Ok(u32::from_le_bytes([b0, b1, b2, 0])),
        _ => Err(Error::broken("WebP", "a chunk is too short")),
    }
}

fn write(file: &mut Vec<u8>, name: &[u8; 4], data: &[u8]) {
    file.extend_from_slice(name);
    // What came out of a chunk fits into one.
    file.extend_from_slice(&(data.len() as u32).to_le_bytes());
    file.extend_from_slice(data);
    file.extend(std::iter::repeat_n(0, data.len() % 2));
}

/// Writes the file's length into its header.
fn close(file: &mut [u8]) {
    let length = (file.len() - 8) as u32;
    file[4..8].copy_from_slice(&length.to_le_bytes());
}

/// The EXIF block, a TIFF file.
pub(in super::super) fn exif(bytes: &[u8]) -> Option<&[u8]> {
    let mut chunks = Chunks::of(bytes).map_while(Result::ok);
    chunks.find(|chunk| &chunk.name == b"EXIF").map(|chunk| without_prefix(chunk.data))
}

fn without_prefix(data: &[u8]) -> &[u8] {
    data.strip_prefix(EXIF).unwrap_or(data)
}

/// The file without metadata and unknown chunks; what is behind its end is gone too.
pub(super) fn strip(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let mut file = Vec::with_capacity(bytes.len());
    file.extend_from_slice(bytes.get(..12).unwrap_or_default());
    let mut flags = None;
    let mut turned = false;
    let mut pixels = false;
    for chunk in Chunks::of(bytes) {
        let chunk = chunk?;
        pixels |= matches!(&chunk.name, b"VP8 " | b"VP8L" | b"ANMF");
        match &chunk.name {
            b"EXIF" => {
                if let (false, Some(tiff)) = (turned, orientation_only(without_prefix(chunk.data)))
                {
                    turned = true;
                    write(&mut file, b"EXIF", &tiff);
                }
            }
            b"VP8X" => {
                flags.get_or_insert(file.len() + 8);
                file.extend_from_slice(chunk.raw);
            }
            b"VP8 " | b"VP8L" | b"ALPH" | b"ANIM" | b"ANMF" | b"ICCP" => {
                file.extend_from_slice(chunk.raw);
            }
            _ => {}
        }
    }
    if !pixels {
        return Err(Error::broken("WebP", "it ends before its pixels"));
    }
    if let Some(flags) = flags.and_then(|at| file.get_mut(at)) {
        *flags &= !(EXIF_FLAG | XMP_FLAG);
        *flags |= if turned { EXIF_FLAG } else { 0 };
    }
    close(&mut file);
    Ok(file)
}
