//! The store or the database goes away before, within or after the commit, and comes back: the
//! server goes on by itself, and all that clients were told holds.

use std::time::{Duration, Instant};

use fastrand::Rng;
use futures_util::future::join_all;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::load::{self, Load};
use crate::harness::builder::Builder;
use crate::harness::http::{PATIENCE, Request, Response};
use crate::harness::invariants::assert_settled;
use crate::harness::journal::{Content, Journal};
use crate::harness::minio::Minio;
use crate::harness::postgres::Postgres;
use crate::harness::problem::assert_problem;
use crate::harness::{App, images, upload};

const KEY: &str = "acme/customer/42/a.jpg";
const MINUTE: Duration = Duration::from_secs(60);

/// What can be stopped and comes back as it was.
enum Server {
    Store(Minio),
    Database(Postgres),
}

impl Server {
    fn stop(&mut self) {
        match self {
            Self::Store(minio) => minio.stop(),
            Self::Database(postgres) => postgres.stop(),
        }
    }

    async fn restart(&mut self) {
        match self {
            Self::Store(minio) => minio.restart().await,
            Self::Database(postgres) => postgres.restart().await,
        }
    }
}

/// A store of this test's own, and what a server that uses it is started with.
async fn own_store() -> (Server, Builder) {
    let store = Minio::start().await;
    let bucket = store.fresh_bucket().await;
    let builder = App::builder().s3(&store, &bucket);
    (Server::Store(store), builder)
}

/// A database server of this test's own, and what a server that uses it is started with.
async fn own_database(builder: Builder) -> (Server, Builder) {
    let postgres = Postgres::start().await;
    let builder = builder.database(&postgres.fresh_database().await);
    (Server::Database(postgres), builder)
}

#[tokio::test]
async fn a_store_that_goes_before_the_commit_has_nothing_of_it() {
    let (mut store, builder) = own_store().await;
    let mut held = Held::at("commit.prepared", builder).await;
    let answer = held.upload().await;
    store.stop();
    assert_problem(&held.go_on(answer).await, "storage-unavailable");
    store.restart().await;
    assert_eq!(held.settled().await, Content::Absent);
}

#[tokio::test]
async fn a_store_that_goes_after_the_commit_is_not_missed() {
    let (mut store, builder) = own_store().await;
    let mut held = Held::at("commit.stored", builder).await;
    let answer = held.upload().await;
    store.stop();
    assert_eq!(upload::stored_name(&held.go_on(answer).await), KEY);
    store.restart().await;
    assert_eq!(held.settled().await, Content::of(&image()));
}

#[tokio::test]
async fn a_deletion_that_the_store_could_not_take_takes_place_once_it_can() {
    let (mut store, builder) = own_store().await;
    let mut held = Held::at("delete.prepared", builder).await;
    let answer = held.deletion().await;
    store.stop();
    assert_problem(&held.go_on(answer).await, "storage-unavailable");
    store.restart().await;
    assert_eq!(held.settled().await, Content::Absent);
}

#[tokio::test]
async fn a_database_that_goes_before_the_record_gets_it_once_it_is_back() {
    let mut cases = Vec::new();
    for on_minio in [false, true] {
        for point in ["commit.prepared", "commit.stored"] {
            cases.push(async move {
                let store = App::builder();
                let store = if on_minio { store.minio().await } else { store };
                let (mut database, builder) = own_database(store).await;
                let mut held = Held::at(point, builder).await;
                let answer = held.upload().await;
                database.stop();
                assert_problem(&held.go_on(answer).await, "storage-unavailable");
                database.restart().await;
                assert_eq!(held.settled().await, Content::of(&image()), "{point}");
            });
        }
    }
    join_all(cases).await;
}

#[tokio::test]
async fn a_database_that_goes_within_a_deletion_finishes_it_once_it_is_back() {
    let (mut database, builder) = own_database(App::builder()).await;
    let mut held = Held::at("delete.removed", builder).await;
    let answer = held.deletion().await;
    database.stop();
    assert_problem(&held.go_on(answer).await, "storage-unavailable");
    database.restart().await;
    assert_eq!(held.settled().await, Content::Absent);
}

