//! A real service behind the gateway: what a client gets is what it would have got without.

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;

use super::{UP, before};
use crate::harness::App;
use crate::harness::http::{Connection, PATIENCE, Request, Response};
use crate::harness::httpbin::Httpbin;

async fn gateway() -> (App, Httpbin) {
    let httpbin = Httpbin::start().await;
    let app = before(&format!("http://{}", httpbin.addr)).await;
    (app, httpbin)
}

/// Asks the service itself and the gateway; `decorate` adds to both requests.
async fn both(
    (app, httpbin): &(App, Httpbin),
    method: &str,
    path: &str,
    decorate: impl Fn(Request) -> Request,
) -> (Response, Response) {
    let direct = decorate(Request::new(method, path)).send(httpbin.addr).await;
    let proxied = decorate(Request::new(method, &format!("{UP}{path}"))).send(app.addr).await;
    (direct, proxied)
}

/// The fields that are not about one connection, one moment or one request.
fn lasting(response: &Response) -> Vec<(String, String)> {
    let ours = ["connection", "date", "x-request-id", "trailer"];
    let fields = response.fields.iter().filter(|(name, _)| !ours.contains(&name.as_str()));
    let mut fields: Vec<_> =
        fields.map(|(n, v)| (n.clone(), String::from_utf8_lossy(v).into_owned())).collect();
    fields.sort();
    fields
}

#[tokio::test]
async fn answers_are_the_services_own() {
    let pair = gateway().await;
    let paths = [
        "/status/418",
        "/status/204",
        "/status/304",
        "/status/503",
        "/bytes/100000?seed=7",
        "/drip?numbytes=20&duration=300ms&delay=100ms&code=206",
        "/encoding/utf8",
        "/html",
        "/image/png",
        "/redirect-to?url=/get%3Fa=b&status_code=307",
        "/response-headers?X-A=1&X-A=2&Content-Language=de",
        "/cookies/set?a=b&c=d",
        "/stream-bytes/30000?seed=7&chunk_size=999",
        "/base64/Z2F0ZWhvdXNl",
        "/no-such-path",
    ];
    for path in paths {
        for method in ["GET", "HEAD"] {
            let (direct, proxied) = both(&pair, method, path, |request| request).await;
            assert_eq!(proxied.status, direct.status, "{method} {path}");
            assert_eq!(lasting(&proxied), lasting(&direct), "{method} {path}");
            assert!(proxied.body == direct.body, "{method} {path}: {}", proxied.text());
        }
    }
}

#[tokio::test]
async fn ranges_and_conditions_are_the_services_business() {
    let pair = gateway().await;
    for range in ["bytes=0-9", "bytes=1000-", "bytes=-5", "bytes=5000-", "bytes=3-1"] {
        let ask = |request: Request| request.header("Range", range);
        let (direct, proxied) = both(&pair, "GET", "/range/1024", ask).await;
        assert_eq!(proxied.status, direct.status, "{range}");
        assert_eq!(lasting(&proxied), lasting(&direct), "{range}");
        assert!(proxied.body == direct.body, "{range}");
    }
    let ask = |request: Request| request.header("If-None-Match", "\"x\"");
    let (direct, proxied) = both(&pair, "GET", "/etag/x", ask).await;
    assert_eq!((direct.status, proxied.status), (304, 304));
    assert_eq!(lasting(&proxied), lasting(&direct));
}

#[tokio::test]
async fn compressed_answers_stay_compressed() {
    let pair = gateway().await;
    for (path, coding, magic) in
        [("/gzip", "gzip", &b"\x1f\x8b"[..]), ("/deflate", "deflate", b"\x78")]
    {
        let accept = |request: Request| request.header("Accept-Encoding", "gzip, deflate");
        let (_, proxied) = both(&pair, "GET", path, accept).await;
        assert_eq!(proxied.header("content-encoding").as_deref(), Some(coding));
        assert!(proxied.body.starts_with(magic), "{:?}", proxied.text());
    }
}

#[tokio::test]
async fn a_request_arrives_as_it_was_sent() {
    let pair = gateway().await;
    let body = "key=one%2Btwo&other=\u{fc}";
    let path = "/anything/a%20b/c;d?x=1&x=2&y=%2F";
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        for chunked in [false, true] {
            let ask = |request: Request| {
                let request = request.header("Content-Type", "text/plain").body(body);
                let request = request.header("X-Twice", "1").header("X-Twice", "2");
                if chunked { request.chunked(5) } else { request }
            };
            let (direct, proxied) = both(&pair, method, path, ask).await;
            let (direct, proxied) = (direct.json(), proxied.json());
            for member in ["args", "data", "files", "form", "json", "method"] {
                assert_eq!(proxied[member], direct[member], "{method} {member}");
            }
            for field in ["Content-Length", "Content-Type", "X-Twice"] {
                assert_eq!(proxied["headers"][field], direct["headers"][field], "{method} {field}");
            }
            let target = |answer: &Value| {
                let url = answer["url"].as_str().unwrap().to_owned();
                url[url.find("/anything").unwrap()..].to_owned()
            };
            assert_eq!(target(&proxied), target(&direct));
        }
    }
}

#[tokio::test]
async fn streams_come_whole_and_one_behind_another() {
    let (app, _httpbin) = &gateway().await;
    let mut client = Connection::open(app.addr).await;
    let mut get = async |path: &str| {
        client.send(Request::get(&format!("{UP}{path}")).head_bytes(app.addr)).await;
        client.response().await
    };
    for _ in 0..2 {
        let lines = get("/stream/20").await.text();
        let ids =
            lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].clone());
        assert!(ids.eq((0..20).map(Value::from)), "{lines}");
        let events = get("/sse?count=5&duration=200ms&delay=0s").await;
        assert!(events.header("content-type").unwrap().starts_with("text/event-stream"));
        assert_eq!(events.text().matches("event: ping\n").count(), 5, "{}", events.text());
        assert_eq!(get("/trailers?X-Sum=1").await.status, 200);
    }
}

#[tokio::test]
async fn its_websocket_answers() {
    let (app, _httpbin) = &gateway().await;
    let stream = TcpStream::connect(app.addr).await.unwrap();
    let url = format!("ws://{}{UP}/websocket/echo", app.addr);
    let (mut socket, _) = client_async(url, stream).await.expect("a handshake");
    for message in [Message::text("Grüße"), Message::binary(vec![7; 50_000])] {
        socket.send(message.clone()).await.unwrap();
        let back = timeout(PATIENCE, socket.next()).await.expect("a message");
        assert!(back.unwrap().unwrap() == message);
    }
    socket.close(None).await.unwrap();
    let end = timeout(PATIENCE, socket.next()).await.expect("an end").unwrap().unwrap();
    assert!(end.is_close(), "{end:?}");
}
