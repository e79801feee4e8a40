//! Bodies of a gibibyte both ways at once, events one by one, and answers before the request is
//! over.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::watch;
use tokio::time::sleep;

use super::{UP, before};
use crate::harness::http::{Connection, Request, Response};
use crate::harness::images::filling;
use crate::harness::upstream::Upstream;

const GIB: u64 = 1 << 30;
/// How much is sent at once. The content repeats after it, so that what is lost or doubled shows.
const PIECE: usize = 1 << 18;

/// How a body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Length,
    Chunked,
}

impl Framing {
    fn field(self, size: u64) -> String {
        match self {
            Self::Length => format!("Content-Length: {size}"),
            Self::Chunked => "Transfer-Encoding: chunked".to_owned(),
        }
    }
}

/// A side that pauses now and then, long enough for the others to run into it.
async fn dawdle(done: u64) {
    if done.is_multiple_of(32 << 20) {
        sleep(Duration::from_millis(30)).await;
    }
}

/// Sends so much of a body, generated on the fly.
async fn produce(to: &mut (impl AsyncWrite + Unpin), framing: Framing, size: u64) {
    let content = filling(PIECE, 7);
    let piece = match framing {
        Framing::Length => content,
        Framing::Chunked => [format!("{PIECE:x}\r\n").as_bytes(), &content, b"\r\n"].concat(),
    };
    for _ in 0..size / PIECE as u64 {
        to.write_all(&piece).await.unwrap();
    }
}

/// Ends a body.
async fn end(to: &mut (impl AsyncWrite + Unpin), framing: Framing) {
    if framing == Framing::Chunked {
        to.write_all(b"0\r\n\r\n").await.unwrap();
    }
}

/// Reads a body behind its head and compares it with what was produced, keeping none of it.
async fn consume(from: impl AsyncRead + Unpin, framing: Framing, size: u64, slow: bool) {
    let (content, mut came) = (filling(PIECE, 7), vec![0; PIECE]);
    let mut from = BufReader::with_capacity(PIECE, from);
    let (mut done, mut left) = (0, size);
    while done < size {
        if framing == Framing::Chunked {
            left = chunk_size(&mut from).await;
            assert!(left > 0, "ended after {done} bytes");
        }
        while left > 0 {
            let offset = (done % PIECE as u64) as usize;
            let most = usize::try_from(left).unwrap().min(PIECE - offset);
            let read = from.read(&mut came[..most]).await.unwrap();
            assert!(read > 0, "cut after {done} bytes");
            assert!(came[..read] == content[offset..offset + read], "changed behind {done}");
            (done, left) = (done + read as u64, left - read as u64);
            if slow {
                dawdle(done).await;
            }
        }
        if framing == Framing::Chunked {
            line(&mut from).await;
        }
    }
    if framing == Framing::Chunked {
        assert_eq!(chunk_size(&mut from).await, 0);
    }
}

async fn line(from: &mut (impl AsyncRead + Unpin)) -> String {
    let mut line = String::new();
    while !line.ends_with("\r\n") {
        line.push(from.read_u8().await.unwrap().into());
    }
    line
}

async fn chunk_size(from: &mut (impl AsyncRead + Unpin)) -> u64 {
    u64::from_str_radix(line(from).await.trim_end(), 16).unwrap()
}

/// The most memory that a process has held so far.
fn peak_memory(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10
}

