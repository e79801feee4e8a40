//! What of a request is still to be written, and how: in as few system calls as can be.

use std::{
    io::{self, IoSlice, Write as _},
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, Bytes};
use tokio::io::AsyncWrite;

use super::{error::Error, stream::Stream};
use crate::connection::write_now;

/// What is to be written, in this order.
#[derive(Default)]
pub(super) struct Output {
    /// The head, or the line before a chunk.
    start: Vec<u8>,
    written: usize,
    piece: Bytes,
    /// The line end behind a chunk.
    end: &'static [u8],
}

impl Output {
    /// Begins a request, whose head `write` writes.
    pub(super) fn begin(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.start.clear();
        self.written = 0;
        write(&mut self.start)
    }

    /// Takes away the piece that is to be written.
    pub(super) fn take_piece(&mut self) -> Bytes {
        mem::take(&mut self.piece)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.written == self.start.len() && self.piece.is_empty() && self.end.is_empty()
    }

    /// Whether a piece can follow what is there.
    pub(super) fn takes_piece(&self) -> bool {
        self.piece.is_empty() && self.end.is_empty()
    }

    /// Adds a piece of a body, which may stand behind a head.
    pub(super) fn put(&mut self, piece: Bytes, chunked: bool) {
        if chunked && !piece.is_empty() {
            // Writing to memory cannot fail.
            let _ = write!(self.start, "{:x}\r\n", piece.len());
            self.end = b"\r\n";
        }
        self.piece = piece;
    }

    pub(super) fn put_last_chunk(&mut self) {
        self.start.extend_from_slice(b"0\r\n\r\n");
    }

    /// Writes some of it.
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut Stream,
    ) -> Poll<io::Result<()>> {
        let start = &self.start[self.written..];
        // The usual case, and a plain write costs the system less.
        let n = ready!(if self.takes_piece() {
            Pin::new(stream).poll_write(cx, start)
        } else {
            let slices = [IoSlice::new(start), IoSlice::new(&self.piece), IoSlice::new(self.end)];
            Pin::new(stream).poll_write_vectored(cx, &slices)
        })?;
        if n == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.advance(n);
        Poll::Ready(Ok(()))
    }

    /// Writes some of it past what the runtime knows of the socket.
    ///
    /// # Errors
    /// When nothing can be written; over TLS, which writes only what it has made.
    pub(super) fn write_now(&mut self, stream: &Stream) -> io::Result<()> {
        let start = &self.start[self.written..];
        let slices = [IoSlice::new(start), IoSlice::new(&self.piece), IoSlice::new(self.end)];
        if !stream.is_plain() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let n = write_now(stream.socket(), &slices)?;
        self.advance(n);
        Ok(())
    }

    fn advance(&mut self, mut n: usize) {
        let of_start = n.min(self.start.len() - self.written);
        self.written += of_start;
        if self.written == self.start.len() {
            self.start.clear();
            self.written = 0;
        }
        n -= of_start;
        let of_piece = n.min(self.piece.len());
        self.piece.advance(of_piece);
        self.end = &self.end[n - of_piece..];
    }
}
