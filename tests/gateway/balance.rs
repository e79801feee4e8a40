//! Services of several instances: which of them a request goes to.

use tokio::sync::{mpsc, watch};

use super::{UP, before_all, get, until};
use crate::harness::App;
use crate::harness::http::Request;
use crate::harness::problem::assert_upstream_problem;
use crate::harness::upstream::{BUSY, OK, Upstream};

#[tokio::test]
async fn requests_are_spread_over_all_instances() {
    let instances = [Upstream::ok().await, Upstream::ok().await, Upstream::ok().await];
    let app = before_all(&instances.each_ref(), "").await;
    for _ in 0..90 {
        assert_eq!(get(&app).await.status, 200);
    }
    let shares = instances.map(|instance| instance.requests().len());
    assert_eq!(shares.iter().sum::<usize>(), 90);
    assert!(shares.iter().all(|share| *share >= 8), "{shares:?}");
}

#[tokio::test]
async fn each_instance_has_its_own_host_and_base() {
    let (a, b) = (Upstream::ok().await, Upstream::ok().await);
    let table = format!("[services.up]\nurls = ['{}', '{}']", a.url("/a"), b.url("/b/"));
    let app = App::builder().file(&table).start().await;
    let request = Request::get(&format!("{UP}/x?q"));
    until("both are used", async || {
        assert_eq!(request.send(app.addr).await.status, 200);
        !a.requests().is_empty() && !b.requests().is_empty()
    })
    .await;
    for (instance, target) in [(&a, "/a/x?q"), (&b, "/b/x?q")] {
        for request in instance.requests() {
            assert_eq!(request.target(), target);
            assert_eq!(request.header("host"), Some(instance.addr.to_string()));
        }
    }
}

#[tokio::test]
async fn a_slow_instance_slows_down_few() {
    let (release, released) = watch::channel(false);
    let (arrive, mut arrived) = mpsc::unbounded_channel();
    let slow = Upstream::scripted(move |mut peer| {
        let (mut released, arrive) = (released.clone(), arrive.clone());
        async move {
            peer.request().await;
            arrive.send(()).unwrap();
            released.wait_for(|released| *released).await.unwrap();
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow").await;
        }
    })
    .await;
    let fast = Upstream::ok().await;
    let app = before_all(&[&slow, &fast], "").await;
    let (addr, path) = (app.addr, format!("{UP}/x"));
    // The first that comes to the slow one waits there.
    let mut waiting = None;
    while waiting.is_none() {
        let request = Request::get(&path);
        let mut sent = tokio::spawn(async move { request.send(addr).await });
        tokio::select! {
            response = &mut sent => assert_eq!(response.unwrap().text(), "ok"),
            _ = arrived.recv() => waiting = Some(sent),
        }
    }
    for _ in 0..40 {
        assert_eq!(get(&app).await.text(), "ok");
    }
    assert_eq!(slow.requests().len(), 1, "one waits there already");
    // It is even with the others once it has answered.
    release.send(true).unwrap();
    assert_eq!(waiting.unwrap().await.unwrap().text(), "slow");
    until("it is used again", async || {
        get(&app).await;
        slow.requests().len() == 2
    })
    .await;
}

#[tokio::test]
async fn an_instance_that_fails_at_once_does_not_attract_requests() {
    let (bad, good) = (Upstream::answering(BUSY).await, Upstream::ok().await);
    let app = before_all(&[&bad, &good], "").await;
    let post = Request::post(&format!("{UP}/x")).body("b");
    for _ in 0..200 {
        assert!([200, 503].contains(&post.send(app.addr).await.status));
    }
    // One a second, without a circuit.
    let share = bad.requests().len();
    assert!(share <= 40, "{share} of 200");
}

#[tokio::test]
async fn no_more_requests_than_the_limit_are_under_way() {
    let (a, switch) = Upstream::switched("").await;
    let (b, switch_b) = Upstream::switched("").await;
    let app = before_all(&[&a, &b], "max_requests = 3").await;
    let (addr, path) = (app.addr, format!("{UP}/x"));
    let waiting = [(); 3].map(|()| {
        let request = Request::get(&path);
        tokio::spawn(async move { request.send(addr).await })
    });
    until("three arrive", async || a.requests().len() + b.requests().len() == 3).await;
    for request in [Request::get(&path), Request::post(&path).body("b")] {
        let refused = request.send(addr).await;
        assert_upstream_problem(&refused, "upstream-unavailable", "over-limit");
    }
    switch.send(OK).unwrap();
    switch_b.send(OK).unwrap();
    for request in waiting {
        assert_eq!(request.await.unwrap().status, 200);
    }
    assert_eq!(a.requests().len() + b.requests().len(), 3);
    for _ in 0..10 {
        assert_eq!(get(&app).await.status, 200);
    }
}
