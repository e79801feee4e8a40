//! The collector: what it is sent along, and what becomes of requests where it is slow or gone.

use std::time::{Duration, Instant};

use super::*;
use crate::harness::collector::{Collector, only};
use crate::harness::http::Connection;
use crate::harness::metrics::Metrics;
use crate::harness::upload::put;
use crate::harness::upstream::{OK, Upstream};
use crate::harness::{App, port};

const ENDED: &str = "gatehouse_spans_ended_total";
const TAKEN: &str = "gatehouse_spans_exported_total{outcome=\"ok\"}";
const FAILED: &str = "gatehouse_spans_exported_total{outcome=\"failed\"}";

#[tokio::test]
async fn a_stop_sends_the_last_spans() {
    for collector in [Collector::grpc().await, Collector::http().await] {
        // None is sent by itself before.
        let builder = collector.builder().env("OTEL_BSP_SCHEDULE_DELAY", "3600000");
        let mut app = builder.start().await;
        assert_eq!(Request::get("/problems/not-found").send(app.addr).await.status, 200);
        app.access_line("/problems/").await;
        assert_eq!(collector.spans().len(), 0);
        app.signal("TERM");
        assert_eq!(app.ended_within(Duration::from_secs(5)).await.code(), Some(0));
        only(&collector.spans(), "GET /problems/{slug}");
    }
}

