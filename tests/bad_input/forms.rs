//! Multipart bodies that break a rule.

use crate::harness::App;
use crate::harness::http::Request;
use crate::harness::images;
use crate::harness::multipart::Form;
use crate::harness::problem::assert_problem;
use crate::harness::upload;

fn image() -> Vec<u8> {
    images::gif(1, 1, 50)
}

async fn refused(app: &App, what: &str, request: Request, slug: &str) {
    let response = request.send(app.addr).await;
    let shown = format!("{what}: {} {}", response.status, response.text());
    assert!(shown.contains(&format!("/problems/{slug}\"")), "{shown}");
    assert_problem(&response, slug);
    let chunked = request.chunked(10).send(app.addr).await;
    assert_eq!(chunked.json()["type"], response.json()["type"], "{what}, in chunks");
}

#[tokio::test]
async fn a_second_file_is_refused() {
    let app = App::local().await;
    let twice = Form::new().file("a.gif", &image()).file("b.gif", &image());
    refused(&app, "two", upload::post(&twice), "multipart-invalid").await;
    let same = Form::new().file("a.gif", &image()).text("x", "y").file("a.gif", &image());
    refused(&app, "the same", upload::post(&same), "multipart-invalid").await;
    app.assert_nothing_stored().await;
}

#[tokio::test]
async fn a_second_file_is_refused_though_a_part_of_the_first_is_in_s3_already() {
    let app = App::minio().await;
    app.tried("acme/customer/42/a.jpg");
    let large = images::jpeg(9, 9, 17 << 20);
    let twice = Form::new().file("a.jpg", &large).file("b.gif", &image());
    assert_problem(&upload::post(&twice).send(app.addr).await, "multipart-invalid");
    app.assert_nothing_stored().await;
}

#[tokio::test]
async fn a_file_in_another_field_is_refused() {
    let app = App::local().await;
    for field in ["image", "File", "file[]", "fileName", ""] {
        let only = Form::new().named_file(field, "a.gif", &image());
        refused(&app, field, upload::post(&only), "multipart-invalid").await;
        let beside = only.file("b.gif", &image());
        refused(&app, field, upload::post(&beside), "multipart-invalid").await;
        let after = Form::new().file("b.gif", &image()).named_file(field, "a.gif", &image());
        refused(&app, field, upload::post(&after), "multipart-invalid").await;
    }
    app.assert_nothing_stored().await;
}

#[tokio::test]
async fn a_form_without_a_file_is_refused() {
    let app = App::local().await;
    let forms = [
        ("no part", Form::new()),
        ("text only", Form::new().text("fileName", "a.gif").text("x", "y")),
        ("a file without a name is text", Form::new().text("file", image())),
        ("an empty text", Form::new().text("file", "")),
        ("a browser's form left empty", Form::new().file("", b"")),
    ];
    for (what, form) in forms {
        refused(&app, what, upload::post(&form), "file-missing").await;
    }
    app.assert_nothing_stored().await;
}

#[tokio::test]
async fn a_request_without_a_body_has_no_file() {
    let app = App::local().await;
    let bare = Request::post(&upload::path("42")).tenant("acme");
    let typed = bare.clone().header("Content-Type", Form::new().content_type());
    for request in [bare, typed] {
        assert_problem(&request.send(app.addr).await, "file-missing");
        assert_problem(&request.clone().claiming(0).send(app.addr).await, "file-missing");
    }
    app.assert_nothing_stored().await;
}

#[tokio::test]
async fn a_boundary_that_is_missing_empty_or_too_long_is_refused() {
    let app = App::local().await;
    let long = "b".repeat(71);
    let kinds = [
        "multipart/form-data".to_owned(),
        "multipart/form-data; charset=utf-8".to_owned(),
        "multipart/form-data; boundary=".to_owned(),
        "multipart/form-data; boundary=\"\"".to_owned(),
        format!("multipart/form-data; boundary={long}"),
        format!("multipart/form-data; boundary={}", "b".repeat(5000)),
    ];
    for boundary in ["", long.as_str()] {
        let body = Form::with_boundary(boundary).file("a.gif", &image()).body();
        for kind in &kinds {
            let request = Request::post(&upload::path("42")).tenant("acme");
            let request = request.header("Content-Type", kind).body(body.clone());
            refused(&app, kind, request, "multipart-invalid").await;
        }
    }
    app.assert_nothing_stored().await;
}

