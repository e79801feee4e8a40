//! Request lines and fields: what is a request, and where it ends.

use super::{Chunked, Last, Length, Nothing, Refused, Row, Taken, check};

/// `Content-Length`.
const LENGTHS: &[Row] = &[
    ("a length", post!("Content-Length: 5", "hello"), Taken(Length("hello"))),
    ("leading zeros", post!("Content-Length: 005", "hello"), Taken(Length("hello"))),
    ("blanks around it", post!("Content-Length: \t 5\t ", "hello"), Taken(Length("hello"))),
    ("zero", post!("Content-Length: 0", ""), Taken(Length(""))),
    ("other letters", post!("cOnTeNt-lEnGtH: 5", "hello"), Taken(Length("hello"))),
    (
        "a GET with one",
        "GET {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nx-tenant-id: a\r\n\r\nhello",
        Taken(Length("hello")),
    ),
    ("twice the same", post!("Content-Length: 5\r\nContent-Length: 5", "hello"), Refused),
    ("twice, apart", post!("Content-Length: 5\r\nX: y\r\ncontent-length: 0", "hello"), Refused),
    ("a list", post!("Content-Length: 5,5", "hello"), Refused),
    ("hexadecimal", post!("Content-Length: 0x5", "hello"), Refused),
    ("empty", post!("Content-Length:", "hello"), Refused),
    ("blank", post!("Content-Length: \t", "hello"), Refused),
    ("with a sign", post!("Content-Length: +5", "hello"), Refused),
    ("negative zero", post!("Content-Length: -0", ""), Refused),
    ("underscore", post!("Content-Length: 5_0", "hello"), Refused),
    ("a fraction", post!("Content-Length: 5.0", "hello"), Refused),
    ("quoted", post!("Content-Length: \"5\"", "hello"), Refused),
    ("with a parameter", post!("Content-Length: 5;x", "hello"), Refused),
    ("wide digits", post!("Content-Length: \u{ff15}", "hello"), Refused),
    ("two numbers", post!("Content-Length: 5 0", "hello"), Refused),
    ("one over 64 bits", post!("Content-Length: 18446744073709551616", "hello"), Refused),
    ("blank before the colon", post!("Content-Length : 5", "hello"), Refused),
    ("tab before the colon", post!("Content-Length\t: 5", "hello"), Refused),
    (
        "another field's name",
        post!("Content_Length: 7\r\nContent-Length: 5", "hello"),
        Taken(Length("hello")),
    ),
];

