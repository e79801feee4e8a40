//! The fields by which the gateway says who asks: no client can forge, double or remove them.

use super::UP;
use crate::harness::App;
use crate::harness::http::Connection;
use crate::harness::problem::assert_problem;
use crate::harness::upstream::{Recorded, Upstream};

/// What arrives for fields that a client sends.
struct Row {
    name: &'static str,
    sent: &'static str,
    tenant: Option<&'static str>,
    /// The request's id; one is made where there is none.
    id: Option<&'static str>,
}

const fn row(name: &'static str, sent: &'static str) -> Row {
    Row { name, sent, tenant: Some("acme"), id: None }
}

const fn without_tenant(name: &'static str, sent: &'static str) -> Row {
    Row { name, sent, tenant: None, id: None }
}

const fn with_id(name: &'static str, sent: &'static str) -> Row {
    Row { name, sent, tenant: None, id: Some("mine") }
}

/// None of these says anything about where the request comes from.
const ROWS: &[Row] = &[
    row("a tenant", "x-tenant-id: acme"),
    row("in other letters", "X-TENANT-Id: acme"),
    row("named in Connection", "Connection: x-tenant-id, close\r\nx-tenant-id: acme"),
    row("named behind it", "x-tenant-id: acme\r\nConnection: close ,\tX-Tenant-Id"),
    row(
        "named in a second Connection",
        "Connection: x\r\nx-tenant-id: acme\r\nConnection: x-tenant-id",
    ),
    row("beside an underscore", "X_Tenant_Id: evil\r\nx-tenant-id: acme"),
    row("beside a mixed one", "x-tenant-id: acme\r\nx-tenant_id: evil\r\nX_TENANT-ID: evil"),
    without_tenant("nothing", "X: y"),
    without_tenant("underscores alone", "X_Tenant_Id: evil\r\nx_tenant-id: evil"),
    without_tenant("an empty tenant", "x-tenant-id:"),
    without_tenant(
        "other fields named",
        "Connection: host, content-length, transfer-encoding, expect",
    ),
    without_tenant(
        "all of ours named",
        "Connection: via, forwarded, x-forwarded-for, x-forwarded-host, x-forwarded-proto, x-request-id, x-tenant-id",
    ),
    without_tenant(
        "in capitals",
        "Connection: VIA, FORWARDED, X-FORWARDED-FOR, X-FORWARDED-HOST, X-FORWARDED-PROTO, HOST, CONTENT-LENGTH",
    ),
    without_tenant("empty options between", "Connection: ,,via,, ,\thost ,"),
    without_tenant("a proxy's credentials", "Proxy-Authorization: Basic x\r\nProxy: http://evil"),
    without_tenant("a trailer's announcement", "Trailer: x-tenant-id, host"),
    with_id("an id", "x-request-id: mine"),
    with_id("an id in other letters", "X-Request-ID: mine"),
    with_id("an id named in Connection", "Connection: x-request-id\r\nx-request-id: mine"),
    with_id(
        "an id beside an underscore",
        "x_request_id: evil\r\nx-request-id: mine\r\nX-Request_Id: evil",
    ),
    without_tenant("an id twice", "x-request-id: mine\r\nX-Request-Id: evil"),
    without_tenant("an id twice the same", "x-request-id: mine\r\nx-request-id: mine"),
    without_tenant("an id with a blank", "x-request-id: a b"),
    without_tenant("an id with quotes beyond ASCII", "x-request-id: \u{201c}x\u{201d}"),
    without_tenant("an empty id", "x-request-id:"),
    without_tenant("an underscore's id alone", "X_Request_Id: evil"),
];

