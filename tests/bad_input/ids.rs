//! Tenants and customers that are refused.

use crate::harness::App;
use crate::harness::http::{Connection, Request};
use crate::harness::images;
use crate::harness::multipart::Form;
use crate::harness::problem::assert_problem;
use crate::harness::upload;

fn form(customer: &str) -> Request {
    Form::new().file("a.gif", &images::gif(1, 1, 1)).post(&upload::path(customer))
}

#[tokio::test]
async fn an_upload_without_a_tenant_is_refused() {
    let app = App::local().await;
    assert_problem(&form("42").send(app.addr).await, "tenant-missing");
    for empty in ["", " ", "\t "] {
        assert_problem(&form("42").tenant(empty).send(app.addr).await, "tenant-missing");
    }
    // Nothing that only looks like the header is taken for it.
    for name in ["x_tenant_id", "X-Tenant", "tenant-id", "x-tenant-ID2"] {
        let response = form("42").header(name, "acme").send(app.addr).await;
        assert_problem(&response, "tenant-missing");
    }
    app.assert_nothing_stored().await;
}

#[tokio::test]
async fn a_tenant_that_breaks_its_rule_is_refused() {
    let app = App::local().await;
    let long = "t".repeat(64);
    let tenants: [&[u8]; 25] = [
        b".",
        b"..",
        b"a.",
        b".a",
        b"-a",
        b"_a",
        b"_staging",
        b"a/b",
        b"../other",
        b"a\\b",
        b"%2e%2e",
        b"a%2fb",
        b"a b",
        b"a\tb",
        b"a,b",
        b"acme, other",
        b"a@b",
        b"a:b",
        b"a*",
        b"*",
        b"\xc3\xa9",
        b"caf\xc3\xa9",
        b"\xff",
        b"\"acme\"",
        long.as_bytes(),
    ];
    for tenant in tenants {
        let shown = String::from_utf8_lossy(tenant);
        let response = form("42").header("x-tenant-id", tenant).send(app.addr).await;
        assert_eq!(response.status, 400, "{shown:?}: {}", response.text());
        assert_problem(&response, "tenant-invalid");
    }
    app.assert_nothing_stored().await;
}

#[tokio::test]
async fn a_repeated_tenant_is_refused_even_if_it_is_the_same() {
    let app = App::local().await;
    for second in ["other", "acme", ""] {
        let twice = form("42").tenant("acme").header("X-Tenant-Id", second);
        assert_problem(&twice.send(app.addr).await, "tenant-invalid");
    }
    app.assert_nothing_stored().await;
}

#[tokio::test]
async fn control_bytes_in_the_tenant_are_refused() {
    let app = App::local().await;
    for control in [0u8, 1, 8, 0x0b, 0x1f, 0x7f] {
        let tenant = [b'a', control, b'b'];
        let mut connection = Connection::open(app.addr).await;
        let request = form("42").header("x-tenant-id", tenant);
        connection.send(request.head_bytes(app.addr)).await;
        let _ = connection.try_send(request.body_bytes()).await;
        // By the parser, bodyless, or by the rule.
        let response = connection.response().await;
        assert_eq!(response.status, 400, "{control}: {}", response.text());
    }
    app.assert_nothing_stored().await;
}

#[tokio::test]
async fn a_customer_that_breaks_its_rule_is_refused() {
    let app = App::local().await;
    let long = "c".repeat(129);
    let customers = [
        "a.",
        ".a",
        "-a",
        "_a",
        "@a",
        "+a",
        "a%20b",
        "a%2Fb",
        "a%2fb",
        "a%5Cb",
        "a%2540b",
        "a%25",
        "caf%C3%A9",
        "%F0%9F%90%B1",
        "%E2%80%AEa",
        "a:b",
        "a;b",
        "a,b",
        "a*",
        "a!b",
        "a=b",
        "a&b",
        "~a",
        "$a",
        "(a)",
        "'a'",
        "%22a%22",
        long.as_str(),
    ];
    for customer in customers {
        let response = form(customer).tenant("acme").send(app.addr).await;
        assert_eq!(response.status, 400, "{customer}: {}", response.text());
        assert_problem(&response, "customer-invalid");
        let put = Request::put(&format!("{}/{customer}/a.gif", upload::UPLOAD)).tenant("acme");
        let response = put.body(images::gif(1, 1, 1)).send(app.addr).await;
        assert_eq!(response.status, 400, "{customer}: {}", response.text());
        assert_problem(&response, "customer-invalid");
    }
    app.assert_nothing_stored().await;
}

#[tokio::test]
async fn bytes_that_are_not_utf_8_are_no_customer() {
    let app = App::local().await;
    for customer in ["%FF", "a%C0%AF", "%ED%A0%80", "a%80"] {
        let response = form(customer).tenant("acme").send(app.addr).await;
        assert_eq!(response.status, 400, "{customer}: {}", response.text());
    }
    app.assert_nothing_stored().await;
}

#[tokio::test]
async fn no_customer_at_all_is_refused() {
    let app = App::local().await;
    for path in ["", "/", "//", "//a.gif"] {
        let target = format!("{}{path}", upload::UPLOAD);
        let post = Form::new().file("a.gif", &images::gif(1, 1, 1)).post(&target);
        let put = Request::put(&target).body(images::gif(1, 1, 1));
        for request in [post, put] {
            let response = request.tenant("acme").send(app.addr).await;
            assert!(matches!(response.status, 400 | 404 | 405), "{path}: {}", response.text());
        }
    }
    app.assert_nothing_stored().await;
}
