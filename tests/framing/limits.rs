//! How large the parts of a request's framing may be.

use crate::harness::App;
use crate::harness::http::Connection;

/// The status that these bytes are answered with, and whether the connection ends.
async fn status(app: &App, bytes: impl AsRef<[u8]>, refused: bool) -> u16 {
    let mut connection = Connection::open(app.addr).await;
    // What is refused may be so before all of it is written.
    let _ = connection.try_send(bytes).await;
    let response = connection.response().await;
    if refused {
        assert_eq!(response.header("connection").as_deref(), Some("close"));
        assert!(connection.rest().await.is_empty());
    } else {
        connection.send("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(connection.response().await.status, 200);
    }
    response.status
}

fn with_fields(fields: &str) -> String {
    format!("GET /healthz HTTP/1.1\r\nHost: a\r\n{fields}\r\n")
}

#[tokio::test]
async fn more_fields_than_96_are_431() {
    let app = App::local().await;
    let fields = |count| (0..count).map(|n| format!("x-{n}: y\r\n")).collect::<String>();
    assert_eq!(status(&app, with_fields(&fields(95)), false).await, 200);
    assert_eq!(status(&app, with_fields(&fields(96)), true).await, 431);
    assert_eq!(status(&app, with_fields(&fields(5000)), true).await, 431);
}

#[tokio::test]
async fn a_head_over_128_kib_is_431_with_an_end_or_without() {
    let app = App::local().await;
    let field = |size: usize| format!("X: {}\r\n", "y".repeat(size));
    assert_eq!(status(&app, with_fields(&field(127 << 10)), false).await, 200);
    assert_eq!(status(&app, with_fields(&field(128 << 10)), true).await, 431);
    assert_eq!(status(&app, with_fields(&field(1 << 20)), true).await, 431);
    let head = "GET /healthz HTTP/1.1\r\nHost: a\r\nX: ";
    let unending = format!("{head}{}", "y".repeat((128 << 10) - head.len()));
    assert_eq!(status(&app, unending, true).await, 431);
    assert_eq!(status(&app, "y".repeat(128 << 10), true).await, 431);
    assert_eq!(status(&app, "\r\n".repeat(64 << 10), true).await, 431);
    // Behind another request as well.
    let mut connection = Connection::open(app.addr).await;
    let both = format!("{}{}", with_fields(""), with_fields(&field(128 << 10)));
    let _ = connection.try_send(both).await;
    assert_eq!(connection.response().await.status, 200);
    assert_eq!(connection.response().await.status, 431);
    assert!(connection.rest().await.is_empty());
}

#[tokio::test]
async fn a_target_over_64_kib_is_400() {
    let app = App::local().await;
    let get = |size: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "p".repeat(size));
    assert_eq!(status(&app, get(60 << 10), false).await, 404);
    assert_eq!(status(&app, get(65 << 10), true).await, 400);
    assert_eq!(status(&app, get(130 << 10), true).await, 431);
}

#[tokio::test]
async fn a_name_over_32_kib_is_400() {
    let app = App::local().await;
    let field = |size: usize| format!("{}: y\r\n", "x".repeat(size));
    assert_eq!(status(&app, with_fields(&field(32 << 10)), false).await, 200);
    for size in [(32 << 10) + 1, 64 << 10, 100 << 10] {
        assert_eq!(status(&app, with_fields(&field(size)), true).await, 400, "{size}");
    }
    assert!(!app.log_text().contains("panic"), "{}", app.log_text());
}

/// An upload in chunks, which these bytes are a part of.
fn upload(chunks: &str) -> String {
    let path = crate::harness::upload::path("42");
    format!(
        "PUT {path}/a.gif HTTP/1.1\r\nHost: a\r\nx-tenant-id: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"
    )
}

#[tokio::test]
async fn an_extension_over_16_kib_is_refused() {
    let app = App::local().await;
    let extension = |size: usize| format!("3;{}\r\nGIF\r\n", "x".repeat(size - 1));
    let long = upload(&format!("{}0\r\n\r\n", extension(16 << 10).repeat(3)));
    assert_eq!(status(&app, long, false).await, 415);
    // The end of the line is not waited for.
    for bytes in [upload(&format!("3;{}", "x".repeat(16 << 10))), upload(&extension(1 << 20))] {
        let mut connection = Connection::open(app.addr).await;
        let _ = connection.try_send(bytes).await;
        assert_eq!(connection.response().await.status, 400);
        assert!(connection.rest().await.is_empty());
    }
}

#[tokio::test]
async fn trailers_over_16_kib_are_refused() {
    let app = App::local().await;
    let body = |trailers: &str| upload(&format!("3\r\nGIF\r\n0\r\n{trailers}"));
    let (line, lines) = (format!("X: {}\r\n", "y".repeat(500)), 16 * 1024 / 503);
    let most = body(&format!("{}\r\n", line.repeat(lines)));
    assert_eq!(status(&app, most, false).await, 415);
    for trailers in [line.repeat(lines + 1), "y".repeat((16 << 10) + 1)] {
        let mut connection = Connection::open(app.addr).await;
        let _ = connection.try_send(body(&trailers)).await;
        assert_eq!(connection.response().await.status, 400);
        assert!(connection.rest().await.is_empty());
    }
}