/// A gibibyte up and another down at the same time, one of the two sides reading slowly.
async fn both_ways(framing: Framing, slow_client: bool) {
    let upstream = Upstream::scripted(move |mut peer| async move {
        while let Some(request) = peer.request_head().await {
            let size: u64 = request.header("x-size").unwrap().parse().unwrap();
            peer.send(format!("HTTP/1.1 200 OK\r\n{}\r\n\r\n", framing.field(size))).await;
            // The client has read the answer's head by then, and nothing behind it.
            peer.connection.stream.readable().await.unwrap();
            let (reader, mut writer) = peer.connection.stream.split();
            let down = produce(&mut writer, framing, size - PIECE as u64);
            tokio::join!(down, consume(reader, framing, size, !slow_client));
            // The end of the answer would be the end of the exchange.
            produce(&mut writer, framing, PIECE as u64).await;
            end(&mut writer, framing).await;
        }
    })
    .await;
    let app = before(&upstream.url("")).await;
    let mut held = None;
    // The first, small ones show what it takes at all.
    for size in [8 * PIECE as u64, GIB] {
        let mut client = Connection::open(app.addr).await;
        let framed = framing.field(size);
        let head = format!("POST {UP}/x HTTP/1.1\r\nHost: a\r\nX-Size: {size}\r\n{framed}\r\n\r\n");
        client.send(head).await;
        assert_eq!(client.head().await.expect("an answer").status, 200);
        let (reader, mut writer) = client.stream.split();
        let up = async {
            produce(&mut writer, framing, size).await;
            end(&mut writer, framing).await;
        };
        tokio::join!(up, consume(reader, framing, size, slow_client));
        let peak = peak_memory(app.pid());
        let grown = peak - *held.get_or_insert(peak);
        assert!(grown < 8 << 20, "the gateway holds {grown} bytes more for a gibibyte");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gibibyte_each_way_past_a_slow_client_takes_no_memory() {
    both_ways(Framing::Length, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gibibyte_each_way_past_a_slow_upstream_takes_no_memory() {
    both_ways(Framing::Chunked, false).await;
}

#[tokio::test]
async fn an_event_reaches_the_client_before_the_upstream_sends_the_next() {
    let (seen, acknowledged) = watch::channel(0);
    let upstream = Upstream::scripted(move |mut peer| {
        let mut seen = acknowledged.clone();
        async move {
            peer.request().await;
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n";
            peer.send(format!("{head}Transfer-Encoding: chunked\r\n\r\n")).await;
            // The head, and then each event, has to have arrived before the next.
            for number in 1..=20 {
                seen.wait_for(|count| *count == number).await.unwrap();
                let event = format!("data: {number}\n\n");
                peer.send(format!("{:x}\r\n{event}\r\n", event.len())).await;
            }
            seen.wait_for(|count| *count == 21).await.unwrap();
            peer.send("0\r\n\r\n").await;
            peer.connection.rest().await;
        }
    })
    .await;
    let app = before(&upstream.url("")).await;
    let mut client = Connection::open(app.addr).await;
    client.send(Request::get(&format!("{UP}/events")).head_bytes(app.addr)).await;
    let head = client.head().await.expect("a head before the first event");
    assert_eq!(head.header("content-type").as_deref(), Some("text/event-stream"));
    for number in 1..=20 {
        seen.send(number).unwrap();
        client.read_until(format!("data: {number}\n\n\r\n").as_bytes()).await;
    }
    seen.send(21).unwrap();
    assert_eq!(client.read_until(b"\r\n\r\n").await, b"0\r\n\r\n");
}

/// Sends 100 MiB until there is an answer.
async fn answer_to_a_large_request(client: &mut Connection, framing: Framing) -> Response {
    let framed = framing.field(100 << 20);
    client.send(format!("POST {UP}/x HTTP/1.1\r\nHost: a\r\n{framed}\r\n\r\n")).await;
    let (reader, mut writer) = client.stream.split();
    tokio::select! {
        () = produce(&mut writer, framing, 100 << 20) => {}
        readable = reader.readable() => readable.unwrap(),
    }
    client.response().await
}

/// An upstream that reads 64 KiB, answers 413 and goes away, with an end or with a reset.
async fn early_answers(framing: Framing) {
    for reset in [false, true] {
        let upstream = Upstream::scripted(move |mut peer| async move {
            peer.request_head().await;
            let mut some = vec![0; 1 << 16];
            peer.connection.stream.read_exact(&mut some).await.unwrap();
            peer.send("HTTP/1.1 413 No\r\nContent-Length: 5\r\n\r\nlarge").await;
            if reset {
                peer.reset();
            }
        })
        .await;
        let app = before(&upstream.url("")).await;
        for round in 0..100 {
            let mut client = Connection::open(app.addr).await;
            let response = answer_to_a_large_request(&mut client, framing).await;
            let seen = (response.status, response.text());
            assert_eq!(seen, (413, "large".to_owned()), "{framing:?}, {reset}, {round}");
        }
    }
}

#[tokio::test]
async fn an_early_answer_is_never_lost_though_the_upstream_goes_away() {
    early_answers(Framing::Length).await;
}

#[tokio::test]
async fn nor_is_it_when_the_request_comes_in_chunks() {
    early_answers(Framing::Chunked).await;
}
