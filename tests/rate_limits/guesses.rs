//! Guessing credentials: who is wrong too often is not listened to for a while.

use super::{UP, get_by_token, guarded, left, policy};
use crate::harness::App;
use crate::harness::builder::Builder;
use crate::harness::http::Request;
use crate::harness::issuer::{Key, claims};
use crate::harness::problem::assert_problem;

fn guessing(burst: u32) -> Builder {
    App::builder().set("SERVER__TRUSTED_PROXIES", "127.0.0.0/8").file(&format!(
        "[rate_limits]\nfailed_credentials = {{ per_second = 0.2, burst = {burst} }}"
    ))
}

fn from(address: &str, request: Request) -> Request {
    request.header("x-forwarded-for", address)
}

fn guess() -> Request {
    Request::get(&format!("{UP}/x")).bearer(&Key::rsa("main").token(&claims("acme")))
}

#[tokio::test]
async fn who_guesses_is_limited_by_address() {
    let (app, _issuer, upstream) = guarded(guessing(3)).await;
    // Whoever is known already stays so, even behind the same address.
    assert_eq!(from("192.0.2.1", get_by_token("known")).send(app.addr).await.status, 200);
    for _ in 0..3 {
        let answer = from("192.0.2.1", guess()).send(app.addr).await;
        assert_problem(&answer, "unauthenticated");
    }
    for request in
        [guess(), get_by_token("new"), Request::get(&format!("{UP}/x")).bearer("nonsense")]
    {
        let answer = from("192.0.2.1", request).send(app.addr).await;
        assert_problem(&answer, "rate-limited");
        let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=5).contains(&seconds), "{seconds}");
        assert_eq!(policy(&answer, "failed_credentials"), [3, 15]);
        assert_eq!(left(&answer, "failed_credentials"), [0, 15]);
    }
    assert_problem(&from("192.0.2.2", guess()).send(app.addr).await, "unauthenticated");
    assert_eq!(from("192.0.2.2", get_by_token("new")).send(app.addr).await.status, 200);
    assert_eq!(upstream.requests().len(), 2);
}

#[tokio::test]
async fn a_guesser_cannot_choose_its_address_behind_a_trusted_proxy() {
    let (app, _issuer, _upstream) = guarded(guessing(3)).await;
    for at in 0..6 {
        // What the client wrote itself, and what the proxy added to it.
        let guess = guess()
            .header("forwarded", format!("for=192.0.2.{at}"))
            .header("x-forwarded-for", "\u{fc}, 192.0.2.99");
        let answer = guess.send(app.addr).await;
        assert_problem(&answer, if at < 3 { "unauthenticated" } else { "rate-limited" });
    }
    assert_eq!(from("192.0.2.0", get_by_token("acme")).send(app.addr).await.status, 200);
}

#[tokio::test]
async fn no_credential_and_a_wrong_tenant_are_no_guesses() {
    let (app, _issuer, _upstream) = guarded(guessing(1)).await;
    for _ in 0..5 {
        let none = Request::get(&format!("{UP}/x"));
        assert_problem(&from("192.0.2.1", none).send(app.addr).await, "unauthenticated");
        let other = get_by_token("acme").tenant("other");
        assert_problem(&from("192.0.2.1", other).send(app.addr).await, "forbidden");
    }
    assert_problem(&from("192.0.2.1", guess()).send(app.addr).await, "unauthenticated");
    assert_problem(&from("192.0.2.1", guess()).send(app.addr).await, "rate-limited");
}

#[tokio::test]
async fn after_retry_after_a_good_token_is_listened_to() {
    let (app, _issuer, _upstream) = guarded(guessing(1)).await;
    for _ in 0..2 {
        from("192.0.2.1", guess()).send(app.addr).await;
    }
    let refused = from("192.0.2.1", get_by_token("acme")).send(app.addr).await;
    assert_problem(&refused, "rate-limited");
    let seconds = refused.header("retry-after").unwrap().parse().unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(seconds)).await;
    assert_eq!(from("192.0.2.1", get_by_token("acme")).send(app.addr).await.status, 200);
}
