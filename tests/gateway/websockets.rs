//! WebSockets through the gateway, with a real client and a real server at the ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Message, protocol::CloseFrame};
use tokio_tungstenite::{WebSocketStream, accept_async, client_async};

use super::reload::{REFUSED, logged, remote, replace};
use super::{UP, before};
use crate::harness::App;
use crate::harness::http::{Connection, PATIENCE, Request};
use crate::harness::images::filling;
use crate::harness::upstream::Upstream;

type Socket = WebSocketStream<TcpStream>;

/// An upstream that sends each message back, and has said hello and asked for a sign of life.
async fn echo() -> Upstream {
    Upstream::scripted(|peer| async move {
        let mut socket = accept_async(peer.connection.stream).await.expect("a handshake");
        socket.send(Message::text("hello")).await.unwrap();
        socket.send(Message::Ping("alive?".into())).await.unwrap();
        while let Some(Ok(message)) = socket.next().await {
            match message {
                Message::Text(text) if text == "leave" => {
                    let frame = CloseFrame { code: CloseCode::Away, reason: "asked to".into() };
                    socket.close(Some(frame)).await.unwrap();
                }
                Message::Pong(sign) => socket.send(Message::text(sign_of(&sign))).await.unwrap(),
                message if message.is_text() || message.is_binary() => {
                    socket.send(message).await.unwrap();
                }
                _ => {}
            }
        }
    })
    .await
}

fn sign_of(pong: &[u8]) -> String {
    format!("pong {}", String::from_utf8_lossy(pong))
}

/// A client's socket through the gateway, the greetings over.
async fn open(app: &App) -> Socket {
    let stream = TcpStream::connect(app.addr).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let url = format!("ws://{}{UP}/socket", app.addr);
    let (mut socket, answer) = client_async(url, stream).await.expect("a handshake");
    assert_eq!(answer.status(), 101);
    assert_eq!(next(&mut socket).await, Message::text("hello"));
    assert_eq!(next(&mut socket).await, Message::Ping("alive?".into()));
    assert_eq!(next(&mut socket).await, Message::text("pong alive?"));
    socket
}

async fn next(socket: &mut Socket) -> Message {
    let next = timeout(PATIENCE, socket.next()).await.expect("a message");
    next.expect("no end").expect("no failure")
}

/// Sends a message and compares it with what comes back.
async fn exchange(socket: &mut Socket, message: Message) {
    socket.send(message.clone()).await.unwrap();
    let back = next(socket).await;
    assert!(back == message, "{} bytes came back for {}", back.len(), message.len());
}

#[tokio::test]
async fn messages_of_all_kinds_go_both_ways() {
    let upstream = echo().await;
    let app = before(&upstream.url("")).await;
    let mut socket = open(&app).await;
    for text in ["", "x", "Grüße \u{1f44b}", "\0\r\n\r\n"] {
        exchange(&mut socket, Message::text(text)).await;
    }
    for size in [0, 1, 125, 126, 65_535, 65_536, 1 << 20, 12 << 20] {
        exchange(&mut socket, Message::binary(filling(size, 7))).await;
    }
    socket.send(Message::Ping("here?".into())).await.unwrap();
    assert_eq!(next(&mut socket).await, Message::Pong("here?".into()));
}

#[tokio::test]
async fn messages_on_the_way_together_keep_their_order() {
    let upstream = echo().await;
    let app = before(&upstream.url("")).await;
    let socket = open(&app).await;
    let (mut sink, mut stream) = socket.split();
    let number =
        |n: usize| Message::binary([filling(n * 10, 7), n.to_be_bytes().to_vec()].concat());
    let send = async {
        for n in 0..2000 {
            sink.feed(number(n)).await.unwrap();
        }
        sink.flush().await.unwrap();
    };
    let receive = async {
        for n in 0..2000 {
            assert!(stream.next().await.unwrap().unwrap() == number(n), "{n}");
        }
    };
    timeout(PATIENCE, async { tokio::join!(send, receive) }).await.expect("all messages");
}

#[tokio::test]
async fn either_side_can_close_and_says_why() {
    let upstream = echo().await;
    let app = before(&upstream.url("")).await;
    for client_closes in [true, false] {
        let mut socket = open(&app).await;
        let frame = match client_closes {
            true => {
                let frame = CloseFrame { code: CloseCode::Library(4001), reason: "enough".into() };
                socket.close(Some(frame.clone())).await.unwrap();
                frame
            }
            false => {
                socket.send(Message::text("leave")).await.unwrap();
                CloseFrame { code: CloseCode::Away, reason: "asked to".into() }
            }
        };
        // The other side confirms with the same frame, and then both connections end.
        assert_eq!(next(&mut socket).await, Message::Close(Some(frame)));
        assert!(timeout(PATIENCE, socket.next()).await.expect("an end").is_none());
    }
}

/// The table goes back and forth while sockets of one of its services exchange messages.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_reloads_drop_no_socket_and_no_message() {
    const RELOADS: usize = 1000;
    const SOCKETS: usize = 100;
    let answer = |body: &str| format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{body}");
    let probed = [Upstream::answering(answer("a")).await, Upstream::answering(answer("b")).await];
    let sockets = [echo().await, echo().await];
    let tables = [0, 1].map(|n| remote("up", &sockets[n]) + &remote("probe", &probed[n]));
    let app = Arc::new(App::builder().file(&tables[0]).start().await);
    let over = Arc::new(AtomicBool::new(false));
    let mut clients = Vec::new();
    for _ in 0..SOCKETS {
        let (mut socket, over) = (open(&app).await, Arc::clone(&over));
        clients.push(tokio::spawn(async move {
            let mut exchanged = 0;
            while !over.load(Ordering::Relaxed) {
                exchange(&mut socket, Message::text(format!("{exchanged}"))).await;
                exchanged += 1;
                sleep(Duration::from_millis(20)).await;
            }
            socket.close(None).await.unwrap();
            assert_eq!(next(&mut socket).await, Message::Close(None));
            exchanged
        }));
    }
    let mut probe = Connection::open(app.addr).await;
    let request = Request::get("/consumer-api/service/probe/x");
    for count in 1..=RELOADS {
        replace(&app, &tables[count % 2]);
        app.signal("HUP");
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            let response = probe.exchange(&request, app.addr).await.expect("an answer");
            if response.body == ["a", "b"][count % 2].as_bytes() {
                break;
            }
            assert!(Instant::now() < until, "reload {count} has no effect: {}", app.log_text());
        }
    }
    over.store(true, Ordering::Relaxed);
    for client in clients {
        let exchanged = client.await.expect("a socket without a failure");
        assert!(exchanged > 20, "only {exchanged} messages during {RELOADS} reloads");
    }
    assert!(logged(&app, REFUSED).is_empty(), "{}", app.log_text());
}
