//! Reading a head forwards, without keeping what is skipped.
//!
//! A format's [`Head`] names the next bytes it wants by their place in the file; [`Walk`]
//! passes over everything before them and hands them over whole, straight from the pushed
//! slice where they lie in it, else gathered in a buffer of exactly their size.

use std::fmt::Debug;

use super::{Dimensions, Error, ImageType};

/// No `Head` asks for more at once; this bounds what one file can make us hold.
pub(super) const LONGEST_READ: usize = 64 * 1024;

/// No more is kept of what was handed over.
const LONGEST_TRACE: usize = 256 * 1024;

pub(super) const ENDS_EARLY: Error = Error::Invalid("The file ends before its dimensions.");

/// What a head wants to happen next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Hand over `len` bytes (1 to [`LONGEST_READ`]) that begin `at` bytes into the file,
    /// not before the end of the last read.
    Read { at: u64, len: usize },
    /// Nothing of interest follows; call [`Head::end`] when the file ends.
    Nothing,
    /// That was all.
    Found(Dimensions),
}

/// One format's head, as a state machine that is fed what it asks for.
pub(super) trait Head: Debug + Send + Sync {
    /// The type, once certain.
    fn image_type(&self) -> Option<ImageType>;

    /// The first read.
    fn first(&self) -> Next;

    /// The bytes asked for, which began `at` bytes into the file.
    fn read(&mut self, at: u64, bytes: &[u8]) -> Result<Next, Error>;

    /// The file has ended before the dimensions were found: whether they are known anyway.
    fn end(&mut self) -> Result<Dimensions, Error> {
        Err(match self.image_type() {
            Some(_) => ENDS_EARLY,
            None => Error::Unsupported,
        })
    }
}

#[derive(Debug)]
pub(super) struct Walk {
    head: Box<dyn Head>,
    next: Next,
    /// Where in the file the next pushed byte stands.
    position: u64,
    /// The beginning of the wanted bytes, when their end has not come yet.
    held: Vec<u8>,
    /// All that was handed over, one after the other; none where nobody will ask.
    trace: Option<Vec<u8>>,
}

impl Walk {
    pub(super) fn new(head: Box<dyn Head>, traced: bool) -> Self {
        let next = head.first();
        Self { head, next, position: 0, held: Vec::new(), trace: traced.then(Vec::new) }
    }

    /// One that has come to `position` and has seen of the file what [`Walk::seen`] told there.
    pub(super) fn again(head: Box<dyn Head>, position: u64, seen: &[u8]) -> Result<Self, Error> {
        let mut walk = Self::new(head, true);
        let mut rest = seen;
        while let Next::Read { at, len } = walk.next
            && let Some((bytes, others)) = rest.split_at_checked(len)
        {
            walk.next = walk.head.read(at, bytes)?;
            rest = others;
        }
        walk.trace = Some(seen[..seen.len() - rest.len()].to_vec());
        walk.held = rest.to_vec();
        walk.position = position;
        Ok(walk)
    }

    /// What of the file mattered up to here.
    pub(super) fn seen(&self) -> Vec<u8> {
        [self.trace.as_deref().unwrap_or_default(), &self.held].concat()
    }

    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// From where on bytes matter; none where only the file's end does.
    pub(super) fn wanted(&self) -> Option<u64> {
        match self.next {
            Next::Read { .. } if !self.held.is_empty() => Some(self.position),
            Next::Read { at, .. } => Some(at),
            Next::Nothing | Next::Found(_) => None,
        }
    }

    /// Passes over what is before [`Walk::wanted`].
    pub(super) fn skip(&mut self) {
        self.position = self.wanted().unwrap_or(self.position);
    }

    pub(super) fn image_type(&self) -> Option<ImageType> {
        self.head.image_type()
    }

    pub(super) fn end(&mut self) -> Result<Dimensions, Error> {
        self.head.end()
    }

    pub(super) fn feed(&mut self, mut bytes: &[u8]) -> Result<Option<Dimensions>, Error> {
        loop {
            let (at, len) = match self.next {
                Next::Read { at, len } => (at, len),
                Next::Nothing => return Ok(None),
                Next::Found(dimensions) => return Ok(Some(dimensions)),
            };
            if self.held.is_empty() {
                bytes = self.skip_to(at, bytes);
            }
            let missing = len - self.held.len();
            let (fresh, rest) = bytes.split_at(missing.min(bytes.len()));
            self.position += fresh.len() as u64;
            if fresh.len() < missing {
                self.hold(fresh, len);
                return Ok(None);
            }
            bytes = rest;
            let whole = if self.held.is_empty() {
                fresh
            } else {
                self.hold(fresh, len);
                &self.held
            };
            let next = self.head.read(at, whole)?;
            if let Some(trace) = &mut self.trace {
                if trace.len() + whole.len() > LONGEST_TRACE {
                    return Err(Error::Invalid(
                        "The file's head is too long to be taken in pieces.",
                    ));
                }
                trace.extend_from_slice(whole);
            }
            self.held.clear();
            if matches!(next, Next::Read { at, .. } if at < self.position) {
                return Err(Error::Invalid("The file's head points backwards."));
            }
            self.next = next;
        }
    }

    fn skip_to<'a>(&mut self, at: u64, bytes: &'a [u8]) -> &'a [u8] {
        let gap = usize::try_from(at - self.position).unwrap_or(usize::MAX);
        let (skipped, rest) = bytes.split_at(gap.min(bytes.len()));
        self.position += skipped.len() as u64;
        rest
    }

    /// Grows by doubling, but never past the `len` bytes that are wanted: what a head
    /// claims to need costs nothing until it has really been sent.
    fn hold(&mut self, fresh: &[u8], len: usize) {
        let needed = self.held.len() + fresh.len();
        if self.held.capacity() < needed {
            let capacity = (2 * needed).min(len);
            self.held.reserve_exact(capacity - self.held.len());
        }
        self.held.extend_from_slice(fresh);
    }
}

/// `at + distance`, or `Invalid`: no file is 2^64 bytes long.
pub(super) fn offset(at: u64, distance: u64) -> Result<u64, Error> {
    at.checked_add(distance).ok_or(Error::Invalid("The file's head has an impossible size."))
}
