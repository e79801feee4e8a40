//! `consumers` as a remote service, and a gatehouse behind a gatehouse.

use crate::harness::App;
use crate::harness::http::{Connection, Request};
use crate::harness::images;
use crate::harness::multipart::Form;
use crate::harness::problem::assert_problem;
use crate::harness::upload::{self, Expected};
use crate::harness::upstream::{Upstream, a_moment};

#[tokio::test]
async fn a_base_url_in_the_environment_makes_consumers_remote() {
    let upstream = Upstream::ok().await;
    let url = upstream.url("/svc");
    let app = App::builder().env("TR_CONSUMER_SERVICE_BASE_URL", &url).start().await;
    let request = upload::main_job("a.gif", &images::gif(1, 1, 10));
    let response = request.send(app.addr).await;
    assert_eq!((response.status, response.text().as_str()), (200, "ok"));
    let arrived = upstream.request();
    assert_eq!(arrived.target(), "/svc/customer-images/upload/42");
    assert_eq!(arrived.headers("x-tenant-id"), ["acme"]);
    assert_eq!(arrived.body, request.body_bytes());
    app.assert_nothing_stored().await;
}

#[tokio::test]
async fn consumers_needs_a_tenant_when_it_is_remote_too() {
    let upstream = Upstream::ok().await;
    let url = upstream.url("");
    let by_env = App::builder().env("TR_CONSUMER_SERVICE_BASE_URL", &url).start().await;
    let by_file = App::builder().service("consumers", &url, "").start().await;
    for app in [&by_env, &by_file] {
        let path = upload::path("42");
        assert_problem(&Request::post(&path).body("x").send(app.addr).await, "tenant-missing");
        let bad = Request::post(&path).tenant("a/b").body("x");
        assert_problem(&bad.send(app.addr).await, "tenant-invalid");
    }
    assert!(upstream.requests().is_empty());
}

/// A gateway and, behind it, the consumers of another gatehouse.
async fn a_pair() -> (App, App) {
    let back = App::builder().consumers().start().await;
    let url = format!("http://{}/consumers", back.consumers_addr());
    let front = App::builder().env("TR_CONSUMER_SERVICE_BASE_URL", &url).start().await;
    (front, back)
}

#[tokio::test]
async fn an_upload_through_two_gatehouses_is_answered_and_stored_behind_the_second() {
    let (front, back) = a_pair().await;
    let image = images::jpeg(64, 48, 200_000);
    let form = Form::new().text("fileName", "Shown.jpg").file("my cat.jpg", &image);
    let request = form.post(&upload::path("user%40example.com")).tenant("acme");
    let response = request.send(front.addr).await;
    let key = "acme/customer/user@example.com/my cat.jpg";
    let expected = Expected {
        stored_name: key,
        customer: "user@example.com",
        file_name: "Shown.jpg",
        content_type: "image/jpeg",
        image: &image,
        width: 64,
        height: 48,
    };
    expected.check(&response);
    assert_eq!(back.keys().await, [key]);
    assert!(back.object(key).await.0 == image);
    front.assert_nothing_stored().await;

    let put = upload::put("%E7%8C%AB.jpg", &image).chunked(1000).send(front.addr).await;
    assert_eq!(upload::stored_name(&put), "acme/customer/42/\u{732b}.jpg");
}

#[tokio::test]
async fn refusals_come_through_two_gatehouses_as_they_are() {
    let (front, back) = a_pair().await;
    let cases = [
        (upload::main_job("a.gif", b"no image"), "image-unsupported"),
        (upload::main_job("..", &images::gif(1, 1, 1)), "file-name-invalid"),
        (upload::post(&Form::new()), "file-missing"),
        (upload::put("a.gif", &images::gif(0, 0, 1)), "image-invalid"),
        (Request::get(&upload::path("42")).tenant("acme"), "method-not-allowed"),
        (Request::get("/consumer-api/service/consumers/nope").tenant("acme"), "not-found"),
    ];
    for (request, slug) in cases {
        let response = request.header("x-request-id", "one-id").send(front.addr).await;
        assert_problem(&response, slug);
        assert_eq!(response.header("x-request-id").as_deref(), Some("one-id"));
    }
    back.assert_nothing_stored().await;
}

#[tokio::test]
async fn a_client_that_leaves_the_first_leaves_nothing_behind_the_second() {
    let (front, back) = a_pair().await;
    let request = upload::main_job("a.jpg", &images::jpeg(9, 9, 1 << 20));
    let mut connection = Connection::open(front.addr).await;
    connection.send(request.head_bytes(front.addr)).await;
    connection.send(&request.body_bytes()[..600_000]).await;
    a_moment().await;
    drop(connection);
    back.assert_nothing_stored().await;
}

#[tokio::test]
async fn the_listener_of_consumers_serves_only_them_by_the_same_rules() {
    let app = App::builder().consumers().start().await;
    let addr = app.consumers_addr();
    let path = "/consumers/customer-images/upload/42";
    let form = Form::new().file("a.gif", &images::gif(1, 1, 1));
    let response = form.post(path).tenant("acme").send(addr).await;
    assert_eq!(upload::stored_name(&response), "acme/customer/42/a.gif");

    let dots = form.post("/consumers/%2e%2e/x").tenant("acme");
    let customer = form.post("/consumers/customer-images/upload/-").tenant("acme");
    assert_problem(&form.post(path).send(addr).await, "tenant-missing");
    assert_problem(&form.post(path).tenant("../x").send(addr).await, "tenant-invalid");
    assert_problem(&dots.send(addr).await, "path-invalid");
    assert_problem(&customer.send(addr).await, "customer-invalid");
    for elsewhere in
        [upload::path("42"), "/elsewhere".to_owned(), "/customer-images/upload/42".to_owned()]
    {
        let response = form.post(&elsewhere).tenant("acme").send(addr).await;
        assert_eq!(response.status, 404, "{elsewhere}: {}", response.text());
    }
    assert_eq!(app.keys().await, ["acme/customer/42/a.gif"]);
}
