//! Where a response's body ends (RFC 9112, section 6), strictly: what could be read in two ways
//! is an error.

use bytes::{Buf as _, Bytes, BytesMut};

/// How long the line before a chunk may be; nobody uses its extensions.
const MAX_CHUNK_LINE: usize = 1024;
/// How long all trailer fields together may be.
const MAX_TRAILERS: usize = 16 * 1024;

/// A body's framing, and how far it has been read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Decoder {
    /// So many bytes are still to come.
    Length(u64),
    Chunked(Chunked),
    /// All that comes until the connection ends.
    UntilClose,
}

/// What a decoder makes of what has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decoded {
    Data(Bytes),
    /// The body's end. What is left in the input is not part of it.
    End,
    /// There is nothing to tell before more comes.
    Starved,
}

/// The framing of chunks is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the chunks of the body are malformed")]
pub(super) struct Malformed;

/// A place in a chunked body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chunked {
    /// In the line before a chunk.
    Line,
    /// In a chunk, so many bytes before its end.
    Data(u64),
    /// In the line end behind a chunk.
    DataEnd,
    /// In the trailer section, of which so many bytes have come.
    Trailers(usize),
    Done,
}

impl Decoder {
    /// Takes what it can from the front of `input`.
    ///
    /// # Errors
    /// [`Malformed`] chunks.
    pub(super) fn decode(&mut self, input: &mut BytesMut) -> Result<Decoded, Malformed> {
        match self {
            Self::Length(0) => Ok(Decoded::End),
            Self::Length(remaining) => Ok(take(input, remaining)),
            Self::Chunked(chunked) => chunked.decode(input),
            Self::UntilClose if input.is_empty() => Ok(Decoded::Starved),
            Self::UntilClose => Ok(Decoded::Data(input.split().freeze())),
        }
    }

    /// Whether the end has been read.
    pub(super) fn is_done(&self) -> bool {
        matches!(self, Self::Length(0) | Self::Chunked(Chunked::Done))
    }
}

impl Chunked {
    fn decode(&mut self, input: &mut BytesMut) -> Result<Decoded, Malformed> {
        loop {
            match self {
                Self::Line => {
                    let Some(line) = line(input, MAX_CHUNK_LINE)? else {
                        return Ok(Decoded::Starved);
                    };
                    *self = match chunk_size(&input[..line])? {
                        0 => Self::Trailers(0),
                        size => Self::Data(size),
                    };
                    input.advance(line + 2);
                }
                Self::Data(0) => *self = Self::DataEnd,
                Self::Data(remaining) => return Ok(take(input, remaining)),
                Self::DataEnd => match **input {
                    [b'\r', b'\n', ..] => {
                        input.advance(2);
                        *self = Self::Line;
                    }
                    [] | [b'\r'] => return Ok(Decoded::Starved),
                    _ => return Err(Malformed),
                },
                // The server has no way to send them on.
                Self::Trailers(come) => {
                    let Some(line) = line(input, MAX_TRAILERS - *come)? else {
                        return Ok(Decoded::Starved);
                    };
                    *self = match line {
                        0 => Self::Done,
                        line => Self::Trailers((*come + line + 2).min(MAX_TRAILERS)),
                    };
                    input.advance(line + 2);
                }
                Self::Done => return Ok(Decoded::End),
            }
        }
    }
}

/// As much of a piece as has come.
fn take(input: &mut BytesMut, remaining: &mut u64) -> Decoded {
    let length = usize::try_from(*remaining).unwrap_or(usize::MAX).min(input.len());
    if length == 0 {
        return Decoded::Starved;
    }
    *remaining -= length as u64;
    Decoded::Data(input.split_to(length).freeze())
}

/// The length of the line at the front, without its CRLF, if all of it has come.
fn line(input: &[u8], max: usize) -> Result<Option<usize>, Malformed> {
    let seen = &input[..input.len().min(max + 2)];
    match memchr::memchr(b'\n', seen) {
        Some(end) if end > 0 && seen[end - 1] == b'\r' => match memchr::memchr(b'\r', seen) {
            Some(first) if first == end - 1 => Ok(Some(first)),
            _ => Err(Malformed),
        },
        None if input.len() < max + 2 => Ok(None),
        _ => Err(Malformed),
    }
}

