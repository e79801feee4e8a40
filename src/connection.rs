//! One client's connection: no byte that is owed may be waited for without end.
//!
//! actix limits the first request's head, an idle connection, and the rest of an answered body
//! of known length. It has no limit for a later request's head, nor for the rest of a chunked
//! body, nor for a client that does not read. [`ClientStream`] adds them below HTTP: it knows from
//! [`Exchange`]s when a request is under way, whose body is limited elsewhere, and bounds every other wait. One request goes on to
//! actix at a time, framed as strictly as `head` and `chunks` demand. Knows no module.

mod chunks;
mod discard;
mod exchange;
mod gate;
mod head;
mod read_ahead;
mod refusal;
mod stall;
mod timer;
mod write;

use std::{
    cell::{Cell, RefCell},
    future::Future as _,
    io,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use actix_http::{ConnectionType, RequestHead};
use actix_web::web::BytesMut;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, Interest, ReadBuf, Take},
    net::TcpStream,
    time::{Instant, Sleep, sleep_until},
};
use tokio_util::task::task_tracker::TaskTrackerToken;

use self::{
    discard::Dropped,
    gate::{Gate, Next, Turn},
    read_ahead::{Expected, ReadAhead},
};
pub use self::{
    discard::discard,
    exchange::Exchange,
    stall::{Stall, reset_at_end, write_now},
    timer::Timer,
};

/// How often an expired limit is looked at again while the client still takes the answer before.
const WHILE_WRITING: Duration = Duration::from_secs(1);

/// How long may be waited for what a client owes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For a head to be complete, from its first byte.
    pub head: Duration,
    /// For the next request's first byte.
    pub idle: Duration,
    /// For the rest of a body whose request has been answered.
    pub rest: Duration,
    /// For the client to take one more byte of an answer, unless the request says otherwise.
    pub write: Duration,
}

/// What is waited for.
#[derive(Clone, Copy, Debug)]
enum Phase {
    /// The first head, which actix limits, or what a request under way has to limit itself.
    Elsewhere,
    /// The next request has not begun; nobody has waited yet.
    Answered,
    /// The next request, to begin by then.
    Idle(Instant),
    /// The next request's head, to be complete by then.
    Head(Instant),
    /// The rest of an answered request, to be there by then.
    Rest(Instant),
}

/// What a connection's stream and its exchanges share.
#[derive(Clone)]
pub struct Clock(Rc<Shared>);

struct Shared {
    /// The socket, until an upgrade takes it.
    io: RefCell<Option<Take<TcpStream>>>,
    /// Whether the client does not take what was written.
    blocked: Cell<bool>,
    /// For how long it need not.
    write_limit: Cell<Duration>,
    gate: RefCell<Gate>,
    /// Of a body that nobody wants.
    dropped: Dropped,
    limits: Limits,
    phase: Cell<Phase>,
    ahead: ReadAhead,
    turn: Turn,
    /// The task that reads the stream.
    reader: RefCell<Option<Waker>>,
    /// The task that reads the body under way.
    body_reader: RefCell<Option<Waker>>,
}

impl Clock {
    fn new(io: TcpStream, limits: Limits) -> Self {
        Self(Rc::new(Shared {
            io: RefCell::new(Some(io.take(0))),
            blocked: Cell::new(false),
            write_limit: Cell::new(limits.write),
            gate: RefCell::new(Gate::new()),
            dropped: Dropped::default(),
            limits,
            phase: Cell::new(Phase::Elsewhere),
            ahead: ReadAhead::new(),
            turn: Turn::default(),
            reader: RefCell::default(),
            body_reader: RefCell::default(),
        }))
    }

    /// Takes the client's socket for another protocol, once what was written before is out, and
    /// what has been read from it behind the request. From then on the connection is at its end
    /// for HTTP: what is still written to it goes nowhere.
    pub fn take_socket(&self) -> Option<(TcpStream, BytesMut)> {
        if self.0.blocked.get() {
            return None;
        }
        Some((self.0.io.take()?.into_inner(), self.0.gate.borrow_mut().take_kept()))
    }

    /// Lets the client of the request under way take so long for one more byte of the answer.
    pub fn limit_writes(&self, limit: Duration) {
        self.0.write_limit.set(limit);
    }