#[tokio::test]
async fn a_server_starts_though_its_database_is_down() {
    let (mut database, builder) = own_database(App::builder()).await;
    database.stop();
    let app = builder.start().await;
    assert_eq!(Request::get("/readyz").send(app.addr).await.status, 503);
    let request = upload::main_job("a.jpg", &image());
    assert_problem(&request.send(app.addr).await, "storage-unavailable");
    database.restart().await;
    let journal = Journal::default();
    ready(&app).await;
    let under_way = journal.upload(KEY, &image());
    under_way.answered(Some(&request.send(app.addr).await));
    assert_settled(&app, &journal, MINUTE).await;
}

#[tokio::test]
async fn nothing_is_lost_or_left_while_the_store_comes_and_goes() {
    let (store, builder) = own_store().await;
    come_and_go(store, builder.set("STORAGE__S3__PART_SIZE", "5MiB")).await;
}

#[tokio::test]
async fn nothing_is_lost_or_left_while_the_database_comes_and_goes() {
    let (database, builder) = own_database(App::builder()).await;
    come_and_go(database, builder).await;
}

/// Stops a server and starts it again, a few times under load.
async fn come_and_go(mut server: Server, builder: Builder) {
    let (journal, mut rng) = (Journal::default(), Rng::new());
    let app = super::expiring_soon(builder).start().await;
    let load = Load::new(&journal, &mut rng, 11 << 20);
    load.ask(app.addr);
    for _ in 0..4 {
        sleep(Duration::from_millis(rng.u64(500..1500))).await;
        server.stop();
        sleep(Duration::from_millis(rng.u64(..1000))).await;
        server.restart().await;
    }
    ready(&app).await;
    sleep(Duration::from_secs(1)).await;
    load.rest();
    assert_settled(&app, &journal, MINUTE).await;
    load.end().await;
}

/// A server that holds one change at a point.
struct Held {
    app: App,
    journal: Journal,
}

impl Held {
    async fn at(point: &str, builder: Builder) -> Self {
        let fault = format!("{point}:hold={HELD}");
        let app = builder.env("GATEHOUSE_FAULT", &fault).start().await;
        Self { app, journal: Journal::default() }
    }

    /// Uploads, until it is held.
    async fn upload(&mut self) -> JoinHandle<Response> {
        let (journal, addr) = (self.journal.clone(), self.app.addr);
        let asked = tokio::spawn(async move {
            let under_way = journal.upload(KEY, &image());
            let answer = upload::main_job("a.jpg", &image()).send(addr).await;
            under_way.answered(Some(&answer));
            answer
        });
        self.is_held(&asked).await;
        asked
    }

    /// Uploads, and then deletes until it is held.
    async fn deletion(&mut self) -> JoinHandle<Response> {
        let under_way = self.journal.upload(KEY, &image());
        let stored = upload::main_job("a.jpg", &image()).send(self.app.addr).await;
        under_way.answered(Some(&stored));
        let request = load::deletion(stored.json()["id"].as_str().expect("id"));
        let (journal, addr) = (self.journal.clone(), self.app.addr);
        let asked = tokio::spawn(async move {
            let under_way = journal.delete(KEY);
            let answer = request.send(addr).await;
            under_way.answered(Some(&answer));
            answer
        });
        self.is_held(&asked).await;
        asked
    }

    async fn is_held(&self, asked: &JoinHandle<Response>) {
        let until = Instant::now() + PATIENCE;
        while !self.app.folder().join(HELD).exists() {
            assert!(!asked.is_finished() && Instant::now() < until, "it is not held");
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Lets it go on; its answer.
    async fn go_on(&self, asked: JoinHandle<Response>) -> Response {
        std::fs::remove_file(self.app.folder().join(HELD)).unwrap();
        asked.await.unwrap()
    }

    /// What stands there once everything is settled.
    async fn settled(&self) -> Content {
        assert_settled(&self.app, &self.journal, MINUTE).await;
        self.journal.possible(KEY).remove(0).0
    }
}

/// The file that says that a change is held, in the server's folder.
const HELD: &str = "held";

fn image() -> Vec<u8> {
    images::jpeg(7, 7, 70_000)
}

/// Waits until a server is ready.
async fn ready(app: &App) {
    let until = Instant::now() + PATIENCE;
    while Request::get("/readyz").send(app.addr).await.status != 200 {
        assert!(Instant::now() < until, "not ready: {}", app.log_text());
        sleep(Duration::from_millis(50)).await;
    }
}
