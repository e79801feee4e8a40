//! Conditional requests, RFC 9110 section 13, on every call that knows them.

use super::{ask, both, content, put, record, upload, uploaded};
use crate::harness::App;
use crate::harness::http::Request;
use crate::harness::images::{jpeg, png};
use crate::harness::multipart::Form;
use crate::harness::problem::assert_problem;
use crate::harness::upload::path;

#[tokio::test]
async fn a_reader_that_has_the_version_is_told_so() {
    for app in both().await {
        let image = jpeg(40, 30, 5000);
        let told = upload(&app, "42", "a.jpg", &image).await;
        let whole = ask("GET", &content(&told)).send(app.addr).await;
        let etag = whole.header("etag").unwrap();
        let modified = whole.header("last-modified").unwrap();
        let weak = format!("W/{etag}");
        let list = format!("\"other\", {etag}");
        for (name, value, status) in [
            ("if-none-match", &*etag, 304),
            ("if-none-match", &weak, 304),
            ("if-none-match", &list, 304),
            ("if-none-match", "*", 304),
            ("if-none-match", "\"other\"", 200),
            ("if-modified-since", &modified, 304),
            ("if-modified-since", "Sat, 01 Jan 2000 00:00:00 GMT", 200),
            ("if-modified-since", "soon", 200),
            ("if-match", &etag, 200),
            ("if-match", "*", 200),
            ("if-match", &weak, 412),
            ("if-match", "\"other\"", 412),
            ("if-unmodified-since", &modified, 200),
            ("if-unmodified-since", "Sat, 01 Jan 2000 00:00:00 GMT", 412),
        ] {
            for path in [content(&told), record(&told)] {
                for method in ["GET", "HEAD"] {
                    let got = ask(method, &path).header(name, value).send(app.addr).await;
                    assert_eq!(got.status, status, "{method} {path} {name}: {value}");
                    if status == 304 {
                        for field in ["etag", "last-modified", "cache-control"] {
                            assert_eq!(got.header(field), whole.header(field), "{field}");
                        }
                        for field in ["content-type", "content-length", "content-disposition"] {
                            assert_eq!(got.header(field), None, "{field}");
                        }
                    }
                    if status == 412 && method == "GET" {
                        assert_problem(&got, "precondition-failed");
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn a_connection_goes_on_behind_what_has_no_body() {
    let app = App::local().await;
    let told = upload(&app, "42", "a.jpg", &jpeg(40, 30, 5000)).await;
    let mut connection = crate::harness::http::Connection::open(app.addr).await;
    for (method, name, value, status) in [
        ("GET", "if-none-match", "*", 304),
        ("HEAD", "x-a", "b", 200),
        ("GET", "range", "bytes=0-9", 206),
        ("GET", "range", "bytes=9999999-", 416),
        ("HEAD", "if-none-match", "*", 304),
        ("GET", "x-a", "b", 200),
    ] {
        let request = ask(method, &content(&told)).header(name, value);
        let response = connection.exchange(&request, app.addr).await.unwrap();
        assert_eq!(response.status, status, "{method} {name}: {value}");
    }
}

#[tokio::test]
async fn a_deletion_can_be_of_one_version_only() {
    for app in both().await {
        let told = upload(&app, "42", "a.jpg", &jpeg(4, 4, 10)).await;
        let old = ask("GET", &record(&told)).send(app.addr).await.header("etag").unwrap();
        upload(&app, "42", "a.jpg", &jpeg(5, 4, 10)).await;
        let new = ask("GET", &record(&told)).send(app.addr).await.header("etag").unwrap();
        assert_ne!(old, new);
        for (name, value) in [
            ("if-match", &*old),
            ("if-none-match", &*new),
            ("if-none-match", "*"),
            ("if-unmodified-since", "Sat, 01 Jan 2000 00:00:00 GMT"),
        ] {
            let refused = ask("DELETE", &record(&told)).header(name, value).send(app.addr).await;
            assert_problem(&refused, "precondition-failed");
        }
        assert_eq!(app.keys().await.len(), 1);
        let gone = ask("DELETE", &record(&told)).header("if-match", &new).send(app.addr).await;
        assert_eq!(gone.status, 204);
    }
}

#[tokio::test]
async fn an_upload_can_be_of_one_version_only() {
    for app in both().await {
        let image = |width| png(width, 4, 10);
        // Nothing is there yet.
        for value in ["*", "\"a\""] {
            let refused = put("42", "a.png", &image(1)).header("if-match", value);
            assert_problem(&refused.send(app.addr).await, "precondition-failed");
        }
        app.assert_nothing_stored().await;
        let first = put("42", "a.png", &image(2)).header("if-none-match", "*").send(app.addr).await;
        let (told, old) = (uploaded(&first), first.header("etag").unwrap());
        let refused = put("42", "a.png", &image(3)).header("if-none-match", "*");
        assert_problem(&refused.send(app.addr).await, "precondition-failed");
        let second = put("42", "a.png", &image(4)).header("if-match", &old).send(app.addr).await;
        assert_eq!(uploaded(&second)["id"], told["id"]);
        let refused = put("42", "a.png", &image(5)).header("if-match", &old);
        assert_problem(&refused.send(app.addr).await, "precondition-failed");
        // As a form, too.
        let form = Form::new().file("a.png", &image(6)).post(&path("42")).tenant("acme");
        let refused = form.clone().header("if-none-match", "*").send(app.addr).await;
        assert_problem(&refused, "precondition-failed");
        let got = ask("GET", &content(&told)).send(app.addr).await;
        assert!(got.body == image(4));
        let third = form.header("if-match", got.header("etag").unwrap()).send(app.addr).await;
        assert_eq!(third.status, 201, "{}", third.text());
    }
}

#[tokio::test]
async fn of_many_conditional_uploads_at_once_one_is_kept() {
    for app in both().await {
        let uploads = (1..20).map(|width| {
            let request = put("42", "a.png", &png(width, 4, 3000)).header("if-none-match", "*");
            let addr = app.addr;
            async move { (width, request.send(addr).await) }
        });
        let answers = futures_util::future::join_all(uploads).await;
        let kept: Vec<_> = answers.iter().filter(|(_, answer)| answer.status == 201).collect();
        assert_eq!(kept.len(), 1);
        for (_, answer) in answers.iter().filter(|(_, answer)| answer.status != 201) {
            assert_problem(answer, "precondition-failed");
        }
        let (width, answer) = kept[0];
        let got = ask("GET", &content(&answer.json())).send(app.addr).await;
        assert!(got.body == png(*width, 4, 3000));
    }
}

#[tokio::test]
async fn a_listing_has_no_validators() {
    let app = App::local().await;
    let request = Request::get(&format!("{}?limit=1", super::IMAGES)).tenant("acme");
    let response = request.header("if-none-match", "*").send(app.addr).await;
    assert_eq!(response.status, 200, "{}", response.text());
}
