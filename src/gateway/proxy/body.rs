//! The two bodies of an exchange: the client's on its way up, the upstream's on its way down.
//!
//! Neither is copied or held: pieces pass as they come, and only when the other side takes
//! them.

use std::{
    collections::VecDeque,
    future::Future as _,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use actix_http::error::PayloadError;
use actix_web::{
    body::{BodySize, MessageBody},
    dev::Payload,
};
use bytes::Bytes;
use futures_util::Stream as _;
use tokio::time::{Instant, Sleep, sleep};

use super::{
    connection::Piece,
    error::{Error, Kind},
    pool::Lease,
};
use crate::{connection::Clock, gateway::headers::Framing};

/// How often is looked whether a client that has to wait is still there.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How many pieces are taken in before there is a connection; actix holds back at 32 KiB.
const MAX_AHEAD: usize = 16;

/// A request's body, on its way to the upstream.
pub(super) struct RequestBody {
    payload: Payload,
    /// What was taken in before it could be sent.
    ahead: VecDeque<Bytes>,
    /// Of a declared length, what is still to come.
    remaining: Option<u64>,
    /// Of `max_body_size`, what is still free.
    allowance: u64,
    client: Option<Clock>,
    /// When the client is looked for next, once it had to wait.
    look: Option<Pin<Box<Sleep>>>,
}

/// What is next of a request's body.
pub(super) enum Next {
    Piece(Bytes),
    End,
    /// It cannot be finished, and whose fault that is.
    Failed(Kind),
}

impl RequestBody {
    /// The body that `client` sends, of at most `max` bytes.
    pub(super) fn new(
        payload: Payload,
        framing: Framing,
        max: Option<u64>,
        client: Option<Clock>,
    ) -> Self {
        let remaining = match framing {
            Framing::None => Some(0),
            Framing::Length(length) => Some(length),
            Framing::Chunked => None,
        };
        let allowance = max.unwrap_or(u64::MAX);
        Self { payload, ahead: VecDeque::new(), remaining, allowance, client, look: None }
    }

    /// Whether it is sent in chunks, its length being unknown.
    pub(super) fn is_chunked(&self) -> bool {
        self.remaining.is_none()
    }

    /// Whether there is nothing more to send.
    pub(super) fn is_done(&self) -> bool {
        self.remaining == Some(0)
    }

    /// Takes in the beginning of a chunked body while there is no connection yet, and is ready
    /// when that is broken: actix closes a connection whose chunks it cannot read without an
    /// answer, unless one is there by then.
    pub(super) fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<Kind> {
        while self.is_chunked() && self.ahead.len() < MAX_AHEAD {
            match Pin::new(&mut self.payload).poll_next(cx) {
                Poll::Ready(Some(Ok(piece))) => self.ahead.push_back(piece),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(self.blame(&error)),
                Poll::Ready(None) | Poll::Pending => break,
            }
        }
        Poll::Pending
    }

    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        if self.is_done() {
            return Poll::Ready(Next::End);
        }
        let next = match self.ahead.pop_front() {
            Some(piece) => Some(Ok(piece)),
            None => ready!(Pin::new(&mut self.payload).poll_next(cx)),
        };
        Poll::Ready(match next {
            Some(Ok(piece)) => self.take(piece),
            Some(Err(error)) => Next::Failed(self.blame(&error)),
            None if self.is_chunked() => Next::End,
            None => Next::Failed(Kind::ClientGone),
        })
    }

    /// Ready when the client has left. To be asked while nothing more is taken of what it sent.
    pub(super) fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(client) = &self.client else { return Poll::Pending };
        let look = self.look.get_or_insert_with(|| Box::pin(sleep(LOOK_EVERY)));
        while look.as_mut().poll(cx).is_ready() {
            if client.has_left() {
                return Poll::Ready(());
            }
            look.as_mut().reset(Instant::now() + LOOK_EVERY);
        }
        Poll::Pending
    }

    /// Takes back a piece that was not sent.
    pub(super) fn untake(&mut self, piece: Bytes) {
        let length = piece.len() as u64;
        self.allowance = self.allowance.saturating_add(length);
        if let Some(remaining) = &mut self.remaining {
            *remaining += length;
        }
        self.ahead.push_front(piece);
    }

    /// Accounts for a piece, and cuts what lies beyond the declared length: for an `Upgrade`,
    /// actix takes all that follows on the connection for the body, whatever was declared.
    fn take(&mut self, mut piece: Bytes) -> Next {
        if let Some(remaining) = &mut self.remaining {
            piece.truncate(usize::try_from(*remaining).unwrap_or(usize::MAX));
            *remaining -= piece.len() as u64;
        }
        match self.allowance.checked_sub(piece.len() as u64) {
            Some(allowance) => self.allowance = allowance,
            None => return Next::Failed(Kind::TooLarge),
        }
        Next::Piece(piece)
    }

    /// What it means that the payload failed. Of chunks that it cannot read, actix says the same
    /// as of a client that has gone.
    fn blame(&self, error: &PayloadError) -> Kind {
        match error {
            PayloadError::EncodingCorrupted => Kind::ClientBody,
            _ if self.is_chunked() => Kind::ClientBody,
            _ => Kind::ClientGone,
        }
    }
}

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
        match lease.connection.poll_piece(cx, lease.call.upstream().idle_timeout) {
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
