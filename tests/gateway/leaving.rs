//! Clients that leave: what was asked for them is broken off at once, however it stood.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncWriteExt, Interest};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::{UP, before};
use crate::harness::App;
use crate::harness::http::{Connection, PATIENCE, Request};
use crate::harness::upstream::Upstream;

/// Soon enough that no timeout of the gateway's can have been the cause.
const SOON: Duration = Duration::from_secs(5);

/// An upstream that reads a request whole, sends `answer`, and tells when the gateway is gone.
async fn telling(answer: &'static str) -> (Upstream, mpsc::Receiver<()>, mpsc::Receiver<()>) {
    let (asked, is_asked) = mpsc::channel(9);
    let (left, has_left) = mpsc::channel(9);
    let upstream = Upstream::scripted(move |mut peer| {
        let (asked, left) = (asked.clone(), left.clone());
        async move {
            if peer.request().await.is_some() {
                peer.send(answer).await;
                asked.send(()).await.unwrap();
            }
            peer.connection.rest().await;
            left.send(()).await.unwrap();
        }
    })
    .await;
    (upstream, is_asked, has_left)
}

async fn soon(told: &mut mpsc::Receiver<()>, what: &str) {
    assert_eq!(timeout(SOON, told.recv()).await.expect(what), Some(()));
}

#[tokio::test]
async fn a_client_that_has_sent_its_next_request_already_can_leave_too() {
    let half = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf";
    for answer in ["", half] {
        for next in ["GET /x HTTP/1.1\r\nHost: a\r\n\r\n", "GET /x HT"] {
            for reset in [false, true] {
                let (upstream, mut asked, mut left) = telling(answer).await;
                let app = before(&upstream.url("")).await;
                let first = Request::post(&format!("{UP}/x")).body("body");
                let mut client = Connection::open(app.addr).await;
                client.send(first.head_bytes(app.addr)).await;
                client.send([first.body_bytes(), next.into()].concat()).await;
                soon(&mut asked, "the request does not arrive").await;
                if reset {
                    client.stream.set_zero_linger().unwrap();
                }
                drop(client);
                soon(&mut left, "the upstream works on for nobody").await;
            }
        }
    }
}

#[tokio::test]
async fn a_client_that_stopped_reading_can_leave_too() {
    let (full, mut is_full) = mpsc::channel(1);
    let (left, mut has_left) = mpsc::channel(1);
    let upstream = Upstream::scripted(move |mut peer| {
        let (full, left) = (full.clone(), left.clone());
        async move {
            peer.request().await;
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n").await;
            let piece = vec![b'x'; 1 << 16];
            let stream = &mut peer.connection.stream;
            while timeout(Duration::from_secs(1), stream.write_all(&piece)).await.is_ok() {}
            full.send(()).await.unwrap();
            peer.connection.rest().await;
            left.send(()).await.unwrap();
        }
    })
    .await;
    let app = before(&upstream.url("")).await;
    let mut client = Connection::open(app.addr).await;
    client.send(Request::get(&format!("{UP}/x")).head_bytes(app.addr)).await;
    timeout(PATIENCE, is_full.recv()).await.expect("nothing stops the upstream");
    drop(client);
    soon(&mut has_left, "the upstream works on for nobody").await;
}

/// An upstream that reads nothing of a request's body, and tells when the gateway is gone.
async fn deaf() -> (Upstream, mpsc::Receiver<()>) {
    let (left, has_left) = mpsc::channel(9);
    let upstream = Upstream::scripted(move |mut peer| {
        let left = left.clone();
        async move {
            peer.request_head().await;
            // An end that is behind what was not read cannot be seen, a reset can.
            peer.connection.stream.ready(Interest::ERROR).await.unwrap();
            left.send(()).await.unwrap();
        }
    })
    .await;
    (upstream, has_left)
}

/// A client that has begun to send a body that nobody will take.
async fn sending(app: &App) -> Connection {
    let mut client = Connection::open(app.addr).await;
    let request = Request::post(&format!("{UP}/x")).claiming(1 << 30);
    client.send(request.head_bytes(app.addr)).await;
    client
}

#[tokio::test]
async fn a_client_that_was_stopped_can_leave_too() {
    let (upstream, mut has_left) = deaf().await;
    let app = before(&upstream.url("")).await;
    let mut client = sending(&app).await;
    let piece = vec![b'x'; 1 << 14];
    while timeout(Duration::from_secs(1), client.stream.write_all(&piece)).await.is_ok() {}
    client.stream.set_zero_linger().unwrap();
    drop(client);
    soon(&mut has_left, "the upstream is held for nobody").await;
}

#[tokio::test]
async fn the_end_of_a_stopped_client_is_seen_behind_what_nobody_reads() {
    let (upstream, mut has_left) = deaf().await;
    let app = before(&upstream.url("")).await;
    let mut client = sending(&app).await;
    let piece = vec![b'x'; 1 << 14];
    // Until the gateway leaves the last of it where it is, with room for the end behind it.
    while !is_left_unread(&client, Duration::from_millis(500)).await {
        client.send(&piece).await;
    }
    drop(client);
    soon(&mut has_left, "the upstream is held for nobody").await;
}

/// Whether what the client has sent stays unread by its peer for so long.
async fn is_left_unread(client: &Connection, time: Duration) -> bool {
    let [own, peer] = [client.stream.local_addr(), client.stream.peer_addr()].map(Result::unwrap);
    let until = Instant::now() + time;
    while queues(peer, own).1 > 0 {
        if Instant::now() > until {
            return true;
        }
        sleep(Duration::from_millis(1)).await;
    }
    false
}

/// Whether the peer's side has not yet taken all that was sent.
pub fn waits(client: &Connection) -> bool {
    let [own, peer] = [client.stream.local_addr(), client.stream.peer_addr()].map(Result::unwrap);
    queues(own, peer).0 > 0
}

/// The bytes that wait to be sent and to be read in this end of a connection, as the kernel tells.
fn queues(local: SocketAddr, remote: SocketAddr) -> (u64, u64) {
    let ports = [local, remote].map(|addr| format!(":{:04X}", addr.port()));
    let sockets = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let lines = sockets.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let mut ours =
        lines.filter(|fields| fields[1].ends_with(&ports[0]) && fields[2].ends_with(&ports[1]));
    let queues = ours.next().expect("a connection")[4].split_once(':').unwrap();
    let bytes = |hex| u64::from_str_radix(hex, 16).unwrap();
    (bytes(queues.0), bytes(queues.1))
}
