//! Which format a file is of, from its first bytes (as WHATWG MIME Sniffing section 6.1
//! does it, extended by TIFF and the ISO base media family).
//!
//! A match here only picks who reads on: BMP and ISO base media files are told from
//! look-alikes by their own modules, which may still say `Unsupported`.

use super::Error;
use super::walk::Head;
use super::{bmff, bmp, gif, jpeg, png, tiff, webp};

/// As long as the longest pattern.
const LONGEST: usize = 12;

type Pattern = &'static [u8];
pub(super) type Reader = fn() -> Box<dyn Head>;

/// Patterns with who reads on; `?` stands for any byte. Shortest first, so that the answer
/// cannot depend on how many bytes happen to be there when it is asked for.
const MAGICS: [(Pattern, Reader); 9] = [
    (b"BM", || Box::new(bmp::Bmp::default())),
    (b"\xff\xd8\xff", || Box::new(jpeg::Jpeg::default())),
    (b"II*\0", || Box::new(tiff::Tiff::little_endian())),
    (b"MM\0*", || Box::new(tiff::Tiff::big_endian())),
    (b"GIF87a", || Box::new(gif::Gif::default())),
    (b"GIF89a", || Box::new(gif::Gif::default())),
    (b"\x89PNG\r\n\x1a\n", || Box::new(png::Png::default())),
    (b"????ftyp", || Box::new(bmff::Bmff::default())),
    (b"RIFF????WEBP", || Box::new(webp::Webp::default())),
];

/// The file's first bytes, until they decide.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Magic {
    seen: [u8; LONGEST],
    len: usize,
}

impl Magic {
    /// Takes what it needs of `bytes`; `None` while the file may still become anything.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<Option<Reader>, Error> {
        let taken = bytes.len().min(LONGEST - self.len);
        self.seen[self.len..self.len + taken].copy_from_slice(&bytes[..taken]);
        self.len += taken;

        let seen = &self.seen[..self.len];
        let mut possible = false;
        for (pattern, head) in MAGICS {
            let alike = pattern.iter().zip(seen).all(|(want, byte)| *want == b'?' || want == byte);
            if alike && seen.len() >= pattern.len() {
                return Ok(Some(head));
            }
            possible |= alike;
        }
        if possible { Ok(None) } else { Err(Error::Unsupported) }
    }

    /// The bytes taken so far, for the head to read again.
    pub(super) fn prefix(&self) -> &[u8] {
        &self.seen[..self.len]
    }
}