/// What a peer says about whom it speaks for, and what arrives if it is believed: the values of
/// X-Forwarded-For, -Host and -Proto, and whatever stands before our element of Forwarded.
struct Claim {
    name: &'static str,
    sent: &'static str,
    believed: [&'static str; 4],
}

const OURS: [&str; 4] = ["127.0.0.1", "a", "http", ""];

const CLAIMS: &[Claim] = &[
    Claim { name: "nothing", sent: "X: y", believed: OURS },
    Claim {
        name: "all",
        sent: "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Host: e\r\nX-Forwarded-Proto: https\r\nForwarded: for=6.6.6.6",
        believed: ["6.6.6.6, 127.0.0.1", "e", "https", "for=6.6.6.6, "],
    },
    Claim {
        name: "repeated, in other letters",
        sent: "x-forwarded-for: 6.6.6.6\r\nX-FORWARDED-FOR: 7.7.7.7\r\nFORWARDED: for=6.6.6.6\r\nforwarded: for=7.7.7.7",
        believed: ["6.6.6.6, 7.7.7.7, 127.0.0.1", "a", "http", "for=6.6.6.6, for=7.7.7.7, "],
    },
    Claim {
        name: "with underscores",
        sent: "x_forwarded_for: 6.6.6.6\r\nX_Forwarded_Host: e\r\nX-Forwarded_Proto: https",
        believed: OURS,
    },
    Claim { name: "empty", sent: "X-Forwarded-For:\r\nForwarded:", believed: OURS },
    Claim {
        name: "named in Connection",
        sent: "Connection: x-forwarded-for, forwarded, x-forwarded-host, x-forwarded-proto\r\nX-Forwarded-For: 6.6.6.6\r\nForwarded: for=6.6.6.6",
        believed: ["6.6.6.6, 127.0.0.1", "a", "http", "for=6.6.6.6, "],
    },
];

async fn before(trusted: &str) -> (App, Upstream) {
    let upstream = Upstream::ok().await;
    let app = App::builder()
        .file(&format!("[server]\ntrusted_proxies = [{trusted}]"))
        .service("up", &upstream.url(""), "")
        .start()
        .await;
    (app, upstream)
}

/// Posts `hello` with these fields, by its length and in chunks; gives what arrived.
async fn arrived(app: &App, upstream: &Upstream, name: &str, sent: &str) -> [Recorded; 2] {
    let bodies = [
        "Content-Length: 5\r\n\r\nhello",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ];
    for body in bodies {
        let mut connection = Connection::open(app.addr).await;
        connection.send(format!("POST {UP}/x HTTP/1.1\r\nHost: a\r\n{sent}\r\n{body}")).await;
        let response = connection.response().await;
        assert_eq!(response.status, 200, "{name}: {}", response.text());
    }
    let mut requests = upstream.requests();
    requests.split_off(requests.len() - 2).try_into().unwrap()
}

fn is_ours(name: &str) -> bool {
    let name = name.replace('_', "-");
    let ours = ["x-tenant-id", "x-request-id", "via", "forwarded", "host"];
    name.starts_with("x-forwarded-") || ours.contains(&name.as_str())
}

/// What holds whatever was sent.
fn check_always(name: &str, upstream: &Upstream, request: &Recorded) {
    assert_eq!(request.header("host"), Some(upstream.addr.to_string()), "{name}");
    assert_eq!(request.body, b"hello", "{name}");
    let via = request.header("via").unwrap();
    assert_eq!(via.rsplit(", ").next(), Some("1.1 gatehouse"), "{name}");
    let ours = request.fields.iter().filter(|field| is_ours(&field.0));
    assert!(ours.clone().all(|field| !field.0.contains('_')), "{name}: {request:?}");
    let gone = ["proxy", "proxy-authorization", "trailer", "connection", "expect"];
    assert!(request.fields.iter().all(|field| !gone.contains(&field.0.as_str())), "{name}");
    let evil = request.fields.iter().filter(|field| field.1.windows(4).any(|w| w == b"evil"));
    assert_eq!(evil.count(), 0, "{name}: {request:?}");
}

fn check_origin(name: &str, request: &Recorded, [peers, host, scheme, before]: [&str; 4]) {
    assert_eq!(request.headers("x-forwarded-for"), [peers], "{name}");
    assert_eq!(request.headers("x-forwarded-host"), [host], "{name}");
    assert_eq!(request.headers("x-forwarded-proto"), [scheme], "{name}");
    let forwarded = format!("{before}for=127.0.0.1;host=\"a\";proto=http");
    assert_eq!(request.headers("forwarded"), [forwarded], "{name}");
}

#[tokio::test]
async fn tenant_and_id_are_the_gateways_whoever_sends_them() {
    for trusted in ["", "\"127.0.0.0/8\""] {
        let (app, upstream) = before(trusted).await;
        for Row { name, sent, tenant, id } in ROWS {
            for request in arrived(&app, &upstream, name, sent).await {
                check_always(name, &upstream, &request);
                check_origin(name, &request, OURS);
                assert_eq!(request.header("x-tenant-id").as_deref(), *tenant, "{name}");
                let made = request.header("x-request-id").unwrap();
                assert!(id.map_or(made.len() == 36, |id| id == made), "{name}: {made}");
            }
        }
    }
}

#[tokio::test]
async fn where_a_request_comes_from_is_the_gateways_unless_the_peer_is_trusted() {
    let ours = [OURS; CLAIMS.len()];
    let believed: Vec<_> = CLAIMS.iter().map(|claim| claim.believed).collect();
    for (trusted, wanted) in [("", &ours[..]), ("\"127.0.0.1/32\"", &believed[..])] {
        let (app, upstream) = before(trusted).await;
        for (Claim { name, sent, .. }, wanted) in CLAIMS.iter().zip(wanted) {
            for request in arrived(&app, &upstream, name, sent).await {
                check_always(name, &upstream, &request);
                check_origin(name, &request, *wanted);
            }
        }
    }
}

#[tokio::test]
async fn other_forwarded_fields_pass_from_trusted_peers_only() {
    let sent = "X-Forwarded-Port: 443\r\nX-Forwarded-Prefix: /p\r\nX-Forwarded-Ssl: on";
    for (trusted, count) in [("", 0), ("\"127.0.0.1/32\"", 3)] {
        let (app, upstream) = before(trusted).await;
        for request in arrived(&app, &upstream, "others", sent).await {
            let others = ["x-forwarded-port", "x-forwarded-prefix", "x-forwarded-ssl"];
            let passed = others.iter().filter(|name| request.header(name).is_some());
            assert_eq!(passed.count(), count, "{request:?}");
        }
    }
}

#[tokio::test]
async fn a_tenant_is_sent_once_whatever_the_letters() {
    let (app, upstream) = before("").await;
    let twice = [
        "x-tenant-id: acme\r\nX-Tenant-Id: acme",
        "x-tenant-id: acme\r\nX: y\r\nX-TENANT-ID: evil",
        "x-tenant-id:\r\nx-tenant-id: acme",
        "Connection: x-tenant-id\r\nx-tenant-id: acme\r\nx-tenant-id: evil",
        "x-tenant-id: acme, evil",
        "x-tenant-id: acme\tevil",
        "x-tenant-id: \u{ff41}cme",
    ];
    for sent in twice {
        let mut connection = Connection::open(app.addr).await;
        connection.send(format!("GET {UP}/x HTTP/1.1\r\nHost: a\r\n{sent}\r\n\r\n")).await;
        assert_problem(&connection.response().await, "tenant-invalid");
    }
    assert!(upstream.requests().is_empty());
}
