//! One HTTP/1.1 connection to an upstream, driven by the request that uses it.
//!
//! hyper's connection is a future that is usually spawned. Here whoever waits for its answer
//! polls it: a request then costs no switch between tasks, and dropping the request drops, so
//! closes, the connection. Idle ones are swept by the pool.

use std::{
    future::Future as _,
    pin::{Pin, pin},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body::Body as _;
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::Instant};

use super::{
    body::{RequestBody, Sending},
    error::{Error, Kind, Phase},
    io::{Watch, Watched},
    upstream::Upstream,
    wake::{Relay, Timer},
};

/// The largest response head, and how much of a body is read or written at once.
const MAX_HEAD: usize = 64 * 1024;
const MAX_BUFFER: usize = 128 * 1024;

/// A piece of a response's body.
pub(super) enum Piece {
    Data(Bytes),
    End,
}

/// Why there is no answer.
pub(super) enum NoAnswer {
    /// The connection was closed before anything of this request was sent; here it is back.
    Unsent(Box<Request<RequestBody>>, Error),
    /// The connection was closed before a byte of the answer came.
    Silent(Error),
    /// Anything else.
    Failed(Error),
}

/// A connection, and the exchange on it if there is one.
pub(super) struct Connection {
    sender: http1::SendRequest<RequestBody>,
    /// `None` once it has finished. It then closes, and what it still had to say is said.
    driver: Option<http1::Connection<TokioIo<Watched>, RequestBody>>,
    watch: Rc<Watch>,
    relay: Arc<Relay>,
    /// Wakes through `relay`.
    waker: Waker,
    timer: Timer,
    incoming: Option<Incoming>,
    /// Since when the next piece of the response's body has been waited for.
    waiting_since: Option<Instant>,
    /// Whether the upstream speaks HTTP/1.1. hyper would send the next request as HTTP/1.0
    /// otherwise, and drop the body of a chunked one.
    persistent: bool,
    answered: bool,
    /// Whether it has brought more than one answer.
    pub(super) reused: bool,
    pub(super) idle_since: Instant,
}

impl Connection {
    pub(super) async fn over(stream: TcpStream) -> Result<Self, Error> {
        let watch = Rc::new(Watch::new());
        let io = TokioIo::new(Watched::new(stream, Rc::clone(&watch)));
        let (sender, driver) = http1::Builder::new()
            .max_header_size(MAX_HEAD)
            .max_buf_size(MAX_BUFFER)
            .handshake(io)
            .await
            .map_err(|e| Error::http(Phase::Connect, e))?;
        let relay = Arc::new(Relay::default());
        Ok(Self {
            sender,
            driver: Some(driver),
            watch,
            waker: Waker::from(Arc::clone(&relay)),
            relay,
            timer: Timer::new(),
            incoming: None,
            waiting_since: None,
            persistent: true,
            answered: false,
            reused: false,
            idle_since: Instant::now(),
        })
    }

    /// Sends a request and waits for the head of its response.
    pub(super) async fn exchange(
        &mut self,
        mut request: Request<RequestBody>,
        upstream: &Upstream,
    ) -> Result<Response<()>, NoAnswer> {
        request.body_mut().report_to(&self.watch);
        let mut answer = pin!(self.sender.try_send_request(request));
        self.relay.wake();
        let answer = std::future::poll_fn(|cx| {
            self.relay.release();
            self.advance();
            // Not polled before there can be an answer: it would only wake this very task.
            if (self.driver.is_none() || self.watch.answered.get())
                && let Poll::Ready(answer) = answer.as_mut().poll(cx)
            {
                return Poll::Ready(Ok(answer));
            }
            self.relay.to(cx.waker());
            self.poll_patience(cx, upstream).map(Err)
        })
        .await;
        match answer {
            Ok(Ok(response)) => self.accept(response),
            Ok(Err(mut error)) => {
                let request = error.take_message();
                Err(self.no_answer(request, error.into_error()))
            }
            Err(late) => Err(NoAnswer::Failed(late)),
        }
    }

    fn accept(&mut self, response: Response<Incoming>) -> Result<Response<()>, NoAnswer> {
        // Nobody asked for an upgrade.
        if response.status() == http::StatusCode::SWITCHING_PROTOCOLS {
            return Err(NoAnswer::Failed(Error::new(Kind::Invalid, Phase::Head)));
        }
        self.reused = self.answered;
        self.answered = true;
        self.persistent = response.version() == Version::HTTP_11;
        let (parts, incoming) = response.into_parts();
        self.incoming = Some(incoming);
        self.waiting_since = None;
        Ok(Response::from_parts(parts, ()))
    }

