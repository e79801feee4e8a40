//! Which boxes lead to dimensions, and how they nest (ISO/IEC 14496-12, 4.2).

use super::super::walk::LONGEST_READ;
use super::{BROKEN, Error};

/// A box's four-letter type.
pub(super) type Kind = [u8; 4];

/// What is to be done with a box.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Interest {
    Pass,
    /// Its children matter, which begin this many bytes into its data.
    Children(u64),
    /// So many of its first bytes matter.
    Data(u64),
}

impl Interest {
    /// In a box of type `kind`, by the box around it, of `available` bytes if it says so.
    pub(super) fn of(
        parent: Option<Kind>,
        kind: Kind,
        available: Option<u64>,
        sequence: bool,
    ) -> Result<Self, Error> {
        let wanted = match (parent.as_ref(), &kind) {
            // A full box: version and flags come first.
            (None, b"meta") => return Ok(Self::Children(4)),
            (None, b"moov") if sequence => return Ok(Self::Children(0)),
            (Some(b"meta"), b"iprp")
            | (Some(b"iprp"), b"ipco")
            | (Some(b"moov"), b"trak")
            | (Some(b"trak"), b"mdia")
            | (Some(b"mdia"), b"minf")
            | (Some(b"minf"), b"stbl") => return Ok(Self::Children(0)),
            (Some(b"meta"), b"pitm") => 8,
            (Some(b"iprp"), b"ipma") => match available {
                Some(all) if all <= LONGEST_READ as u64 => all,
                _ => return Err(Error::Invalid("The image lists too many items.")),
            },
            (Some(b"ipco"), b"ispe") => 12,
            (Some(b"ipco"), b"irot") => 1,
            (Some(b"ipco"), b"clap") => 32,
            (Some(b"mdia"), b"hdlr") => 12,
            (Some(b"stbl"), b"stsd") => 44,
            _ => return Ok(Self::Pass),
        };
        match available.unwrap_or(0).min(wanted) {
            0 => Err(BROKEN),
            len => Ok(Self::Data(len)),
        }
    }
}

/// The boxes around the one that is being read, outermost first: at most five, since none
/// whose children matter may stand in one of its own kind.
#[derive(Debug, Default)]
pub(super) struct Nesting(Vec<Around>);

#[derive(Debug, Clone, Copy)]
struct Around {
    kind: Kind,
    /// `None` for a box that reaches to the end of the file.
    end: Option<u64>,
}

impl Nesting {
    pub(super) fn innermost(&self) -> Option<Kind> {
        self.0.last().map(|around| around.kind)
    }

    /// Refuses a box here that would end at `end`, `None` being the end of the file.
    pub(super) fn check(&self, end: Option<u64>) -> Result<(), Error> {
        match (self.0.last(), end) {
            // Only the file's last box may leave its size open.
            (Some(_), None) => Err(BROKEN),
            (Some(Around { end: Some(bound), .. }), Some(end)) if end > *bound => {
                Err(Error::Invalid("A box of the image reaches out of the one around it."))
            }
            _ => Ok(()),
        }
    }

    /// Goes into a box whose children begin at `at`.
    pub(super) fn enter(&mut self, kind: Kind, at: u64, end: Option<u64>) -> Result<(), Error> {
        if end.is_some_and(|end| end < at) {
            return Err(BROKEN);
        }
        self.0.push(Around { kind, end });
        Ok(())
    }

    /// Leaves the innermost box if it ends at `at`, and says which it was.
    pub(super) fn leave(&mut self, at: u64) -> Result<Option<Kind>, Error> {
        let Some(Around { kind, end: Some(end) }) = self.0.last().copied() else {
            return Ok(None);
        };
        match end.checked_sub(at) {
            Some(0) => {
                self.0.pop();
                Ok(Some(kind))
            }
            // No room for another box.
            None | Some(1..8) => Err(BROKEN),
            Some(_) => Ok(None),
        }
    }

    /// The box that reaches to the end of the file, unless another in it is still open.
    pub(super) fn end(&self) -> Option<Kind> {
        match self.0[..] {
            [Around { kind, end: None }] => Some(kind),
            _ => None,
        }
    }
}
