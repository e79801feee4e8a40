//! Upgrades: what follows a 101 is carried as it is, both ways, until both sides have ended.

use std::time::Duration;

use super::{UP, before};
use crate::harness::App;
use crate::harness::http::{Connection, Request};
use crate::harness::problem::assert_upstream_problem;
use crate::harness::upstream::{Peer, Upstream, a_moment};

/// A request that asks for a protocol of this name.
fn asking_for(protocol: &str) -> String {
    format!(
        "GET {UP}/socket?x=1 HTTP/1.1\r\nHost: gate\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n\r\n"
    )
}

fn switching_to(protocol: &str) -> String {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\nX-Theirs: 1\r\n\r\n"
    )
}

/// An upstream that grants any upgrade, and then sends back what comes, marked, until `bye`.
async fn marking_echo() -> Upstream {
    Upstream::scripted(|mut peer| async move {
        while let Some(request) = peer.request().await {
            let protocol = request.header("upgrade").expect("an upgrade is asked for");
            assert_eq!(request.header("connection").as_deref(), Some("upgrade"));
            peer.send(switching_to(&protocol)).await;
            echo(&mut peer).await;
        }
    })
    .await
}

async fn echo(peer: &mut Peer) {
    loop {
        let came = peer.connection.read_until(b"\n").await;
        peer.send([b"<", &came[..]].concat()).await;
        if came.ends_with(b"bye\n") {
            return peer.connection.finish_sending().await;
        }
    }
}

