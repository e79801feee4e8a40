//! A connection's byte stream, watched: what retries and timeouts need to know about it.

use std::{
    cell::Cell,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::Instant,
};

use super::body::Sending;

/// What is known of one exchange; shared by the stream, the request's body and who waits for
/// the answer, all of them on one thread.
#[derive(Debug)]
pub(super) struct Watch {
    /// Whether a byte of the answer has come.
    pub(super) answered: Cell<bool>,
    /// Whether the upstream takes no more bytes for now.
    pub(super) write_blocked: Cell<bool>,
    /// When last a byte went out, or one came from the client to go out.
    pub(super) sent_at: Cell<Instant>,
    /// How far the request's body is.
    pub(super) sending: Cell<Sending>,
}

impl Watch {
    pub(super) fn new() -> Self {
        Self {
            answered: Cell::new(false),
            write_blocked: Cell::new(false),
            sent_at: Cell::new(Instant::now()),
            sending: Cell::new(Sending::Done),
        }
    }

    /// Starts over for a new exchange on the same connection.
    pub(super) fn begin(&self, sending: Sending) {
        self.answered.set(false);
        self.write_blocked.set(false);
        self.sent_at.set(Instant::now());
        self.sending.set(sending);
    }
}

/// A TCP stream that reports to a [`Watch`].
pub(super) struct Watched {
    stream: TcpStream,
    watch: std::rc::Rc<Watch>,
    broken: bool,
}

impl Watched {
    pub(super) fn new(stream: TcpStream, watch: std::rc::Rc<Watch>) -> Self {
        Self { stream, watch, broken: false }
    }

    /// Notes what a write came to.
    ///
    /// An upstream that refuses a body answers and closes, and the next write fails although
    /// the answer lies ready to be read. So a failed write is not an error here: it stays
    /// pending, and reading finds the answer or the same failure.
    fn wrote(
        &mut self,
        cx: &Context<'_>,
        result: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match result {
            Poll::Ready(Ok(n)) => {
                self.watch.sent_at.set(Instant::now());
                self.watch.write_blocked.set(false);
                Poll::Ready(Ok(n))
            }
            Poll::Ready(Err(_)) => {
                self.broken = true;
                self.watch.write_blocked.set(true);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Pending => {
                self.watch.write_blocked.set(true);
                Poll::Pending
            }
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.watch.answered.set(true);
        }
        result
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.broken {
            return Poll::Pending;
        }
        let result = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.wrote(cx, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.broken {
            return Poll::Pending;
        }
        let stream = Pin::new(&mut self.stream);
        // A head alone is the usual case, and a plain write costs the kernel less.
        let result = match bufs {
            [buf] => stream.poll_write(cx, buf),
            _ => stream.poll_write_vectored(cx, bufs),
        };
        self.wrote(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
