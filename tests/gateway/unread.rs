//! Clients that do not read, and upstreams in a tunnel that do not: nothing is held for them
//! without end, and none of them can take a cut for an end.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::UP;
use crate::harness::App;
use crate::harness::http::{Connection, Request};
use crate::harness::upstream::Upstream;

const SHORT: &str = "idle_timeout = \"1s\"";
/// Long enough for any limit of these tests, and much less than those by default.
const SOON: Duration = Duration::from_secs(10);
const PIECE: usize = 1 << 16;

async fn before(upstream: &Upstream) -> App {
    App::builder().service("up", &upstream.url(""), SHORT).start().await
}

/// An upstream that sends this head and then more without end, and tells when the gateway is gone.
async fn endless(head: &'static str) -> (Upstream, mpsc::Receiver<()>) {
    let (left, has_left) = mpsc::channel(9);
    let upstream = Upstream::scripted(move |mut peer| {
        let left = left.clone();
        async move {
            peer.request().await;
            peer.send(head).await;
            let piece = vec![b'x'; PIECE];
            while peer.connection.stream.write_all(&piece).await.is_ok() {}
            left.send(()).await.unwrap();
        }
    })
    .await;
    (upstream, has_left)
}

/// How a connection ends behind all that can still be read of it.
async fn end_of(stream: &mut TcpStream) -> std::io::Result<usize> {
    let mut rest = vec![0; PIECE];
    loop {
        let read = timeout(SOON, stream.read(&mut rest)).await.expect("an end");
        if !matches!(read, Ok(1..)) {
            return read;
        }
    }
}

async fn assert_reset(stream: &mut TcpStream, what: &str) {
    let end = end_of(stream).await;
    assert!(matches!(&end, Err(e) if e.kind() == ErrorKind::ConnectionReset), "{what}: {end:?}");
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answer_is_cut() {
    for head in [
        "HTTP/1.1 200 OK\r\nContent-Length: 1099511627776\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffff\r\n",
        "HTTP/1.1 200 OK\r\n\r\n",
    ] {
        let (upstream, mut left) = endless(head).await;
        let app = before(&upstream).await;
        let mut client = Connection::open(app.addr).await;
        client.send(Request::get(&format!("{UP}/x")).head_bytes(app.addr)).await;
        assert_eq!(client.head().await.expect("a head").status, 200);
        let gone = timeout(SOON, left.recv()).await;
        assert_eq!(gone.expect("the upstream works on for nobody"), Some(()));
        assert_reset(&mut client.stream, head).await;
        assert_eq!(app.access_line("/up/x").await["complete"], false);
    }
}

#[tokio::test]
async fn a_client_that_reads_slowly_but_steadily_is_waited_for() {
    const ALL: usize = 12 << 20;
    let upstream = Upstream::scripted(|mut peer| async move {
        peer.request().await;
        peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {ALL}\r\n\r\n")).await;
        peer.send(vec![b'x'; ALL]).await;
        peer.connection.rest().await;
    })
    .await;
    let app = before(&upstream).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(1 << 16).unwrap();
    let mut client = Connection::accepted(socket.connect(app.addr).await.unwrap());
    let request = Request::get(&format!("{UP}/x")).header("Connection", "close");
    client.send(request.head_bytes(app.addr)).await;
    // Far too little for the system to call the gateway's side writable.
    let mut some = vec![0; 1 << 14];
    let (mut came, started) = (0, Instant::now());
    while started.elapsed() < Duration::from_secs(6) {
        came += client.stream.read(&mut some).await.unwrap();
        sleep(Duration::from_millis(100)).await;
    }
    assert!(came < ALL / 4, "{came} bytes are not slow");
    let mut rest = Vec::new();
    let read = timeout(SOON, client.stream.read_to_end(&mut rest)).await.expect("the rest");
    assert!(read.is_ok() && came + rest.len() > ALL, "{came}, then {} and {read:?}", rest.len());
}

#[tokio::test]
async fn a_cut_answer_that_only_the_connection_ends_is_reset() {
    for answer in [
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7\r\npartial\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7\r\npartial\r\nzz\r\n",
    ] {
        let upstream = Upstream::scripted(move |mut peer| async move {
            peer.request().await;
            peer.send(answer).await;
            sleep(Duration::from_millis(200)).await;
        })
        .await;
        let app = before(&upstream).await;
        let mut client = Connection::open(app.addr).await;
        client.send(format!("GET {UP}/x HTTP/1.0\r\nHost: a\r\n\r\n")).await;
        assert_reset(&mut client.stream, answer).await;
    }
}

#[tokio::test]
async fn answers_do_not_pile_up_for_a_client_that_only_sends() {
    let app = App::local().await;
    let socket = TcpSocket::new_v4().unwrap();
    // A client's system would take many megabytes of answers for it.
    socket.set_recv_buffer_size(1 << 16).unwrap();
    let mut client = Connection::accepted(socket.connect(app.addr).await.unwrap());
    let many = "GET /problems/not-found HTTP/1.1\r\nHost: a\r\n\r\n".repeat(1000);
    let started = Instant::now();
    let mut sent = 0;
    // What it is answered is several times as long.
    while timeout(Duration::from_secs(3), client.stream.write_all(many.as_bytes())).await.is_ok() {
        sent += many.len();
        assert!(sent < 64 << 20, "all is read");
    }
    // A module's answers have a fixed limit.
    assert!(started.elapsed() < Duration::from_secs(25), "{:?}", started.elapsed());
    sleep(Duration::from_secs(34)).await;
    assert_reset(&mut client.stream, "after half a minute").await;
}

/// Opens a tunnel through the gateway.
async fn tunnel(app: &App) -> Connection {
    let mut client = Connection::open(app.addr).await;
    let asking = Request::get(&format!("{UP}/x")).header("Connection", "upgrade");
    client.send(asking.header("Upgrade", "x").head_bytes(app.addr)).await;
    client.read_until(b"\r\n\r\n").await;
    client
}

const GRANTED: &str = "HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";

#[tokio::test]
async fn a_client_that_does_not_read_from_its_tunnel_is_cut() {
    let (upstream, mut left) = endless(GRANTED).await;
    let app = before(&upstream).await;
    let _client = tunnel(&app).await;
    let gone = timeout(SOON, left.recv()).await;
    assert_eq!(gone.expect("the upstream works on for nobody"), Some(()));
}

#[tokio::test]
async fn an_upstream_that_does_not_read_from_its_tunnel_is_cut() {
    let upstream = Upstream::scripted(|mut peer| async move {
        peer.request().await;
        peer.send(GRANTED).await;
        sleep(Duration::from_secs(60)).await;
    })
    .await;
    let app = before(&upstream).await;
    let mut client = tunnel(&app).await;
    let piece = vec![b'x'; PIECE];
    let pumped = async { while client.stream.write_all(&piece).await.is_ok() {} };
    timeout(SOON, pumped).await.expect("the client sends on for nobody");
}

#[tokio::test]
async fn a_tunnel_that_is_merely_quiet_stays() {
    let upstream = Upstream::scripted(|mut peer| async move {
        peer.request().await;
        peer.send(GRANTED).await;
        peer.connection.read_until(b"late").await;
        peer.send("in time").await;
        peer.connection.rest().await;
    })
    .await;
    let app = before(&upstream).await;
    let mut client = tunnel(&app).await;
    sleep(Duration::from_secs(3)).await;
    client.send("late").await;
    client.read_until(b"in time").await;
}