/// Opens a tunnel to an upstream through the gateway.
async fn tunnel(app: &App, protocol: &str) -> Connection {
    let mut client = Connection::open(app.addr).await;
    client.send(asking_for(protocol)).await;
    let head = String::from_utf8(client.read_until(b"\r\n\r\n").await).unwrap();
    assert!(head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{head}");
    client
}

#[tokio::test]
async fn any_protocol_is_carried_both_ways() {
    let upstream = marking_echo().await;
    let app = before(&upstream.url("/base")).await;
    for protocol in ["websocket", "WebSocket", "smalltalk/2"] {
        let mut client = Connection::open(app.addr).await;
        client.send(asking_for(protocol)).await;
        let head = String::from_utf8(client.read_until(b"\r\n\r\n").await).unwrap();
        let lower = head.to_lowercase();
        assert_eq!(lower.matches("\r\nconnection: upgrade\r\n").count(), 1, "{head}");
        assert!(head.contains(&format!("upgrade: {protocol}\r\n")), "{head}");
        assert!(lower.contains("\r\nx-theirs: 1\r\n"), "{head}");
        assert_eq!(lower.matches("\r\nx-request-id: ").count(), 1, "{head}");
        assert!(
            !lower.contains("transfer-encoding") && !lower.contains("content-length"),
            "{head}"
        );
        client.send("GET / HTTP/1.1\r\n\0\x7f\n").await;
        assert_eq!(client.read_until(b"\x7f\n").await, b"<GET / HTTP/1.1\r\n\0\x7f\n");
        client.send("bye\n").await;
        assert_eq!(client.rest().await, b"<bye\n");
    }
    assert_eq!(upstream.requests().len(), 3);
    assert_eq!(upstream.requests()[0].target(), "/base/socket?x=1");
}

#[tokio::test]
async fn the_101_has_what_every_answer_has() {
    let upstream = marking_echo().await;
    let app = App::builder()
        .set("SERVER__CORS__ALLOWED_ORIGINS", "https://app.example")
        .file("[rate_limits]\nenabled = true")
        .service("up", &upstream.url(""), "")
        .start()
        .await;
    let mut client = Connection::open(app.addr).await;
    let fields = "Origin: https://app.example\r\nX-Tenant-Id: acme\r\n\r\n";
    let request = asking_for("websocket");
    client.send(format!("{}{fields}", request.strip_suffix("\r\n").unwrap())).await;
    let head = String::from_utf8(client.read_until(b"\r\n\r\n").await).unwrap();
    assert!(head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{head}");
    for field in [
        "ratelimit-policy: ",
        "ratelimit: ",
        "x-request-id: ",
        "vary: origin",
        "access-control-allow-origin: https://app.example\r\n",
    ] {
        assert_eq!(head.to_lowercase().matches(&format!("\r\n{field}")).count(), 1, "{head}");
    }
}

#[tokio::test]
async fn what_is_sent_along_with_the_heads_is_not_lost() {
    let upstream = Upstream::scripted(|mut peer| async move {
        let protocol = peer.request().await.unwrap().header("upgrade").unwrap();
        peer.send(format!("{}first", switching_to(&protocol))).await;
        let came = peer.connection.read_until(b"eager").await;
        peer.send(came).await;
        peer.connection.finish_sending().await;
    })
    .await;
    let app = before(&upstream.url("")).await;
    for protocol in ["websocket", "x"] {
        let mut client = Connection::open(app.addr).await;
        client.send(format!("{}eager", asking_for(protocol))).await;
        let all = String::from_utf8(client.rest().await).unwrap();
        assert!(all.ends_with("\r\n\r\nfirsteager"), "{all}");
    }
}

#[tokio::test]
async fn each_side_may_end_before_the_other() {
    let upstream = Upstream::scripted(|mut peer| async move {
        peer.request().await;
        peer.send(switching_to("x")).await;
        // Only when the client has said all does this side begin.
        let all = peer.connection.rest().await;
        peer.send(all).await;
    })
    .await;
    let app = before(&upstream.url("")).await;
    let mut client = tunnel(&app, "x").await;
    client.send("everything").await;
    client.finish_sending().await;
    assert_eq!(client.rest().await, b"everything");
}

#[tokio::test]
async fn a_side_that_breaks_ends_the_other() {
    let upstream = Upstream::scripted(|mut peer| async move {
        peer.request().await;
        peer.send(switching_to("x")).await;
        peer.connection.read_until(b"now").await;
        peer.reset();
    })
    .await;
    let app = before(&upstream.url("")).await;
    let mut client = tunnel(&app, "x").await;
    client.send("now").await;
    assert_eq!(client.rest().await, b"");
}

#[tokio::test]
async fn much_goes_through_both_ways_at_once() {
    const SIZE: usize = 32 << 20;
    let upstream = Upstream::scripted(|mut peer| async move {
        peer.request().await;
        peer.send(switching_to("x")).await;
        let (mut reader, mut writer) = tokio::io::split(peer.connection.stream);
        tokio::io::copy(&mut reader, &mut writer).await.unwrap();
        tokio::io::AsyncWriteExt::shutdown(&mut writer).await.unwrap();
    })
    .await;
    let app = before(&upstream.url("")).await;
    let client = tunnel(&app, "x").await;
    let sent = crate::harness::images::filling(SIZE, 7);
    let expected = sent.clone();
    let (mut reader, mut writer) = tokio::io::split(client.stream);
    let sending = tokio::spawn(async move {
        use tokio::io::AsyncWriteExt as _;
        writer.write_all(&sent).await.unwrap();
        writer.shutdown().await.unwrap();
        writer
    });
    let mut came = Vec::with_capacity(SIZE);
    tokio::io::AsyncReadExt::read_to_end(&mut reader, &mut came).await.unwrap();
    assert!(came == expected, "{} bytes came back", came.len());
    sending.await.unwrap();
}

#[tokio::test]
async fn a_refused_upgrade_is_an_answer_like_any_other() {
    let upstream =
        Upstream::answering("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno").await;
    let app = before(&upstream.url("")).await;
    for protocol in ["websocket", "x"] {
        let mut client = Connection::open(app.addr).await;
        client.send(asking_for(protocol)).await;
        let response = client.response().await;
        assert_eq!((response.status, &response.body[..]), (403, &b"no"[..]));
    }
}

#[tokio::test]
async fn an_upgrade_that_nobody_asked_for_is_no_answer() {
    for (asked, granted) in [(None, "x"), (Some("websocket"), "x"), (Some("x"), "")] {
        let upstream = Upstream::answering(switching_to(granted)).await;
        let app = before(&upstream.url("")).await;
        let mut client = Connection::open(app.addr).await;
        match asked {
            Some(protocol) => client.send(asking_for(protocol)).await,
            None => client.send(format!("GET {UP}/ HTTP/1.1\r\nHost: gate\r\n\r\n")).await,
        }
        assert_upstream_problem(&client.response().await, "upstream-invalid", "invalid");
    }
}

#[tokio::test]
async fn half_an_upgrade_is_none() {
    let upstream = Upstream::ok().await;
    let app = before(&upstream.url("")).await;
    for fields in ["Connection: upgrade\r\n", "Connection: upgrade\r\nUpgrade: a\r\nUpgrade: b\r\n"]
    {
        let mut client = Connection::open(app.addr).await;
        client.send(format!("GET {UP}/ HTTP/1.1\r\nHost: gate\r\n{fields}\r\n")).await;
        assert_eq!(client.response().await.status, 200);
    }
    // A body cannot be told from what follows the upgrade.
    let posting = Request::post(&format!("{UP}/")).header("connection", "upgrade");
    let response = posting.header("upgrade", "x").body("body").send(app.addr).await;
    assert_eq!(response.status, 200);
    for request in upstream.requests() {
        assert_eq!((request.header("upgrade"), request.header("connection")), (None, None));
    }
}

#[tokio::test]
async fn the_access_line_counts_what_a_tunnel_carried() {
    let upstream = marking_echo().await;
    let app = before(&upstream.url("")).await;
    let mut client = tunnel(&app, "x").await;
    client.send("bye\n").await;
    client.finish_sending().await;
    assert!(client.rest().await.ends_with(b"<bye\n"));
    let line = app.access_line("/socket").await;
    assert_eq!(line["status"], 101);
    assert_eq!((&line["received"], line["complete"].as_bool()), (&4.into(), Some(true)));
    assert_eq!(line["sent"], 5);
}

#[tokio::test]
async fn a_stop_ends_tunnels_that_are_quiet_and_waits_for_others() {
    let upstream = marking_echo().await;
    let mut app = before(&upstream.url("")).await;
    let mut quiet = tunnel(&app, "x").await;
    let mut busy = tunnel(&app, "x").await;
    app.signal("TERM");
    for _ in 0..10 {
        busy.send("still here\n").await;
        assert_eq!(busy.read_until(b"\n").await, b"<still here\n");
        a_moment().await;
    }
    assert_eq!(quiet.rest().await, b"");
    busy.send("bye\n").await;
    busy.finish_sending().await;
    assert_eq!(busy.rest().await, b"<bye\n");
    assert!(app.ended_within(Duration::from_secs(10)).await.success());
}

#[tokio::test]
async fn no_upgrade_to_http_is_passed_on() {
    let upstream = Upstream::ok().await;
    let app = before(&upstream.url("")).await;
    for protocol in ["h2c", "H2C", "h2", "HTTP/2.0", "TLS/1.3", "websocket, h2c", "h2c,websocket"] {
        let mut client = Connection::open(app.addr).await;
        client.send(asking_for(protocol)).await;
        assert_eq!(client.response().await.status, 200, "{protocol}");
        let asked = upstream.requests().pop().expect("the request, without its upgrade");
        assert_eq!(asked.header("upgrade"), None, "{protocol}");
        assert_ne!(asked.header("connection").as_deref(), Some("upgrade"), "{protocol}");
    }
}
