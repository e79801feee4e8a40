//! One HTTP/1.1 connection to an upstream, driven by the request that uses it.
//!
//! There is no task of its own: whoever waits for the answer polls it, so a request costs no
//! switch between tasks, and dropping the request drops, so closes, the connection. Request and
//! response run beside each other: an upstream may answer before it has read all.

mod sending;

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use actix_web::http::StatusCode;
use bytes::{Bytes, BytesMut};
use tokio::time::Instant;
use tokio_util::io::poll_read_buf;

use super::{
    body::RequestBody,
    decoder::{Decoded, Decoder},
    error::{Error, Kind, Phase},
    head::{self, Head},
    output::Output,
    stream::Stream,
    upstream::Upstream,
};
use crate::connection::Timer;

/// The largest response head.
const MAX_HEAD: usize = 64 * 1024;
/// How many interim responses may come before the final one.
const MAX_INTERIM: usize = 16;
/// How much is read at once: little at first, more while it fills.
const READ_MIN: usize = 8 * 1024;
const READ_MAX: usize = 64 * 1024;

/// A piece of a response's body.
pub(super) enum Piece {
    Data(Bytes),
    End,
}

/// Why there is no answer.
pub(super) enum NoAnswer {
    /// Nothing of the request was sent; its body is whole again.
    Unsent(Option<Box<RequestBody>>, Error),
    /// The connection was closed before a byte of the answer came.
    Silent(Error),
    /// Anything else.
    Failed(Error),
}

impl NoAnswer {
    /// What went wrong.
    pub(super) fn error(&self) -> &Error {
        match self {
            Self::Unsent(_, error) | Self::Silent(error) | Self::Failed(error) => error,
        }
    }
}

/// How far a request is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sending {
    /// More is to come from the client.
    Underway,
    /// All has been taken from the client.
    Taken,
    /// It cannot be finished, and whose fault that is.
    Failed(Kind),
}

/// A connection, and the exchange on it if there is one.
pub(super) struct Connection {
    stream: Stream,
    input: BytesMut,
    read_size: usize,
    output: Output,
    body: Option<Box<RequestBody>>,
    sending: Sending,
    /// Whether a byte of this request has been written.
    sent: bool,
    /// Whether TLS may hold back some of what was written.
    unflushed: bool,
    /// Whether the upstream takes no more bytes, for now or (`broken`) for good.
    write_blocked: bool,
    broken: bool,
    /// When last a byte went out, or one came from the client to go out.
    sent_at: Instant,
    /// Whether a byte of the answer has come.
    answered: bool,
    interim: usize,
    /// Whether a 101 would be an answer to this request.
    upgrading: bool,
    /// How much of a head that is not whole yet has been looked through for its end.
    searched: usize,
    decoder: Decoder,
    persistent: bool,
    /// Since when the next piece of the response's body has been waited for.
    waiting_since: Option<Instant>,
    timer: Timer,
    answers: usize,
    pub(super) idle_since: Instant,
}

impl Connection {
    pub(super) fn over(stream: Stream) -> Self {
        let now = Instant::now();
        Self {
            stream,
            input: BytesMut::new(),
            read_size: READ_MIN,
            output: Output::default(),
            body: None,
            sending: Sending::Taken,
            sent: false,
            unflushed: false,
            write_blocked: false,
            broken: false,
            sent_at: now,
            answered: false,
            interim: 0,
            upgrading: false,
            searched: 0,
            decoder: Decoder::Length(0),
            persistent: true,
            waiting_since: None,
            timer: Timer::new(),
            answers: 0,
            idle_since: now,
        }
    }

    /// Whether it has brought more than one answer.
    pub(super) fn is_reused(&self) -> bool {
        self.answers > 1
    }

