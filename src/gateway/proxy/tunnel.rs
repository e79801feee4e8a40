//! After a 101: two sockets, bytes both ways, until both sides have ended (RFC 9110, section 7.8).
//! What the bytes mean is the two sides' business.

use std::{
    cell::Cell,
    future::poll_fn,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use actix_web::{dev::Payload, http::header::HeaderMap};
use bytes::{Bytes, BytesMut};
use futures_util::Stream as _;
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf, copy_bidirectional_with_sizes},
    net::TcpStream,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{connection::Connection, head::Head, stream::Stream};
use crate::connection::{Clock, Stall};

/// How much is carried at once, each way.
const BUFFER: usize = 16 * 1024;
/// After how long a silence a peer is asked whether it is still there: nobody else ends a tunnel
/// that is merely quiet.
const PROBE_AFTER: Duration = Duration::from_secs(60);
/// How long a tunnel has to be quiet to be ended when the process is about to stop.
const QUIET: Duration = Duration::from_secs(1);
/// How often is looked whether the client has taken the answers before this one.
const WHILE_WRITING: Duration = Duration::from_millis(10);

/// What the client's side of a tunnel is made of.
#[derive(Clone, Copy)]
pub struct ClientSide<'a> {
    /// Where its socket is.
    pub clock: &'a Clock,
    /// The process is about to stop.
    pub draining: &'a CancellationToken,
    /// Sets what every answer to the client carries.
    pub mark: &'a dyn Fn(&mut HeaderMap),
}

/// What went through a tunnel, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Carried {
    /// From the client.
    pub received: u64,
    /// To the client.
    pub sent: u64,
}

/// Answers the client with the upstream's 101, and carries bytes until both sides have ended, or
/// one has failed: has taken none of the bytes that wait for it for `limit`, too. `early` is what
/// the client has sent before the answer.
pub(super) async fn run(
    client: ClientSide<'_>,
    early: Payload,
    upstream: Box<Connection>,
    head: Head,
    limit: Duration,
) -> Carried {
    let (socket, kept) = loop {
        match client.clock.take_socket() {
            Some(taken) => break taken,
            None => sleep(WHILE_WRITING).await,
        }
    };
    let answer = switching_protocols(head, client.mark);
    let meter = Meter::new();
    let early = Early { payload: early, kept };
    let metered = Metered { io: socket, meter: &meter, stall: Stall::default(), limit };
    tokio::select! {
        // Whatever ends it, both sockets are closed behind it.
        _ = carry(metered, early, upstream, &answer) => {}
        () = meter.quiet_after(client.draining) => {}
    }
    meter.carried()
}

async fn carry(
    mut client: Metered<'_>,
    mut early: Early,
    upstream: Box<Connection>,
    answer: &[u8],
) -> io::Result<()> {
    let (upstream, ahead) = upstream.into_parts();
    for socket in [&client.io, upstream.socket()] {
        let probes = TcpKeepalive::new().with_time(PROBE_AFTER).with_interval(PROBE_AFTER / 4);
        // Where it fails, a peer that has vanished is noticed later.
        let _ = SockRef::from(socket).set_tcp_keepalive(&probes);
    }
    client.io.write_all(answer).await?;
    let mut upstream = Limited { io: upstream, stall: Stall::default(), limit: client.limit };
    client.write_all(&ahead).await?;
    while let Some(piece) = poll_fn(|cx| Poll::Ready(early.take(cx))).await {
        client.meter.add(piece.len(), 0);
        upstream.write_all(&piece).await?;
    }
    drop(early);
    copy_bidirectional_with_sizes(&mut client, &mut upstream, BUFFER, BUFFER).await.map(drop)
}

/// What has been read of what follows the request: by the server, which takes it for a body
/// where it knows the protocol, and below it.
struct Early {
    payload: Payload,
    kept: BytesMut,
}

impl Early {
    fn take(&mut self, cx: &mut Context<'_>) -> Option<Bytes> {
        match Pin::new(&mut self.payload).poll_next(cx) {
            Poll::Ready(Some(Ok(piece))) => Some(piece),
            _ if self.kept.is_empty() => None,
            _ => Some(self.kept.split().freeze()),
        }
    }
}

/// The 101, as bytes: the server is not asked any more.
fn switching_protocols(head: Head, mark: &dyn Fn(&mut HeaderMap)) -> Vec<u8> {
    let mut fields = head.fields;
    mark(&mut fields);
    let mut out = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n".to_vec();
    let mut field = |name: &str, value: &[u8]| {
        for part in [name.as_bytes(), b": ", value, b"\r\n"] {
            out.extend_from_slice(part);
        }
    };
    if let Some(protocol) = &head.upgrade {
        field("upgrade", protocol.as_bytes());
    }
    for (name, value) in &fields {
        field(name.as_str(), value.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    out
}

/// Counts what passes, and notes when.
struct Meter {
    received: Cell<u64>,
    sent: Cell<u64>,
    passed_at: Cell<Instant>,
}

impl Meter {
    fn new() -> Self {
        Self { received: Cell::new(0), sent: Cell::new(0), passed_at: Cell::new(Instant::now()) }
    }

    fn add(&self, received: usize, sent: usize) {
        self.received.update(|n| n + received as u64);
        self.sent.update(|n| n + sent as u64);
        self.passed_at.set(Instant::now());
    }

    fn carried(&self) -> Carried {
        Carried { received: self.received.get(), sent: self.sent.get() }
    }

    /// Ends when nothing has passed for a while after `draining`.
    async fn quiet_after(&self, draining: &CancellationToken) {
        draining.cancelled().await;
        loop {
            let until = self.passed_at.get() + QUIET;
            if Instant::now() >= until {
                return;
            }
            sleep_until(until).await;
        }
    }
}

/// The client's socket, metered.
struct Metered<'a> {
    io: TcpStream,
    meter: &'a Meter,
    stall: Stall,
    limit: Duration,
}

impl AsyncRead for Metered<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        self.meter.add(buf.filled().len() - before, 0);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Metered<'_> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let polled = Pin::new(&mut this.io).poll_write(cx, buf);
        let slices = [IoSlice::new(buf)];
        let watched = this.stall.watch(cx, polled, this.limit, &this.io, Some(&slices));
        let written = ready!(watched)?;
        this.meter.add(0, written);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// The upstream's stream, which has to take what is written.
struct Limited {
    io: Stream,
    stall: Stall,
    limit: Duration,
}

impl AsyncRead for Limited {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Limited {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let polled = Pin::new(&mut this.io).poll_write(cx, buf);
        let slices = [IoSlice::new(buf)];
        let slices = this.io.is_plain().then_some(&slices[..]);
        this.stall.watch(cx, polled, this.limit, this.io.socket(), slices)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
