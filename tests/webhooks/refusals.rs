//! Where nothing is sent: addresses that are not public, however they are spelled.

use super::*;
use crate::harness::problem::assert_problem;

#[tokio::test]
async fn a_url_that_leads_inside_is_refused() {
    let app = App::builder().start().await;
    for url in [
        "http://127.0.0.1/",
        "http://2130706433/",
        "http://0177.0.0.1/",
        "http://0x7f000001/",
        "http://0x7f.1/",
        "http://127.1/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:7f00:1]/",
        "http://[64:ff9b::7f00:1]/",
        "http://0.0.0.0/",
        "http://10.0.0.1/",
        "http://172.16.0.1/",
        "http://192.168.1.1/",
        "http://100.64.0.1/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[fd00:ec2::254]/",
        "http://[fe80::1]/",
        "http://localhost/",
        "http://LOCALHOST./",
        "http://hook.localhost/",
        "https://user:word@example.com/",
        "https://user@example.com/",
        "https://example.com/#fragment",
        "ftp://example.com/",
        "file:///etc/passwd",
        "gopher://example.com/",
        "example.com",
        "//example.com/",
        "",
    ] {
        let refused = call(&app, "POST", "", Some(&json!({ "url": url }))).await;
        assert_eq!(refused.status, 400, "{url}: {}", refused.text());
        assert_eq!(refused.json()["type"], "/problems/webhook-invalid", "{url}");
    }
    let hook = Hook::at(&app, "https://example.com/").await;
    let change = json!({ "url": "http://127.0.0.1/" });
    let refused = call(&app, "PATCH", &hook.path(""), Some(&change)).await;
    assert_problem(&refused, "webhook-invalid");
    assert_eq!(hook.shown(&app).await["url"], "https://example.com/");
}

#[tokio::test]
async fn addresses_are_looked_at_when_they_are_dialed() {
    // What is allowed when it is made may not be any more when it is sent to.
    let mut app = builder().start().await;
    let receiver = Upstream::answering(NO_CONTENT).await;
    let port = receiver.addr.port();
    let hooks = [
        Hook::at(&app, &format!("http://127.0.0.1:{port}/")).await,
        // A name that the system's resolver knows.
        Hook::at(&app, &format!("http://localhost:{port}/")).await,
    ];
    app.kill();
    app.set_env("GATEHOUSE__WEBHOOKS__ALLOWED_NETWORKS", "10.0.0.0/8");
    app.start().await;
    for hook in &hooks {
        done(&app, "POST", &hook.path("/test"), None).await;
        let failed = hook.until(&app, |all| all.len() == 1 && all[0]["error"].is_string()).await;
        let error = failed[0]["error"].as_str().unwrap();
        assert_eq!(error, "The host cannot be reached, or is none that webhooks may be sent to.");
    }
    assert_eq!(receiver.requests().len(), 0);
    app.kill();
    app.set_env("GATEHOUSE__WEBHOOKS__ALLOWED_NETWORKS", "127.0.0.0/8,::1/128");
    app.start().await;
    for hook in &hooks {
        hook.all_are(&app, 1, "delivered").await;
    }
}

#[tokio::test]
async fn an_allowed_network_is_reached_in_any_spelling() {
    let app = builder().start().await;
    let receiver = Upstream::answering(NO_CONTENT).await;
    let port = receiver.addr.port();
    for (count, host) in
        ["127.0.0.1", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]"].iter().enumerate()
    {
        let hook = Hook::at(&app, &format!("http://{host}:{port}/")).await;
        done(&app, "POST", &hook.path("/test"), None).await;
        receiver.received(count + 1).await;
    }
}
