//! A streaming reader of `multipart/form-data` bodies (RFC 7578, RFC 2046 section 5.1).
//!
//! It reads strictly, since what two readers understand differently is how checks are passed
//! by: line ends are CRLF, a part's length is told by its boundary alone, and nothing is taken
//! for a part that is not wholly one. It holds no more than one chunk of the body and one
//! part's header fields, and hands the part's bytes on without copying them.
//!
//! It is not actix-multipart, which the tests read beside it: that one takes bare LF within part
//! headers, believes a part's Content-Length over its boundary, hides which rule a file name
//! broke, and copies every byte once more.

mod disposition;
#[cfg(test)]
mod tests;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use memchr::memmem::Finder;

pub use disposition::Disposition;

use super::error::Error;

/// The longest boundary, RFC 2046 section 5.1.1.
const MAX_BOUNDARY: usize = 70;
/// Blanks that may stand between a boundary and its line end.
const MAX_PADDING: usize = 256;
/// Bytes that may stand before the first boundary, and after the last.
const MAX_BYTES_AROUND: usize = 16 << 10;

/// The most bytes of a body before its first part and behind its last.
pub const MAX_AROUND: u64 = 2 * MAX_BYTES_AROUND as u64;
/// The most bytes between two parts.
pub const MAX_DELIMITER: u64 = (MAX_BOUNDARY + MAX_PADDING + "\r\n----\r\n".len()) as u64;

/// Reads the boundary from a `Content-Type` field.
///
/// # Errors
/// [`Error::MediaTypeUnsupported`] if it is not `multipart/form-data`, [`Error::MultipartInvalid`]
/// if its boundary is missing, repeated, or breaks RFC 2046.
pub fn boundary(content_type: &[u8]) -> Result<String, Error> {
    let unsupported = Error::MediaTypeUnsupported("Send the image as multipart/form-data.");
    let text = std::str::from_utf8(content_type).map_err(|_| unsupported)?;
    let (media_type, parameters) = text.split_once(';').unwrap_or((text, ""));
    if !media_type.trim().eq_ignore_ascii_case("multipart/form-data") {
        return Err(Error::MediaTypeUnsupported("Send the image as multipart/form-data."));
    }
    let invalid =
        || Error::MultipartInvalid("The Content-Type needs one boundary of 1 to 70 characters.");
    let parameters = disposition::parameters(parameters.as_bytes()).ok_or_else(invalid)?;
    let mut boundaries = parameters.into_iter().filter(|(name, _)| name == "boundary");
    let (Some((_, boundary)), None) = (boundaries.next(), boundaries.next()) else {
        return Err(invalid());
    };
    let allowed = |b: &u8| b.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(b);
    let valid = (1..=MAX_BOUNDARY).contains(&boundary.len())
        && boundary.iter().all(allowed)
        && !boundary.ends_with(b" ");
    if !valid {
        return Err(invalid());
    }
    String::from_utf8(boundary).map_err(|_| invalid())
}

/// How much of a body is taken in.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The most parts.
    pub parts: usize,
    /// The most bytes of one part's header fields, their line ends included.
    pub part_headers: usize,
}

/// A reader of one body.
pub struct Multipart<S> {
    source: S,
    /// CRLF, two hyphens and the boundary.
    delimiter: Finder<'static>,
    limits: Limits,
    parts: usize,
    /// Received and not handed on; begins within the current part, or with what follows a delimiter.
    buffer: Bytes,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// At the start of the body, where the first delimiter may lack the line end before it.
    Start,
    /// Before the first delimiter.
    Preamble,
    /// Within a part's bytes.
    Part,
    /// Right behind a delimiter.
    Delimiter,
    /// Behind the last delimiter, with the body read to its end.
    End,
}