    /// Begins an exchange: `write_head` writes the request's head.
    pub(super) fn begin(
        &mut self,
        body: Option<Box<RequestBody>>,
        upgrading: bool,
        write_head: impl FnOnce(&mut Vec<u8>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.output.begin(write_head)?;
        self.stream.set_within_exchange(true);
        self.sending = if body.is_some() { Sending::Underway } else { Sending::Taken };
        self.body = body;
        self.sent = false;
        self.sent_at = Instant::now();
        self.answered = false;
        self.interim = 0;
        self.upgrading = upgrading;
        Ok(())
    }

    /// Sends the request, and is ready with the head of its final response.
    pub(super) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        upstream: &Upstream,
        head_only: bool,
    ) -> Poll<Result<Head, NoAnswer>> {
        self.poll_send(cx);
        if let Sending::Failed(kind) = self.sending {
            return Poll::Ready(Err(NoAnswer::Failed(Error::new(kind, Phase::Send))));
        }
        loop {
            match self.take_head() {
                Ok(Some(mut head)) => {
                    self.expect_body(&mut head, head_only);
                    return Poll::Ready(Ok(head));
                }
                Ok(None) => {}
                Err(error) => return Poll::Ready(Err(NoAnswer::Failed(error))),
            }
            match self.poll_fill(cx) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(self.no_answer(closed()))),
                Poll::Ready(Ok(_)) => self.answered = true,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(self.no_answer(error))),
                Poll::Pending => break,
            }
        }
        if self.broken && !self.sent {
            return Poll::Ready(Err(self.no_answer(io::ErrorKind::BrokenPipe.into())));
        }
        self.poll_patience(cx, upstream).map(|late| Err(NoAnswer::Failed(late)))
    }

    /// The final response's head, if it has come.
    fn take_head(&mut self) -> Result<Option<Head>, Error> {
        while self.has_head() {
            let Some(head) = head::read(&mut self.input)? else {
                self.searched = self.input.len();
                break;
            };
            self.searched = 0;
            let switching = head.status == StatusCode::SWITCHING_PROTOCOLS;
            if !head.status.is_informational() || switching && self.upgrading {
                return Ok(Some(head));
            }
            // The server cannot pass interim responses on.
            self.interim += 1;
            if switching || self.interim > MAX_INTERIM {
                return Err(Error::new(Kind::Invalid, Phase::Head));
            }
        }
        if self.input.len() > MAX_HEAD {
            return Err(Error::new(Kind::Invalid, Phase::Head));
        }
        Ok(None)
    }

    /// Whether looking for a whole head is worth while. Of one that comes in many pieces, only
    /// its end is looked for.
    fn has_head(&self) -> bool {
        if self.searched == 0 {
            return !self.input.is_empty();
        }
        let tail = &self.input[self.searched.saturating_sub(3)..];
        memchr::memmem::find(tail, b"\n\r\n").is_some()
            || memchr::memmem::find(tail, b"\n\n").is_some()
    }

    fn expect_body(&mut self, head: &mut Head, head_only: bool) {
        let bodiless = head_only || matches!(head.status.as_u16(), 204 | 304);
        // A body that it announces and may not have could come all the same, between two answers.
        let stray = head.status == StatusCode::NO_CONTENT
            && !matches!(head.framing, Decoder::Length(0) | Decoder::UntilClose);
        self.decoder = if bodiless { Decoder::Length(0) } else { head.framing.clone() };
        self.persistent = head.persistent && !stray;
        self.waiting_since = None;
        self.answers += 1;
    }

    /// What it means that the connection failed while an answer was waited for.
    fn no_answer(&mut self, cause: io::Error) -> NoAnswer {
        let underway = self.sending == Sending::Underway;
        let error = Error::io(if underway { Phase::Send } else { Phase::Head }, cause);
        if self.answered {
            return NoAnswer::Failed(error);
        }
        if self.sent {
            return NoAnswer::Silent(error);
        }
        let mut body = self.body.take();
        let piece = self.output.take_piece();
        if let (Some(body), false) = (&mut body, piece.is_empty()) {
            body.untake(piece);
        }
        NoAnswer::Unsent(body, error)
    }

    /// The stream, and what has been read from it that nobody has taken.
    pub(super) fn into_parts(mut self: Box<Self>) -> (Stream, BytesMut) {
        self.stream.set_within_exchange(false);
        (self.stream, self.input)
    }

    /// The next piece of the response's body, and meanwhile the rest of the request's.
    pub(super) fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
        idle_timeout: Duration,
    ) -> Poll<Result<Piece, Error>> {
        loop {
            if let Poll::Ready(piece) = self.poll_ready_piece() {
                return Poll::Ready(piece);
            }
            self.poll_send(cx);
            if let Sending::Failed(kind) = self.sending {
                return Poll::Ready(Err(Error::new(kind, Phase::Body)));
            }
            match self.poll_fill(cx) {
                Poll::Ready(Ok(0)) if self.decoder == Decoder::UntilClose => {
                    self.decoder = Decoder::Length(0);
                    self.persistent = false;
                }
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(Error::io(Phase::Body, closed()))),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(Error::io(Phase::Body, error))),
                Poll::Pending => break,
            }
        }
        let since = *self.waiting_since.get_or_insert_with(Instant::now);
        // While the request makes progress, the answer may wait for it.
        ready!(self.timer.poll(cx, since.max(self.sent_at) + idle_timeout));
        if self.goes_on(cx) {
            return Poll::Pending;
        }
        Poll::Ready(Err(Error::new(Kind::Timeout, Phase::Body)))
    }

    /// A piece of the response's body that has already come.
    pub(super) fn poll_ready_piece(&mut self) -> Poll<Result<Piece, Error>> {
        match self.decoder.decode(&mut self.input) {
            Ok(Decoded::Data(bytes)) => {
                self.waiting_since = None;
                Poll::Ready(Ok(Piece::Data(bytes)))
            }
            Ok(Decoded::End) => Poll::Ready(Ok(Piece::End)),
            Ok(Decoded::Starved) => Poll::Pending,
            Err(e) => Poll::Ready(Err(Error::new(Kind::Invalid, Phase::Body).because(e))),
        }
    }

    /// Ends the exchange. Whether another request may follow on this connection: both messages
    /// have ended, and nothing came that nobody asked for.
    pub(super) fn settle(&mut self) -> bool {
        self.stream.set_within_exchange(false);
        // The end of chunks may have come without having been looked at.
        if !matches!(self.poll_ready_piece(), Poll::Ready(Ok(Piece::End))) {
            return false;
        }
        let fit = self.persistent
            && self.decoder.is_done()
            && self.input.is_empty()
            && self.sending == Sending::Taken
            && self.output.is_empty();
        if self.input.capacity() > READ_MIN {
            self.input = BytesMut::new();
        }
        self.read_size = READ_MIN;
        fit
    }

    /// Whether an idle connection is still open, as far as the system has told.
    pub(super) fn is_open(&mut self) -> bool {
        // The next request registers itself: there is nobody to wake.
        let mut cx = Context::from_waker(Waker::noop());
        self.poll_fill(&mut cx).is_pending()
    }

    /// Reads what has come; ready with zero at the end of the stream.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.input.reserve(self.read_size);
        let room = self.input.capacity() - self.input.len();
        let read = poll_read_buf(Pin::new(&mut self.stream), cx, &mut self.input);
        if let Poll::Ready(Ok(n)) = read
            && n == room
        {
            self.read_size = (self.read_size * 2).min(READ_MAX);
        }
        read
    }

    /// Ready when somebody has taken too long for the response's head to come.
    fn poll_patience(&mut self, cx: &mut Context<'_>, upstream: &Upstream) -> Poll<Error> {
        let underway = self.sending == Sending::Underway || !self.output.is_empty();
        let patience = if underway { upstream.idle_timeout } else { upstream.response_timeout };
        ready!(self.timer.poll(cx, self.sent_at + patience));
        if self.goes_on(cx) {
            return Poll::Pending;
        }
        Poll::Ready(match underway {
            true if !self.write_blocked => Error::new(Kind::ClientTimeout, Phase::Send),
            true => Error::new(Kind::Timeout, Phase::Send),
            false => Error::new(Kind::Timeout, Phase::Head),
        })
    }
}

fn closed() -> io::Error {
    io::ErrorKind::UnexpectedEof.into()
}
