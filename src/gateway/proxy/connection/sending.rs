//! The request's half of an exchange: its way out, beside the answer's way in.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{io::AsyncWrite as _, time::Instant};

use super::{
    super::{body::Next, error::Kind},
    Connection, Sending,
};

impl Connection {
    /// Sends what it can of the request.
    ///
    /// An upstream that refuses a body answers and closes, and the next write fails although
    /// the answer lies ready to be read. So a failed write is no error here: reading finds the
    /// answer or the same failure.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>) {
        while !self.broken {
            let fed = self.poll_feed(cx);
            if self.output.is_empty() {
                match self.poll_flush(cx) {
                    Poll::Ready(Ok(())) => self.write_blocked = false,
                    Poll::Ready(Err(_)) => break,
                    Poll::Pending => return self.wait_for_upstream(cx),
                }
                match fed {
                    Poll::Ready(()) if self.sending == Sending::Underway => continue,
                    _ => return,
                }
            }
            match self.output.poll_write(cx, &mut self.stream) {
                Poll::Ready(Ok(())) => {
                    self.sent = true;
                    self.unflushed = true;
                    self.write_blocked = false;
                    self.sent_at = Instant::now();
                }
                Poll::Ready(Err(_)) => break,
                Poll::Pending if !self.write_blocked && self.writes_now() => {}
                Poll::Pending => return self.wait_for_upstream(cx),
            }
        }
        self.broken = true;
        self.write_blocked = true;
    }

    /// The upstream takes no more for now. Then nothing more is read of the client's body, so
    /// that its end would not be seen behind it.
    fn wait_for_upstream(&mut self, cx: &mut Context<'_>) {
        self.write_blocked = true;
        if let (Sending::Underway, Some(body)) = (self.sending, &mut self.body)
            && body.poll_left(cx).is_ready()
        {
            self.sending = Sending::Failed(Kind::ClientGone);
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.unflushed {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Takes the next piece of the request's body, if it can be written next.
    fn poll_feed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (Sending::Underway, Some(body)) = (self.sending, &mut self.body) else {
            return Poll::Ready(());
        };
        if !self.output.takes_piece() {
            return Poll::Ready(());
        }
        match ready!(body.poll_next(cx)) {
            Next::Piece(piece) => {
                self.sent_at = Instant::now();
                self.output.put(piece, body.is_chunked());
                if body.is_done() {
                    self.sending = Sending::Taken;
                }
            }
            Next::End => {
                if body.is_chunked() {
                    self.output.put_last_chunk();
                }
                self.sending = Sending::Taken;
            }
            Next::Failed(kind) => self.sending = Sending::Failed(kind),
        }
        Poll::Ready(())
    }

    /// Whether an upstream that seems to take nothing any more takes something all the same. Then
    /// it is polled again.
    pub(super) fn goes_on(&mut self, cx: &Context<'_>) -> bool {
        let goes_on = self.write_blocked && self.writes_now();
        if goes_on {
            self.write_blocked = false;
            cx.waker().wake_by_ref();
        }
        goes_on
    }

    /// Writes past what the runtime knows; whether that went. The system calls a socket writable
    /// only when a third of its buffer is free, which a slow upstream may not take in time: the
    /// buffer has to be really full before the upstream is waited for, and after.
    fn writes_now(&mut self) -> bool {
        let wrote = !self.output.is_empty() && self.output.write_now(&self.stream).is_ok();
        if wrote {
            self.sent_at = Instant::now();
        }
        wrote
    }
}
