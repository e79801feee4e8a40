//! Tenants: whom a credential is for decides, whatever the request says.

use super::{Guarded, UP, get, token};
use crate::harness::http::{Connection, Request};
use crate::harness::images;
use crate::harness::issuer::rsa_key;
use crate::harness::multipart::Form;
use crate::harness::problem::assert_problem;
use crate::harness::upload::{self, stored_name};

#[tokio::test]
async fn the_tenant_is_the_credentials() {
    let guarded = Guarded::start().await;
    let requests =
        [get(&token("acme")), get(&token("acme")).tenant("acme"), get(&token("acme")).tenant("")];
    for request in requests {
        assert_eq!(request.send(guarded.app.addr).await.status, 200);
    }
    for request in guarded.upstream.requests() {
        assert_eq!(request.headers("x-tenant-id"), ["acme"]);
    }
}

#[tokio::test]
async fn another_tenant_is_forbidden_with_every_method() {
    let guarded = Guarded::start().await;
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"] {
        for tenant in ["other", "Acme", "acme2", "acm"] {
            for path in [format!("{UP}/x"), upload::path("42")] {
                let request = Request::new(method, &path).bearer(&token("acme")).tenant(tenant);
                let answer = request.send(guarded.app.addr).await;
                assert_eq!(answer.status, 403, "{method} {tenant} {path}");
            }
        }
    }
    let answer = get(&token("acme")).tenant("other").send(guarded.app.addr).await;
    assert_problem(&answer, "forbidden");
    assert!(guarded.upstream.requests().is_empty());
    guarded.app.assert_nothing_stored().await;
}

#[tokio::test]
async fn forged_tenants_are_not_believed() {
    let guarded = Guarded::start().await;
    let heads = [
        ("x-tenant-id: acme\r\nx-tenant-id: other", 400),
        ("x-tenant-id: other\r\nx-tenant-id: acme", 400),
        ("x-tenant-id: acme, other", 400),
        ("x-tenant-id: ../other", 400),
        ("Connection: x-tenant-id\r\nx-tenant-id: other", 403),
        ("Connection: authorization\r\nx-tenant-id: other", 403),
        ("X-TENANT-ID: other", 403),
        ("x_tenant_id: other", 200),
        ("x-tenant_id: other\r\nX-Tenant-Id: acme", 200),
        ("X-Forwarded-Tenant: other", 200),
    ];
    for (head, status) in heads {
        let mut connection = Connection::open(guarded.app.addr).await;
        let credential = format!("Authorization: Bearer {}", token("acme"));
        connection
            .send(format!("GET {UP}/x HTTP/1.1\r\nHost: a\r\n{credential}\r\n{head}\r\n\r\n"))
            .await;
        let answer = connection.response().await;
        assert_eq!(answer.status, status, "{head}: {}", answer.text());
    }
    for request in guarded.upstream.requests() {
        assert_eq!(request.headers("x-tenant-id"), ["acme"]);
        assert!(request.fields.iter().all(|(name, _)| !name.contains("tenant_id")), "{request:?}");
    }
}

#[tokio::test]
async fn uploads_go_to_the_credentials_tenant() {
    let guarded = Guarded::start().await;
    let form = Form::new().file("a.gif", &images::gif(1, 1, 100));
    for (tenant, named) in [("acme", None), ("other", None), ("acme", Some("acme"))] {
        let request = form.post(&upload::path("42")).bearer(&token(tenant));
        let request = match named {
            Some(named) => request.tenant(named),
            None => request,
        };
        let stored = stored_name(&request.send(guarded.app.addr).await);
        assert_eq!(stored, format!("{tenant}/customer/42/a.gif"));
    }
    let wanted = ["acme/customer/42/a.gif", "other/customer/42/a.gif"];
    assert_eq!(guarded.app.keys().await, wanted);
}

#[tokio::test]
async fn one_connection_serves_tenants_apart() {
    let guarded = Guarded::start().await;
    let mut connection = Connection::open(guarded.app.addr).await;
    for tenant in ["acme", "other", "acme", "third"] {
        let request = get(&token(tenant));
        let answer = connection.exchange(&request, guarded.app.addr).await.unwrap();
        assert_eq!(answer.status, 200);
        let last = guarded.upstream.requests().pop().unwrap();
        assert_eq!(last.headers("x-tenant-id"), [tenant]);
    }
    let answer = connection.exchange(&Request::get(&format!("{UP}/x")), guarded.app.addr).await;
    assert_problem(&answer.unwrap(), "unauthenticated");
}

#[tokio::test]
async fn an_invalid_tenant_is_one_behind_a_good_credential_only() {
    let guarded = Guarded::start().await;
    let bad = get(&token("acme")).tenant("a b").send(guarded.app.addr).await;
    assert_problem(&bad, "tenant-invalid");
    let worse = Request::get(&format!("{UP}/x")).tenant("a b").send(guarded.app.addr).await;
    assert_problem(&worse, "unauthenticated");
}

#[tokio::test]
async fn the_access_line_names_the_verified_tenant() {
    let guarded = Guarded::start().await;
    assert_eq!(
        guarded.get(&rsa_key().token(&crate::harness::issuer::claims("acme"))).await.status,
        200
    );
    assert_eq!(guarded.app.access_line(UP).await["tenant"], "acme");
}
