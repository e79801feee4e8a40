//! Quotas: what a tenant's images come to, and that they never come to more than they may.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::App;
use crate::harness::builder::Builder;
use crate::harness::http::{Connection, Request, Response};
use crate::harness::images::jpeg;
use crate::harness::invariants::assert_settled;
use crate::harness::journal::Journal;
use crate::harness::multipart::Form;
use crate::harness::problem::assert_problem;
use crate::harness::upload::{UPLOAD, path};

const USAGE: &str = "/consumer-api/service/consumers/customer-images/usage";
const IMAGES: &str = "/consumer-api/service/consumers/customer-images/images";
const MIB: usize = 1 << 20;

/// A server with tenants' quotas, and what its clients were told.
struct Limited {
    app: App,
    journal: Journal,
}

impl Limited {
    async fn start(builder: Builder, bytes: Option<usize>, images: Option<usize>) -> Self {
        let mut builder = builder;
        if let Some(bytes) = bytes {
            builder = builder.set("QUOTAS__BYTES", &bytes.to_string());
        }
        if let Some(images) = images {
            builder = builder.set("QUOTAS__IMAGES", &images.to_string());
        }
        Self { app: builder.start().await, journal: Journal::default() }
    }

    /// One on files and SQLite, one on MinIO and Postgres.
    async fn both(bytes: Option<usize>, images: Option<usize>) -> [Self; 2] {
        let replicated = App::builder().minio().await.postgres().await;
        let replicated = replicated.set("STORAGE__S3__PART_SIZE", "5MiB");
        [
            Self::start(App::builder(), bytes, images).await,
            Self::start(replicated, bytes, images).await,
        ]
    }

    async fn send(&self, name: &str, image: &[u8], request: Request) -> Response {
        let key = format!("acme/customer/42/{name}");
        self.app.tried(&key);
        let under_way = self.journal.upload(&key, image);
        let response = request.tenant("acme").send(self.app.addr).await;
        under_way.answered(Some(&response));
        response
    }

    async fn put(&self, name: &str, image: &[u8]) -> Response {
        self.send(name, image, put(name, image)).await
    }

    async fn usage(&self) -> Value {
        usage(&self.app, "acme").await
    }

    async fn assert_settled(&self) {
        assert_settled(&self.app, &self.journal, Duration::from_secs(30)).await;
    }
}

fn put(name: &str, image: &[u8]) -> Request {
    Request::put(&format!("{UPLOAD}/42/{name}")).body(image)
}

async fn usage(app: &App, tenant: &str) -> Value {
    let response = Request::get(USAGE).tenant(tenant).send(app.addr).await;
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(response.header("cache-control").as_deref(), Some("private"));
    response.json()
}

/// A JPEG of exactly so many bytes.
fn of_size(size: usize, seed: u16) -> Vec<u8> {
    let image = jpeg(seed, 9, size - jpeg(1, 1, 0).len());
    assert_eq!(image.len(), size);
    image
}

#[tokio::test]
async fn usage_follows_what_is_stored() {
    for limited in Limited::both(None, Some(1000)).await {
        let told = |bytes: usize, images: usize| json!({ "bytes": bytes, "images": images, "maxBytes": null, "maxImages": 1000 });
        assert_eq!(limited.usage().await, told(0, 0));
        limited.put("a.jpg", &of_size(5000, 1)).await;
        let second = limited.put("b.jpg", &of_size(700, 2)).await.json();
        assert_eq!(limited.usage().await, told(5700, 2));
        limited.put("a.jpg", &of_size(1000, 3)).await;
        assert_eq!(limited.usage().await, told(1700, 2));
        let under_way = limited.journal.delete("acme/customer/42/b.jpg");
        let record = format!("{IMAGES}/{}", second["id"].as_str().unwrap());
        let deleted = Request::new("DELETE", &record).tenant("acme").send(limited.app.addr).await;
        under_way.answered(Some(&deleted));
        assert_eq!(limited.usage().await, told(1000, 1));
        assert_eq!(usage(&limited.app, "other").await, told(0, 0));
        limited.assert_settled().await;
    }
}

