//! A peer that takes no more bytes, and for how long it may.

use std::{
    io::{self, IoSlice},
    task::{Context, Poll, ready},
    time::Duration,
};

use socket2::SockRef;
use tokio::{net::TcpStream, time::Instant};

use super::Timer;

/// Watches one stream's writes: none may wait longer than a limit for a single byte to go out.
#[derive(Default)]
pub struct Stall {
    since: Option<Instant>,
    /// Made when first needed: most peers take what is written.
    timer: Option<Timer>,
}

impl Stall {
    /// What a write to `socket` that was `polled` comes to: an error once nothing has gone out for
    /// `limit`. The connection is then reset, since its end would wait behind what was not taken.
    ///
    /// The system calls a socket writable only when a third of its buffer is free, which may be
    /// more than a slow peer takes in time. So what was to be written, `slices`, is tried past
    /// that: at first until the buffer is really full, and before the last word whether it still
    /// is. Without `slices`, as over TLS, the system's view has to do.
    pub fn watch(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<io::Result<usize>>,
        limit: Duration,
        socket: &TcpStream,
        slices: Option<&[IoSlice<'_>]>,
    ) -> Poll<io::Result<usize>> {
        if polled.is_ready() {
            self.since = None;
            return polled;
        }
        let past =
            || slices.map(|slices| write_now(socket, slices)).filter(|tried| !is_full(tried));
        if self.since.is_none()
            && let Some(tried) = past()
        {
            return Poll::Ready(tried);
        }
        let since = *self.since.get_or_insert_with(Instant::now);
        ready!(self.timer.get_or_insert_with(Timer::new).poll(cx, since + limit));
        self.since = None;
        Poll::Ready(past().unwrap_or_else(|| {
            reset_at_end(socket);
            Err(io::ErrorKind::TimedOut.into())
        }))
    }
}

fn is_full(tried: &io::Result<usize>) -> bool {
    matches!(tried, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

/// Writes what the socket takes right now, whatever was said of it before.
///
/// # Errors
/// `WouldBlock` when that is nothing.
pub fn write_now(socket: &TcpStream, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    SockRef::from(socket).send_vectored(slices)
}

/// Lets the end of a connection be a reset: what is left in its buffers is dropped at once, and
/// its peer cannot take the end for that of a message.
pub fn reset_at_end(socket: &TcpStream) {
    // Where it fails, the end is a plain one, and later.
    let _ = socket.set_zero_linger();
}