/// The size that a chunk's line names: up to sixteen hexadecimal digits, then nothing or an
/// extension.
fn chunk_size(line: &[u8]) -> Result<u64, Malformed> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let extension = line[digits..].trim_ascii_start();
    let well_formed = (1..=16).contains(&digits) && (extension.is_empty() || extension[0] == b';');
    let digits = std::str::from_utf8(&line[..digits]).map_err(|_| Malformed)?;
    if !well_formed {
        return Err(Malformed);
    }
    u64::from_str_radix(digits, 16).map_err(|_| Malformed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a decoder makes of `wire` coming in pieces of `step` bytes: the content, whether the
    /// end was seen, and what was left.
    fn decode(
        mut decoder: Decoder,
        wire: &[u8],
        step: usize,
    ) -> Result<(Vec<u8>, bool, Vec<u8>), Malformed> {
        let (mut input, mut content) = (BytesMut::new(), Vec::new());
        for piece in wire.chunks(step) {
            input.extend_from_slice(piece);
            while let Decoded::Data(data) = decoder.decode(&mut input)? {
                content.extend_from_slice(&data);
            }
        }
        Ok((content, decoder.is_done(), input.to_vec()))
    }

    #[test]
    fn malformed_chunks_are_refused() {
        for wire in [
            &b"\r\n"[..],
            b"-1\r\n",
            b"+5\r\n",
            b"0x5\r\n",
            b" 5\r\n",
            b"5 5\r\n",
            b"5\n",
            b"g\r\n",
            b"5\rx\r\n",
            b"00000000000000001\r\n",
            b"fffffffffffffffff\r\n",
            b"2\r\nabc\r\n",
            b"2\r\nab\n0\r\n",
            b"2\r\nab0\r\n",
            b"0\r\na: b\n\r\n",
            b"0\r\n\n",
        ] {
            for step in [1, wire.len()] {
                let decoder = Decoder::Chunked(Chunked::Line);
                assert_eq!(
                    decode(decoder, wire, step),
                    Err(Malformed),
                    "{:?}",
                    wire.escape_ascii()
                );
            }
        }
        let long = [b"5;".to_vec(), vec![b'x'; MAX_CHUNK_LINE]].concat();
        assert_eq!(decode(Decoder::Chunked(Chunked::Line), &long, 7), Err(Malformed));
        let trailers = [b"0\r\n".to_vec(), b"a: b\r\n".repeat(MAX_TRAILERS / 6 + 2)].concat();
        assert_eq!(decode(Decoder::Chunked(Chunked::Line), &trailers, 7), Err(Malformed));
    }

    #[test]
    fn extensions_and_trailers_are_passed_over() {
        let wire = b"5;a=b\r\nhello\r\n0 ;x\r\nx-sum: 1\r\ny: 2\r\n\r\nHTTP";
        let decoded = decode(Decoder::Chunked(Chunked::Line), wire, wire.len());
        assert_eq!(decoded, Ok((b"hello".to_vec(), true, b"HTTP".to_vec())));
    }

    proptest! {
        #[test]
        fn chunks_come_out_as_they_went_in_however_they_arrive(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..64), 0..8),
            step in 1_usize..80,
        ) {
            let mut wire = Vec::new();
            for chunk in &chunks {
                wire.extend_from_slice(format!("{:X}\r\n", chunk.len()).as_bytes());
                wire.extend_from_slice(chunk);
                wire.extend_from_slice(b"\r\n");
            }
            wire.extend_from_slice(b"0\r\n\r\n");
            let decoded = decode(Decoder::Chunked(Chunked::Line), &wire, step);
            prop_assert_eq!(decoded, Ok((chunks.concat(), true, Vec::new())));
        }

        #[test]
        fn a_length_takes_so_much_and_no_more(
            content in prop::collection::vec(any::<u8>(), 0..64), length in 0_u64..64, step in 1_usize..80,
        ) {
            let (taken, done, left) = decode(Decoder::Length(length), &content, step).unwrap();
            let expected = content.len().min(usize::try_from(length).unwrap());
            prop_assert_eq!(&taken[..], &content[..expected]);
            prop_assert_eq!(&left[..], &content[expected..]);
            prop_assert_eq!(done, expected as u64 == length);
        }
    }
}
