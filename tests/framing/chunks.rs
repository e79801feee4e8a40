//! Chunked bodies: where they end, and what a broken one becomes.

use super::{Chunked, Refused, Row, Taken, check};
use crate::harness::App;
use crate::harness::http::Connection;
use crate::harness::upstream::a_moment;

const SIZES: &[Row] = &[
    ("two chunks", chunks!("2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"), Taken(Chunked("hello"))),
    ("leading zeros", chunks!("0005\r\nhello\r\n000\r\n\r\n"), Taken(Chunked("hello"))),
    ("letters", chunks!("A\r\n0123456789\r\n0\r\n\r\n"), Taken(Chunked("0123456789"))),
    (
        "what looks like an end",
        chunks!("7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n"),
        Taken(Chunked("\r\n0\r\n\r\n")),
    ),
    ("a sign", chunks!("+5\r\nhello\r\n0\r\n\r\n"), Refused),
    ("negative", chunks!("-5\r\nhello\r\n0\r\n\r\n"), Refused),
    ("0x", chunks!("0x5\r\nhello\r\n0\r\n\r\n"), Refused),
    ("no digit", chunks!("\r\nhello\r\n0\r\n\r\n"), Refused),
    ("an extension alone", chunks!(";x\r\nhello\r\n0\r\n\r\n"), Refused),
    ("not hexadecimal", chunks!("g\r\nhello\r\n0\r\n\r\n"), Refused),
    ("underscore", chunks!("0_5\r\nhello\r\n0\r\n\r\n"), Refused),
    ("a blank before it", chunks!(" 5\r\nhello\r\n0\r\n\r\n"), Refused),
    ("a blank behind it", chunks!("5 \r\nhello\r\n0\r\n\r\n"), Refused),
    ("two sizes", chunks!("5 5\r\nhello\r\n0\r\n\r\n"), Refused),
    ("over 64 bits", chunks!("10000000000000005\r\nhello\r\n0\r\n\r\n"), Refused),
    ("far too many zeros", chunks!("00000000000000005\r\nhello\r\n0\r\n\r\n"), Refused),
    ("LF", chunks!("5\nhello\r\n0\r\n\r\n"), Refused),
    ("CR", chunks!("5\rhello\r\n0\r\n\r\n"), Refused),
    ("NUL", chunks!("5\0\r\nhello\r\n0\r\n\r\n"), Refused),
];

const DATA: &[Row] = &[
    ("no line end behind it", chunks!("5\r\nhello0\r\n\r\n"), Refused),
    ("LF behind it", chunks!("5\r\nhello\n0\r\n\r\n"), Refused),
    ("CR behind it", chunks!("5\r\nhello\r0\r\n\r\n"), Refused),
    ("more than announced", chunks!("5\r\nhello!\r\n0\r\n\r\n"), Refused),
    ("less than announced", chunks!("5\r\nhell\r\n0\r\n\r\n"), Refused),
];

const EXTENSIONS: &[Row] = &[
    ("one", chunks!("5;a=b\r\nhello\r\n0;last\r\n\r\n"), Taken(Chunked("hello"))),
    ("blanks around", chunks!("5 \t; a = \"b;c\"\r\nhello\r\n0\r\n\r\n"), Taken(Chunked("hello"))),
    ("a quote left open", chunks!("5;a=\"\r\nhello\r\n0\r\n\r\n"), Taken(Chunked("hello"))),
    ("LF within", chunks!("5;a\nb\r\nhello\r\n0\r\n\r\n"), Refused),
    ("LF at its end", chunks!("5;a\nhello\r\n0\r\n\r\n"), Refused),
    ("CR within", chunks!("5;a\rb\r\nhello\r\n0\r\n\r\n"), Refused),
    ("NUL within", chunks!("5;a\0\r\nhello\r\n0\r\n\r\n"), Refused),
    ("LF in the last one", chunks!("5\r\nhello\r\n0;\n\r\n\r\n"), Refused),
];

const ENDS: &[Row] = &[
    ("a trailer", chunks!("5\r\nhello\r\n0\r\nX-Later: 1\r\n\r\n"), Taken(Chunked("hello"))),
    (
        "trailers that name framing and identity",
        chunks!(
            "5\r\nhello\r\n0\r\nContent-Length: 9\r\nTransfer-Encoding: x\r\nHost: b\r\nx-tenant-id: b\r\n\r\n"
        ),
        Taken(Chunked("hello")),
    ),
    ("LF for the end", chunks!("5\r\nhello\r\n0\r\n\n"), Refused),
    ("LF behind the last size", chunks!("5\r\nhello\r\n0\n\r\n"), Refused),
    ("LF twice", chunks!("5\r\nhello\r\n0\n\n"), Refused),
    ("LF in a trailer", chunks!("5\r\nhello\r\n0\r\nX: y\n\r\n\r\n"), Refused),
    ("CR in a trailer", chunks!("5\r\nhello\r\n0\r\nX: a\rb\r\n\r\n"), Refused),
    ("NUL in a trailer", chunks!("5\r\nhello\r\n0\r\nX: \0\r\n\r\n"), Refused),
    ("CR and no LF at the end", chunks!("5\r\nhello\r\n0\r\n\r"), Refused),
    ("negative zero", chunks!("5\r\nhello\r\n-0\r\n\r\n"), Refused),
];

#[tokio::test]
async fn a_size_is_a_hexadecimal_number() {
    check(SIZES).await;
}

#[tokio::test]
async fn a_chunk_is_as_long_as_it_says() {
    check(DATA).await;
}

#[tokio::test]
async fn extensions_are_passed_over() {
    check(EXTENSIONS).await;
}

#[tokio::test]
async fn trailers_are_passed_over_up_to_an_empty_line() {
    check(ENDS).await;
}

/// Whether the handler looks at the body at once, later or never.
#[tokio::test]
async fn whoever_sends_a_broken_chunk_has_an_answer() {
    // What is asked of the database first takes a moment.
    let builder = App::builder().set("QUOTAS__BYTES", "1000000");
    let app = builder.set("CONSUMERS__IMAGES__ON_CONFLICT", "reject").start().await;
    let resumable = "Tus-Resumable: 1.0.0\r\nUpload-Length: 10\r\n\
                     Content-Type: application/offset+octet-stream\r\n";
    for (request, fields, status) in [
        ("PUT /upload/42/a.png", "", 400),
        ("POST /tus/42", resumable, 400),
        ("GET /images", "", 200),
        ("POST /webhooks", "Content-Type: application/json\r\n", 400),
    ] {
        let (method, path) = request.split_once(' ').unwrap();
        let head = format!(
            "{method} /consumer-api/service/consumers/customer-images{path} HTTP/1.1\r\nHost: a\r\n\
             x-tenant-id: a\r\n{fields}Transfer-Encoding: chunked\r\n\r\n"
        );
        for later in [false, true, false] {
            let mut connection = Connection::open(app.addr).await;
            if later {
                connection.send(&head).await;
                a_moment().await;
                connection.send("zz\r\n").await;
            } else {
                connection.send(format!("{head}zz\r\n")).await;
            }
            let response = connection.response().await;
            assert_eq!(response.status, status, "{request}: {}", response.text());
            if status == 400 {
                let kind = response.header("content-type").unwrap_or_default();
                assert_eq!(kind, "application/problem+json", "{request}");
            }
            assert_eq!(connection.rest().await, b"", "{request}: it is the connection's last");
        }
    }
}
