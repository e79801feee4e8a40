//! Tokens of a library that issuers really use.

use super::{UP, get};
use crate::harness::App;
use crate::harness::jose::Jose;
use crate::harness::problem::assert_problem;
use crate::harness::upstream::Upstream;

#[tokio::test]
async fn tokens_signed_by_jose_are_good() {
    let (jose, upstream) = (Jose::start().await, Upstream::ok().await);
    let all = ["RS256", "PS256", "ES256", "EdDSA"];
    let common = "issuer = \"https://issuer.example/\"\naudience = \"gatehouse\"";
    let by_url = format!("jwks_url = \"{}\"\nalgorithms = {all:?}\n{common}", jose.url());
    let app = App::builder().tokens(&by_url).service("up", &upstream.url(""), "").start().await;
    for algorithm in all {
        let answer = get(jose.token(algorithm)).send(app.addr).await;
        assert_eq!(answer.status, 200, "{algorithm}: {}", answer.text());
        let upload = crate::harness::http::Request::post(&crate::harness::upload::path("42"));
        let answer = upload.bearer(jose.token(algorithm)).send(app.addr).await;
        assert_problem(&answer, "file-missing");
    }
    for name in ["HS256", "confused", "critical"] {
        assert_problem(&get(jose.token(name)).send(app.addr).await, "unauthenticated");
    }
    assert_eq!(upstream.requests().len(), all.len());
    assert!(upstream.requests().iter().all(|request| request.headers("x-tenant-id") == ["acme"]));

    let by_secret = format!("secret = \"0123456789abcdef0123456789abcdef\"\n{common}");
    let app = App::builder().tokens(&by_secret).service("up", &upstream.url(""), "").start().await;
    assert_eq!(get(jose.token("HS256")).send(app.addr).await.status, 200);
    for algorithm in all {
        assert_problem(&get(jose.token(algorithm)).send(app.addr).await, "unauthenticated");
    }
    assert_eq!(app.access_line(UP).await["tenant"], "acme");
}