#[tokio::test]
async fn usage_is_only_read() {
    let app = App::local().await;
    let none = json!({ "bytes": 0, "images": 0, "maxBytes": null, "maxImages": null });
    assert_eq!(usage(&app, "acme").await, none);
    let head = Request::new("HEAD", USAGE).tenant("acme").send(app.addr).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        let refused = Request::new(method, USAGE).tenant("acme").send(app.addr).await;
        assert_problem(&refused, "method-not-allowed");
        assert_eq!(refused.header("allow").as_deref(), Some("GET, HEAD"));
    }
    assert_problem(&Request::get(USAGE).send(app.addr).await, "tenant-missing");
}

#[tokio::test]
async fn images_fill_a_quota_of_bytes_to_its_edge_and_no_further() {
    for limited in Limited::both(Some(10_000), None).await {
        assert_eq!(limited.put("a.jpg", &of_size(6000, 1)).await.status, 201);
        let more = of_size(4001, 2);
        assert_problem(&limited.put("b.jpg", &more).await, "quota-exceeded");
        let form = Form::new().file("b.jpg", &more).post(&path("42"));
        assert_problem(&limited.send("b.jpg", &more, form).await, "quota-exceeded");
        let chunked = put("b.jpg", &more).chunked(1000);
        assert_problem(&limited.send("b.jpg", &more, chunked).await, "quota-exceeded");
        assert_eq!(limited.app.keys().await, ["acme/customer/42/a.jpg"]);

        assert_eq!(limited.put("b.jpg", &of_size(4000, 3)).await.status, 201);
        assert_eq!(limited.usage().await["bytes"], 10_000);
        // A replacement counts by what it changes.
        assert_eq!(limited.put("b.jpg", &of_size(4000, 4)).await.status, 201);
        assert_eq!(limited.put("a.jpg", &of_size(5999, 5)).await.status, 201);
        assert_problem(&limited.put("b.jpg", &of_size(4002, 6)).await, "quota-exceeded");
        assert_eq!(limited.put("b.jpg", &of_size(4001, 7)).await.status, 201);
        assert_eq!(limited.usage().await["bytes"], 10_000);
        limited.assert_settled().await;
        // That a tenant has no room is no failure of the server's.
        assert!(!limited.app.log_text().contains("a request failed"));
    }
}

#[tokio::test]
async fn images_fill_a_quota_of_images() {
    for limited in Limited::both(None, Some(2)).await {
        let first = limited.put("a.jpg", &of_size(600, 1)).await.json();
        assert_eq!(limited.put("b.jpg", &of_size(600, 2)).await.status, 201);
        assert_problem(&limited.put("c.jpg", &of_size(600, 3)).await, "quota-exceeded");
        assert_eq!(limited.put("b.jpg", &of_size(9000, 4)).await.status, 201);

        let under_way = limited.journal.delete("acme/customer/42/a.jpg");
        let record = format!("{IMAGES}/{}", first["id"].as_str().unwrap());
        let deleted = Request::new("DELETE", &record).tenant("acme").send(limited.app.addr).await;
        under_way.answered(Some(&deleted));
        assert_eq!(limited.put("c.jpg", &of_size(600, 5)).await.status, 201);
        assert_problem(&limited.put("a.jpg", &of_size(600, 6)).await, "quota-exceeded");
        limited.assert_settled().await;
    }
}

#[tokio::test]
async fn images_of_many_parts_keep_to_the_quota() {
    for limited in Limited::both(Some(20 * MIB), None).await {
        let image = of_size(12 * MIB, 1);
        let form = Form::new().file("a.jpg", &image).post(&path("42"));
        assert_eq!(limited.send("a.jpg", &image, form).await.status, 201);
        let form = Form::new().file("b.jpg", &image).post(&path("42"));
        for request in [form.clone(), put("b.jpg", &image), form.chunked(MIB)] {
            let refused = limited.send("b.jpg", &image, request).await;
            assert_problem(&refused, "quota-exceeded");
        }
        // What comes without a length may be as long as there is room.
        let rest = of_size(8 * MIB, 2);
        let chunked = put("b.jpg", &rest).chunked(MIB);
        assert_eq!(limited.send("b.jpg", &rest, chunked).await.status, 201);
        let other = of_size(12 * MIB, 3);
        assert_eq!(limited.put("a.jpg", &other).await.status, 201);
        let larger = of_size(12 * MIB + 1, 4);
        assert_problem(&limited.put("a.jpg", &larger).await, "quota-exceeded");
        assert_eq!(limited.usage().await["bytes"], 20 * MIB);
        limited.assert_settled().await;
    }
}

