//! `/metrics`: what is told, where, and that it is what happened.

use std::time::Duration;

use serde_json::json;

use crate::harness::http::{Connection, Request};
use crate::harness::images;
use crate::harness::metrics::Metrics;
use crate::harness::multipart::Form;
use crate::harness::problem::assert_problem;
use crate::harness::redis::Redis;
use crate::harness::upload::{self, UPLOAD};
use crate::harness::upstream::Upstream;
use crate::harness::{App, port};

const DURATION: &str = "http_server_request_duration_seconds_count";

#[tokio::test]
async fn metrics_are_told_on_the_listener_of_operations_only() {
    let app = App::builder().operations().consumers().start().await;
    assert_problem(&Request::get("/metrics").send(app.addr).await, "not-found");
    let consumers = Request::get("/metrics").send(app.consumers_addr()).await;
    assert_problem(&consumers, "service-not-found");
    let operations = app.operations_addr();
    for path in ["/healthz", "/readyz", "/problems/internal"] {
        assert_eq!(Request::get(path).send(operations).await.status, 200, "{path}");
    }
    let posted = Request::post("/metrics").send(operations).await;
    assert_problem(&posted, "method-not-allowed");
    assert_eq!(posted.header("allow").as_deref(), Some("GET, HEAD"));
    let upload = upload::main_job("a.jpg", &images::jpeg(9, 9, 100));
    assert_problem(&upload.send(operations).await, "not-found");
    let metrics = Metrics::of(&app).await;
    let build = format!("gatehouse_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    assert_eq!(metrics.value(&build), 1.0);
    for of_process in ["process_resident_memory_bytes", "process_open_fds"] {
        assert!(metrics.value(of_process) > 0.0, "{of_process}");
    }
}

/// Waits until one request is being answered.
async fn under_way(app: &App) {
    Metrics::until(app, |metrics| metrics.value("http_server_active_requests") == 1.0).await;
}

#[tokio::test]
async fn uploads_are_counted_by_how_they_came_and_what_they_came_to() {
    let app = App::builder().operations().start().await;
    let image = images::jpeg(9, 9, 5000);
    assert_eq!(upload::main_job("a.jpg", &image).send(app.addr).await.status, 201);
    assert_eq!(upload::put("b.jpg", &image).send(app.addr).await.status, 201);
    assert_eq!(upload::put("b.jpg", b"no image").send(app.addr).await.status, 415);
    let mut leaving = Connection::open(app.addr).await;
    let request = upload::put("c.jpg", &image);
    leaving.send(request.head_bytes(app.addr)).await;
    leaving.send(&request.body_bytes()[..100]).await;
    under_way(&app).await;
    drop(leaving);
    let left = "gatehouse_uploads_total{method=\"raw\",outcome=\"broken-off\"}";
    let metrics = Metrics::until(&app, |metrics| metrics.value(left) > 0.0).await;
    for (sample, count) in [
        ("gatehouse_uploads_total{method=\"form\",outcome=\"stored\"}", 1.0),
        ("gatehouse_uploads_total{method=\"raw\",outcome=\"stored\"}", 1.0),
        ("gatehouse_uploads_total{method=\"raw\",outcome=\"image-unsupported\"}", 1.0),
        (left, 1.0),
        ("gatehouse_upload_size_bytes_sum{method=\"raw\"}", image.len() as f64),
        ("gatehouse_upload_size_bytes_bucket{method=\"form\",le=\"16384\"}", 1.0),
        ("gatehouse_upload_size_bytes_bucket{method=\"form\",le=\"4096\"}", 0.0),
    ] {
        assert_eq!(metrics.value(sample), count, "{sample}: {}", metrics.text);
    }
    let of_store = "gatehouse_storage_operation_duration_seconds_count";
    let finished = format!("{of_store}{{operation=\"finish\",outcome=\"ok\"}}");
    assert_eq!(metrics.value(&finished), 2.0);
    let written = "db_client_operation_duration_seconds_count{db_operation_name=\"write\"}";
    assert!(metrics.value(written) > 0.0);
}

#[tokio::test]
async fn resumable_and_direct_uploads_are_counted_at_their_end() {
    let app = App::builder().operations().start().await;
    let (image, base) =
        (images::jpeg(9, 9, 3000), "/consumer-api/service/consumers/customer-images");
    let tus = |request: Request| request.tenant("acme").header("tus-resumable", "1.0.0");
    let created = tus(Request::post(&format!("{base}/tus/42")))
        .header("upload-length", image.len().to_string())
        .header("upload-metadata", "filename YS5qcGc=")
        .send(app.addr)
        .await;
    assert_eq!(created.status, 201, "{}", created.text());
    let place = format!("{base}/tus/{}", created.header("location").unwrap());
    for (from, to) in [(0, 1000), (1000, image.len())] {
        let patched = tus(Request::new("PATCH", &place))
            .header("upload-offset", from.to_string())
            .header("content-type", "application/offset+octet-stream")
            .body(&image[from..to])
            .send(app.addr)
            .await;
        assert_eq!(patched.status, 204, "{}", patched.text());
    }
    let asked = json!({ "fileName": "b.jpg", "contentType": "image/jpeg", "size": image.len() });
    let opened = Request::post(&format!("{base}/direct-uploads/42")).tenant("acme");
    let opened = opened.header("content-type", "application/json");
    let opened = opened.body(asked.to_string()).send(app.addr).await;
    let complete = format!("{base}/direct-uploads/{}", opened.json()["uploadId"].as_str().unwrap());
    let complete = || Request::post(&format!("{complete}/complete")).tenant("acme");
    assert_problem(&complete().send(app.addr).await, "upload-conflict");
    let url = opened.json()["url"].as_str().unwrap().to_owned();
    let path = &url[url.find("/signed/").unwrap()..];
    let headers = opened.json()["headers"].as_object().unwrap().clone();
    let put = headers.iter().filter(|(name, _)| *name != "content-length");
    let put = put
        .fold(Request::put(path), |put, (name, value)| put.header(name, value.as_str().unwrap()));
    let put = put.body(image).send(app.addr).await;
    assert_eq!(put.status, 200, "{}", put.text());
    let completed = complete().send(app.addr).await;
    assert_eq!(completed.status, 201, "{}", completed.text());
    let metrics = Metrics::of(&app).await;
    // A completion that comes too early is no end.
    for (method, outcome, count) in [
        ("resumable", "stored", 1.0),
        ("direct", "stored", 1.0),
        ("direct", "upload-conflict", 0.0),
    ] {
        let sample =
            format!("gatehouse_uploads_total{{method=\"{method}\",outcome=\"{outcome}\"}}");
        assert_eq!(metrics.value(&sample), count, "{sample}: {}", metrics.text);
    }
}

#[tokio::test]
async fn requests_and_problems_are_counted_by_service() {
    let upstream = Upstream::ok().await;
    let dead = format!("http://{}", port::free());
    let app = App::builder()
        .operations()
        .service("up", &upstream.url(""), "")
        .service("dead", &dead, "circuit = { failures = 1, open_for = \"60s\" }")
        .start()
        .await;
    let of = |service: &str| Request::get(&format!("/consumer-api/service/{service}/x"));
    assert_eq!(of("up").send(app.addr).await.status, 200);
    assert_eq!(Request::new("BREW", "/consumer-api/service/up/x").send(app.addr).await.status, 200);
    assert_problem(&of("dead").send(app.addr).await, "upstream-unreachable");
    assert_problem(&of("dead").send(app.addr).await, "upstream-unavailable");
    assert_problem(&of("nobody").send(app.addr).await, "service-not-found");
    let request = |service: &str, method: &str, class: &str| {
        format!(
            "{DURATION}{{http_request_method=\"{method}\",http_response_status_class=\"{class}\",service=\"{service}\"}}"
        )
    };
    let all = |metrics: &Metrics| metrics.sum(DURATION) == 5.0;
    let metrics = Metrics::until(&app, all).await;
    for (sample, count) in [
        (request("up", "GET", "2xx"), 1.0),
        (request("up", "_OTHER", "2xx"), 1.0),
        (request("dead", "GET", "5xx"), 2.0),
        (request("", "GET", "4xx"), 1.0),
        (problem("dead", "upstream-unreachable", "refused"), 1.0),
        (problem("dead", "upstream-unavailable", "circuit-open"), 1.0),
        (problem("", "service-not-found", ""), 1.0),
        (asked("up", "2xx"), 2.0),
        (asked("dead", "refused"), 1.0),
        (asked("dead", "circuit-open"), 1.0),
        (instance("gatehouse_upstream_up", "up", &upstream.url("")), 1.0),
        (instance("gatehouse_upstream_up", "dead", &dead), 0.0),
        (instance("gatehouse_upstream_failures_total", "dead", &dead), 1.0),
        ("http_server_active_requests".to_owned(), 0.0),
    ] {
        assert_eq!(metrics.samples.get(&sample), Some(&count), "{sample}: {}", metrics.text);
    }
}

fn problem(service: &str, problem: &str, reason: &str) -> String {
    format!(
        "gatehouse_problems_total{{problem=\"{problem}\",reason=\"{reason}\",service=\"{service}\"}}"
    )
}

fn asked(service: &str, outcome: &str) -> String {
    format!(
        "http_client_request_duration_seconds_count{{outcome=\"{outcome}\",service=\"{service}\"}}"
    )
}

fn instance(name: &str, service: &str, url: &str) -> String {
    format!("{name}{{service=\"{service}\",upstream=\"{url}\"}}")
}

#[tokio::test]
async fn refusals_are_counted() {
    let mut redis = Redis::start().await;
    let app = App::builder()
        .operations()
        .required()
        .set("RATE_LIMITS__REDIS_URL", &redis.url())
        .file("[rate_limits]\nwrites = { per_second = 0.01, burst = 1 }\n[quotas]\nimages = 0")
        .start()
        .await;
    let key = app.key(&["--tenant", "acme", "--scope", "images:write"]);
    let upload = upload::main_job("a.jpg", &images::jpeg(9, 9, 100));
    assert_problem(&upload.clone().bearer("nonsense").send(app.addr).await, "unauthenticated");
    assert_problem(&upload.clone().bearer(&key).send(app.addr).await, "quota-exceeded");
    assert_problem(&upload.clone().bearer(&key).send(app.addr).await, "rate-limited");
    redis.stop();
    upload.bearer(&key).send(app.addr).await;
    let fallbacks = "gatehouse_rate_limit_fallbacks_total";
    let metrics = Metrics::until(&app, |metrics| metrics.value(fallbacks) > 0.0).await;
    assert_eq!(metrics.sum("gatehouse_credential_refusals_total"), 1.0, "{}", metrics.text);
    assert!(metrics.value("gatehouse_rate_limited_total{class=\"writes\"}") >= 1.0);
    assert_eq!(metrics.value("gatehouse_rate_limited_total{class=\"reads\"}"), 0.0);
    assert!(metrics.value(&problem("consumers", "quota-exceeded", "")) >= 1.0);
}

#[tokio::test]
async fn what_stands_in_the_database_is_told() {
    for builder in [App::builder(), App::builder().postgres().await] {
        let app = builder
            .operations()
            .set("CONSUMERS__WORKERS__ENABLED", "false")
            .file("[consumers.steps.look]\nkind = \"exif\"")
            .start()
            .await;
        let image = images::gif(3, 2, 100);
        for name in ["a.gif", "b.gif"] {
            let stored = upload::put(name, &image).send(app.addr).await;
            assert_eq!(stored.status, 201, "{}", stored.text());
        }
        // It is asked when the server starts and then by and by, and what it said grows old meanwhile.
        let age = |metrics: &Metrics| metrics.value("gatehouse_database_gauges_age_seconds") >= 1.0;
        Metrics::until(&app, age).await;
        let images = |metrics: &Metrics| metrics.value("gatehouse_images") == 2.0;
        let metrics = Metrics::until(&app, images).await;
        assert_eq!(metrics.value("gatehouse_images_bytes"), 2.0 * image.len() as f64);
        assert_eq!(metrics.value("gatehouse_events"), 2.0);
        assert_eq!(metrics.value("gatehouse_unfinished_changes{state=\"abandoned\"}"), 0.0);
        let waiting = "gatehouse_jobs{queue=\"images\",state=\"waiting\"}";
        assert_eq!(metrics.value(waiting), 2.0, "{}", metrics.text);
        let oldest = "gatehouse_jobs_oldest_age_seconds{queue=\"images\",state=\"waiting\"}";
        assert!(metrics.value(oldest) < 60.0);
        assert!(metrics.sum("gatehouse_database_connections") >= 1.0, "{}", metrics.text);
    }
}

#[tokio::test]
async fn runs_of_jobs_are_counted() {
    let app =
        App::builder().operations().file("[consumers.steps.look]\nkind = \"exif\"").start().await;
    upload::put("a.gif", &images::gif(3, 2, 100)).send(app.addr).await;
    let done = "gatehouse_job_run_duration_seconds_count{outcome=\"done\",queue=\"images\"}";
    Metrics::until(&app, |metrics| metrics.value(done) == 1.0).await;
}

#[tokio::test]
async fn the_memory_that_uploads_hold_is_told() {
    let app = App::builder().minio().await.operations().start().await;
    let request = upload::put("a.jpg", &images::jpeg(9, 9, 4_000_000));
    let body = request.body_bytes();
    let mut connection = Connection::open(app.addr).await;
    connection.send(request.head_bytes(app.addr)).await;
    connection.send(&body[..3_900_000]).await;
    let used = |metrics: &Metrics| metrics.value("gatehouse_upload_memory_bytes{state=\"used\"}");
    let metrics = Metrics::until(&app, |metrics| used(metrics) >= 3_900_000.0).await;
    assert_eq!(metrics.value("gatehouse_connections"), 1.0);
    assert_eq!(metrics.value("gatehouse_upload_memory_bytes{state=\"limit\"}"), 268_435_456.0);
    connection.send(&body[3_900_000..]).await;
    assert_eq!(connection.response().await.status, 201);
    Metrics::until(&app, |metrics| used(metrics) == 0.0).await;
}

#[tokio::test]
async fn no_label_tells_a_tenant_a_customer_a_name_or_a_path() {
    let app = App::builder().operations().start().await;
    let form = Form::new().file("veryown.jpg", &images::jpeg(9, 9, 100));
    let request = form.post(&format!("{UPLOAD}/customer-4711")).tenant("tenant-4711");
    assert_eq!(request.send(app.addr).await.status, 201);
    let other = Request::new("X4711", "/4711/x").tenant("tenant-4711").send(app.addr).await;
    assert_eq!(other.status, 404);
    let unknown = Request::get("/consumer-api/service/s4711/x").send(app.addr).await;
    assert_eq!(unknown.status, 404);
    let counted = |metrics: &Metrics| metrics.sum(DURATION) == 3.0;
    let metrics = Metrics::until(&app, counted).await;
    for told in ["4711", "veryown"] {
        assert!(!metrics.text.contains(told), "{told}: {}", metrics.text);
    }
}

#[tokio::test]
async fn metrics_are_told_until_the_end_of_a_stop() {
    let mut app = App::builder().operations().start().await;
    let request = upload::put("a.jpg", &images::jpeg(9, 9, 100_000));
    let body = request.body_bytes();
    let mut connection = Connection::open(app.addr).await;
    connection.send(request.head_bytes(app.addr)).await;
    connection.send(&body[..50_000]).await;
    under_way(&app).await;
    app.signal("TERM");
    while Request::get("/readyz").send(app.operations_addr()).await.status != 503 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(Metrics::of(&app).await.value("http_server_active_requests") == 1.0);
    connection.send(&body[50_000..]).await;
    assert_eq!(connection.response().await.status, 201);
    let status = app.ended_within(Duration::from_secs(5)).await;
    assert_eq!(status.code(), Some(0), "{}", app.log_text());
}