/// `Transfer-Encoding`.
const CODINGS: &[Row] = &[
    (
        "chunked",
        post!("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n"),
        Taken(Chunked("hello")),
    ),
    (
        "other letters",
        post!("transfer-encoding: Chunked", "5\r\nhello\r\n0\r\n\r\n"),
        Taken(Chunked("hello")),
    ),
    (
        "blanks around it",
        post!("Transfer-Encoding: \t chunked\t ", "5\r\nhello\r\n0\r\n\r\n"),
        Taken(Chunked("hello")),
    ),
    (
        "another field's name",
        post!("Transfer_Encoding: chunked\r\nContent-Length: 5", "hello"),
        Taken(Length("hello")),
    ),
    (
        "a GET with chunks",
        "GET {path} HTTP/1.1\r\nHost: a\r\nx-tenant-id: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        Taken(Chunked("hello")),
    ),
    ("identity", post!("Transfer-Encoding: identity", ""), Refused),
    (
        "identity and a length",
        post!("Transfer-Encoding: identity\r\nContent-Length: 5", "hello"),
        Refused,
    ),
    (
        "chunked twice",
        post!("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "0\r\n\r\n"),
        Refused,
    ),
    ("a list", post!("Transfer-Encoding: chunked, chunked", "0\r\n\r\n"), Refused),
    ("a list with nothing", post!("Transfer-Encoding: ,chunked", "0\r\n\r\n"), Refused),
    ("behind another", post!("Transfer-Encoding: gzip, chunked", "0\r\n\r\n"), Refused),
    ("with a parameter", post!("Transfer-Encoding: chunked;q=1", "0\r\n\r\n"), Refused),
    ("quoted", post!("Transfer-Encoding: \"chunked\"", "0\r\n\r\n"), Refused),
    ("empty", post!("Transfer-Encoding:", "0\r\n\r\n"), Refused),
    ("form feed behind", post!("Transfer-Encoding: chunked\x0c", "0\r\n\r\n"), Refused),
    ("no-break space before", post!("Transfer-Encoding: \u{a0}chunked", "0\r\n\r\n"), Refused),
    ("blank before the colon", post!("Transfer-Encoding : chunked", "0\r\n\r\n"), Refused),
    ("tab before the colon", post!("Transfer-Encoding\t: chunked", "0\r\n\r\n"), Refused),
    ("folded", post!("Transfer-Encoding:\r\n chunked", "0\r\n\r\n"), Refused),
    (
        "with a length of zero",
        post!("Content-Length: 0\r\nTransfer-Encoding: chunked", "0\r\n\r\n"),
        Refused,
    ),
    (
        "in HTTP/1.0",
        "POST {path} HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        Refused,
    ),
    (
        "in HTTP/1.0 with a length",
        "POST {path} HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        Refused,
    ),
];

/// Ends of lines, and bytes that fields may have.
const BYTES: &[Row] = &[
    ("Latin and UTF-8 in a value", get!("X: caf\u{e9} \u{732b}"), Taken(Nothing)),
    ("a tab in a value", get!("X: a\tb"), Taken(Nothing)),
    ("an empty value", get!("X:"), Taken(Nothing)),
    ("LF behind a field", get!("X: y\nZ: w"), Refused),
    ("LF before a hidden length", get!("X: y\nContent-Length: 5"), Refused),
    ("LF behind the request line", "GET {path} HTTP/1.1\nHost: a\r\n\r\n", Refused),
    ("LF for the empty line", "GET {path} HTTP/1.1\r\nHost: a\r\n\n", Refused),
    ("LF everywhere", "GET {path} HTTP/1.1\nHost: a\n\n", Refused),
    ("CR in a value", get!("X: a\rb"), Refused),
    ("CR before the end of a line", get!("X: a\r"), Refused),
    ("CR in a name", get!("X\r: a"), Refused),
    ("CR alone as the empty line", "GET {path} HTTP/1.1\r\nHost: a\r\n\r", Refused),
    ("NUL in a value", get!("X: a\0b"), Refused),
    ("a control byte in a value", get!("X: a\x01b"), Refused),
    ("DEL in a value", get!("X: a\x7fb"), Refused),
    ("escape in a name", get!("X\x1b: a"), Refused),
    ("a name with a blank", get!("X y: a"), Refused),
    ("a name in brackets", get!("(X): a"), Refused),
    ("a name beyond ASCII", get!("X\u{e9}: a"), Refused),
    ("no name", get!(": a"), Refused),
    ("a line folded by a tab", get!("X: y\r\n\tz"), Refused),
    ("folded before any field", "GET {path} HTTP/1.1\r\n X: y\r\nHost: a\r\n\r\n", Refused),
];

/// `Host`, and the target that may name another one.
const HOSTS: &[Row] = &[
    ("a name", host!("example.com"), Taken(Nothing)),
    ("a name and a port", host!("a-b.example_1:8080"), Taken(Nothing)),
    ("an empty port", host!("a:"), Taken(Nothing)),
    ("an address", host!("127.0.0.1:80"), Taken(Nothing)),
    ("an IPv6 address", host!("[::1]"), Taken(Nothing)),
    ("an IPv6 address and a port", host!("[2001:db8::1]:80"), Taken(Nothing)),
    ("nothing", host!(""), Taken(Nothing)),
    ("a blank within", host!("a b"), Refused),
    ("a tab within", host!("a\tb"), Refused),
    ("a slash", host!("a/b"), Refused),
    ("a backslash", host!("a\\b"), Refused),
    ("a user", host!("user@a"), Refused),
    ("a list", host!("a, b"), Refused),
    ("a list without a blank", host!("a,b"), Refused),
    ("a question mark", host!("a?b"), Refused),
    ("a fragment", host!("a#b"), Refused),
    ("an escape", host!("a%41"), Refused),
    ("a quote", host!("a\"b"), Refused),
    ("markup", host!("<a>"), Refused),
    ("a URL", host!("http://a"), Refused),
    ("a port that is none", host!("a:b"), Refused),
    ("two ports", host!("a:80:80"), Refused),
    ("a port alone", host!(":80"), Refused),
    ("an open bracket", host!("[::1"), Refused),
    ("a closed bracket", host!("::1]"), Refused),
    ("nothing in brackets", host!("[]"), Refused),
    ("no IPv6 address", host!("[x]"), Refused),
    ("beyond ASCII", host!("caf\u{e9}"), Refused),
    ("twice, the second empty", get!("Host:"), Refused),
    ("twice, apart", get!("X: y\r\nhost: a"), Refused),
    ("none", "GET {path} HTTP/1.1\r\nx-tenant-id: a\r\n\r\n", Refused),
    ("none but one in HTTP/1.0", "GET {path} HTTP/1.0\r\nHost: a b\r\n\r\n", Refused),
    (
        "a whole URI",
        "GET http://a{path} HTTP/1.1\r\nHost: a\r\nx-tenant-id: a\r\n\r\n",
        Taken(Nothing),
    ),
    (
        "a whole URI with a port",
        "GET HTTP://A:80{path} HTTP/1.1\r\nx-tenant-id: a\r\nhost: \ta:80 \r\n\r\n",
        Taken(Nothing),
    ),
    ("a whole URI of another host", "GET http://b{path} HTTP/1.1\r\nHost: a\r\n\r\n", Refused),
    ("a whole URI of another port", "GET http://a:81{path} HTTP/1.1\r\nHost: a\r\n\r\n", Refused),
    ("a whole URI with a user", "GET http://u@a{path} HTTP/1.1\r\nHost: a\r\n\r\n", Refused),
    ("a whole URI without Host", "GET http://a{path} HTTP/1.0\r\n\r\n", Refused),
    ("a whole URI without a host", "GET http://{path} HTTP/1.1\r\nHost:\r\n\r\n", Refused),
    ("another scheme", "GET ftp://a{path} HTTP/1.1\r\nHost: a\r\n\r\n", Refused),
];

/// Request lines.
const LINES: &[Row] = &[
    (
        "empty lines in front",
        "\r\n\r\nGET {path} HTTP/1.1\r\nHost: a\r\nx-tenant-id: a\r\n\r\n",
        Taken(Nothing),
    ),
    (
        "a method in small letters",
        "get {path} HTTP/1.1\r\nHost: a\r\nx-tenant-id: a\r\n\r\n",
        Taken(Nothing),
    ),
    ("LF in front", "\nGET {path} HTTP/1.1\r\nHost: a\r\n\r\n", Refused),
    ("CR in front", "\rGET {path} HTTP/1.1\r\nHost: a\r\n\r\n", Refused),
    ("a blank in front", " GET {path} HTTP/1.1\r\nHost: a\r\n\r\n", Refused),
    ("a line of a blank in front", " \r\nGET {path} HTTP/1.1\r\nHost: a\r\n\r\n", Refused),
    ("two blanks behind the method", "GET  {path} HTTP/1.1\r\nHost: a\r\n\r\n", Refused),
    ("two blanks behind the target", "GET {path}  HTTP/1.1\r\nHost: a\r\n\r\n", Refused),
    ("a blank at the end", "GET {path} HTTP/1.1 \r\nHost: a\r\n\r\n", Refused),
    ("tabs for blanks", "GET\t{path}\tHTTP/1.1\r\nHost: a\r\n\r\n", Refused),
    ("a blank in the target", "GET {path} x HTTP/1.1\r\nHost: a\r\n\r\n", Refused),
    ("no method", " {path} HTTP/1.1\r\nHost: a\r\n\r\n", Refused),
    ("no token for a method", "G(T {path} HTTP/1.1\r\nHost: a\r\n\r\n", Refused),
    ("no version", "GET {path}\r\n\r\n", Refused),
    ("HTTP/0.9", "GET {path} HTTP/0.9\r\nHost: a\r\n\r\n", Refused),
    ("HTTP/1.2", "GET {path} HTTP/1.2\r\nHost: a\r\n\r\n", Refused),
    ("HTTP/1.10", "GET {path} HTTP/1.10\r\nHost: a\r\n\r\n", Refused),
    ("HTTP/01.1", "GET {path} HTTP/01.1\r\nHost: a\r\n\r\n", Refused),
    ("HTTP/1", "GET {path} HTTP/1\r\nHost: a\r\n\r\n", Refused),
    ("HTTP/2.0", "GET {path} HTTP/2.0\r\nHost: a\r\n\r\n", Refused),
    ("small letters", "GET {path} http/1.1\r\nHost: a\r\n\r\n", Refused),
    ("a fragment", "GET {path}#x HTTP/1.1\r\nHost: a\r\n\r\n", Refused),
    ("a fragment behind a query", "GET {path}?y#x HTTP/1.1\r\nHost: a\r\n\r\n", Refused),
    ("no slash in front", "GET x{path} HTTP/1.1\r\nHost: a\r\n\r\n", Refused),
    ("a backslash in front", "GET \\{path} HTTP/1.1\r\nHost: a\r\n\r\n", Refused),
    ("an authority", "GET a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", Refused),
    ("an asterisk", "GET * HTTP/1.1\r\nHost: a\r\n\r\n", Refused),
    ("a byte beyond ASCII", "GET {path}\u{e9}\u{ff} \r\nHost: a\r\n\r\n", Refused),
    ("NUL in the target", "GET {path}\0 HTTP/1.1\r\nHost: a\r\n\r\n", Refused),
];

/// `Upgrade`, of which actix understands one that overrides the framing, and `Connection`.
const UPGRADES: &[Row] = &[
    ("a websocket", get!("Connection: Upgrade\r\nUpgrade: websocket"), Last(Nothing)),
    ("in other letters", get!("UPGRADE: \tWebSocket \r\nconnection:UPGRADE"), Last(Nothing)),
    ("the field alone", get!("Upgrade: websocket"), Last(Nothing)),
    ("the second one", get!("Upgrade: x\r\nUpgrade: websocket\r\nConnection: x"), Last(Nothing)),
    (
        "with a length",
        post!("Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 5", "hello"),
        Last(Length("hello")),
    ),
    (
        "with a length of zero",
        post!("Content-Length: 0\r\nConnection: upgrade\r\nUpgrade: websocket", ""),
        Last(Length("")),
    ),
    (
        "with chunks",
        post!(
            "Connection: upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked",
            "5\r\nhello\r\n0\r\n\r\n"
        ),
        Last(Chunked("hello")),
    ),
    (
        "with both",
        post!(
            "Upgrade: websocket\r\nTransfer-Encoding: chunked\r\nContent-Length: 5",
            "5\r\nhello\r\n0\r\n\r\n"
        ),
        Refused,
    ),
    (
        "alone with a length",
        post!("Upgrade: websocket\r\nContent-Length: 5", "hello"),
        Last(Length("hello")),
    ),
    ("the option alone", get!("Connection: Upgrade"), Last(Nothing)),
    (
        "the option alone with a length",
        post!("Connection: Upgrade\r\nContent-Length: 5", "hello"),
        Last(Length("hello")),
    ),
    ("another field's name", get!("Upgrade-Insecure-Requests: 1"), Taken(Nothing)),
    ("an unknown protocol", get!("Connection: Upgrade\r\nUpgrade: x/1"), Last(Nothing)),
    (
        "an unknown protocol with chunks",
        post!(
            "Connection: Upgrade\r\nUpgrade: x\r\nTransfer-Encoding: chunked",
            "5\r\nhello\r\n0\r\n\r\n"
        ),
        Last(Chunked("hello")),
    ),
    (
        "HTTP/2",
        get!("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk"),
        Last(Nothing),
    ),
    ("close", get!("Connection: close"), Last(Nothing)),
    ("close among others", get!("Connection: x, Close"), Last(Nothing)),
    (
        "close and a length",
        post!("Connection: close\r\nContent-Length: 5", "hello"),
        Last(Length("hello")),
    ),
];

#[tokio::test]
async fn a_length_is_a_number_and_stands_once() {
    check(LENGTHS).await;
}

#[tokio::test]
async fn the_only_coding_is_chunked_and_stands_once() {
    check(CODINGS).await;
}

#[tokio::test]
async fn lines_end_in_crlf_and_hold_no_control_bytes() {
    check(BYTES).await;
}

#[tokio::test]
async fn one_host_is_named_and_is_one() {
    check(HOSTS).await;
}

#[tokio::test]
async fn a_request_line_has_three_words() {
    check(LINES).await;
}

#[tokio::test]
async fn an_upgrade_does_not_change_where_a_request_ends() {
    check(UPGRADES).await;
}