    /// Whether the client has ended its side or broken the connection, as far as the system was
    /// told: it may be, although what was sent before has not been read. Nothing is woken by it.
    pub fn has_left(&self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        let io = self.0.io.borrow();
        let Some(io) = io.as_ref() else { return false };
        let ready = pin!(io.get_ref().ready(Interest::READABLE)).poll(&mut cx);
        matches!(ready, Poll::Ready(Ok(ready)) if ready.is_read_closed())
    }

    /// Lets the connection, which ends within an answer, end in a way that cannot be taken for
    /// the answer's end.
    fn break_off(&self) {
        self.with_socket(|io| reset_at_end(io.as_ref().get_ref()));
    }

    /// Does something with the socket, unless an upgrade has taken it.
    fn with_socket<T>(&self, poll: impl FnOnce(Pin<&mut TcpStream>) -> T) -> Option<T> {
        self.0.io.borrow_mut().as_mut().map(|io| poll(Pin::new(io.get_mut())))
    }

    /// Reads no further ahead than is allowed, unless an upgrade has taken the socket. Of what is next, so many bytes
    /// are `unwanted`.
    fn poll_socket(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
        unwanted: u64,
    ) -> Option<Poll<io::Result<()>>> {
        let mut io = self.0.io.borrow_mut();
        let io = io.as_mut()?;
        let left = self.0.ahead.left();
        if unwanted > 0 {
            let unwanted = usize::try_from(unwanted).unwrap_or(usize::MAX);
            return Some(self.0.dropped.poll(io.get_ref(), cx, buffer, left, unwanted));
        }
        io.set_limit(left as u64);
        Some(Pin::new(io).poll_read(cx, buffer))
    }

    /// Bytes came: whether that is still in time.
    fn on_bytes(&self) -> bool {
        match self.0.phase.get() {
            Phase::Elsewhere => true,
            Phase::Answered | Phase::Idle(_) => {
                let until = Instant::now() + self.0.limits.head;
                self.0.phase.set(Phase::Head(until));
                true
            }
            Phase::Head(until) | Phase::Rest(until) => Instant::now() < until,
        }
    }

    /// Until when may be waited for the next bytes.
    fn waits_until(&self) -> Option<Instant> {
        match self.0.phase.get() {
            Phase::Elsewhere => None,
            Phase::Answered => {
                let until = Instant::now() + self.0.limits.idle;
                self.0.phase.set(Phase::Idle(until));
                Some(until)
            }
            Phase::Idle(until) | Phase::Head(until) | Phase::Rest(until) => Some(until),
        }
    }

    fn read_by(&self, waker: &Waker) {
        keep(&self.0.reader, waker);
    }

    /// Whether nothing more can come of the body under way; who asks is woken when that turns out.
    fn body_is_broken(&self, cx: &Context<'_>) -> bool {
        keep(&self.0.body_reader, cx.waker());
        self.0.gate.borrow().is_broken()
    }

    fn wake_body_reader(&self) {
        if let Some(reader) = self.0.body_reader.take() {
            reader.wake();
        }
    }

    fn wake_reader(&self) {
        if let Some(reader) = &*self.0.reader.borrow() {
            reader.wake_by_ref();
        }
    }

    /// When the next request may go on: not before the client takes the answers before it, which
    /// would pile up.
    fn next_turn(&self) -> Next {
        if self.0.blocked.get() { Next::Later } else { self.0.turn.next() }
    }

    fn begin(&self, head: &RequestHead, has_body: bool) {
        self.0.turn.begin(head.connection_type() != ConnectionType::KeepAlive);
        self.0.phase.set(Phase::Elsewhere);
        self.0.write_limit.set(self.0.limits.write);
        self.0.ahead.expect(if has_body { Expected::Body } else { Expected::Head });
        self.0.ahead.renew();
    }

    /// Lets more be read, and goes on where that had stopped.
    fn read_on(&self) {
        if self.0.ahead.renew() {
            self.wake_reader();
        }
    }

    /// Nobody asks for the body any more: reading goes on by itself.
    fn let_go(&self, whole: bool) {
        self.0.ahead.expect(if whole { Expected::Head } else { Expected::Rest });
        self.read_on();
    }

