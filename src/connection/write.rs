//! What goes to the client: its socket, and whether it takes what is written.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::AsyncWrite;

use super::ClientStream;

impl ClientStream {
    /// Notes what a write comes to. After an upgrade it goes nowhere.
    fn note_write(
        &self,
        polled: Option<Poll<io::Result<usize>>>,
        length: usize,
    ) -> Poll<io::Result<usize>> {
        let polled = polled.unwrap_or(Poll::Ready(Ok(length)));
        self.clock.0.blocked.set(polled.is_pending());
        polled
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = self.clock.with_socket(|io| io.poll_write(cx, bytes));
        self.note_write(polled, bytes.len())
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = self.clock.with_socket(|io| io.poll_write_vectored(cx, bytes));
        self.note_write(polled, bytes.iter().map(|slice| slice.len()).sum())
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.clock.with_socket(|io| io.poll_flush(cx)).unwrap_or(Poll::Ready(Ok(())))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.clock.with_socket(|io| io.poll_shutdown(cx)).unwrap_or(Poll::Ready(Ok(())))
    }
}