#[tokio::test]
async fn a_boundary_other_than_the_announced_one_is_refused() {
    let app = App::local().await;
    let announced = Form::with_boundary("announced").file("a.gif", &image());
    for other in ["Announced", "announce", "announcedx", "other"] {
        let body = Form::with_boundary(other).file("a.gif", &image()).body();
        refused(
            &app,
            other,
            announced.post_body(&upload::path("42"), body).tenant("acme"),
            "multipart-invalid",
        )
        .await;
    }
    app.assert_nothing_stored().await;
}

#[tokio::test]
async fn line_ends_without_cr_are_refused() {
    let app = App::local().await;
    let form = Form::with_boundary("b").file("a.gif", &image()).text("x", "y");
    let body = form.body();
    // Before a delimiter it would make both content of the part before, which is no fault.
    let delimits = |at: &usize| body[at + 2..].starts_with(b"--b");
    let crlf = memchr::memmem::find_iter(&body, b"\r\n").filter(|at| !delimits(at));
    let crlf: Vec<usize> = crlf.collect();
    let mut all = body.clone();
    all.retain(|byte| *byte != b'\r');
    let mut bodies = vec![("all of them".to_owned(), all)];
    // Each alone, but for the last, which follows the final boundary.
    for at in &crlf[..crlf.len() - 1] {
        let mut one = body.clone();
        one.remove(*at);
        bodies.push((format!("the one at {at}"), one));
    }
    for (what, body) in bodies {
        let request = form.post_body(&upload::path("42"), body).tenant("acme");
        let response = request.send(app.addr).await;
        assert_eq!(response.status, 400, "{what}: {}", response.text());
    }
    app.assert_nothing_stored().await;
}

#[tokio::test]
async fn bare_line_feeds_alone_are_malformed() {
    let app = App::local().await;
    let form = Form::new().file("a.gif", &image());
    let mut body = form.body();
    body.retain(|byte| *byte != b'\r');
    let request = form.post_body(&upload::path("42"), body).tenant("acme");
    refused(&app, "LF only", request, "multipart-invalid").await;
    app.assert_nothing_stored().await;
}

#[tokio::test]
async fn malformed_part_heads_are_refused() {
    let app = App::local().await;
    let heads: [&[u8]; 15] = [
        b"",
        b"Content-Type: image/gif\r\n",
        b"Content-Disposition\r\n",
        b"Content-Disposition: \r\n",
        b"Content-Disposition: form-data\r\n",
        b"Content-Disposition: form-data; filename=\"a.gif\"\r\n",
        b"Content-Disposition: form-data; name\r\n",
        b"Content-Disposition: form-data; name=\"file\r\n",
        b"Content-Disposition: attachment; name=\"file\"; filename=\"a.gif\"\r\n",
        b"Content-Disposition: form-data; name=\"file\"; name=\"file\"; filename=\"a\"\r\n",
        b": form-data; name=\"file\"; filename=\"a.gif\"\r\n",
        b"Content Disposition: form-data; name=\"file\"; filename=\"a.gif\"\r\n",
        b"Content-Disposition : form-data; name=\"file\"; filename=\"a.gif\"\r\n",
        b"Content-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\
          Content-Disposition: form-data; name=\"file\"; filename=\"b\"\r\n",
        b"Content-Disposition: form-data; name=\"\xff\"; filename=\"a.gif\"\r\n",
    ];
    for head in heads {
        let form = Form::new().part(head, image());
        let shown = String::from_utf8_lossy(head).into_owned();
        refused(&app, &shown, upload::post(&form), "multipart-invalid").await;
    }
    app.assert_nothing_stored().await;
}

#[tokio::test]
async fn bodies_that_are_no_multipart_are_malformed() {
    let app = App::local().await;
    let form = Form::with_boundary("b");
    let bodies: [&[u8]; 9] = [
        b"hello",
        b"--",
        b"--b",
        b"--b\r\n",
        b"\r\n\r\n\r\n",
        b"--bContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\nGIF89a\r\n--b--",
        b"--b\r\n\r\n",
        b"--b\rX\n",
        b"\0\0\0\0\0\0\0\0",
    ];
    for body in bodies {
        let shown = String::from_utf8_lossy(body).into_owned();
        let request = form.post_body(&upload::path("42"), body.to_vec()).tenant("acme");
        refused(&app, &shown, request, "multipart-invalid").await;
    }
    app.assert_nothing_stored().await;
}
