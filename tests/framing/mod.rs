//! How a client may frame its requests: each row of a table is sent over a raw socket, with
//! another request right behind it, to the process itself, to a module, and to a remote service.

/// A GET with these fields.
macro_rules! get {
    ($fields:expr) => {
        concat!("GET {path} HTTP/1.1\r\nHost: a\r\nx-tenant-id: a\r\n", $fields, "\r\n\r\n")
    };
}

/// A GET to this host.
macro_rules! host {
    ($host:expr) => {
        concat!("GET {path} HTTP/1.1\r\nHost: ", $host, "\r\nx-tenant-id: a\r\n\r\n")
    };
}

/// A POST with these fields and what follows them.
macro_rules! post {
    ($fields:expr, $body:expr) => {
        concat!("POST {path} HTTP/1.1\r\nHost: a\r\nx-tenant-id: a\r\n", $fields, "\r\n\r\n", $body)
    };
}

/// A POST whose body has this for chunks.
macro_rules! chunks {
    ($body:expr) => {
        post!("Transfer-Encoding: chunked", $body)
    };
}

mod chunks;
mod heads;
mod limits;
mod pipelines;

use crate::harness::App;
use crate::harness::http::Connection;
use crate::harness::upstream::{Recorded, Upstream, a_moment};

/// What is to become of a request.
#[derive(Clone, Copy, Debug)]
enum Outcome {
    /// 400, and the connection ends.
    Refused,
    /// One request, framed like this at a remote service; the next one is understood.
    Taken(Framing),
    /// One request, with which the connection ends.
    Last(Framing),
}

/// A body as a remote service has to see it.
#[derive(Clone, Copy, Debug)]
enum Framing {
    Nothing,
    Length(&'static str),
    Chunked(&'static str),
}

use Framing::{Chunked, Length, Nothing};
use Outcome::{Last, Refused, Taken};

/// A name, what is sent (`{path}` is where it goes), and what is to become of it.
type Row = (&'static str, &'static str, Outcome);

/// Where rows are sent: to the process itself, a module, a remote service.
const PATHS: [&str; 3] =
    ["/healthz", "/consumer-api/service/consumers/x", "/consumer-api/service/up/x"];

/// The request behind each row's.
const NEXT: &str = "GET /healthz HTTP/1.1\r\nHost: a\r\nX-Request-Id: next\r\n\r\n";

/// Sends each row everywhere, whole and in small pieces.
async fn check(rows: &[Row]) {
    let upstream = Upstream::ok().await;
    let app = App::builder().service("up", &upstream.url(""), "").start().await;
    let mut seen = 0;
    for &(name, text, outcome) in rows {
        for path in PATHS {
            for piece in [usize::MAX, 5] {
                let name = format!("{name}, {path}, in pieces of {piece}");
                let bytes = format!("{}{NEXT}", text.replace("{path}", path));
                let mut connection = Connection::open(app.addr).await;
                for piece in bytes.as_bytes().chunks(piece) {
                    // The end may come in between.
                    let _ = connection.try_send(piece).await;
                }
                check_answers(&name, &mut connection, path, outcome).await;
                let requests = upstream.requests();
                check_arrived(&name, &requests[seen..], path, outcome);
                seen = requests.len();
            }
        }
    }
    a_moment().await;
    assert_eq!(upstream.requests().len(), seen, "one came late");
}

async fn check_answers(name: &str, connection: &mut Connection, path: &str, outcome: Outcome) {
    let first = match connection.try_response().await {
        Ok(first) => first,
        Err(failure) => panic!("{name}: {failure}"),
    };
    let is_up = path == PATHS[2];
    let closes = first.header("connection").is_some_and(|value| value == "close");
    if let Refused = outcome {
        // What is wrong only in the body may have been answered before.
        let statuses = if is_up { &[400][..] } else { &[400, 404, 405] };
        assert!(statuses.contains(&first.status), "{name}: {}", first.status);
        if first.status != 400 {
            // Then the client may send on for a while.
            connection.finish_sending().await;
        }
        let rest = connection.rest().await;
        assert!(rest.is_empty(), "{name}: more came: {}", String::from_utf8_lossy(&rest));
        return;
    }
    let statuses = if is_up { &[200][..] } else { &[200, 404, 405] };
    assert!(statuses.contains(&first.status), "{name}: {} {}", first.status, first.text());
    if matches!(outcome, Last(_)) || closes {
        assert!(closes && (!is_up || matches!(outcome, Last(_))), "{name}: {first:?}");
        // Behind an upgrade actix waits for more.
        connection.finish_sending().await;
        let rest = connection.rest().await;
        assert!(rest.is_empty(), "{name}: more came: {}", String::from_utf8_lossy(&rest));
        return;
    }
    let next = connection.try_response().await.unwrap_or_else(|e| panic!("{name}: no next: {e}"));
    assert_eq!(next.status, 200, "{name}");
    assert_eq!(next.header("x-request-id").as_deref(), Some("next"), "{name}");
}

fn check_arrived(name: &str, requests: &[Recorded], path: &str, outcome: Outcome) {
    let framing = match outcome {
        Taken(framing) | Last(framing) if path == PATHS[2] => framing,
        _ => return assert!(requests.is_empty(), "{name}: {requests:?}"),
    };
    let [request] = requests else { panic!("{name}: {requests:?}") };
    assert_eq!(request.target(), "/x", "{name}");
    let bytes = request.fields.iter().flat_map(|field| &field.1);
    assert!(!bytes.clone().any(|b| matches!(b, b'\r' | b'\n' | 0)), "{name}: {request:?}");
    let (length, coding, body) = match framing {
        Nothing => (None, None, ""),
        Length(body) => (Some(body.len().to_string()), None, body),
        Chunked(body) => (None, Some("chunked".to_owned()), body),
    };
    assert_eq!(request.header("content-length"), length, "{name}");
    assert_eq!(request.header("transfer-encoding"), coding, "{name}");
    assert_eq!(String::from_utf8_lossy(&request.body), body, "{name}");
    assert_eq!(request.headers("host").len(), 1, "{name}");
}
