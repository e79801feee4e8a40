//! Who may have webhooks: whose credential has the scope `webhooks:manage`, however the path is spelled.

use super::*;
use crate::harness::issuer::{Issuer, claims_with, rsa_key};
use crate::harness::problem::assert_problem;

fn scoped(scopes: &str) -> String {
    rsa_key().token(&claims_with("acme", "scope", json!(scopes)))
}

/// Spellings of the path that lead to webhooks, or nowhere.
const SPELLINGS: &[&str] = &[
    "customer-images/webhooks",
    "customer-images/%77ebhooks",
    "customer-images/webhook%73",
    "%63ustomer-images/webhooks",
    "customer%2Dimages/webhooks",
    "customer-images/%77%65%62%68%6f%6f%6b%73",
    "customer-images%2Fwebhooks",
    "customer-images%2fwebhooks",
    "customer-images/webhooks/",
    "customer-images//webhooks",
    "/customer-images/webhooks",
    "customer-images/%2577ebhooks",
    "customer-images/WEBHOOKS",
    "customer-images/webhooks;a=b",
    "customer-images/webhooks%00",
    "customer-images/webhooks%3F",
];

/// A GET of this spelling, whose answer tells whether it led to webhooks.
async fn leads(addr: std::net::SocketAddr, prefix: &str, path: &str, token: &str) -> (u16, bool) {
    let answer = Request::get(&format!("{prefix}/{path}")).bearer(token).send(addr).await;
    (answer.status, answer.text().contains("\"webhooks\""))
}

#[tokio::test]
async fn no_spelling_of_the_path_gets_by_the_scope() {
    let issuer = Issuer::of(&[rsa_key()]).await;
    let app = builder().issuer(&issuer).consumers().start().await;
    let (images, manage) = (scoped("images:read images:write"), scoped("webhooks:manage"));
    for (addr, prefix) in
        [(app.addr, "/consumer-api/service/consumers"), (app.consumers_addr(), "/consumers")]
    {
        let mut led = 0;
        for path in SPELLINGS {
            let (status, leads_there) = leads(addr, prefix, path, &images).await;
            assert!(status >= 400 && !leads_there, "{prefix}/{path}: {status}");
            let (status, leads_there) = leads(addr, prefix, path, &manage).await;
            assert_eq!(leads_there, status == 200, "{prefix}/{path}");
            led += usize::from(leads_there);
        }
        // Those that are decoded once are the path.
        assert_eq!(led, 6, "{prefix}");
        let answer = Request::get(&format!("{prefix}/customer-images/webhooks")).bearer(&images);
        let answer = answer.send(addr).await;
        assert_problem(&answer, "forbidden");
        assert!(answer.header("www-authenticate").unwrap().contains("scope=\"webhooks:manage\""));
        // The scope is for nothing else, and what only looks like the path asks for the usual one.
        for path in ["customer-images/images", "customer-images/webhooksx", "customer-images/usage"]
        {
            let (status, _) = leads(addr, prefix, path, &manage).await;
            assert_eq!(status, 403, "{prefix}/{path}");
        }
    }
}

#[tokio::test]
async fn a_gateway_in_front_of_another_process_asks_for_it_too() {
    let issuer = Issuer::of(&[rsa_key()]).await;
    let module = builder().consumers().start().await;
    let url = format!("http://{}/consumers", module.consumers_addr());
    let gateway =
        App::builder().issuer(&issuer).env("TR_CONSUMER_SERVICE_BASE_URL", &url).start().await;
    let prefix = "/consumer-api/service/consumers";
    let (images, manage) = (scoped("images:read images:write"), scoped("webhooks:manage"));
    for path in SPELLINGS {
        let (status, leads_there) = leads(gateway.addr, prefix, path, &images).await;
        assert!(status >= 400 && !leads_there, "{path}: {status}");
    }
    let (status, leads_there) = leads(gateway.addr, prefix, SPELLINGS[0], &manage).await;
    assert!(status == 200 && leads_there);
}

#[tokio::test]
async fn keys_are_made_with_the_scope() {
    let app = builder().required().start().await;
    let manage = app.key(&["--tenant", "acme", "--scope", "webhooks:manage"]);
    let usual = app.key(&["--tenant", "acme"]);
    let get = |key: &str| Request::get(HOOKS).header("x-api-key", key);
    assert_eq!(get(&manage).send(app.addr).await.status, 200);
    assert_problem(&get(&usual).send(app.addr).await, "forbidden");
}
