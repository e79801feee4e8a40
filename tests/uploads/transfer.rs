//! The ways in which HTTP carries an upload: chunks, pieces, boundaries, expectations, reuse.

use std::time::Duration;

use crate::harness::App;
use crate::harness::http::{Connection, Request};
use crate::harness::images;
use crate::harness::multipart::Form;
use crate::harness::problem::assert_problem;
use crate::harness::upload::{self, stored_name};

#[tokio::test]
async fn chunks_of_any_size_carry_a_form_and_a_raw_body() {
    let app = App::local().await;
    let image = images::jpeg(30, 20, 3000);
    for size in [1, 2, 3, 7, 64, 1000, 100_000] {
        let form = upload::main_job("a.jpg", &image).chunked(size);
        let response = form.send(app.addr).await;
        assert_eq!(response.status, 201, "{size}: {}", response.text());
        assert_eq!(response.json()["size"], image.len());
        let raw = upload::put("b.jpg", &image).chunked(size).send(app.addr).await;
        assert_eq!(raw.status, 201, "{size}: {}", raw.text());
        assert!(app.object("acme/customer/42/a.jpg").await.0 == image, "{size}");
        assert!(app.object("acme/customer/42/b.jpg").await.0 == image, "{size}");
    }
}

#[tokio::test]
async fn a_form_that_comes_byte_by_byte_is_read_like_one_that_comes_at_once() {
    let app = App::local().await;
    let image = images::gif(3, 2, 40);
    let request = upload::main_job("a.gif", &image);
    let mut connection = Connection::open(app.addr).await;
    connection.send(request.head_bytes(app.addr)).await;
    for byte in request.body_bytes() {
        connection.send([byte]).await;
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
    let response = connection.response().await;
    assert_eq!(stored_name(&response), "acme/customer/42/a.gif");
    assert!(app.object("acme/customer/42/a.gif").await.0 == image);
}

#[tokio::test]
async fn what_looks_almost_like_a_boundary_is_content() {
    let app = App::local().await;
    let boundary = "frontier";
    let almost: [&[u8]; 9] = [
        b"\r\n--frontie",
        b"\r\n--frontieR",
        b"--frontier\r\n",
        b"--frontier--\r\n",
        b"\r\n-frontier",
        b"\r\r\n--fronti\r\n--front",
        b"\n--frontier\r\n",
        b"\r--frontier--",
        b"\r\n",
    ];
    for (number, tail) in almost.iter().enumerate() {
        for size in [1, 5, 100_000] {
            let mut image = images::gif(3, 2, 40);
            image.extend(*tail);
            let form = Form::with_boundary(boundary).file("a.gif", &image);
            let request = upload::post(&form).chunked(size);
            let response = request.send(app.addr).await;
            assert_eq!(response.status, 201, "tail {number}: {}", response.text());
            let stored = app.object("acme/customer/42/a.gif").await.0;
            assert!(stored == image, "tail {number} in chunks of {size}");
        }
    }
}

#[tokio::test]
async fn boundaries_of_one_to_seventy_characters_are_read() {
    let app = App::local().await;
    let image = images::gif(3, 2, 40);
    let longest = "b".repeat(70);
    for boundary in ["x", "-", "--", "a'()+_,-./:=?b", "two words", longest.as_str()] {
        let form = Form::with_boundary(boundary).file("a.gif", &image);
        let response = upload::post(&form).send(app.addr).await;
        assert_eq!(response.status, 201, "{boundary}: {}", response.text());
        assert!(app.object("acme/customer/42/a.gif").await.0 == image, "{boundary}");
    }
}

#[tokio::test]
async fn the_content_type_is_read_whatever_its_case_and_spacing() {
    let app = App::local().await;
    let form = Form::with_boundary("aBc").file("a.gif", &images::gif(3, 2, 40));
    for kind in [
        "Multipart/Form-Data; Boundary=aBc",
        "multipart/form-data;boundary=\"aBc\"",
        "multipart/form-data ; charset=utf-8 ; boundary=aBc",
    ] {
        let request = Request::post(&upload::path("42"));
        let request = request.tenant("acme").header("Content-Type", kind).body(form.body());
        let response = request.send(app.addr).await;
        assert_eq!(response.status, 201, "{kind}: {}", response.text());
    }
}

#[tokio::test]
async fn a_client_that_waits_for_100_continue_gets_it() {
    let app = App::local().await;
    let image = images::jpeg(30, 20, 3000);
    let request = upload::main_job("a.jpg", &image).header("Expect", "100-continue");
    let mut connection = Connection::open(app.addr).await;
    connection.send(request.head_bytes(app.addr)).await;
    let interim = connection.read_until(b"\r\n\r\n").await;
    assert!(interim.starts_with(b"HTTP/1.1 100 "), "{:?}", String::from_utf8_lossy(&interim));
    connection.send(request.body_bytes()).await;
    let response = connection.response().await;
    assert_eq!(stored_name(&response), "acme/customer/42/a.jpg");
}

#[tokio::test]
async fn a_client_that_waits_is_refused_without_being_asked_for_the_body() {
    let app = App::local().await;
    let image = images::jpeg(30, 20, 3000);
    let form = Form::new().file("a.jpg", &image);
    let put =
        |customer: &str| Request::put(&format!("{}/a.jpg", upload::path(customer))).tenant("acme");
    for (request, problem) in [
        (form.post(&upload::path("42")), "tenant-missing"),
        (form.post(&upload::path("-")).tenant("acme"), "customer-invalid"),
        (put("%2d").claiming(9), "customer-invalid"),
        (put("42").claiming(64 << 20), "too-large"),
        (put("42").claiming(9).header("Content-Encoding", "gzip"), "media-type-unsupported"),
    ] {
        let request = request.header("Expect", "100-continue");
        let mut connection = Connection::open(app.addr).await;
        connection.send(request.head_bytes(app.addr)).await;
        let response = connection.response().await;
        assert_problem(&response, problem);
        assert_eq!(response.interim, Vec::<u16>::new(), "{problem}");
    }
}

#[tokio::test]
async fn one_connection_carries_many_uploads_and_refusals() {
    let app = App::local().await;
    let image = images::jpeg(30, 20, 3000);
    let mut connection = Connection::open(app.addr).await;
    for round in 0..20 {
        let name = format!("{round}.jpg");
        let request = upload::main_job(&name, &image);
        let response = connection.exchange(&request, app.addr).await.unwrap();
        assert_eq!(stored_name(&response), format!("acme/customer/42/{name}"));
        // Refused only once its body has been read, so that the connection can go on.
        let request = upload::main_job(&name, b"no image");
        let response = connection.exchange(&request, app.addr).await.unwrap();
        assert_eq!(response.status, 415, "{}", response.text());
        if response.header("connection").as_deref() == Some("close") {
            connection = Connection::open(app.addr).await;
        }
    }
    assert_eq!(app.keys().await.len(), 20);
}

#[tokio::test]
async fn pipelined_uploads_are_answered_in_their_order() {
    let app = App::local().await;
    let mut bytes = Vec::new();
    for name in ["1.gif", "2.gif", "3.gif"] {
        let request = upload::main_job(name, &images::gif(3, 2, 40));
        bytes.extend(request.head_bytes(app.addr));
        bytes.extend(request.body_bytes());
    }
    let mut connection = Connection::open(app.addr).await;
    connection.send(bytes).await;
    for name in ["1.gif", "2.gif", "3.gif"] {
        let response = connection.response().await;
        assert_eq!(stored_name(&response), format!("acme/customer/42/{name}"));
    }
}
