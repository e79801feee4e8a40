//! GIF's blocks (GIF89a, 17 to 26), as far as to leave the metadata among them out.

use super::super::Error;

const EXTENSION: u8 = 0x21;
const IMAGE: u8 = 0x2c;
const TRAILER: u8 = 0x3b;

const APPLICATION: u8 = 0xff;
const COMMENT: u8 = 0xfe;

/// Applications whose extension tells how to show the pixels: how often to repeat an animation
/// (by two names), and the colour profile. XMP is another.
const KEPT: &[&[u8; 11]] = &[b"NETSCAPE2.0", b"ANIMEXTS1.0", b"ICCRGBG1012"];

/// Where in a file one reads.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn byte(&mut self) -> Result<u8, Error> {
        let byte = self.bytes.get(self.at).copied();
        self.at += 1;
        byte.ok_or_else(|| Error::broken("GIF", "it ends within a block"))
    }

    fn skip(&mut self, count: usize) -> Result<(), Error> {
        self.at += count;
        if self.at > self.bytes.len() {
            return Err(Error::broken("GIF", "it ends within a block"));
        }
        Ok(())
    }

    /// A colour table whose size a packed field tells (18, 20).
    fn table(&mut self, packed: u8) -> Result<(), Error> {
        if packed & 0x80 == 0 { Ok(()) } else { self.skip(3 << ((packed & 7) + 1)) }
    }

    /// Sub-blocks to the one of no length (15, 16).
    fn sub_blocks(&mut self) -> Result<(), Error> {
        loop {
            match self.byte()? {
                0 => return Ok(()),
                length => self.skip(length.into())?,
            }
        }
    }
}

/// The file without comments and applications' metadata; what is behind the trailer is gone too.
pub(super) fn strip(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let mut reader = Reader { bytes, at: 0 };
    reader.skip(10)?;
    let packed = reader.byte()?;
    reader.skip(2)?;
    reader.table(packed)?;
    let mut kept = Vec::with_capacity(bytes.len());
    kept.extend_from_slice(&bytes[..reader.at]);
    loop {
        let start = reader.at;
        let keep = match reader.byte()? {
            EXTENSION => {
                let label = reader.byte()?;
                let name = bytes.get(reader.at + 1..reader.at + 12);
                reader.sub_blocks()?;
                match label {
                    COMMENT => false,
                    APPLICATION => name.is_some_and(|name| KEPT.iter().any(|kept| *kept == name)),
                    _ => true,
                }
            }
            IMAGE => {
                reader.skip(8)?;
                let packed = reader.byte()?;
                reader.table(packed)?;
                reader.skip(1)?;
                reader.sub_blocks()?;
                true
            }
            TRAILER => {
                kept.push(TRAILER);
                return Ok(kept);
            }
            _ => return Err(Error::broken("GIF", "a block is of no known kind")),
        };
        if keep {
            kept.extend_from_slice(&bytes[start..reader.at]);
        }
    }
}
