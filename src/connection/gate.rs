//! One request at a time: what a client sends goes on to actix only as far as the current request.
//!
//! actix reads ahead as many requests as came together. It then answers one by what the next said:
//! in the other's version, with or without a body, the connection kept open or not. So the bytes
//! of the next request are kept back here until the answer is on its way. That takes knowing
//! where a request ends, and whoever knows that can be strict about it. Knows only bytes.

use std::cell::Cell;

use bytes::{Buf as _, BytesMut};
use tokio::io::ReadBuf;

use super::{
    chunks::Chunks,
    head::{Body, Head, MAX_HEAD, Refused},
};

/// What has no place in a head, wherever actix is in it: so it answers with 400 and closes, as it
/// does with what it refuses itself.
const NO_HTTP: &[u8] = b"\r\0";

/// Bytes of later requests that are read while one is under way: the end of the connection, by
/// which a client cancels, is behind them.
const MAX_KEPT: usize = 16 * 1024;

/// When the next request may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Now,
    /// Behind the answer to the one before.
    Later,
    /// The one before was the last: what follows is no request (RFC 9112, section 9.6).
    Never,
}

/// Whose turn it is on a connection.
#[derive(Default)]
pub(super) struct Turn {
    /// A request has gone on and is not answered yet.
    taken: Cell<bool>,
    last: Cell<bool>,
    /// The next one is here.
    waits: Cell<bool>,
}

impl Turn {
    pub(super) fn next(&self) -> Next {
        match (self.last.get(), self.taken.get()) {
            // What follows the last one may still become an upgrade's.
            (_, true) => Next::Later,
            (true, false) => Next::Never,
            (false, false) => Next::Now,
        }
    }

    /// A request goes on.
    pub(super) fn take(&self) {
        self.taken.set(true);
    }

    /// actix has parsed it.
    pub(super) fn begin(&self, last: bool) {
        self.last.set(last);
    }

    /// The next one has to wait.
    pub(super) fn wait(&self) {
        self.waits.set(true);
    }

    /// It is answered. Returns whether the next one waits.
    pub(super) fn end(&self) -> bool {
        self.taken.set(false);
        self.waits.take()
    }
}

/// Where a client is in what it sends.
#[derive(Debug)]
enum Place {
    Head(Head),
    /// In a body with this much to come.
    Length(u64),
    /// The same, for nobody.
    Unwanted(u64),
    Chunked(Chunks),
    /// In what has no end.
    Rest,
    /// At a head that cannot be understood.
    Refused,
    /// At a chunk that cannot be: that is for whoever reads the body, since actix would leave a request under way
    /// without an answer.
    Broken,
    /// Behind what actix answers and closes for.
    Over,
}

/// Keeps back what is not to go on yet.
#[derive(Debug)]
pub(super) struct Gate {
    place: Place,
    /// Bytes that came and have not gone on.
    kept: BytesMut,
    /// As many of those may.
    free: usize,
}

impl Gate {
    pub(super) fn new() -> Self {
        Self { place: Place::Head(Head::default()), kept: BytesMut::new(), free: 0 }
    }

    /// Whether there are bytes that have not gone on.
    pub(super) fn keeps_some(&self) -> bool {
        !self.kept.is_empty()
    }

    /// Whether there are so many that no more are to be read.
    pub(super) fn keeps_much(&self) -> bool {
        self.kept.len() >= MAX_KEPT
    }

    /// Whether the current body cannot go on. Nothing comes behind it.
    pub(super) fn is_broken(&self) -> bool {
        matches!(self.place, Place::Broken) && self.free == 0
    }

    /// Nobody wants what is still to come of the current body, where its length is known.
    pub(super) fn discard(&mut self) {
        if let Place::Length(left) = self.place {
            self.place = Place::Unwanted(left);
        }
    }

    /// Bytes to come of a body that nobody wants.
    pub(super) fn unwanted(&self) -> u64 {
        match self.place {
            Place::Unwanted(left) => left,
            _ => 0,
        }
    }

    /// Takes what has not gone on away.
    pub(super) fn take_kept(&mut self) -> BytesMut {
        self.free = 0;
        std::mem::take(&mut self.kept)
    }

    /// Passes on what was kept back, as far as it fits. Returns whether a request began.
    pub(super) fn release(&mut self, turn: Next, buffer: &mut ReadBuf<'_>) -> bool {
        let mut began = false;
        if self.free == 0 {
            let mut kept = std::mem::take(&mut self.kept);
            (self.free, began) = self.pass(&kept, turn);
            if matches!(self.place, Place::Refused | Place::Broken | Place::Over) {
                kept.truncate(self.free);
            }
            if matches!(self.place, Place::Refused) {
                kept.extend_from_slice(NO_HTTP);
                self.free = kept.len();
                self.place = Place::Over;
            }
            self.kept = kept;
        }
        let fits = self.free.min(buffer.remaining());
        buffer.put_slice(&self.kept[..fits]);
        self.kept.advance(fits);
        self.free -= fits;
        if self.kept.is_empty() {
            // Few clients need it, none for long.
            self.kept = BytesMut::new();
        }
        began
    }

    /// Looks at what came into `buffer` behind `before`, and keeps back what is not to go on.
    /// Returns whether a request began.
    pub(super) fn admit(&mut self, turn: Next, buffer: &mut ReadBuf<'_>, before: usize) -> bool {
        if matches!(self.place, Place::Broken | Place::Over) {
            buffer.set_filled(before);
            return false;
        }
        let came = &buffer.filled()[before..];
        let (passed, began) = if self.kept.is_empty() { self.pass(came, turn) } else { (0, false) };
        self.kept.extend_from_slice(&came[passed..]);
        buffer.set_filled(before + passed);
        if passed == 0 || matches!(self.place, Place::Refused | Place::Broken) {
            return self.release(turn, buffer) || began;
        }
        began
    }