#[tokio::test]
async fn a_collector_that_is_down_disturbs_nobody_and_is_told_once() {
    for protocol in ["grpc", "http"] {
        let addr = port::free();
        let upstream = Upstream::ok().await;
        let mut app = App::builder()
            .set("TELEMETRY__OTLP_ENDPOINT", &format!("http://{addr}"))
            .set("TELEMETRY__OTLP_PROTOCOL", protocol)
            .env("OTEL_BSP_SCHEDULE_DELAY", "50")
            .env("OTEL_BSP_MAX_QUEUE_SIZE", "64")
            .env("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "16")
            .service("up", &upstream.url(""), "")
            .operations()
            .start()
            .await;
        let until = Instant::now() + Duration::from_secs(8);
        let mut connection = Connection::open(app.addr).await;
        let mut sent = 0;
        while sent < 2_000 && Instant::now() < until {
            let request = Request::get(&format!("{UP}/x"));
            let begun = Instant::now();
            assert_eq!(connection.exchange(&request, app.addr).await.unwrap().status, 200);
            assert!(begun.elapsed() < Duration::from_secs(2));
            sent += 1;
        }
        let told = |app: &App| app.log_text().matches("traces cannot be sent").count();
        while told(&app) == 0 && Instant::now() < until + Duration::from_secs(30) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(told(&app), 1, "{protocol}: {}", app.log_text());
        assert_eq!(app.log_text().matches("\"WARN\"").count(), 1, "{}", app.log_text());
        // The service's and the client's of each request; the queue holds few of them.
        let all = |metrics: &Metrics| metrics.value(ENDED) >= f64::from(2 * sent);
        let metrics = Metrics::until(&app, all).await;
        let failed = metrics.value(FAILED);
        assert!(failed > 0.0 && failed < metrics.value(ENDED), "{}", metrics.text);
        assert_eq!(metrics.value(TAKEN), 0.0);
        let begun = Instant::now();
        app.signal("TERM");
        assert_eq!(app.ended_within(Duration::from_secs(8)).await.code(), Some(0));
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        assert_eq!(told(&app), 1);
    }
}

#[tokio::test]
async fn a_collector_that_comes_back_is_told_of_what_is_new() {
    let addr = port::free();
    let app = App::builder()
        .set("TELEMETRY__OTLP_ENDPOINT", &format!("http://{addr}"))
        .env("OTEL_BSP_SCHEDULE_DELAY", "50")
        .operations()
        .start()
        .await;
    let until = Instant::now() + Duration::from_secs(40);
    let ask =
        async || assert_eq!(Request::get("/problems/internal").send(app.addr).await.status, 200);
    while !app.log_text().contains("traces cannot be sent") {
        ask().await;
        assert!(Instant::now() < until, "{}", app.log_text());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let collector = Collector::grpc_at(addr).await;
    while !app.log_text().contains("traces can be sent again") {
        ask().await;
        assert!(Instant::now() < until, "{}", app.log_text());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(!collector.spans().is_empty());
    let metrics = Metrics::of(&app).await;
    assert!(metrics.value(TAKEN) > 0.0, "{}", metrics.text);
    assert!(metrics.value(FAILED) > 0.0, "{}", metrics.text);
}

#[tokio::test]
async fn headers_go_along_and_no_secret_does() {
    const HEADERS: &str = "authorization=Bearer%20hush-collector,x-scope=a";
    for collector in [Collector::grpc().await, Collector::http().await] {
        let upstream = Upstream::answering(OK).await;
        let builder = collector.builder().required().set("TELEMETRY__OTLP_HEADERS", HEADERS);
        let builder = builder.env("OTEL_EXPORTER_OTLP_HEADERS", "x-standard=b");
        let app = builder
            .service("up", &upstream.url(""), "upstream_api_key = \"hush-upstream\"")
            .start()
            .await;
        let key = app.key(&["--tenant", "acme", "--scope", "images:write"]);
        let request = Request::get(&format!("{UP}/x?token=hush-query")).bearer(&key);
        let request = request.header("cookie", "hush-cookie").header("user-agent", "hush-agent");
        assert_eq!(request.send(app.addr).await.status, 200);
        let request = put("a.txt", b"hush-content").bearer(&key);
        assert_eq!(request.send(app.addr).await.status, 415);
        let wrong = Request::get(&format!("{UP}/y")).bearer("hush-wrong").send(app.addr).await;
        assert_eq!(wrong.status, 401);
        let spans = collector.until(|spans| spans.len() == 4).await;
        let told = format!("{spans:?}");
        assert!(!told.contains("hush") && !told.contains(&key), "{told}");
        assert!(collector.field("authorization").iter().all(|v| v == "Bearer hush-collector"));
        assert!(!collector.field("authorization").is_empty());
        assert!(collector.field("x-scope").contains(&"a".to_owned()));
        assert!(collector.field("x-standard").contains(&"b".to_owned()));
        let printed = app.run(&["check"]);
        assert!(printed.stdout.contains(collector.endpoint()), "{}", printed.stdout);
        assert!(!printed.stdout.contains("hush") && !app.log_text().contains("hush"));
    }
}

#[test]
fn what_cannot_be_right_stops_the_start() {
    for (key, value, sentence) in [
        ("OTLP_ENDPOINT", "127.0.0.1:4317", "setting telemetry.otlp_endpoint"),
        ("OTLP_PROTOCOL", "udp", "setting telemetry.otlp_protocol"),
        ("OTLP_HEADERS", "nothing", "setting telemetry.otlp_headers"),
        ("OTLP_HEADERS", "x-name=%C3%A9", "setting telemetry.otlp_headers"),
        ("TRACE_SAMPLE_RATIO", "2", "setting telemetry.trace_sample_ratio"),
    ] {
        let ended = App::builder().set(&format!("TELEMETRY__{key}"), value).run(&["check"]);
        assert_eq!(ended.status.code(), Some(2), "{key}");
        assert!(ended.stderr.contains(sentence), "{}", ended.stderr);
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    }
}

#[tokio::test]
async fn only_https_needs_certificate_authorities() {
    let collector = Collector::http().await;
    let app = collector.builder().env("SSL_CERT_FILE", "/dev/null").start().await;
    assert_eq!(Request::get("/problems/not-found").send(app.addr).await.status, 200);
    collector.until(|spans| !spans.is_empty()).await;

    let endpoint = collector.endpoint().replacen("http:", "https:", 1);
    let ended = App::builder()
        .set("TELEMETRY__OTLP_ENDPOINT", &endpoint)
        .env("SSL_CERT_FILE", "/dev/null")
        .run(&["serve"]);
    assert_eq!(ended.status.code(), Some(2));
    let sentence = "setting telemetry.otlp_endpoint is for https, and this system has no certificate authorities";
    assert!(ended.stderr.contains(sentence), "{}", ended.stderr);
}
