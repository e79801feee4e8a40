//! Chunked bodies: where they end, and what a broken one becomes.

use super::{Chunked, Refused, Row, Taken, check};

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
