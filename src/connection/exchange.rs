//! One request and its answer, as their connection sees them.

use std::{
    cell::{Cell, RefCell},
    fmt,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use actix_http::{
    BoxedPayloadStream, Request, RequestHead, Response, body::BoxBody, error::PayloadError,
};
use actix_web::{body::BodySize, dev::Payload, web::Bytes};
use futures_util::Stream;

use super::{Clock, refusal::Refusal};

/// An answer up to this length goes out at once, so that the client's body can wait for it.
const SHORT_ANSWER: u64 = 16 * 1024;

/// One request and its answer, as its connection sees it: under way until it is dropped, which
/// has to be with the answer's body.
///
/// It also keeps the request's body from being dropped before a short answer is out: actix
/// announces the close and lingers then, as it does by itself for a body of known length. A
/// chunked one it would go on reading without end.
pub struct Exchange {
    clock: Clock,
    body: Option<Rc<Incoming>>,
    /// Whether the end of the connection is that of the answer.
    until_close: Cell<bool>,
}

impl Exchange {
    /// The exchange that a request begins, unless it came by no [`super::ClientStream`].
    pub fn begin(request: &mut Request) -> Option<Self> {
        let clock = request.conn_data::<Clock>()?.clone();
        let payload = request.take_payload();
        let (exchange, payload) = Self::of(clock, request.head(), payload);
        *request.payload() = payload;
        Some(exchange)
    }

    /// Ties the answer to a request that is refused while its client waits for
    /// `100 Continue`.
    pub fn refuse(mut request: Request, answer: Response<BoxBody>) -> Response<BoxBody> {
        let Some(clock) = request.conn_data::<Clock>().cloned() else {
            return answer;
        };
        let payload = request.take_payload();
        let (exchange, _) = Self::of(clock, request.head(), payload);
        answer.map_body(|_, body| BoxBody::new(Refusal { body, _exchange: exchange }))
    }

    fn of(clock: Clock, head: &RequestHead, payload: Payload) -> (Self, Payload) {
        if matches!(payload, Payload::None) {
            clock.begin(head, false);
            return (Self { clock, body: None, until_close: Cell::new(false) }, payload);
        }
        clock.begin(head, true);
        let incoming = Rc::new(Incoming {
            clock: clock.clone(),
            payload: RefCell::new(Some(payload)),
            whole: Cell::new(false),
            kept: Cell::new(true),
        });
        let reader: BoxedPayloadStream = Box::pin(Reader(Rc::clone(&incoming)));
        (Self { clock, body: Some(incoming), until_close: Cell::new(false) }, reader.into())
    }

    /// The answer's length is known, and whether only the end of the connection ends it. During a
    /// long one actix reads and discards what is left of the request, or a client that sends all
    /// before it reads would wait for ever.
    pub fn answered(&self, size: BodySize, until_close: bool) {
        self.until_close.set(until_close);
        let is_short = match size {
            BodySize::None => true,
            BodySize::Sized(length) => length <= SHORT_ANSWER,
            BodySize::Stream => false,
        };
        if let (false, Some(body)) = (is_short, &self.body) {
            body.kept.set(false);
            if Rc::strong_count(body) == 1 {
                body.let_go();
            }
        }
    }

    /// The answer ends before it is whole: the client is to notice.
    pub fn broken_off(&self) {
        if self.until_close.get() {
            self.clock.break_off();
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let whole = self.body.as_ref().is_none_or(|body| body.is_whole());
        self.clock.end(whole);
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").finish_non_exhaustive()
    }
}

/// A request's body, held by its exchange and its reader.
struct Incoming {
    clock: Clock,
    payload: RefCell<Option<Payload>>,
    /// Whether its end has come.
    whole: Cell<bool>,
    /// Whether it outlives its reader.
    kept: Cell<bool>,
}

impl Incoming {
    /// Whether the end has come; discards what has come before it.
    fn is_whole(&self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        while let Poll::Ready(Some(Ok(_))) = self.poll(&mut cx) {}
        self.whole.get()
    }

    fn let_go(&self) {
        let whole = self.is_whole();
        self.payload.take();
        // actix discards the rest.
        self.clock.let_go(whole);
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, PayloadError>>> {
        let mut payload = self.payload.borrow_mut();
        let Some(payload) = payload.as_mut() else {
            return Poll::Ready(None);
        };
        let polled = Pin::new(payload).poll_next(cx);
        match polled {
            // Behind the end of the body a client that leaves is to be noticed.
            Poll::Ready(None) => {
                self.whole.set(true);
                self.clock.let_go(true);
            }
            Poll::Pending if self.clock.body_is_broken(cx) => {
                return Poll::Ready(Some(Err(PayloadError::EncodingCorrupted)));
            }
            _ => self.clock.read_on(),
        }
        polled
    }
}

/// A request's body, as a handler reads it.
struct Reader(Rc<Incoming>);

impl Stream for Reader {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll(cx)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if self.0.kept.get() {
            self.0.is_whole();
        } else {
            self.0.let_go();
        }
    }
}