#[tokio::test]
async fn what_an_upload_reserves_it_gives_back() {
    let builder = App::builder().minio().await.postgres().await;
    let limited = Limited::start(builder, Some(20 * MIB), Some(5)).await;
    let (held, wanted) = (of_size(15 * MIB, 1), of_size(10 * MIB, 2));
    limited.app.tried("acme/customer/42/held.jpg");
    let mut connection = Connection::open(limited.app.addr).await;
    let request = put("held.jpg", &held).tenant("acme");
    connection.send(request.head_bytes(limited.app.addr)).await;
    connection.send(&held[..9 * MIB]).await;
    let until = Instant::now() + Duration::from_secs(20);
    let (bucket, store) = limited.app.bucket().unwrap();
    while store.unfinished(bucket, "acme/customer/42/held.jpg").await == 0 {
        assert!(Instant::now() < until, "it is not begun: {}", limited.app.log_text());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(limited.usage().await["bytes"], 0);
    assert_problem(&limited.put("wanted.jpg", &wanted).await, "quota-exceeded");
    let small = of_size(5 * MIB, 3);
    assert_eq!(limited.put("small.jpg", &small).await.status, 201);

    drop(connection);
    while limited.put("wanted.jpg", &wanted).await.status != 201 {
        assert!(Instant::now() < until, "it is not given back: {}", limited.app.log_text());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    limited.assert_settled().await;
}

#[tokio::test]
async fn parallel_uploads_never_pass_a_quota() {
    for (size, most, count, by_images) in
        [(20_000, 10, 50, false), (20_000, 10, 50, true), (6 * MIB, 5, 20, false)]
    {
        let quota = if by_images { (None, Some(most)) } else { (Some(most * size), None) };
        for limited in Limited::both(quota.0, quota.1).await {
            let image = of_size(size, 1);
            let names: Vec<_> = (0..count).map(|i| format!("{i}.jpg")).collect();
            let sent = join_all(names.iter().map(|name| {
                let image = &image;
                let request = put(name, image);
                // Half of them do not tell their length.
                let request = if name.len() % 2 == 0 { request.chunked(64 << 10) } else { request };
                limited.send(name, image, request)
            }));
            let mut taken = 0;
            for response in sent.await {
                match response.status {
                    201 => taken += 1,
                    _ => assert_problem(&response, "quota-exceeded"),
                }
            }
            assert_eq!(taken, most);
            let told = limited.usage().await;
            assert_eq!((&told["bytes"], &told["images"]), (&json!(most * size), &json!(most)));
            limited.assert_settled().await;
        }
    }
}

#[tokio::test]
async fn what_a_length_shows_to_be_too_much_is_refused_unread() {
    let limited = Limited::start(App::builder(), Some(10 * MIB), None).await;
    let addr = limited.app.addr;
    let raw =
        Request::put(&format!("{UPLOAD}/42/a.jpg")).tenant("acme").claiming(10 * MIB as u64 + 1);
    let mut connection = Connection::open(addr).await;
    connection.send(raw.head_bytes(addr)).await;
    assert_problem(&connection.response().await, "quota-exceeded");

    // A form's other fields might be most of it; this is more than they can be.
    let form = Form::new().file("a.jpg", b"");
    let head = form.post(&path("42")).tenant("acme").claiming(20 * MIB as u64).head_bytes(addr);
    let mut connection = Connection::open(addr).await;
    connection.send(head).await;
    connection.send(form.unclosed()).await;
    assert_problem(&connection.response().await, "quota-exceeded");

    // Less than what is left, or an unknown length, has to be seen.
    let image = of_size(9 * MIB, 1);
    let form = Form::new().file("a.jpg", &image).post(&path("42"));
    assert_eq!(limited.send("a.jpg", &image, form).await.status, 201);
    limited.assert_settled().await;
}
