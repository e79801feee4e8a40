//! Who and what is counted together.

use std::time::{Duration, Instant};

use super::{get, get_by_token, guarded, left, limited, open};
use crate::harness::App;
use crate::harness::http::Request;
use crate::harness::upload;

#[tokio::test]
async fn tenants_do_not_share_a_limit() {
    let (app, _issuer, _upstream) = guarded(limited(0.01, 2)).await;
    for status in [200, 200, 429, 429] {
        assert_eq!(get_by_token("acme").send(app.addr).await.status, status);
    }
    // Not another's token, and not by another name.
    assert_eq!(get_by_token("acme").tenant("acme").send(app.addr).await.status, 429);
    assert_eq!(get_by_token("other").send(app.addr).await.status, 200);
}

#[tokio::test]
async fn in_open_mode_an_address_counts_for_itself() {
    let upstream = crate::harness::upstream::Upstream::ok().await;
    let app = limited(0.01, 1)
        .set("SERVER__TRUSTED_PROXIES", "127.0.0.0/8")
        .service("up", &upstream.url(""), "")
        .start()
        .await;
    let from = |address: &str, tenant: &str| get(tenant).header("x-forwarded-for", address);
    for (address, tenant, status) in [
        ("192.0.2.1", "acme", 200),
        ("192.0.2.1", "acme", 429),
        ("192.0.2.2", "acme", 200),
        ("192.0.2.1", "other", 200),
        ("6.6.6.6, 192.0.2.1", "acme", 429),
        ("2001:db8::1", "acme", 200),
        ("2001:db8::2", "acme", 429),
        ("2001:db8:0:1::1", "acme", 200),
    ] {
        let answer = from(address, tenant).send(app.addr).await;
        assert_eq!(answer.status, status, "{address} {tenant}");
    }
    // Without a tenant, the address is all there is.
    let nobody = Request::get("/consumer-api/service/up/x").header("x-forwarded-for", "192.0.2.9");
    assert_eq!(nobody.send(app.addr).await.status, 200);
    assert_eq!(nobody.send(app.addr).await.status, 429);
}

#[tokio::test]
async fn addresses_are_not_made_up_by_strangers() {
    let (app, _upstream) = open(0.01, 1).await;
    assert_eq!(get("acme").send(app.addr).await.status, 200);
    for address in ["192.0.2.1", "192.0.2.2"] {
        let request =
            get("acme").header("x-forwarded-for", address).header("forwarded", "for=1.2.3.4");
        assert_eq!(request.send(app.addr).await.status, 429);
    }
}

#[tokio::test]
async fn reads_writes_and_remote_services_count_apart() {
    let upstream = crate::harness::upstream::Upstream::ok().await;
    let app = App::builder()
        .file(
            "[rate_limits]\nenabled = true\nreads = { per_second = 0.01, burst = 1 }\n\
             writes = { per_second = 0.01, burst = 2 }\nremote = { per_second = 0.01, burst = 3 }",
        )
        .service("up", &upstream.url(""), "")
        .start()
        .await;
    for (method, path, class, burst) in [
        ("GET", upload::path("42"), "reads", 1),
        ("POST", upload::path("42"), "writes", 2),
        ("POST", format!("{}/x", super::UP), "remote", 3),
    ] {
        for remaining in (0..burst).rev() {
            let answer = Request::new(method, &path).tenant("acme").send(app.addr).await;
            assert_ne!(answer.status, 429, "{class}");
            assert_eq!(left(&answer, class)[0], remaining);
        }
        let answer = Request::new(method, &path).tenant("acme").send(app.addr).await;
        assert_eq!(answer.status, 429, "{class}");
    }
    // HEAD reads, and DELETE writes.
    for method in ["HEAD", "DELETE", "PUT"] {
        let answer = Request::new(method, &upload::path("42")).tenant("acme").send(app.addr).await;
        assert_eq!(answer.status, 429, "{method}");
    }
}

#[tokio::test]
async fn a_limit_holds_over_all_workers() {
    let (app, upstream) = open(0.001, 20).await;
    let requests = (0..60).map(|_| {
        let addr = app.addr;
        tokio::spawn(async move { get("acme").send(addr).await.status })
    });
    let mut passed = 0;
    for request in requests.collect::<Vec<_>>() {
        passed += usize::from(request.await.unwrap() == 200);
    }
    assert_eq!((passed, upstream.requests().len()), (20, 20));
}

#[tokio::test]
async fn a_tenants_burst_does_not_slow_another() {
    let (app, _issuer, _upstream) = guarded(limited(1.0, 5)).await;
    let addr = app.addr;
    assert_eq!(get_by_token("calm").send(addr).await.status, 200);
    let storms: Vec<_> = (0..8)
        .map(|_| {
            tokio::spawn(async move {
                let request = get_by_token("storm");
                for _ in 0..100 {
                    request.send(addr).await;
                }
            })
        })
        .collect();
    let mut slowest = Duration::ZERO;
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let begun = Instant::now();
        assert_eq!(get_by_token("calm").send(addr).await.status, 200);
        slowest = slowest.max(begun.elapsed());
    }
    for storm in storms {
        storm.await.unwrap();
    }
    // On a busy machine; what it must not be is a wait for somebody else's refill.
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
}
