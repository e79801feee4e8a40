//! What receivers get.

use super::*;
use crate::events::Stream;
use crate::harness::problem::assert_problem;

#[tokio::test]
async fn each_change_is_delivered_as_the_stream_tells_it() {
    for app in both().await {
        let receiver = Upstream::answering(NO_CONTENT).await;
        let hook = Hook::at(&app, &receiver.url("/in?key=1")).await;
        let mut stream = Stream::open(app.addr, "acme", None).await;
        let image = upload(&app, "acme", "a.gif").await;
        upload(&app, "acme", "a.gif").await;
        let path = format!("{IMAGES}/{}", image["id"].as_str().unwrap());
        let gone = Request::new("DELETE", &path).tenant("acme").send(app.addr).await;
        assert_eq!(gone.status, 204);
        upload(&app, "other", "b.gif").await;

        let mut streamed = Vec::new();
        for _ in 0..3 {
            streamed.push(stream.next().await.data);
        }
        let requests = receiver.received(3).await;
        for event in &streamed {
            let is_it = |request: &&Recorded| told(request)["id"] == event["id"];
            let request = requests.iter().find(is_it).expect("a delivery");
            assert_eq!(&told(request), event);
            assert_eq!(request.line, "POST /in?key=1 HTTP/1.1");
            assert_eq!(request.header("webhook-id").as_deref(), event["id"].as_str());
            assert_eq!(request.header("content-type").as_deref(), Some("application/json"));
            assert_eq!(request.header("host"), Some(receiver.addr.to_string()));
            assert!(request.header("user-agent").unwrap().starts_with("gatehouse/"));
            for own in ["x-tenant-id", "x-api-key", "authorization", "cookie"] {
                assert_eq!(request.header(own), None);
            }
        }
        let all = hook.all_are(&app, 3, "delivered").await;
        let kinds: Vec<_> = all.iter().map(|delivery| delivery["type"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["image.deleted", "image.replaced", "image.created"]);
        for (delivery, event) in all.iter().zip(streamed.iter().rev()) {
            assert_eq!((&delivery["id"], &delivery["eventId"]), (&event["id"], &event["id"]));
            assert_eq!((&delivery["status"], &delivery["attempts"]), (&204.into(), &1.into()));
            assert!(delivery["error"].is_null() && delivery["endedAt"].is_string(), "{delivery}");
        }
        assert_eq!(receiver.requests().len(), 3);
    }
}

#[tokio::test]
async fn only_wanted_types_are_delivered_and_each_webhook_gets_its_own() {
    let app = builder().start().await;
    let [first, second] = [Upstream::ok().await, Upstream::ok().await];
    let created =
        Hook::of(&app, &json!({ "url": first.url("/"), "events": ["image.created"] })).await;
    let deleted =
        Hook::of(&app, &json!({ "url": second.url("/"), "events": ["image.deleted"] })).await;
    let image = upload(&app, "acme", "a.gif").await;
    let path = format!("{IMAGES}/{}", image["id"].as_str().unwrap());
    Request::new("DELETE", &path).tenant("acme").send(app.addr).await;
    let [made, gone] =
        [created.all_are(&app, 1, "delivered").await, deleted.all_are(&app, 1, "delivered").await];
    assert_eq!(
        (&made[0]["type"], &gone[0]["type"]),
        (&json!("image.created"), &json!("image.deleted"))
    );
    // Types are whole words.
    assert_eq!((first.requests().len(), second.requests().len()), (1, 1));
}

#[tokio::test]
async fn what_is_processed_is_delivered_if_its_image_is_there_still() {
    let steps = "[consumers.steps.look]\nkind = \"exif\"\n";
    for builder in [builder(), builder().postgres().await] {
        let mut app = builder.file(steps).prepare();
        let held = app.folder().join("held");
        app.set_env("GATEHOUSE_FAULT", &format!("steps.read:hold={}", held.display()));
        app.start().await;
        let receiver = Upstream::answering(NO_CONTENT).await;
        let asked = json!({ "url": receiver.url("/"), "events": ["image.processed"] });
        let hook = Hook::of(&app, &asked).await;
        // One whose image is gone by then is no event, and nothing waits for it.
        let image = upload(&app, "acme", "a.gif").await;
        let until = Instant::now() + SOON;
        while !held.exists() {
            assert!(Instant::now() < until, "no step has begun");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let path = format!("{IMAGES}/{}", image["id"].as_str().unwrap());
        let gone = Request::new("DELETE", &path).tenant("acme").send(app.addr).await;
        assert_eq!(gone.status, 204);
        std::fs::remove_file(&held).unwrap();
        while number(&app, "SELECT COUNT(*) FROM jobs WHERE queue = 'images'").await > 0 {
            assert!(Instant::now() < until, "a step does not end");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        upload(&app, "acme", "b.gif").await;
        let all = hook.all_are(&app, 1, "delivered").await;
        assert_eq!(all[0]["type"], "image.processed");
        assert_eq!(told(&receiver.request())["data"]["fileName"], "b.gif");
    }
}

#[tokio::test]
async fn a_test_comes_the_same_way() {
    for app in both().await {
        let receiver = Upstream::answering(NO_CONTENT).await;
        let hook =
            Hook::of(&app, &json!({ "url": receiver.url("/"), "events": ["image.deleted"] })).await;
        let accepted = call(&app, "POST", &hook.path("/test"), None).await;
        assert_eq!(accepted.status, 202, "{}", accepted.text());
        let id = accepted.json()["deliveryId"].clone();
        let request = receiver.received(1).await.remove(0);
        assert_eq!(request.header("webhook-id").as_deref(), id.as_str());
        let told = told(&request);
        assert_eq!(
            (&told["id"], &told["type"], &told["tenantId"]),
            (&id, &json!("webhook.test"), &json!("acme"))
        );
        assert_eq!(told["data"]["webhookId"], hook.id);
        assert!(told["timestamp"].is_string());
        let delivered = hook.all_are(&app, 1, "delivered").await;
        assert_eq!((&delivered[0]["id"], &delivered[0]["eventId"]), (&id, &json!(null)));
    }
}

#[tokio::test]
async fn a_delivery_is_replayed() {
    for app in both().await {
        let (receiver, answer) = Upstream::switched(NO_CONTENT).await;
        let hook = Hook::at(&app, &receiver.url("/")).await;
        upload(&app, "acme", "a.gif").await;
        let first = hook.all_are(&app, 1, "delivered").await.remove(0);
        let replay = hook.path(&format!("/deliveries/{}/replay", first["id"].as_str().unwrap()));
        let accepted = call(&app, "POST", &replay, None).await;
        assert_eq!(accepted.status, 202, "{}", accepted.text());
        let again = hook.all_are(&app, 2, "delivered").await.remove(0);
        assert_eq!(again["id"], accepted.json()["deliveryId"]);
        assert_ne!(again["id"], first["id"]);
        assert_eq!((&again["eventId"], &again["type"]), (&first["id"], &first["type"]));
        // Whoever has seen the event knows it again.
        let requests = receiver.received(2).await;
        assert_eq!(events(&requests).len(), 1);
        assert_eq!(requests[0].body, requests[1].body);
        // A replay can be replayed, and what waits, too.
        let replay = hook.path(&format!("/deliveries/{}/replay", again["id"].as_str().unwrap()));
        answer.send_replace("HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n");
        let waiting = done(&app, "POST", &replay, None).await["deliveryId"].clone();
        let replay = hook.path(&format!("/deliveries/{}/replay", waiting.as_str().unwrap()));
        done(&app, "POST", &replay, None).await;
        answer.send_replace(NO_CONTENT);
        hook.all_are(&app, 4, "delivered").await;
        let unknown = hook.path("/deliveries/0197b0a0-0000-7000-8000-000000000000/replay");
        assert_problem(&call(&app, "POST", &unknown, None).await, "not-found");
    }
}

#[tokio::test]
async fn deliveries_are_listed_in_pages() {
    let app = builder().start().await;
    let receiver = Upstream::answering(NO_CONTENT).await;
    let [hook, other] =
        [Hook::at(&app, &receiver.url("/")).await, Hook::at(&app, "http://127.0.0.1:9/").await];
    for number in 0..7 {
        upload(&app, "acme", &format!("{number}.gif")).await;
    }
    let all = hook.all_are(&app, 7, "delivered").await;
    let waiting = other.until(&app, |all| all.len() == 7).await;
    for (hook, all) in [(&hook, all), (&other, waiting)] {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page =
                done(&app, "GET", &hook.path(&format!("/deliveries?limit=3{cursor}")), None).await;
            seen.extend(page["deliveries"].as_array().unwrap().iter().map(|d| d["id"].clone()));
            let Some(next) = page["nextCursor"].as_str() else { break };
            assert_eq!(seen.len() % 3, 0);
            cursor = format!("&cursor={next}");
        }
        assert_eq!(seen, all.iter().map(|delivery| delivery["id"].clone()).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn who_does_no_jobs_sends_nothing_and_others_do() {
    let database = builder().minio().await.postgres().await;
    let idle = database.clone().set("CONSUMERS__WORKERS__ENABLED", "false").start().await;
    let receiver = Upstream::answering(NO_CONTENT).await;
    let hook = Hook::at(&idle, &receiver.url("/")).await;
    upload(&idle, "acme", "a.gif").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(hook.deliveries(&idle).await[0]["state"], "pending");
    let _working = database.start().await;
    hook.all_are(&idle, 1, "delivered").await;
    // It is woken, and need not look by itself.
    let at = Instant::now();
    upload(&idle, "acme", "b.gif").await;
    hook.all_are(&idle, 2, "delivered").await;
    assert!(at.elapsed() < Duration::from_secs(4), "{:?}", at.elapsed());
}
