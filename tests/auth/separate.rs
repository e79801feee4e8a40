//! The consumers module in a process of its own: the gateway in front verifies tenants and scopes,
//! and comes to the module with a key for all tenants.

use super::{UP, token};
use crate::harness::App;
use crate::harness::http::Request;
use crate::harness::images;
use crate::harness::issuer::{Issuer, claims_with, rsa_key};
use crate::harness::multipart::Form;
use crate::harness::problem::assert_problem;
use crate::harness::upload::{self, stored_name};

/// A process that asks for API keys, and the gateway in front of it, which asks for tokens and has
/// a key for all tenants.
async fn both() -> (App, App, Issuer) {
    let module = App::builder().required().consumers().start().await;
    let key = module.key(&["--tenant", "*"]);
    let issuer = Issuer::of(&[rsa_key()]).await;
    let gateway = App::builder()
        .issuer(&issuer)
        .env(
            "TR_CONSUMER_SERVICE_BASE_URL",
            &format!("http://{}/consumers", module.consumers_addr()),
        )
        .set("SERVICES__CONSUMERS__UPSTREAM_API_KEY", &key)
        .start()
        .await;
    (gateway, module, issuer)
}

fn form() -> Request {
    Form::new().file("a.gif", &images::gif(1, 1, 100)).post(&upload::path("42"))
}

#[tokio::test]
async fn uploads_go_through_to_the_credentials_tenant() {
    let (gateway, module, _issuer) = both().await;
    for tenant in ["acme", "other"] {
        let answer = form().bearer(&token(tenant)).send(gateway.addr).await;
        assert_eq!(stored_name(&answer), format!("{tenant}/customer/42/a.gif"));
    }
    assert_eq!(module.keys().await, ["acme/customer/42/a.gif", "other/customer/42/a.gif"]);
    assert_eq!(module.access_line("/consumers").await["tenant"], "acme");
}

#[tokio::test]
async fn a_readers_token_cannot_write_through_it() {
    let (gateway, module, _issuer) = both().await;
    let reader = rsa_key().token(&claims_with("acme", "scope", "images:read".into()));
    assert_problem(&form().bearer(&reader).send(gateway.addr).await, "forbidden");
    let put = Request::put(&format!("{}/42/b.gif", upload::UPLOAD)).body(images::gif(1, 1, 100));
    assert_problem(&put.bearer(&reader).send(gateway.addr).await, "forbidden");
    assert_problem(&form().send(gateway.addr).await, "unauthenticated");
    let crossing = form().bearer(&token("acme")).tenant("other");
    assert_problem(&crossing.send(gateway.addr).await, "forbidden");
    // What it says itself changes nothing.
    let smuggled =
        form().bearer(&reader).header("X_Api_Key", "gh_x").header("Connection", "x-api-key");
    assert_problem(&smuggled.send(gateway.addr).await, "forbidden");
    module.assert_nothing_stored().await;
    let read = Request::get(&upload::path("42")).bearer(&reader);
    assert_problem(&read.send(gateway.addr).await, "method-not-allowed");
}

#[tokio::test]
async fn nobody_gets_past_the_gateway() {
    let (_gateway, module, _issuer) = both().await;
    let path = "/consumers/customer-images/upload/42";
    for request in [
        Request::post(path).tenant("acme"),
        Request::post(path).bearer(&token("acme")),
        Request::post(path).header("x-api-key", "gh_nonsense").tenant("acme"),
    ] {
        assert_problem(&request.send(module.consumers_addr()).await, "unauthenticated");
    }
    // A tenant's own key is good there, for that tenant.
    let key = module.key(&["--tenant", "acme"]);
    let own = Request::post(path).header("x-api-key", &key);
    assert_problem(&own.clone().send(module.consumers_addr()).await, "file-missing");
    assert_problem(&own.tenant("other").send(module.consumers_addr()).await, "forbidden");
}

#[tokio::test]
async fn a_gateway_without_a_key_gets_nothing() {
    let module = App::builder().required().consumers().start().await;
    let issuer = Issuer::of(&[rsa_key()]).await;
    let url = format!("http://{}/consumers", module.consumers_addr());
    let gateway =
        App::builder().issuer(&issuer).env("TR_CONSUMER_SERVICE_BASE_URL", &url).start().await;
    let answer = form().bearer(&token("acme")).send(gateway.addr).await;
    assert_eq!(answer.status, 401, "{}", answer.text());
    assert_eq!(Request::get(&format!("{UP}/x")).send(gateway.addr).await.status, 404);
    module.assert_nothing_stored().await;
}
