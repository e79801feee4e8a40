//! Requests to remote services: their spans, and what the services are told.

use super::*;
use crate::harness::App;
use crate::harness::collector::{Collector, only};
use crate::harness::http::{Connection, PATIENCE};
use crate::harness::upstream::{BUSY, Upstream, a_moment};

async fn before(collector: &Collector, upstream: &Upstream) -> App {
    collector.builder().service("up", &upstream.url("/base"), "").start().await
}

#[tokio::test]
async fn a_request_goes_on_with_the_trace_of_its_client() {
    for collector in [Collector::grpc().await, Collector::http().await] {
        let upstream = Upstream::ok().await;
        let app = before(&collector, &upstream).await;
        let request = Request::get(&format!("{UP}/x?secret=1")).tenant("acme");
        let request =
            within(request, true).header("tracestate", "rojo=1").header("tracestate", "congo=2");
        let response = request.header("x-request-id", "mine").send(app.addr).await;
        assert_eq!(response.status, 200);

        let spans = collector.trace_of("/up/x", &["GET"]).await;
        let root = only(&spans, "GET /consumer-api/service/{service}/{rest}");
        assert_eq!(
            (root.kind, root.trace.as_str(), root.parent.as_str()),
            ("server", TRACE, PARENT)
        );
        for (key, value) in [
            ("http.request.method", "GET"),
            ("http.route", "/consumer-api/service/{service}/{rest}"),
            ("url.path", "/consumer-api/service/up/x"),
            ("url.scheme", "http"),
            ("http.response.status_code", "200"),
            ("http.response.body.size", "2"),
            ("client.address", "127.0.0.1"),
            ("gatehouse.service", "up"),
            ("gatehouse.tenant", "acme"),
            ("gatehouse.request_id", "mine"),
        ] {
            assert_eq!(root.get(key), value);
        }
        assert_eq!(root.resource["service.name"], "gatehouse");
        assert_eq!(root.resource["service.version"], env!("CARGO_PKG_VERSION"));
        assert!(!root.resource["service.instance.id"].is_empty());
        assert!(!root.is_error);

        let call = only(&spans, "GET");
        assert_eq!((call.kind, &call.parent), ("client", &root.id));
        assert_eq!(call.get("http.response.status_code"), "200");
        assert_eq!(call.get("server.address"), "127.0.0.1");
        assert_eq!(call.get("server.port"), upstream.addr.port().to_string());
        let told = upstream.request();
        let parent = told.header("traceparent").expect("a traceparent");
        assert_eq!(parts(&parent), [TRACE, &call.id, "01"]);
        assert_eq!(told.header("tracestate").as_deref(), Some("rojo=1,congo=2"));
        // The logs can be joined.
        assert_eq!(app.access_line("/up/x").await["trace_id"], TRACE);
    }
}

#[tokio::test]
async fn what_is_no_traceparent_begins_a_trace() {
    let (collector, upstream) = (Collector::grpc().await, Upstream::ok().await);
    let app = before(&collector, &upstream).await;
    let known = format!("00-{TRACE}-{PARENT}-01");
    let wrong = [format!("00-{TRACE}-{PARENT}"), known.to_uppercase(), "x".repeat(10_000)];
    for traceparent in &wrong {
        let request = Request::get(&format!("{UP}/x")).header("traceparent", traceparent);
        assert_eq!(request.send(app.addr).await.status, 200);
    }
    let twice = Request::get(&format!("{UP}/x")).header("traceparent", &known);
    twice.header("traceparent", &known).send(app.addr).await;
    let spans = collector.until(|spans| spans.len() == 8).await;
    let roots: Vec<_> = spans.iter().filter(|span| span.kind == "server").collect();
    assert!(roots.iter().all(|root| root.parent.is_empty() && root.trace != TRACE), "{roots:#?}");
    for told in upstream.requests() {
        let [trace, span, flags] = parts(&told.header("traceparent").expect("one, and valid"));
        let call = spans.iter().find(|call| call.id == span).expect("the span that it names");
        assert_eq!((&call.trace, call.kind, flags.as_str()), (&trace, "client", "01"));
    }
}

#[tokio::test]
async fn a_trace_that_is_not_sampled_is_told_and_not_sent() {
    let (collector, upstream) = (Collector::grpc().await, Upstream::ok().await);
    let builder = collector.builder().set("TELEMETRY__TRACE_SAMPLE_RATIO", "0");
    let app = builder.service("up", &upstream.url(""), "").start().await;
    // None begins here; one of others is sampled if they say so.
    for (request, trace, flags) in [
        (Request::get(&format!("{UP}/begun")), None, "00"),
        (within(Request::get(&format!("{UP}/unsampled")), false), Some(TRACE), "00"),
        (within(Request::get(&format!("{UP}/sampled")), true), Some(TRACE), "01"),
    ] {
        assert_eq!(request.send(app.addr).await.status, 200);
        let told = upstream.requests().pop().unwrap().header("traceparent").expect("a traceparent");
        let [of, span, sampled] = parts(&told);
        assert_eq!(sampled, flags);
        assert_ne!(span, PARENT);
        assert!(trace.is_none_or(|trace| trace == of), "{told}");
    }
    let spans = collector.until(|spans| spans.len() == 2).await;
    assert!(spans.iter().all(|span| span.trace == TRACE), "{spans:#?}");
    a_moment().await;
    assert_eq!(collector.spans().len(), 2);
}

