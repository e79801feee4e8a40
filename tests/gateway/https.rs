//! Remote services over TLS.

use super::UP;
use crate::harness::App;
use crate::harness::http::{Connection, Request};
use crate::harness::images::filling;
use crate::harness::problem::assert_upstream_problem;
use crate::harness::tls::Authority;
use crate::harness::upstream::Upstream;

/// A gateway whose service `up` is at this https address, vouched for by this authority.
async fn before(host: &str, port: u16, authority: &Authority) -> App {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, authority.pem()).unwrap();
    let more = format!("ca_file = \"{}\"", file.display());
    App::builder().service("up", &format!("https://{host}:{port}/base"), &more).start().await
}

#[tokio::test]
async fn a_service_that_its_authority_vouches_for_is_reached() {
    let authority = Authority::new("ours");
    for (host, name) in [("localhost", "localhost"), ("127.0.0.1", "127.0.0.1")] {
        let upstream = Upstream::ok().await;
        let front = authority.in_front_of(upstream.addr, name).await;
        let app = before(host, front.addr.port(), &authority).await;
        for _ in 0..3 {
            let response = Request::get(&format!("{UP}/x?y")).send(app.addr).await;
            assert_eq!((response.status, &response.body[..]), (200, &b"ok"[..]));
        }
        let request = &upstream.requests()[0];
        assert_eq!(request.target(), "/base/x?y");
        assert_eq!(request.header("host"), Some(format!("{host}:{}", front.addr.port())));
    }
}

#[tokio::test]
async fn large_bodies_go_both_ways() {
    const SIZE: usize = 5 << 20;
    let upstream = Upstream::scripted(|mut peer| async move {
        while let Some(request) = peer.request().await {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", request.body.len());
            peer.send([head.as_bytes(), &request.body].concat()).await;
        }
    })
    .await;
    let authority = Authority::new("ours");
    let front = authority.in_front_of(upstream.addr, "localhost").await;
    let app = before("localhost", front.addr.port(), &authority).await;
    let body = filling(SIZE, 3);
    for _ in 0..2 {
        let response = Request::put(&format!("{UP}/x")).body(&*body).send(app.addr).await;
        assert_eq!(response.status, 200);
        assert!(response.body == body, "{} bytes came back", response.body.len());
    }
}

#[tokio::test]
async fn a_service_that_cannot_be_trusted_is_not_talked_to() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let upstream = Upstream::ok().await;
    for (issuer, name) in [(&theirs, "localhost"), (&ours, "elsewhere")] {
        let front = issuer.in_front_of(upstream.addr, name).await;
        let app = before("localhost", front.addr.port(), &ours).await;
        let response = Request::get(&format!("{UP}/x")).send(app.addr).await;
        assert_upstream_problem(&response, "upstream-unreachable", "tls");
    }
    let plain = Upstream::scripted(|mut peer| async move {
        peer.send("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
        peer.connection.rest().await;
    })
    .await;
    let app = before("localhost", plain.addr.port(), &ours).await;
    let response = Request::get(&format!("{UP}/x")).send(app.addr).await;
    assert_upstream_problem(&response, "upstream-unreachable", "tls");
    assert_eq!(upstream.requests().len(), 0);
}

#[tokio::test]
async fn the_systems_authorities_do_not_vouch_for_a_private_one() {
    let authority = Authority::new("ours");
    let upstream = Upstream::ok().await;
    let front = authority.in_front_of(upstream.addr, "localhost").await;
    let url = format!("https://localhost:{}", front.addr.port());
    // The one certificate of a system that has one.
    let folder = tempfile::tempdir().unwrap();
    let system = folder.path().join("system.pem");
    std::fs::write(&system, Authority::new("system").pem()).unwrap();
    let system = system.to_str().unwrap();
    let app = App::builder().service("up", &url, "").env("SSL_CERT_FILE", system).start().await;
    let response = Request::get(&format!("{UP}/x")).send(app.addr).await;
    assert_upstream_problem(&response, "upstream-unreachable", "tls");
}

#[tokio::test]
async fn two_services_at_one_address_do_not_share_trust() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let upstream = Upstream::ok().await;
    let front = ours.in_front_of(upstream.addr, "localhost").await;
    let folder = tempfile::tempdir().unwrap();
    let mut builder = App::builder();
    for (name, authority) in [("ours", &ours), ("theirs", &theirs)] {
        let file = folder.path().join(name);
        std::fs::write(&file, authority.pem()).unwrap();
        let more = format!("ca_file = \"{}\"", file.display());
        let url = format!("https://localhost:{}", front.addr.port());
        builder = builder.service(name, &url, &more);
    }
    let app = builder.set("SERVER__WORKERS", "1").start().await;
    let mut client = Connection::open(app.addr).await;
    for (name, status) in [("ours", 200), ("theirs", 502), ("ours", 200)] {
        let path = format!("/consumer-api/service/{name}/x");
        client.send(format!("GET {path} HTTP/1.1\r\nHost: gate\r\n\r\n")).await;
        assert_eq!(client.response().await.status, status, "{name}");
    }
}

#[tokio::test]
async fn an_upgrade_goes_through_tls() {
    let upstream = Upstream::scripted(|mut peer| async move {
        peer.request().await;
        peer.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
            .await;
        let came = peer.connection.read_until(b"hello").await;
        peer.send(came).await;
        peer.connection.finish_sending().await;
    })
    .await;
    let authority = Authority::new("ours");
    let front = authority.in_front_of(upstream.addr, "localhost").await;
    let app = before("localhost", front.addr.port(), &authority).await;
    let mut client = Connection::open(app.addr).await;
    client
        .send(format!("GET {UP}/ HTTP/1.1\r\nHost: g\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"))
        .await;
    client.read_until(b"\r\n\r\n").await;
    client.send("hello").await;
    client.finish_sending().await;
    assert_eq!(client.rest().await, b"hello");
}
