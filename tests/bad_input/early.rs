//! A refused upload can be read by a client that is still sending.

use tokio::io::AsyncWriteExt;

use crate::harness::App;
use crate::harness::http::{Connection, Request, Response};
use crate::harness::images;
use crate::harness::multipart::Form;
use crate::harness::problem::assert_problem;
use crate::harness::upload;

const SIZE: usize = 50 << 20;

/// Sends the request as far as the server lets it, without looking for an answer on the way,
/// then reads the answer: what simple clients do.
async fn write_then_read(app: &App, request: &Request, body: &[u8]) -> Response {
    let mut connection = Connection::open(app.addr).await;
    connection.send(request.head_bytes(app.addr)).await;
    for piece in body.chunks(64 << 10) {
        if connection.stream.write_all(piece).await.is_err() {
            break;
        }
    }
    connection.response().await
}

#[tokio::test]
async fn every_client_reads_why_its_upload_is_refused_though_it_sends_on() {
    let app = App::local().await;
    let large = images::jpeg(9, 9, SIZE);
    let form = Form::new().file("a.jpg", &large);
    let no_tenant = form.post(&upload::path("42"));
    let too_large = no_tenant.clone().tenant("acme");
    let mut text = vec![b'x'; SIZE];
    text[..5].copy_from_slice(b"hello");
    let no_image = upload::main_job("a.jpg", &text).chunked(64 << 10);
    let unknown = form.post("/consumer-api/service/nope/upload");
    let cases = [
        (&no_tenant, "tenant-missing"),
        (&too_large, "too-large"),
        (&no_image, "image-unsupported"),
        (&unknown, "service-not-found"),
    ];
    for (request, slug) in cases {
        let body = request.body_bytes();
        for _ in 0..20 {
            assert_problem(&write_then_read(&app, request, &body).await, slug);
        }
    }
    app.assert_nothing_stored().await;
}

#[tokio::test]
async fn a_client_that_pauses_is_told_before_it_has_sent_all() {
    let app = App::local().await;
    let form = Form::new().file("a.jpg", &[b'x'; 100_000]);
    let cases = [
        (form.post(&upload::path("42")), "tenant-missing"),
        (form.post(&upload::path("-")).tenant("acme"), "customer-invalid"),
        (form.post(&upload::path("42")).tenant("acme"), "image-unsupported"),
        (upload::put("a.jpg", &[b'x'; 100_000]), "image-unsupported"),
    ];
    for (request, slug) in cases {
        // Announces far more than it sends: the answer must not wait for the rest.
        let mut connection = Connection::open(app.addr).await;
        connection.send(request.clone().claiming(20 << 20).head_bytes(app.addr)).await;
        connection.send(&request.body_bytes()[..request.body_bytes().len() - 200]).await;
        assert_problem(&connection.response().await, slug);
    }
    app.assert_nothing_stored().await;
}
