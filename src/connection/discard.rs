//! Throwing the body of a refused request away, so that its client can use the connection again: that costs both
//! sides less than another connection.

use std::{
    cell::{Cell, RefCell},
    io,
    task::{Context, Poll, ready},
    time::Duration,
};

use actix_http::{ConnectionType, Request};
use actix_web::http::header::CONTENT_LENGTH;
use futures_util::StreamExt as _;
use rustix::net::{RecvFlags, recv};
use tokio::{
    io::{Interest, ReadBuf},
    net::TcpStream,
    time::timeout,
};

use super::Clock;

/// What is thrown away at most, and how long it is waited for. Beyond that the connection is closed.
const MOST: usize = 256 * 1024;
const SOON: Duration = Duration::from_secs(1);

/// Linux drops what a TCP socket has received without copying it (tcp(7)). Elsewhere it is read.
const DROPPED: RecvFlags =
    if cfg!(target_os = "linux") { RecvFlags::TRUNC } else { RecvFlags::empty() };

/// Throws the body of a request away that is going to be refused, where it is short and comes soon. Returns how much
/// came.
pub async fn discard(request: &mut Request) -> u64 {
    let head = request.head();
    let length = head.headers().get(CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    let is_short = length.is_some_and(|length| length <= MOST);
    if !is_short || head.connection_type() != ConnectionType::KeepAlive {
        return 0;
    }
    if let Some(clock) = request.conn_data::<Clock>() {
        clock.discard();
    }
    let mut body = request.take_payload();
    let mut came = 0;
    let rest = async {
        while let Some(Ok(piece)) = body.next().await {
            came += piece.len() as u64;
        }
    };
    // The connection is closed where it does not end in time.
    let _ = timeout(SOON, rest).await;
    came
}

/// Bytes of the body under way that have left the socket, as many at a time as had come, and that actix has not seen:
/// it has to see as many, and gets empty ones.
#[derive(Default)]
pub(super) struct Dropped(Cell<usize>);

impl Dropped {
    /// Fills `buffer` with up to `most` bytes of the `to_come` of the body that actix has not seen.
    pub(super) fn poll(
        &self,
        socket: &TcpStream,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
        most: usize,
        to_come: usize,
    ) -> Poll<io::Result<()>> {
        if self.0.get() == 0 {
            self.0.set(ready!(poll_drop(socket, cx, to_come))?);
        }
        let seen = self.0.get().min(most).min(buffer.remaining());
        self.0.set(self.0.get() - seen);
        buffer.initialize_unfilled_to(seen);
        buffer.advance(seen);
        Poll::Ready(Ok(()))
    }
}

thread_local! {
    /// Where dropped bytes would go.
    static NOWHERE: RefCell<Vec<u8>> = RefCell::new(vec![0; MOST]);
}

/// Takes up to `most` bytes out of the socket: how many there were, none at its end.
fn poll_drop(socket: &TcpStream, cx: &mut Context<'_>, most: usize) -> Poll<io::Result<usize>> {
    loop {
        ready!(socket.poll_read_ready(cx))?;
        let dropped = socket.try_io(Interest::READABLE, || {
            NOWHERE.with_borrow_mut(|nowhere| {
                let (_, dropped) = recv(socket, &mut nowhere[..most.min(MOST)], DROPPED)?;
                Ok(dropped)
            })
        });
        match dropped {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            dropped => return Poll::Ready(dropped),
        }
    }
}
