//! Webhooks: where tenants are told of their events, by the real binary, at receivers of the test's own.

mod delivering;
mod failing;
mod managing;
mod racing;
mod refusals;
mod scopes;
mod sharing;
mod signing;
mod survival;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::{AnyConnection, Connection as _};

use crate::harness::App;
use crate::harness::builder::Builder;
use crate::harness::http::{Request, Response};
use crate::harness::images::gif;
use crate::harness::upload::UPLOAD;
use crate::harness::upstream::{Recorded, Upstream};

const HOOKS: &str = "/consumer-api/service/consumers/customer-images/webhooks";
const IMAGES: &str = "/consumer-api/service/consumers/customer-images/images";
const NO_CONTENT: &str = "HTTP/1.1 204 No Content\r\n\r\n";
/// What comes at all comes by then.
const SOON: Duration = Duration::from_secs(20);

/// A server that may send to receivers on this machine.
fn builder() -> Builder {
    App::builder().set("WEBHOOKS__ALLOWED_NETWORKS", "127.0.0.0/8")
}

/// One on each database.
async fn both() -> [App; 2] {
    [builder().start().await, builder().postgres().await.start().await]
}

fn request(method: &str, path: &str, body: Option<&Value>) -> Request {
    let request = Request::new(method, &format!("{HOOKS}{path}")).tenant("acme");
    match body {
        Some(body) => request.header("Content-Type", "application/json").body(body.to_string()),
        None => request,
    }
}

async fn call(app: &App, method: &str, path: &str, body: Option<&Value>) -> Response {
    request(method, path, body).send(app.addr).await
}

/// What a call that must succeed answers.
async fn done(app: &App, method: &str, path: &str, body: Option<&Value>) -> Value {
    let response = call(app, method, path, body).await;
    assert!(response.status < 300, "{method} {path}: {}", response.text());
    response.json()
}

/// A webhook of the tenant acme, as its making was answered.
pub struct Hook {
    id: String,
    secret: String,
}

impl Hook {
    async fn at(app: &App, url: &str) -> Self {
        Self::of(app, &json!({ "url": url })).await
    }

    pub async fn of(app: &App, asked: &Value) -> Self {
        let made = done(app, "POST", "", Some(asked)).await;
        let text = |name: &str| made[name].as_str().expect(name).to_owned();
        Self { id: text("id"), secret: text("secret") }
    }

    fn path(&self, rest: &str) -> String {
        format!("/{}{rest}", self.id)
    }

    async fn shown(&self, app: &App) -> Value {
        done(app, "GET", &self.path(""), None).await
    }

    async fn deliveries(&self, app: &App) -> Vec<Value> {
        let page = done(app, "GET", &self.path("/deliveries?limit=200"), None).await;
        page["deliveries"].as_array().expect("a list").clone()
    }

    /// The deliveries, once they are as wanted.
    async fn until(&self, app: &App, wanted: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let until = Instant::now() + SOON;
        loop {
            let deliveries = self.deliveries(app).await;
            if wanted(&deliveries) {
                return deliveries;
            }
            assert!(Instant::now() < until, "{deliveries:?}\n{}", app.log_text());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until all deliveries, so many, are in this state.
    async fn all_are(&self, app: &App, count: usize, state: &str) -> Vec<Value> {
        let is_it = |delivery: &Value| delivery["state"] == state;
        self.until(app, |all| all.len() == count && all.iter().all(is_it)).await
    }
}

async fn upload(app: &App, tenant: &str, name: &str) -> Value {
    let request = Request::put(&format!("{UPLOAD}/42/{name}")).tenant(tenant);
    let response = request.body(gif(3, 2, 100)).send(app.addr).await;
    assert_eq!(response.status, 201, "{}\n{}", response.text(), app.log_text());
    response.json()
}

fn told(request: &Recorded) -> Value {
    serde_json::from_slice(&request.body).expect("JSON")
}

/// The ids of the events that were delivered.
fn events(requests: &[Recorded]) -> BTreeSet<String> {
    requests.iter().map(|request| request.header("webhook-id").expect("an id")).collect()
}

/// Changes the database.
async fn change(app: &App, sql: &'static str) {
    sqlx::query(sql).execute(&mut database(app).await).await.unwrap();
}

/// Asks the database for a number.
async fn number(app: &App, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(&mut database(app).await).await.unwrap()
}

async fn database(app: &App) -> AnyConnection {
    sqlx::any::install_default_drivers();
    AnyConnection::connect(&app.database()).await.unwrap()
}
