//! What a stream tells, and to whom.

use std::time::Instant;

use super::{EVENTS, IMAGES, SOON, Stream, Told, delete, upload};
use crate::harness::App;
use crate::harness::http::{Connection, Request};
use crate::harness::images::{gif, jpeg, png};
use crate::harness::problem::assert_problem;
use crate::harness::upload::UPLOAD;

#[tokio::test]
async fn each_change_is_told_as_it_comes() {
    let app = App::local().await;
    let mut stream = Stream::open(app.addr, "acme", None).await;
    let first = upload(&app, "acme", "a.png", &png(3, 2, 500)).await;
    let created = stream.next().await;
    assert_eq!((created.id, created.event.as_str()), (Some(1), "image.created"));
    assert_eq!(created.data["type"], "image.created");
    assert_eq!(created.data["tenantId"], "acme");
    let record = Request::get(&format!("{IMAGES}/{}", first["id"].as_str().unwrap()));
    let record = record.tenant("acme").send(app.addr).await.json();
    assert_eq!(created.data["data"], record);

    upload(&app, "acme", "a.png", &png(4, 5, 600)).await;
    let replaced = stream.next().await;
    assert_eq!((replaced.id, replaced.event.as_str()), (Some(2), "image.replaced"));
    assert_eq!(replaced.data["data"]["version"], 2);
    assert_eq!(replaced.data["data"]["width"], 4);
    assert_ne!(replaced.data["id"], created.data["id"]);

    assert_eq!(delete(&app, "acme", &first["id"]).await.status, 204);
    let deleted = stream.next().await;
    assert_eq!((deleted.id, deleted.event.as_str()), (Some(3), "image.deleted"));
    let gone = &deleted.data["data"];
    assert_eq!(gone["id"], first["id"]);
    assert_eq!(gone["storedName"], "acme/customer/42/a.png");
    assert_eq!((&gone["customerId"], &gone["version"]), (&"42".into(), &2.into()));
    assert_eq!(gone["etag"], replaced.data["data"]["etag"]);
}

#[tokio::test]
async fn who_comes_back_misses_none() {
    let app = App::local().await;
    for name in ["a.gif", "b.gif", "c.gif"] {
        upload(&app, "acme", name, &gif(3, 2, 200)).await;
    }
    let mut stream = Stream::open(app.addr, "acme", Some(1)).await;
    for (id, name) in [(2, "b.gif"), (3, "c.gif")] {
        let told = stream.next().await;
        assert_eq!((told.id, &told.data["data"]["fileName"]), (Some(id), &name.into()));
    }
    upload(&app, "acme", "d.gif", &gif(3, 2, 200)).await;
    assert_eq!(stream.next().await.id, Some(4));
    let mut all = Stream::open(app.addr, "acme", Some(0)).await;
    for id in 1..=4 {
        assert_eq!(all.next().await.id, Some(id));
    }
}

#[tokio::test]
async fn many_at_once_are_told_in_order() {
    let app = App::local().await;
    let mut stream = Stream::open(app.addr, "acme", None).await;
    let image = gif(3, 2, 200);
    let uploads = (0..250).map(|n| {
        let request =
            Request::put(&format!("{UPLOAD}/42/{n}.gif")).tenant("acme").body(image.as_slice());
        async move { request.send(app.addr).await.status }
    });
    assert!(futures_util::future::join_all(uploads).await.iter().all(|status| *status == 201));
    for id in 1..=250 {
        assert_eq!(stream.next().await.id, Some(id));
    }
    let mut again = Stream::open(app.addr, "acme", Some(0)).await;
    for id in 1..=250 {
        assert_eq!(again.next().await.id, Some(id));
    }
}

#[tokio::test]
async fn nobody_hears_of_anothers_images_nor_of_what_failed() {
    let app = App::local().await;
    let mut stream = Stream::open(app.addr, "acme", Some(0)).await;
    upload(&app, "globex", "a.gif", &gif(3, 2, 200)).await;
    let broken = Request::put(&format!("{UPLOAD}/42/b.gif")).tenant("acme").body("no image");
    assert_problem(&broken.send(app.addr).await, "image-unsupported");
    let mut cut = Connection::open(app.addr).await;
    let whole = Request::put(&format!("{UPLOAD}/42/c.jpg")).tenant("acme").body(jpeg(3, 2, 5000));
    cut.send(whole.head_bytes(app.addr)).await;
    drop(cut);
    let own = upload(&app, "acme", "d.gif", &gif(3, 2, 200)).await;
    let told = stream.next().await;
    assert_eq!((told.id, &told.data["data"]["id"]), (Some(1), &own["id"]));
    assert!(stream.is_empty());
}

