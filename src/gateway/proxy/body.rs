//! The two bodies of an exchange: the client's on its way up, the upstream's on its way down.
//!
//! Neither is copied or held: pieces pass as they come, and only when the other side takes
//! them.

use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use actix_http::error::PayloadError;
use actix_web::{
    body::{BodySize, MessageBody},
    dev::Payload,
};
use bytes::Bytes;
use futures_util::Stream as _;
use http_body::{Body, Frame, SizeHint};

use super::{
    connection::Piece,
    error::{Error, Kind},
    io::Watch,
    pool::Lease,
};
use crate::gateway::headers::Framing;

/// How many pieces are taken in before there is a connection; actix holds back at 32 KiB.
const MAX_AHEAD: usize = 16;

/// How far a request's body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sending {
    /// More is to come from the client.
    Underway,
    /// All has been handed on (or there is no body).
    Done,
    /// It cannot be finished, and whose fault that is.
    Failed(Kind),
}

/// A request's body, as hyper sends it.
pub(super) struct RequestBody {
    payload: Payload,
    /// What was taken in before there was a connection.
    ahead: VecDeque<Bytes>,
    /// Of a declared length, what is still to come.
    remaining: Option<u64>,
    /// Of `max_body_size`, what is still free.
    allowance: u64,
    watch: Option<Rc<Watch>>,
}

impl RequestBody {
    pub(super) fn new(payload: Payload, framing: Framing, max: Option<u64>) -> Self {
        let remaining = match framing {
            Framing::None => Some(0),
            Framing::Length(length) => Some(length),
            Framing::Chunked => None,
        };
        let allowance = max.unwrap_or(u64::MAX);
        Self { payload, ahead: VecDeque::new(), remaining, allowance, watch: None }
    }

    /// Takes in the beginning of a chunked body while there is no connection yet, and is ready
    /// when that is broken: actix closes a connection whose chunks it cannot read without an
    /// answer, unless one is there by then.
    pub(super) fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<Kind> {
        while self.remaining.is_none() && self.ahead.len() < MAX_AHEAD {
            match Pin::new(&mut self.payload).poll_next(cx) {
                Poll::Ready(Some(Ok(piece))) => self.ahead.push_back(piece),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(self.blame(&error)),
                Poll::Ready(None) | Poll::Pending => break,
            }
        }
        Poll::Pending
    }

    /// Ties the body to the connection that is to send it.
    pub(super) fn report_to(&mut self, watch: &Rc<Watch>) {
        watch.begin(if self.is_end_stream() { Sending::Done } else { Sending::Underway });
        self.watch = Some(Rc::clone(watch));
    }

    fn set(&self, sending: Sending) {
        if let Some(watch) = &self.watch {
            watch.sending.set(sending);
        }
    }

    fn fail(&self, kind: Kind) -> BodyFailed {
        self.set(Sending::Failed(kind));
        BodyFailed
    }

    /// What it means that the payload failed. Of chunks that it cannot read, actix says the same
    /// as of a client that has gone.
    fn blame(&self, error: &PayloadError) -> Kind {
        match error {
            PayloadError::EncodingCorrupted => Kind::ClientBody,
            _ if self.remaining.is_none() => Kind::ClientBody,
            _ => Kind::ClientGone,
        }
    }

    /// Accounts for a piece, and cuts what lies beyond the declared length: for an `Upgrade`,
    /// actix takes all that follows on the connection for the body, whatever was declared.
    fn take(&mut self, mut piece: Bytes) -> Result<Bytes, BodyFailed> {
        if let Some(remaining) = &mut self.remaining {
            if piece.len() as u64 > *remaining {
                piece.truncate(usize::try_from(*remaining).unwrap_or(usize::MAX));
            }
            *remaining -= piece.len() as u64;
        }
        let length = piece.len() as u64;
        if length > self.allowance {
            return Err(self.fail(Kind::TooLarge));
        }
        self.allowance -= length;
        if let Some(watch) = &self.watch {
            watch.sent_at.set(tokio::time::Instant::now());
        }
        if self.remaining == Some(0) {
            self.set(Sending::Done);
        }
        Ok(piece)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyFailed;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFailed>>> {
        let this = self.get_mut();
        let next = match this.ahead.pop_front() {
            Some(piece) => Some(Ok(piece)),
            None => match Pin::new(&mut this.payload).poll_next(cx) {
                Poll::Ready(next) => next,
                Poll::Pending => return Poll::Pending,
            },
        };
        Poll::Ready(match next {
            Some(Ok(piece)) => Some(this.take(piece).map(Frame::data)),
            Some(Err(error)) => Some(Err(this.fail(this.blame(&error)))),
            None if this.remaining.unwrap_or(0) > 0 => Some(Err(this.fail(Kind::ClientGone))),
            None => {
                this.set(Sending::Done);
                None
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.remaining == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.remaining.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// Stops hyper; why, stands in the [`Watch`].
#[derive(Debug)]
pub(super) struct BodyFailed;

impl fmt::Display for BodyFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request's body failed")
    }
}

impl std::error::Error for BodyFailed {}

/// A response's body, as actix sends it. It drives the connection while it is polled, and
/// gives it back to the pool when all has been read; dropped before that, it closes it.
pub(super) struct ResponseBody {
    lease: Option<Lease>,
    first: Option<Bytes>,
    size: BodySize,
}

impl ResponseBody {
    /// The rest of the response on `lease`, after what has been read of it.
    pub(super) fn new(lease: Lease, first: Option<Bytes>, length: Option<u64>) -> Self {
        Self { lease: Some(lease), first, size: length.map_or(BodySize::Stream, BodySize::Sized) }
    }
}

impl MessageBody for ResponseBody {
    type Error = Error;

    fn size(&self) -> BodySize {
        self.size
    }

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        let this = self.get_mut();
        if let Some(first) = this.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        let Some(lease) = &mut this.lease else {
            return Poll::Ready(None);
        };
        match lease.connection.poll_piece(cx, lease.upstream.idle_timeout) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(Piece::Data(bytes))) => Poll::Ready(Some(Ok(bytes))),
            Poll::Ready(Ok(Piece::End)) => {
                if let Some(lease) = this.lease.take() {
                    lease.give_back();
                }
                Poll::Ready(None)
            }
            Poll::Ready(Err(error)) => {
                this.lease = None;
                Poll::Ready(Some(Err(error)))
            }
        }
    }
}

/// The body of an answer to HEAD: only the length of what GET would have had.
pub(super) struct HeadBody(pub(super) u64);

impl MessageBody for HeadBody {
    type Error = std::convert::Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.0)
    }

    fn poll_next(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Poll::Ready(None)
    }
}