#[tokio::test]
async fn without_a_collector_nothing_is_made_or_changed() {
    let upstream = Upstream::ok().await;
    let app = App::builder().service("up", &upstream.url(""), "").start().await;
    Request::get(&format!("{UP}/x")).send(app.addr).await;
    within(Request::get(&format!("{UP}/y")), true)
        .header("tracestate", "a = b")
        .send(app.addr)
        .await;
    let told = upstream.received(2).await;
    assert_eq!(told[0].header("traceparent"), None);
    assert_eq!(told[1].header("traceparent").unwrap(), format!("00-{TRACE}-{PARENT}-01"));
    assert_eq!(told[1].header("tracestate").as_deref(), Some("a = b"));
    assert!(app.access_line("/up/y").await.get("trace_id").is_none());
}

#[tokio::test]
async fn a_failure_marks_both_spans_and_each_try_has_its_own() {
    let collector = Collector::grpc().await;
    let (busy, down) = (Upstream::answering(BUSY).await, Upstream::ok().await.addr);
    let urls = format!("[services.up]\nurls = [\"{}\", \"{}\"]", busy.url(""), busy.url("/other"));
    let builder = collector.builder().file(&urls);
    let app = builder.service("gone", &format!("http://{down}"), "").start().await;
    assert_eq!(Request::get(&format!("{UP}/x")).send(app.addr).await.status, 503);
    let spans = collector.trace_of("/up/x", &["GET"]).await;
    let spans = match spans.len() {
        3 => spans,
        _ => collector.until(|spans| spans.len() == 3).await,
    };
    let root = spans.iter().find(|span| span.kind == "server").unwrap();
    assert!(root.is_error);
    assert_eq!(root.get("error.type"), "503");
    let mut tries: Vec<_> = spans.iter().filter(|span| span.kind == "client").collect();
    tries.sort_by_key(|call| call.attributes.get("http.request.resend_count"));
    assert!(tries.iter().all(|call| call.is_error && call.parent == root.id), "{tries:#?}");
    assert_eq!(tries[0].attributes.get("http.request.resend_count"), None);
    assert_eq!(tries[1].get("http.request.resend_count"), "1");
    let told: Vec<_> = busy.requests().iter().map(|r| r.header("traceparent").unwrap()).collect();
    let told: Vec<_> = told.iter().map(|told| parts(told)[1].clone()).collect();
    assert_eq!(told, [tries[0].id.clone(), tries[1].id.clone()]);

    let gone = Request::get("/consumer-api/service/gone/x").send(app.addr).await;
    assert_eq!(gone.status, 502);
    let spans = collector.trace_of("/gone/x", &["GET"]).await;
    let root = spans.iter().find(|span| span.kind == "server").unwrap();
    assert!(root.is_error);
    assert_eq!(root.get("error.type"), "upstream-unreachable");
    assert_eq!(root.get("gatehouse.reason"), "refused");
    assert_eq!(only(&spans, "GET").get("error.type"), "refused");
    // The line about it, too, which is written beside the requests.
    let line = async {
        loop {
            let log = app.log_text();
            if let Some(line) = log.lines().find(|line| line.contains("a request failed")) {
                return serde_json::from_str::<serde_json::Value>(line).unwrap();
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let line = tokio::time::timeout(PATIENCE, line).await.expect("a line");
    assert_eq!(line["trace_id"], root.trace.as_str());
}

#[tokio::test]
async fn a_refusal_is_no_error_and_health_is_not_traced() {
    let collector = Collector::grpc().await;
    let app = collector.builder().start().await;
    for path in ["/healthz", "/readyz"] {
        assert_eq!(Request::get(path).send(app.addr).await.status, 200);
    }
    assert_eq!(Request::new("BREW", "/nothing/here").send(app.addr).await.status, 404);
    assert_eq!(Request::get("/problems/not-found").send(app.addr).await.status, 200);
    let spans = collector.until(|spans| spans.len() >= 2).await;
    let refused = only(&spans, "HTTP");
    assert!(!refused.is_error);
    assert_eq!(refused.get("http.request.method"), "_OTHER");
    assert_eq!(refused.get("http.request.method_original"), "BREW");
    only(&spans, "GET /problems/{slug}");
    assert_eq!(spans.len(), 2, "{spans:#?}");
}

#[tokio::test]
async fn a_tunnel_is_told_of_the_trace() {
    const SWITCHED: &str =
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nhello";
    let (collector, upstream) = (Collector::grpc().await, Upstream::answering(SWITCHED).await);
    let app = before(&collector, &upstream).await;
    let mut connection = Connection::open(app.addr).await;
    let request = within(Request::get(&format!("{UP}/tunnel")), true);
    let request = request.header("Connection", "upgrade").header("Upgrade", "echo");
    connection.send(request.head_bytes(app.addr)).await;
    connection.read_until(b"hello").await;
    let told = upstream.request().header("traceparent").expect("a traceparent");
    drop(connection);
    let spans = collector.trace_of("/up/tunnel", &["GET"]).await;
    let call = only(&spans, "GET");
    assert_eq!(parts(&told), [TRACE, &call.id, "01"]);
    assert_eq!(call.get("http.response.status_code"), "101");
}