#[tokio::test]
async fn who_missed_some_that_are_forgotten_is_told_so() {
    let app = App::local().await;
    for name in ["a.gif", "b.gif"] {
        upload(&app, "acme", name, &gif(3, 2, 200)).await;
    }
    let erase = IMAGES.replace("customer-images/images", "customer-images/customers/42");
    let erased = Request::new("DELETE", &erase).tenant("acme").send(app.addr).await;
    assert_eq!(erased.status, 200, "{}", erased.text());
    // What was told of the images is gone; that they are gone is not.
    let mut stream = Stream::open(app.addr, "acme", Some(0)).await;
    let events: Vec<Told> = vec![stream.next().await, stream.next().await, stream.next().await];
    let kinds: Vec<_> = events.iter().map(|told| (told.id, told.event.as_str())).collect();
    let gone = "image.deleted";
    assert_eq!(kinds, [(None, "events.missed"), (Some(3), gone), (Some(4), gone)]);
    // A number of a time before the tenant was erased is one of other events.
    let mut anew = Stream::open(app.addr, "acme", Some(99)).await;
    assert_eq!(anew.next().await.event, "events.missed");
    assert_eq!(anew.next().await.id, Some(3));

    let erased = app.run(&["tenants", "erase", "acme", "--yes"]);
    assert!(erased.status.success(), "{}", erased.stderr);
    upload(&app, "acme", "c.gif", &gif(3, 2, 200)).await;
    // No number is ever another event's.
    let mut later = Stream::open(app.addr, "acme", Some(2)).await;
    assert_eq!(later.next().await.event, "events.missed");
    assert_eq!(later.next().await.id, Some(5));
    let mut known = Stream::open(app.addr, "acme", Some(4)).await;
    assert_eq!(known.next().await.id, Some(5));
}

#[tokio::test]
async fn one_tenant_cannot_have_all_streams() {
    let app = App::local().await;
    let mut streams = Vec::new();
    for _ in 0..128 {
        streams.push(Stream::open(app.addr, "acme", None).await);
    }
    let one_more = Request::get(EVENTS).tenant("acme").send(app.addr).await;
    assert_problem(&one_more, "overloaded");
    assert!(one_more.header("retry-after").is_some());
    Stream::open(app.addr, "globex", None).await;
    // Who leaves makes way.
    drop(streams);
    let until = Instant::now() + SOON;
    loop {
        let mut client = Connection::open(app.addr).await;
        client.send(Request::get(EVENTS).tenant("acme").head_bytes(app.addr)).await;
        if client.head().await.expect("a head").status == 200 {
            break;
        }
        assert!(Instant::now() < until);
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_wrong_last_event_id_or_method_is_refused() {
    let app = App::local().await;
    for wrong in ["x", "-1", "1.5", "", "9223372036854775808"] {
        let request = Request::get(EVENTS).tenant("acme").header("Last-Event-ID", wrong);
        let refused = request.send(app.addr).await;
        assert_problem(&refused, "query-invalid");
        assert!(refused.text().contains("Last-Event-ID"), "{}", refused.text());
    }
    let other = Request::post(EVENTS).tenant("acme").send(app.addr).await;
    assert_problem(&other, "method-not-allowed");
    assert_eq!(other.header("allow").as_deref(), Some("GET"));
    assert_problem(&Request::get(EVENTS).send(app.addr).await, "tenant-missing");
}

#[tokio::test]
async fn streams_end_when_the_server_stops() {
    let mut app = App::local().await;
    let stream = Stream::open(app.addr, "acme", None).await;
    upload(&app, "acme", "a.gif", &gif(3, 2, 200)).await;
    let began = Instant::now();
    app.signal("TERM");
    let rest = stream.rest().await;
    assert_eq!(rest.len(), 1, "{rest:?}");
    assert!(app.ended_within(SOON).await.success());
    // Not cut at the shutdown timeout, which is 30 s.
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    assert!(!app.log_text().contains("requests were cut"), "{}", app.log_text());
}

#[tokio::test]
async fn a_replica_tells_of_the_others_changes() {
    let builder = App::builder().minio().await.postgres().await;
    let [one, other] = [builder.clone().start().await, builder.start().await];
    let mut stream = Stream::open(one.addr, "acme", None).await;
    for number in 1..=3 {
        let at = Instant::now();
        upload(&other, "acme", &format!("{number}.gif"), &gif(3, 2, 200)).await;
        assert_eq!(stream.next().await.id, Some(number));
        assert!(at.elapsed() < SOON, "{:?}", at.elapsed());
    }
}

#[tokio::test]
async fn events_come_through_a_gateway_of_another_process() {
    let module = App::builder().consumers().start().await;
    let url = format!("http://{}/consumers", module.consumers_addr());
    let gateway = App::builder().env("TR_CONSUMER_SERVICE_BASE_URL", &url).start().await;
    let mut stream = Stream::open(gateway.addr, "acme", None).await;
    upload(&module, "acme", "a.gif", &gif(3, 2, 200)).await;
    assert_eq!(stream.next().await.id, Some(1));
}