impl<S> Multipart<S>
where
    S: Stream<Item = Result<Bytes, Error>> + Unpin,
{
    /// A reader of `source`, the bytes of a body whose parts are parted by `boundary`.
    pub fn new(source: S, boundary: &str, limits: Limits) -> Self {
        let delimiter = Finder::new(&format!("\r\n--{boundary}")).into_owned();
        Self { source, delimiter, limits, parts: 0, buffer: Bytes::new(), state: State::Start }
    }

    /// The next part's disposition; none after the last part, with the body read to its end.
    /// What was not read of the part before is passed over.
    ///
    /// # Errors
    /// When the body is malformed or ends early, or has too many parts.
    pub async fn next_part(&mut self) -> Result<Option<Disposition>, Error> {
        if self.state == State::Start {
            self.start().await?;
        }
        let mut around = 0;
        while matches!(self.state, State::Preamble | State::Part) {
            let skipped = self.chunk_of_state().await?.map_or(0, |chunk| chunk.len());
            around += skipped;
            if self.state == State::Preamble && around > MAX_BYTES_AROUND {
                return Err(Error::MultipartInvalid(
                    "The boundary does not stand at the start of the body.",
                ));
            }
        }
        if self.state == State::End || self.after_delimiter().await? {
            return Ok(None);
        }
        self.parts += 1;
        if self.parts > self.limits.parts {
            return Err(Error::MultipartInvalid("The body has more parts than allowed."));
        }
        let disposition = self.part_headers().await?;
        self.state = State::Part;
        Ok(Some(disposition))
    }

    /// The next bytes of the current part; none at its end.
    ///
    /// # Errors
    /// When the body ends within the part.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        if self.state == State::Part { self.chunk_of_state().await } else { Ok(None) }
    }

    /// Looks for a delimiter at the very start. The first chunk, which may be the whole image, is
    /// not copied for it.
    async fn start(&mut self) -> Result<(), Error> {
        let length = self.delimiter.needle().len() - 2;
        self.fill_to(length).await?;
        let first = &self.delimiter.needle()[2..];
        self.state = if self.buffer.starts_with(first) {
            let _ = self.buffer.split_to(length);
            State::Delimiter
        } else {
            State::Preamble
        };
        Ok(())
    }

    /// Bytes up to the next delimiter; none when it is reached, which changes the state.
    async fn chunk_of_state(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            let delimiter = self.delimiter.needle();
            match self.delimiter.find(&self.buffer) {
                Some(0) => {
                    let _ = self.buffer.split_to(delimiter.len());
                    self.state = State::Delimiter;
                    return Ok(None);
                }
                Some(at) => return Ok(Some(self.buffer.split_to(at))),
                None => {
                    let safe = self.buffer.len() - partial_match(&self.buffer, delimiter);
                    if safe > 0 {
                        return Ok(Some(self.buffer.split_to(safe)));
                    }
                }
            }
            self.fill().await?;
        }
    }

    /// Reads what follows a delimiter: true if the body ends there.
    async fn after_delimiter(&mut self) -> Result<bool, Error> {
        self.fill_to(2).await?;
        if self.buffer.starts_with(b"--") {
            let _ = self.buffer.split_to(2);
            if self.buffer.first().is_some_and(|b| !matches!(b, b'\r' | b' ' | b'\t')) {
                return Err(Error::MultipartInvalid(
                    "The last boundary is followed by other bytes.",
                ));
            }
            self.epilogue().await?;
            self.state = State::End;
            return Ok(true);
        }
        // RFC 2046 lets blanks stand between a boundary and its line end.
        for _ in 0..MAX_PADDING {
            if !self.buffer.first().is_some_and(|b| matches!(b, b' ' | b'\t')) {
                break;
            }
            let _ = self.buffer.split_to(1);
            self.fill_to(2).await?;
        }
        if !self.buffer.starts_with(b"\r\n") {
            return Err(Error::MultipartInvalid("A boundary is not followed by CRLF."));
        }
        let _ = self.buffer.split_to(2);
        Ok(false)
    }

    /// Reads the body to its end, so that a request whose end is missing is never acted on.
    async fn epilogue(&mut self) -> Result<(), Error> {
        let mut length = self.buffer.len();
        self.buffer.clear();
        while let Some(chunk) = self.source.next().await {
            length += chunk?.len();
            if length > MAX_BYTES_AROUND {
                return Err(Error::MultipartInvalid("Too much follows the last boundary."));
            }
        }
        Ok(())
    }

    async fn part_headers(&mut self) -> Result<Disposition, Error> {
        let limit = self.limits.part_headers;
        let mut searched = 0;
        let end = loop {
            if self.buffer.starts_with(b"\r\n") {
                break 0;
            }
            if let Some(at) = memchr::memmem::find(&self.buffer[searched..], b"\r\n\r\n") {
                break searched + at + 2;
            }
            if self.buffer.len() >= limit + 2 {
                break self.buffer.len();
            }
            searched = self.buffer.len().saturating_sub(3);
            self.fill().await?;
        };
        if end > limit {
            return Err(Error::MultipartInvalid("A part's header fields are longer than allowed."));
        }
        let fields = self.buffer.split_to(end);
        let _ = self.buffer.split_to(2);
        Disposition::of_fields(&fields)
    }

    async fn fill_to(&mut self, length: usize) -> Result<(), Error> {
        while self.buffer.len() < length {
            self.fill().await?;
        }
        Ok(())
    }

    /// Receives one more chunk; its end here is too early.
    async fn fill(&mut self) -> Result<(), Error> {
        let chunk = match self.source.next().await {
            Some(chunk) => chunk?,
            None => {
                return Err(Error::MultipartInvalid("The body ends before its last boundary."));
            }
        };
        self.buffer = if self.buffer.is_empty() {
            chunk
        } else {
            // Grows in place where nobody else holds these bytes: many small chunks stay cheap.
            let held = std::mem::take(&mut self.buffer).try_into_mut();
            let mut joined = held.unwrap_or_else(|shared| BytesMut::from(&shared[..]));
            joined.extend_from_slice(&chunk);
            joined.freeze()
        };
        Ok(())
    }
}

/// How many bytes at the end of `buffer` could be the start of `delimiter`.
fn partial_match(buffer: &[u8], delimiter: &[u8]) -> usize {
    let tail = &buffer[buffer.len().saturating_sub(delimiter.len() - 1)..];
    let start = memchr::memchr_iter(b'\r', tail).find(|&at| delimiter.starts_with(&tail[at..]));
    start.map_or(0, |at| tail.len() - at)
}
