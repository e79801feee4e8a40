//! PNG's chunks (PNG, third edition, 5), APNG's among them.

use super::super::Error;
use super::{EXIF, MOST_ICC, be32, orientation_only};

const SIGNATURE: usize = 8;

/// What tells how to show the pixels, beside the critical chunks: transparency and colour,
/// background, density, palettes and animation. What is not here is metadata, or unknown.
const KEPT: &[&[u8; 4]] = &[
    b"tRNS", b"cHRM", b"gAMA", b"iCCP", b"sBIT", b"sRGB", b"cICP", b"mDCV", b"cLLI", b"bKGD",
    b"hIST", b"pHYs", b"sPLT", b"acTL", b"fcTL", b"fdAT",
];

struct Chunk<'a> {
    name: [u8; 4],
    data: &'a [u8],
    /// All of it, from its length to its checksum.
    raw: &'a [u8],
}

/// The chunks to IEND; an error where the file ends before that.
struct Chunks<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Chunks<'a> {
    fn of(bytes: &'a [u8]) -> Self {
        Self { bytes, at: SIGNATURE }
    }

    fn read(&self) -> Option<Chunk<'a>> {
        let length = be32(self.bytes, self.at)? as usize;
        let raw = self.bytes.get(self.at..self.at.checked_add(length)?.checked_add(12)?)?;
        let name = *raw[4..].first_chunk()?;
        Some(Chunk { name, data: &raw[8..8 + length], raw })
    }
}

impl<'a> Iterator for Chunks<'a> {
    type Item = Result<Chunk<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at == usize::MAX {
            return None;
        }
        let chunk = self.read().ok_or_else(|| Error::broken("PNG", "it ends within a chunk"));
        self.at = match &chunk {
            Ok(chunk) if &chunk.name != b"IEND" => self.at + chunk.raw.len(),
            _ => usize::MAX,
        };
        Some(chunk)
    }
}

/// A chunk's data, if there is one of that name.
fn find<'a>(bytes: &'a [u8], name: &[u8; 4]) -> Option<&'a [u8]> {
    Chunks::of(bytes).map_while(Result::ok).find(|chunk| &chunk.name == name).map(|c| c.data)
}

/// The EXIF block, a TIFF file.
pub(in super::super) fn exif(bytes: &[u8]) -> Option<&[u8]> {
    find(bytes, b"eXIf").map(without_prefix)
}

fn without_prefix(data: &[u8]) -> &[u8] {
    data.strip_prefix(EXIF).unwrap_or(data)
}

/// The colour profile: a name, a zero, the method (0), and a zlib stream (11.3.2.3), of which no
/// more is inflated than a profile may have.
pub(in super::super) fn icc(bytes: &[u8]) -> Option<Vec<u8>> {
    let data = find(bytes, b"iCCP")?;
    let name = memchr::memchr(0, data.get(..80.min(data.len()))?)?;
    let stream = data.get(name + 2..)?;
    fdeflate::decompress_to_vec_bounded(stream, MOST_ICC).ok()
}

/// The file without metadata; what is behind IEND is gone too.
pub(super) fn strip(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let mut kept = Vec::with_capacity(bytes.len());
    kept.extend_from_slice(&bytes[..SIGNATURE]);
    for chunk in Chunks::of(bytes) {
        let chunk = chunk?;
        // An upper-case letter first: critical (5.4).
        if chunk.name[0].is_ascii_uppercase() || KEPT.contains(&&chunk.name) {
            kept.extend_from_slice(chunk.raw);
        } else if &chunk.name == b"eXIf"
            && let Some(tiff) = orientation_only(without_prefix(chunk.data))
        {
            // A block has 26 bytes.
            kept.extend_from_slice(&[0, 0, 0, 26]);
            let from = kept.len();
            kept.extend_from_slice(b"eXIf");
            kept.extend_from_slice(&tiff);
            let checksum = crc32fast::hash(&kept[from..]);
            kept.extend_from_slice(&checksum.to_be_bytes());
        }
    }
    Ok(kept)
}