    fn no_answer(&self, request: Option<Request<RequestBody>>, error: hyper::Error) -> NoAnswer {
        if let Sending::Failed(kind) = self.watch.sending.get() {
            return NoAnswer::Failed(Error::new(kind, Phase::Send).because(error));
        }
        let phase = match self.watch.sending.get() {
            Sending::Underway => Phase::Send,
            Sending::Done | Sending::Failed(_) => Phase::Head,
        };
        let error = Error::http(phase, error);
        match request {
            Some(request) => NoAnswer::Unsent(Box::new(request), error),
            None if self.watch.answered.get() => NoAnswer::Failed(error),
            None => NoAnswer::Silent(error),
        }
    }

    /// The next piece of the response's body, and meanwhile the rest of the request's.
    pub(super) fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
        idle_timeout: Duration,
    ) -> Poll<Result<Piece, Error>> {
        // Taking a piece wakes the driver, which is not to wake this very task.
        self.relay.release();
        if let Poll::Ready(piece) = self.poll_ready_piece() {
            return Poll::Ready(piece);
        }
        self.advance();
        if let Poll::Ready(piece) = self.poll_ready_piece() {
            return Poll::Ready(piece);
        }
        self.relay.to(cx.waker());
        let since = *self.waiting_since.get_or_insert_with(Instant::now);
        match self.timer.poll(cx, since + idle_timeout) {
            Poll::Ready(()) => Poll::Ready(Err(Error::new(Kind::Timeout, Phase::Body))),
            Poll::Pending => Poll::Pending,
        }
    }

    /// A piece of the response's body that has already come.
    pub(super) fn poll_ready_piece(&mut self) -> Poll<Result<Piece, Error>> {
        let Some(incoming) = &mut self.incoming else {
            return Poll::Ready(Ok(Piece::End));
        };
        // Only `advance` feeds it, in this same task: there is nobody else to wake.
        let cx = &mut Context::from_waker(Waker::noop());
        loop {
            return Poll::Ready(match Pin::new(&mut *incoming).poll_frame(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(bytes) => {
                        self.waiting_since = None;
                        Ok(Piece::Data(bytes))
                    }
                    // actix has no way to send trailers.
                    Err(_trailers) => continue,
                },
                Poll::Ready(None) => {
                    self.incoming = None;
                    Ok(Piece::End)
                }
                Poll::Ready(Some(Err(error))) => Err(Error::http(Phase::Body, error)),
            });
        }
    }

    /// Whether another request may follow on this connection.
    pub(super) fn settle(&mut self) -> bool {
        if !self.persistent
            || self.incoming.as_ref().is_some_and(|incoming| !incoming.is_end_stream())
            || self.watch.sending.get() != Sending::Done
        {
            return false;
        }
        self.incoming = None;
        // From here on nobody is to be woken for this connection.
        self.relay.release();
        if !self.sender.is_ready() {
            self.relay.wake();
        }
        self.is_open() && self.sender.is_ready()
    }

    /// Whether an idle connection is still open, as far as the system has told.
    pub(super) fn is_open(&mut self) -> bool {
        self.advance();
        self.driver.is_some()
    }

    /// Lets hyper read and write what it can.
    fn advance(&mut self) {
        // actix polls more often than there is reason to: nothing has come, nothing to do.
        let Some(driver) = self.driver.as_mut().filter(|_| self.relay.was_woken()) else { return };
        if Pin::new(driver).poll(&mut Context::from_waker(&self.waker)).is_ready() {
            // The error, if any, reaches who waits for the response or its body. Dropping the
            // driver gives back a request that it did not get to.
            self.driver = None;
        }
    }

    /// Ready when somebody has taken too long for the response's head to come.
    fn poll_patience(&mut self, cx: &mut Context<'_>, upstream: &Upstream) -> Poll<Error> {
        let sending = self.watch.sending.get() == Sending::Underway;
        let patience = if sending { upstream.idle_timeout } else { upstream.response_timeout };
        let deadline = self.watch.sent_at.get() + patience;
        self.timer.poll(cx, deadline).map(|()| match sending {
            true if !self.watch.write_blocked.get() => Error::new(Kind::ClientTimeout, Phase::Send),
            true => Error::new(Kind::Timeout, Phase::Send),
            false => Error::new(Kind::Timeout, Phase::Head),
        })
    }
}
