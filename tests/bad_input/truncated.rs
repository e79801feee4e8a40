//! Bodies that end too early, at every byte.

use std::time::Duration;

use crate::harness::App;
use crate::harness::http::{Connection, Failure};
use crate::harness::images;
use crate::harness::multipart::Form;
use crate::harness::problem::assert_problem;
use crate::harness::upload;

fn form() -> Form {
    Form::with_boundary("bOuNd").text("fileName", "shown.gif").file("a.gif", &images::gif(2, 3, 40))
}

#[tokio::test]
async fn a_form_that_ends_at_any_byte_is_refused() {
    let app = App::local().await;
    let form = form();
    let body = form.body();
    let mut connection = Connection::open(app.addr).await;
    // All but the two bytes that follow the final boundary.
    for end in 1..body.len() - 2 {
        let cut = form.post_body(&upload::path("42"), body[..end].to_vec()).tenant("acme");
        let response = match connection.exchange(&cut, app.addr).await {
            Ok(response) => response,
            Err(failure) => panic!("cut at {end}: {failure:?}"),
        };
        assert_eq!(response.status, 400, "cut at {end}: {}", response.text());
        assert_problem(&response, "multipart-invalid");
        if response.header("connection").as_deref() == Some("close") {
            connection = Connection::open(app.addr).await;
        }
    }
    app.assert_nothing_stored().await;
    let whole = form.post_body(&upload::path("42"), body[..body.len() - 2].to_vec());
    let response = whole.tenant("acme").send(app.addr).await;
    assert_eq!(response.status, 201, "{}", response.text());
}

#[tokio::test]
async fn a_connection_that_ends_at_any_byte_of_a_form_stores_nothing() {
    let app = App::local().await;
    let request = upload::post(&form());
    let body = request.body_bytes();
    for end in 0..body.len() {
        let mut connection = Connection::open(app.addr).await;
        connection.send(request.head_bytes(app.addr)).await;
        connection.send(&body[..end]).await;
        connection.finish_sending().await;
        match connection.try_response().await {
            Ok(response) => {
                assert!((400..500).contains(&response.status), "{end}: {}", response.text());
            }
            Err(Failure::Closed) => {}
            Err(other) => panic!("cut at {end}: {other:?}"),
        }
    }
    app.assert_nothing_stored().await;
}

#[tokio::test]
async fn a_connection_that_ends_at_any_byte_of_a_chunked_form_stores_nothing() {
    let app = App::local().await;
    let request = upload::post(&form()).chunked(37);
    let body = request.body_bytes();
    for end in 0..body.len() {
        let mut connection = Connection::open(app.addr).await;
        connection.send(request.head_bytes(app.addr)).await;
        connection.send(&body[..end]).await;
        connection.finish_sending().await;
        match connection.try_response().await {
            // The form is whole where only the end of the chunks is missing.
            Ok(response) if end < body.len() - 10 => {
                assert!((400..500).contains(&response.status), "{end}: {}", response.text());
            }
            Ok(_) | Err(Failure::Closed) => {}
            Err(other) => panic!("cut at {end}: {other:?}"),
        }
        if end < body.len() - 10 {
            assert!(!app.root().join("acme/customer/42/a.gif").exists(), "stored, cut at {end}");
        }
    }
}

#[tokio::test]
async fn a_connection_that_ends_within_a_raw_body_stores_nothing() {
    let app = App::local().await;
    let image = images::gif(2, 3, 40);
    for request in [upload::put("a.gif", &image), upload::put("a.gif", &image).chunked(9)] {
        let body = request.body_bytes();
        for end in 0..body.len() {
            let mut connection = Connection::open(app.addr).await;
            connection.send(request.head_bytes(app.addr)).await;
            connection.send(&body[..end]).await;
            connection.finish_sending().await;
            match connection.try_response().await {
                Ok(response) => {
                    assert!((400..500).contains(&response.status), "{end}: {}", response.text());
                }
                Err(Failure::Closed) => {}
                Err(other) => panic!("cut at {end}: {other:?}"),
            }
        }
    }
    app.assert_nothing_stored().await;
}

#[tokio::test]
async fn a_large_form_that_ends_early_leaves_nothing_in_s3() {
    let app = App::minio().await;
    app.tried("acme/customer/42/a.jpg");
    let form = Form::new().file("a.jpg", &images::jpeg(9, 9, 20 << 20));
    let unclosed = form.post_body(&upload::path("42"), form.unclosed()).tenant("acme");
    assert_problem(&unclosed.send(app.addr).await, "multipart-invalid");

    let request = upload::post(&form);
    let mut connection = Connection::open(app.addr).await;
    connection.send(request.head_bytes(app.addr)).await;
    connection.send(&request.body_bytes()[..18 << 20]).await;
    drop(connection);
    tokio::time::sleep(Duration::from_millis(500)).await;
    app.assert_nothing_stored().await;
}
