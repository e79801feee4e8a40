//! `Expect: 100-continue`: who is refused is never asked for a body, and who is not is asked once.

use std::time::{Duration, Instant};

use super::{Guarded, UP, token};
use crate::harness::App;
use crate::harness::http::{Connection, Request};
use crate::harness::images;
use crate::harness::issuer::{Issuer, Key, claims, rsa_key};
use crate::harness::multipart::Form;
use crate::harness::problem::assert_problem;
use crate::harness::upload;

fn waiting(path: &str) -> Request {
    Request::post(path).header("Expect", "100-continue")
}

#[tokio::test]
async fn a_refused_client_is_not_asked_for_its_body() {
    let guarded = Guarded::start().await;
    let unknown = Key::rsa("unknown").token(&claims("acme"));
    for path in [format!("{UP}/x"), upload::path("42")] {
        let cases = [
            (waiting(&path), "unauthenticated"),
            (waiting(&path).bearer("nonsense"), "unauthenticated"),
            (waiting(&path).bearer(&unknown), "unauthenticated"),
            (waiting(&path).bearer(&token("acme")).tenant("other"), "forbidden"),
            (waiting(&path).bearer(&token("acme")).tenant("a b"), "tenant-invalid"),
        ];
        for (request, problem) in cases {
            let mut client = Connection::open(guarded.app.addr).await;
            client.send(request.claiming(1 << 30).head_bytes(guarded.app.addr)).await;
            let answer = client.response().await;
            assert_problem(&answer, problem);
            assert_eq!(answer.interim, Vec::<u16>::new(), "{problem}");
        }
    }
    assert!(guarded.upstream.requests().is_empty());
    let audited = || guarded.app.log_text().matches("\"target\":\"gatehouse::audit\"").count();
    let until = Instant::now() + Duration::from_secs(5);
    while audited() < 8 && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(audited(), 8, "{}", guarded.app.log_text());
}

#[tokio::test]
async fn a_client_waits_for_the_issuers_keys_and_is_then_asked() {
    let issuer = Issuer::answering(String::new()).await;
    let app = App::builder().issuer(&issuer).start().await;
    let form = Form::new().file("a.gif", &images::gif(1, 1, 100));
    let request =
        form.post(&upload::path("42")).bearer(&token("acme")).header("Expect", "100-continue");
    let mut client = Connection::open(app.addr).await;
    client.send(request.head_bytes(app.addr)).await;
    assert!(client.is_silent_for(Duration::from_millis(300)).await);
    issuer.publish(&[rsa_key()], "max-age=60");
    assert_eq!(client.read_until(b"\r\n\r\n").await, b"HTTP/1.1 100 Continue\r\n\r\n");
    client.send(request.body_bytes()).await;
    assert_eq!(client.response().await.status, 201);
}
