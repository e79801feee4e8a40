//! What operators and the curious ask of every listener: health, readiness, what the API is, and the
//! pages that explain the problem types. Metrics are told by a listener of their own only.

mod metrics;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use actix_web::{HttpRequest, HttpResponse, Resource, Route, guard, http::header, web};
use serde::{Deserialize, Serialize};
use utoipa::{OpenApi, ToSchema};

pub use self::metrics::{Look, metrics_routes};
use crate::{
    database::Database,
    openapi::{LazyDocument, refusals},
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

/// The description of these.
#[derive(OpenApi)]
#[openapi(
    paths(healthz, readyz, describe, page, explain),
    tags((name = "Operations", description = "The process itself: no credential is asked for.")),
)]
pub struct Described;

refusals! {
    /// Why the process is not ready.
    NotReady: &[Kind::StorageUnavailable, Kind::Overloaded];
    /// Why nothing is explained.
    Unknown: &[Kind::NotFound];
}

/// What the process is.
#[derive(Serialize, ToSchema)]
#[schema(as = ProcessStatus)]
struct Status {
    /// `ok` or `ready`.
    status: &'static str,
}

/// Adds `/healthz`, `/readyz` and `/problems/{slug}`. They expect a [`Readiness`] among the app's data.
pub fn routes(config: &mut web::ServiceConfig) {
    config
        .service(resource("/healthz", read().to(healthz)))
        .service(resource("/readyz", read().to(readyz)))
        // A scope, so that other paths are not matched against the pattern.
        .service(web::scope("/problems").service(resource("/{slug}", read().to(explain))));
}

/// Adds `/openapi.json` and `/docs`. They expect a [`LazyDocument`] among the app's data.
pub fn description_routes(config: &mut web::ServiceConfig) {
    config
        .service(resource("/openapi.json", read().to(describe)))
        .service(resource("/docs", read().to(page)));
}

#[utoipa::path(
    method(get, head), path = "/healthz", operation_id = "getHealth", tag = "Operations",
    summary = "Ask whether the process lives", description = "It does if it answers.",
    responses((status = 200, description = "It does.", body = Status)),
)]
async fn healthz() -> HttpResponse {
    HttpResponse::Ok().json(Status { status: "ok" })
}

#[utoipa::path(
    method(get, head), path = "/readyz", operation_id = "getReadiness", tag = "Operations",
    summary = "Ask whether the process is ready",
    description = "It is while store and database can be reached and it is not about to stop.",
    responses((status = 200, description = "It is.", body = Status), NotReady),
)]
async fn readyz(readiness: web::Data<Readiness>) -> Result<HttpResponse, Problem> {
    readiness.check().await?;
    Ok(HttpResponse::Ok().json(Status { status: "ready" }))
}

/// `GET /openapi.json`.
#[utoipa::path(
    method(get, head), path = "/openapi.json", operation_id = "getDescription", tag = "Operations",
    summary = "Read this description", description = "OpenAPI 3.1. `gatehouse openapi` prints the same.",
    params(("If-None-Match" = Option<String>, Header, nullable = false, description = "Not if it is this one.")),
    responses(
        (status = 200, description = "The description.", body = inline(serde_json::Value),
         headers(("ETag" = String, description = "The description's entity tag."))),
        (status = 304, description = "It is the one that the client has."),
    ),
)]
async fn describe(request: HttpRequest, document: web::Data<LazyDocument>) -> HttpResponse {
    document.answer_json(&request)
}

/// `GET /docs`.
#[utoipa::path(
    method(get, head), path = "/docs", operation_id = "getDocs", tag = "Operations",
    summary = "Read this description as a page", description = "A page that loads nothing, and runs nothing.",
    params(("If-None-Match" = Option<String>, Header, nullable = false, description = "Not if it is this one.")),
    responses(
        (status = 200, description = "The page.", body = String, content_type = "text/html",
         headers(("ETag" = String, description = "The page's entity tag."))),
        (status = 304, description = "It is the one that the client has."),
    ),
)]
async fn page(request: HttpRequest, document: web::Data<LazyDocument>) -> HttpResponse {
    document.answer_page(&request)
}

async fn read_only() -> Result<HttpResponse, Problem> {
    Err(Problem::new(Kind::MethodNotAllowed).allow("GET, HEAD"))
}

/// A page about one type of problem. All its text is ours, so nothing needs escaping.
#[utoipa::path(
    method(get, head), path = "/problems/{slug}", operation_id = "getProblem", tag = "Operations",
    summary = "Read what a type of problem means", description = "The `type` of every error leads here.",
    params(("slug" = String, Path, description = "The type's name, such as `not-found`.", example = "not-found")),
    responses(
        (status = 200, description = "A page for people.", body = String, content_type = "text/html"),
        Unknown,
    ),
)]
async fn explain(slug: web::Path<String>) -> Result<HttpResponse, Problem> {
    let kind = Kind::of_slug(&slug).ok_or(Kind::NotFound)?;
    let (slug, title, help) = (kind.slug(), kind.title(), kind.help());
    // tus has a status of its own, which has no name.
    let (status, name) = (kind.status().as_u16(), kind.status().canonical_reason());
    let status = name.map_or_else(|| status.to_string(), |name| format!("{status} {name}"));
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
