//! Parts, part heads and text fields at and over their limits.

use crate::harness::App;
use crate::harness::http::Request;
use crate::harness::images;
use crate::harness::multipart::Form;
use crate::harness::problem::assert_problem;
use crate::harness::upload;

fn image() -> Vec<u8> {
    images::gif(1, 1, 50)
}

async fn taken(app: &App, form: &Form) {
    let response = upload::post(form).send(app.addr).await;
    assert_eq!(response.status, 201, "{}", response.text());
}

async fn refused(app: &App, form: &Form) {
    let request: Request = upload::post(form);
    assert_problem(&request.send(app.addr).await, "multipart-invalid");
    assert_problem(&request.chunked(1000).send(app.addr).await, "multipart-invalid");
}

fn with_texts(mut form: Form, count: usize) -> Form {
    for number in 0..count {
        form = form.text(&format!("field{number}"), "x");
    }
    form
}

#[tokio::test]
async fn a_hundred_parts_are_taken_and_one_more_is_not() {
    let app = App::local().await;
    refused(&app, &with_texts(Form::new().file("a.gif", &image()), 100)).await;
    refused(&app, &with_texts(Form::new(), 100).file("a.gif", &image())).await;
    app.assert_nothing_stored().await;
    taken(&app, &with_texts(Form::new().file("a.gif", &image()), 99)).await;
    taken(&app, &with_texts(Form::new(), 99).file("a.gif", &image())).await;
}

#[tokio::test]
async fn ten_thousand_parts_are_refused() {
    let app = App::local().await;
    refused(&app, &with_texts(Form::new(), 10_000)).await;
    refused(&app, &with_texts(Form::new().file("a.gif", &image()), 10_000)).await;
    app.assert_nothing_stored().await;
}

#[tokio::test]
async fn part_heads_over_their_limit_are_refused() {
    let app = App::local().await;
    let head = "Content-Disposition: form-data; name=\"file\"; filename=\"a.gif\"\r\n";
    for size in [17 << 10, 1 << 20] {
        let one = format!("{head}X-Filler: {}\r\n", "x".repeat(size));
        refused(&app, &Form::new().part(one, image())).await;
        let many = format!("{head}{}", "X-Filler: xxxxxxxxxxxxxxxxxxxx\r\n".repeat(size / 32));
        refused(&app, &Form::new().part(many, image())).await;
        // Without an end: nothing ever separates head and content.
        let name = format!("Content-Disposition: form-data; name=\"{}", "x".repeat(size));
        refused(&app, &Form::new().part(name, image())).await;
    }
    app.assert_nothing_stored().await;
    let long = format!("{head}X-Filler: {}\r\n", "x".repeat(15 << 10));
    taken(&app, &Form::new().part(long, image())).await;
}

#[tokio::test]
async fn the_limit_of_part_heads_is_a_setting() {
    let app = App::builder().set("CONSUMERS__IMAGES__MAX_PART_HEADERS", "1KiB").start().await;
    let head = "Content-Disposition: form-data; name=\"file\"; filename=\"a.gif\"\r\n";
    let long = format!("{head}X-Filler: {}\r\n", "x".repeat(1100));
    refused(&app, &Form::new().part(long, image())).await;
    taken(&app, &Form::new().file("a.gif", &image())).await;
}

#[tokio::test]
async fn a_text_field_of_64_kib_is_taken_and_one_byte_more_is_not() {
    let app = App::local().await;
    let (most, more) = (vec![b'x'; 64 << 10], vec![b'x'; (64 << 10) + 1]);
    for field in ["notes", "file"] {
        refused(&app, &Form::new().text(field, &more).file("a.gif", &image())).await;
        refused(&app, &Form::new().file("a.gif", &image()).text(field, &more)).await;
    }
    refused(&app, &Form::new().file("a.gif", &image()).text("notes", vec![b'x'; 5 << 20])).await;
    app.assert_nothing_stored().await;
    taken(&app, &Form::new().text("notes", &most).file("a.gif", &image())).await;
    taken(&app, &Form::new().file("a.gif", &image()).text("notes", &most)).await;
}

#[tokio::test]
async fn the_limits_of_parts_and_texts_are_settings() {
    let limits = "[consumers.images]\nmax_parts = 2\nmax_text_field = \"10 B\"";
    let app = App::builder().file(limits).start().await;
    refused(&app, &with_texts(Form::new().file("a.gif", &image()), 2)).await;
    refused(&app, &Form::new().text("x", "12345678901").file("a.gif", &image())).await;
    app.assert_nothing_stored().await;
    taken(&app, &Form::new().text("x", "1234567890").file("a.gif", &image())).await;
}
