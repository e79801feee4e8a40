//! Clients that leave: what was asked for them is broken off at once, however it stood.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::TcpSocket;
use tokio::sync::{Mutex, mpsc};
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

/// An upstream that reads nothing of a request's body but pieces of 16 KiB, one for each message,
/// and tells when the gateway is gone.
async fn deaf() -> (Upstream, mpsc::Sender<()>, mpsc::Receiver<()>) {
    let (left, has_left) = mpsc::channel(9);
    let (take, taken) = mpsc::channel(9);
    let taken = Arc::new(Mutex::new(taken));
    let upstream = Upstream::scripted(move |mut peer| {
        let (left, taken) = (left.clone(), Arc::clone(&taken));
        async move {
            peer.request_head().await;
            let mut piece = vec![0; 1 << 14];
            let mut taken = taken.lock().await;
            let socket = &mut peer.connection.stream;
            // An end that is behind what was not read cannot be seen, a reset can.
            while tokio::select! {
                reset = socket.ready(Interest::ERROR) => reset.is_err(),
                Some(()) = taken.recv() => true,
            } {
                assert!(socket.read(&mut piece).await.unwrap() > 0, "there is much to read");
            }
            left.send(()).await.unwrap();
        }
    })
    .await;
    (upstream, take, has_left)
}

/// A client that sends as much of a body as anybody takes.
async fn stopped(app: &App) -> Connection {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_send_buffer_size(1 << 12).unwrap();
    let mut client = Connection::accepted(socket.connect(app.addr).await.unwrap());
    let request = Request::post(&format!("{UP}/x")).claiming(1 << 30);
    client.send(request.head_bytes(app.addr)).await;
    let piece = vec![b'x'; 1 << 14];
    while timeout(Duration::from_secs(1), client.stream.write_all(&piece)).await.is_ok() {}
    client
}

/// Whether the peer's side has not yet taken all that was sent, as the kernel tells.
pub fn waits(client: &Connection) -> bool {
    let port = format!(":{:04X}", client.stream.local_addr().unwrap().port());
    let sockets = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let mut lines = sockets.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let socket = lines.find(|fields| fields[1].ends_with(&port)).unwrap();
    !socket[4].starts_with("00000000:")
}

#[tokio::test]
async fn a_client_that_was_stopped_can_leave_too() {
    let (upstream, _, mut has_left) = deaf().await;
    let app = before(&upstream.url("")).await;
    let client = stopped(&app).await;
    client.stream.set_zero_linger().unwrap();
    drop(client);
    soon(&mut has_left, "the upstream is held for nobody").await;
}

#[tokio::test]
async fn the_end_of_a_stopped_client_is_seen_behind_what_nobody_reads() {
    let (upstream, take, mut has_left) = deaf().await;
    let app = before(&upstream.url("")).await;
    let client = stopped(&app).await;
    // What waits on the client's own side hides its end. Once a little was taken it fits into
    // the gateway's side, which is then full of what the upstream does not take.
    while waits(&client) {
        take.send(()).await.unwrap();
        sleep(Duration::from_millis(20)).await;
    }
    drop(client);
    soon(&mut has_left, "the upstream is held for nobody").await;
}
