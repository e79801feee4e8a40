//! What operators and the curious ask of every listener: health, readiness, and the pages that
//! explain the problem types. Metrics are told by a listener of their own only.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use actix_web::{HttpResponse, Resource, Route, guard, http::header, web};
use serde::{Deserialize, Serialize};

use crate::{
    database::Database,
    metrics,
    problem::{Kind, Problem},
    storage::SharedStorage,
};

/// How long store and database may take to say that they are there.
const READY_TIMEOUT: Duration = Duration::from_secs(3);

/// `[operations]`: the listener for those who run the process.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where metrics are told; none: nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<SocketAddr>,
}

/// What readiness depends on. Shared by all workers.
#[derive(Clone)]
pub struct Readiness {
    storage: SharedStorage,
    database: Option<Database>,
    stopping: Arc<AtomicBool>,
}

impl Readiness {
    /// Ready when `storage` is, and the database where the process has one.
    pub fn new(storage: SharedStorage, database: Option<Database>) -> Self {
        Self { storage, database, stopping: Arc::default() }
    }

    /// Turns red for good: a stop was asked for.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    async fn check(&self) -> Result<(), Problem> {
        if self.stopping.load(Ordering::Relaxed) {
            return Err(Problem::new(Kind::Overloaded).detail("The server is shutting down."));
        }
        let unavailable = || Problem::new(Kind::StorageUnavailable);
        let both = async {
            self.storage.ready().await.map_err(|e| unavailable().because(e))?;
            match &self.database {
                Some(database) => database.ready().await.map_err(|e| unavailable().because(e)),
                None => Ok(()),
            }
        };
        match tokio::time::timeout(READY_TIMEOUT, both).await {
            Ok(ready) => ready,
            Err(elapsed) => Err(unavailable().because(elapsed)),
        }
    }
}

fn read() -> Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

fn resource(path: &str, route: Route) -> Resource {
    web::resource(path).route(route).default_service(web::to(read_only))
}

/// Adds `/healthz`, `/readyz` and `/problems/{slug}`. They expect a [`Readiness`] among the
/// app's data.
pub fn routes(config: &mut web::ServiceConfig) {
    config
        .service(resource("/healthz", read().to(healthz)))
        .service(resource("/readyz", read().to(readyz)))
        // A scope, so that other paths are not matched against the pattern.
        .service(web::scope("/problems").service(resource("/{slug}", read().to(explain))));
}

/// Sets those metrics that stand for how things are now; called before they are told.
pub struct Look(pub Box<dyn Fn() + Send + Sync>);

/// Adds `/metrics`. It expects a [`Look`] among the app's data.
pub fn metrics_routes(config: &mut web::ServiceConfig) {
    config.service(resource("/metrics", read().to(tell_metrics)));
}

async fn tell_metrics(look: web::Data<Look>) -> Result<HttpResponse, Problem> {
    (look.0)();
    let text = metrics::text().map_err(|error| Problem::new(Kind::Internal).because(error))?;
    Ok(HttpResponse::Ok().insert_header((header::CONTENT_TYPE, metrics::MEDIA_TYPE)).body(text))
}

async fn healthz() -> HttpResponse {
    HttpResponse::Ok().json(serde_json::json!({ "status": "ok" }))
}

async fn readyz(readiness: web::Data<Readiness>) -> Result<HttpResponse, Problem> {
    readiness.check().await?;
    Ok(HttpResponse::Ok().json(serde_json::json!({ "status": "ready" })))
}

async fn read_only() -> Result<HttpResponse, Problem> {
    Err(Problem::new(Kind::MethodNotAllowed).allow("GET, HEAD"))
}

/// A page about one type of problem. All its text is ours, so nothing needs escaping.
async fn explain(slug: web::Path<String>) -> Result<HttpResponse, Problem> {
    let kind = Kind::ALL.iter().find(|kind| kind.slug() == slug.as_str()).ok_or(Kind::NotFound)?;
    let (slug, status, title, help) = (kind.slug(), kind.status(), kind.title(), kind.help());
    let page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>{title}</title>\n\
         <h1>{title}</h1>\n<p><code>{slug}</code>, answered with {status}.</p>\n<p>{help}</p>\n</html>\n"
    );
    Ok(HttpResponse::Ok()
        .insert_header(header::ContentType::html())
        .insert_header((header::CONTENT_SECURITY_POLICY, "default-src 'none'"))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .body(page))
}

/// A path that nothing is mounted at.
pub async fn not_found() -> Result<HttpResponse, Problem> {
    Err(Kind::NotFound.into())
}