    /// Throws away what is still to come of the body.
    fn discard(&self) {
        self.0.gate.borrow_mut().discard();
        self.let_go(false);
    }

    fn end(&self, whole: bool) {
        self.let_go(whole);
        let waits = self.0.turn.end();
        self.0.phase.set(match whole {
            true => Phase::Answered,
            false => Phase::Rest(Instant::now() + self.0.limits.rest),
        });
        // The silence that may follow a part of a body has to be timed, which reading does.
        if waits || !whole {
            self.wake_reader();
        }
    }
}

/// Keeps what wakes a task.
fn keep(kept: &RefCell<Option<Waker>>, waker: &Waker) {
    let mut kept = kept.borrow_mut();
    if !kept.as_ref().is_some_and(|kept| kept.will_wake(waker)) {
        *kept = Some(waker.clone());
    }
}

/// A client's socket, whose reads and writes fail once a limit has passed.
pub struct ClientStream {
    clock: Clock,
    /// Fires at or before the limit in effect, and is then set anew: requests do not touch it.
    timer: Option<Pin<Box<Sleep>>>,
    stall: Stall,
    _open: TaskTrackerToken,
}

impl ClientStream {
    /// Guards a socket; it counts as `open` until it is closed.
    pub fn new(io: TcpStream, limits: Limits, open: TaskTrackerToken) -> Self {
        Self { clock: Clock::new(io, limits), timer: None, stall: Stall::default(), _open: open }
    }

    /// What [`Exchange`]s have to find as the connection's data.
    pub fn clock(&self) -> Clock {
        self.clock.clone()
    }

    /// Waits for the limit in effect, if there is one.
    fn poll_limit(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        self.clock.read_by(cx.waker());
        let Some(until) = self.clock.waits_until() else {
            return Poll::Pending;
        };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(until)));
        if timer.deadline() > until {
            timer.as_mut().reset(until);
        }
        loop {
            ready!(timer.as_mut().poll(cx));
            let now = Instant::now();
            if now < until {
                timer.as_mut().reset(until);
            } else if self.clock.0.blocked.get() {
                timer.as_mut().reset(now + WHILE_WRITING);
            } else {
                return Poll::Ready(io::ErrorKind::TimedOut.into());
            }
        }
    }

    /// Reads what may go on to actix now.
    fn poll_gate(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let clock = self.clock.clone();
        let mut gate = clock.0.gate.borrow_mut();
        let before = buffer.filled().len();
        let turn = clock.next_turn();
        let mut began = gate.keeps_some() && gate.release(turn, buffer);
        while buffer.filled().len() == before {
            if gate.is_broken() {
                if clock.0.turn.next() != Next::Later {
                    break;
                }
                // Once the request is answered, the connection is at its end.
                clock.wake_body_reader();
                return self.poll_limit(cx).map(Err);
            }
            if gate.keeps_some() {
                // A head that has begun is waited for as such.
                clock.on_bytes();
                if turn != Next::Now {
                    clock.0.turn.wait();
                    if gate.keeps_much() {
                        return self.poll_limit(cx).map(Err);
                    }
                }
            }
            let Some(polled) = clock.poll_socket(cx, buffer, gate.unwanted()) else {
                return self.poll_after_upgrade(cx);
            };
            match polled {
                Poll::Ready(Ok(())) if buffer.filled().len() == before => break,
                Poll::Ready(Ok(())) => {
                    if !clock.on_bytes() && !clock.0.blocked.get() {
                        return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                    }
                    began = gate.admit(turn, buffer, before);
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return self.poll_limit(cx).map(Err),
            }
        }
        if began {
            clock.0.turn.take();
        }
        Poll::Ready(Ok(()))
    }

    /// The upgraded request is the last: when it is over, so is the connection.
    fn poll_after_upgrade(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.clock.0.phase.get() {
            Phase::Elsewhere => {
                self.clock.read_by(cx.waker());
                Poll::Pending
            }
            _ => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let ahead = &this.clock.0.ahead;
        if ahead.left() == 0 {
            this.clock.read_by(cx.waker());
            if ahead.expected() != Expected::Body {
                this.clock.read_on();
            }
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let polled = this.poll_gate(cx, buffer);
        let read = buffer.filled().len() - before;
        this.clock.0.ahead.take(read);
        polled
    }
}
