//! Fields of a TIFF file (TIFF 6.0, section 2), found one by one. Nothing is allocated and no
//! directory is followed but the one asked for: a parser that follows them all can be made to
//! read the same bytes thousands of times.

/// A TIFF file's bytes, in its order of bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tiff<'a> {
    bytes: &'a [u8],
    little: bool,
}

/// A directory's place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Directory(usize);

/// A field's type and the bytes of its values.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field<'a> {
    file: Tiff<'a>,
    kind: u16,
    values: &'a [u8],
}

const ASCII: u16 = 2;
const SHORT: u16 = 3;
const LONG: u16 = 4;
const RATIONAL: u16 = 5;

impl<'a> Tiff<'a> {
    /// The file and its first directory.
    pub(super) fn open(bytes: &'a [u8]) -> Option<(Self, Directory)> {
        let little = match bytes.get(..4)? {
            b"II*\0" => true,
            b"MM\0*" => false,
            _ => return None,
        };
        let file = Self { bytes, little };
        let first = file.u32(4)?;
        Some((file, Directory(first as usize)))
    }

    fn u16(&self, at: usize) -> Option<u16> {
        let bytes = *self.bytes.get(at..)?.first_chunk()?;
        Some(if self.little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
    }

    fn u32(&self, at: usize) -> Option<u32> {
        let bytes = *self.bytes.get(at..)?.first_chunk()?;
        Some(if self.little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    }

    /// The first field of that tag in a directory.
    pub(super) fn field(&self, directory: Directory, tag: u16) -> Option<Field<'a>> {
        let count = usize::from(self.u16(directory.0)?);
        let entry = (0..count)
            .map(|index| directory.0 + 2 + index * 12)
            .take_while(|&entry| entry < self.bytes.len())
            .find(|&entry| self.u16(entry) == Some(tag))?;
        let kind = self.u16(entry + 2)?;
        let size = match kind {
            ASCII => 1,
            SHORT => 2,
            LONG => 4,
            RATIONAL => 8,
            _ => return None,
        };
        let length = size * self.u32(entry + 4)? as usize;
        // What fits into four bytes stands in the entry itself.
        let at = if length <= 4 { entry + 8 } else { self.u32(entry + 8)? as usize };
        let values = self.bytes.get(at..at.checked_add(length)?)?;
        Some(Field { file: *self, kind, values })
    }

    /// The directory that a field of another one points to.
    pub(super) fn directory(&self, from: Directory, tag: u16) -> Option<Directory> {
        Some(Directory(self.field(from, tag)?.number()? as usize))
    }
}

impl<'a> Field<'a> {
    /// The text up to its first zero byte.
    pub(super) fn ascii(self) -> Option<&'a [u8]> {
        (self.kind == ASCII).then(|| self.values.split(|&byte| byte == 0).next()).flatten()
    }

    /// The first value of whole numbers.
    pub(super) fn number(self) -> Option<u32> {
        let values = Tiff { bytes: self.values, ..self.file };
        match self.kind {
            SHORT => values.u16(0).map(u32::from),
            LONG => values.u32(0),
            _ => None,
        }
    }

    /// A value of fractions; none that divides by zero.
    pub(super) fn fraction(self, index: usize) -> Option<f64> {
        let values = Tiff { bytes: self.values, ..self.file };
        let (above, below) = (values.u32(index * 8)?, values.u32(index * 8 + 4)?);
        (self.kind == RATIONAL && below != 0).then(|| f64::from(above) / f64::from(below))
    }
}
