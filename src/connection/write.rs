//! What goes to the client: its socket, and whether it takes what is written.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{io::AsyncWrite, net::TcpStream};

use super::ClientStream;

impl ClientStream {
    /// Writes, as long as the client takes some of it in time. After an upgrade it goes nowhere.
    fn poll_write_with(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
        write: impl FnOnce(Pin<&mut TcpStream>, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let clock = &self.clock;
        let shared = &clock.0;
        let mut io = shared.io.borrow_mut();
        let Some(io) = io.as_mut().map(|io| io.get_mut()) else {
            return Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()));
        };
        let polled = write(Pin::new(io), cx);
        let limit = shared.write_limit.get();
        let polled = self.stall.watch(cx, polled, limit, io, Some(slices));
        if shared.blocked.replace(polled.is_pending()) && polled.is_ready() {
            clock.wake_reader();
        }
        polled
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let slices = [IoSlice::new(bytes)];
        self.get_mut().poll_write_with(cx, &slices, |io, cx| io.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_write_with(cx, slices, |io, cx| io.poll_write_vectored(cx, slices))
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
