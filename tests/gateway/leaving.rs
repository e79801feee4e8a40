//! Clients that leave: what was asked for them is broken off at once, however it stood.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::{UP, before};
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

#[tokio::test]
async fn a_client_that_was_stopped_can_leave_too() {
    let (left, mut has_left) = mpsc::channel(1);
    let (leave, leaves) = watch::channel(false);
    let upstream = Upstream::scripted(move |mut peer| {
        let (mut leaves, left) = (leaves.clone(), left.clone());
        async move {
            peer.request_head().await;
            // Reads nothing before the client has left, and then what was on the way.
            leaves.wait_for(|leaves| *leaves).await.unwrap();
            peer.connection.rest().await;
            left.send(()).await.unwrap();
        }
    })
    .await;
    let app = before(&upstream.url("")).await;
    let mut client = Connection::open(app.addr).await;
    let request = Request::post(&format!("{UP}/x")).claiming(1 << 30);
    client.send(request.head_bytes(app.addr)).await;
    let piece = vec![b'x'; 1 << 16];
    while timeout(Duration::from_secs(1), client.stream.write_all(&piece)).await.is_ok() {}
    client.stream.set_zero_linger().unwrap();
    drop(client);
    leave.send(true).unwrap();
    soon(&mut has_left, "the upstream works on for nobody").await;
}