    /// How many of these bytes are the current request's, and whether it begins with them: one
    /// does only where it is its turn, and at most one. A head goes on whole or not at all.
    fn pass(&mut self, bytes: &[u8], turn: Next) -> (usize, bool) {
        let (mut passed, mut began) = (0, false);
        while passed < bytes.len() {
            let rest = &bytes[passed..];
            let (step, next) = match &mut self.place {
                Place::Head(_) if turn == Next::Never => (0, Some(Place::Over)),
                Place::Head(_) if began || turn == Next::Later => break,
                Place::Head(head) => match head.read(&rest[..rest.len().min(MAX_HEAD)]) {
                    Ok(Some((end, body))) => {
                        began = true;
                        (end, Some(Place::behind(body)))
                    }
                    // Too long for actix too, which says so.
                    Ok(None) if rest.len() >= MAX_HEAD => (MAX_HEAD, Some(Place::Over)),
                    Ok(None) => break,
                    Err(Refused) => (0, Some(Place::Refused)),
                },
                Place::Length(left) | Place::Unwanted(left) => {
                    let step = usize::try_from(*left).map_or(rest.len(), |l| l.min(rest.len()));
                    *left -= step as u64;
                    (step, (*left == 0).then(Place::start))
                }
                Place::Chunked(chunks) => match chunks.read(rest) {
                    (end, Ok(ends)) => (end, ends.then(Place::start)),
                    (end, Err(Refused)) => (end, Some(Place::Broken)),
                },
                Place::Rest => (rest.len(), None),
                Place::Refused | Place::Broken | Place::Over => break,
            };
            passed += step;
            if let Some(next) = next {
                self.place = next;
            }
        }
        (passed, began)
    }
}

impl Place {
    fn start() -> Self {
        Self::Head(Head::default())
    }

    fn behind(body: Body) -> Self {
        match body {
            Body::Length(0) => Self::start(),
            Body::Length(length) => Self::Length(length),
            Body::Chunked => Self::Chunked(Chunks::default()),
            Body::Rest => Self::Rest,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const REQUESTS: &[&str] = &[
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "\r\nPOST /x HTTP/1.1\r\nContent-Length: 7\r\nHost: a\r\n\r\n\r\n\r\nGET",
        "PUT /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\n\r\n0\r\n0\r\nA: b\r\n\r\n",
    ];

    /// What goes on of `came`, with room for so much at a time, and how many requests begin.
    fn goes_on(gate: &mut Gate, first: bool, came: &[u8], room: usize) -> (Vec<u8>, usize) {
        let (mut out, mut begun) = (Vec::new(), 0);
        let turn = |begun| if first && begun == 0 { Next::Now } else { Next::Later };
        let mut storage = vec![0; room];
        let mut input = came.chunks(room);
        loop {
            let mut buffer = ReadBuf::new(&mut storage);
            let mut began = gate.keeps_some() && gate.release(turn(begun), &mut buffer);
            if buffer.filled().is_empty() {
                let Some(piece) = input.next() else { return (out, begun) };
                buffer.put_slice(piece);
                began |= gate.admit(turn(begun), &mut buffer, 0);
            }
            begun += usize::from(began);
            out.extend_from_slice(buffer.filled());
        }
    }

    proptest! {
        #[test]
        fn requests_go_on_unchanged_and_one_at_a_time(
            picks in proptest::collection::vec(0..REQUESTS.len(), 1..6),
            cut in 1_usize..80,
            room in 2_usize..80,
        ) {
            let sent: String = picks.iter().map(|pick| REQUESTS[*pick]).collect();
            let mut gate = Gate::new();
            let mut pieces = sent.as_bytes().chunks(cut);
            for pick in picks {
                let mut request = Vec::new();
                let mut begun = 0;
                while request.len() < REQUESTS[pick].len() {
                    // What was kept back comes first.
                    let (mut more, began) = goes_on(&mut gate, begun == 0, &[], room);
                    begun += began;
                    if more.is_empty() {
                        let Some(piece) = pieces.next() else { break };
                        let (came, began) = goes_on(&mut gate, begun == 0, piece, room);
                        more = came;
                        begun += began;
                    }
                    request.extend(more);
                }
                prop_assert_eq!(String::from_utf8_lossy(&request), REQUESTS[pick]);
                prop_assert_eq!(begun, 1);
            }
            prop_assert!(!gate.keeps_some());
        }
    }

    #[test]
    fn a_body_alone_is_unwanted_and_not_the_next_one() {
        let mut gate = Gate::new();
        gate.discard();
        let put = b"PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 7\r\n\r\n";
        for wanted in [false, true] {
            let (passed, _) = goes_on(&mut gate, true, &[put, &b"abc"[..]].concat(), 1024);
            assert_eq!((passed.len(), gate.unwanted()), (put.len() + 3, 0));
            if !wanted {
                gate.discard();
                assert_eq!(gate.unwanted(), 4);
            }
            assert_eq!(goes_on(&mut gate, false, b"defg", 1024).0, b"defg");
            assert_eq!(gate.unwanted(), 0);
            gate.discard();
        }
    }

    #[test]
    fn nobody_has_a_turn_behind_the_last() {
        let turn = Turn::default();
        for last in [false, true] {
            assert_eq!(turn.next(), Next::Now);
            turn.take();
            assert_eq!(turn.next(), Next::Later);
            turn.begin(last);
            assert_eq!(turn.next(), Next::Later);
            turn.wait();
            assert!(turn.end());
            assert!(!turn.end());
        }
        assert_eq!(turn.next(), Next::Never);
    }
}
