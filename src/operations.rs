//! What operators and the curious ask of every listener: health, readiness, and the pages that
//! explain the problem types.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use actix_web::{HttpResponse, guard, http::header, web};

use crate::{
    database::Database,
    problem::{Kind, Problem},
    storage::SharedStorage,
};

/// How long store and database may take to say that they are there.
const READY_TIMEOUT: Duration = Duration::from_secs(3);

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

/// Adds `/healthz`, `/readyz` and `/problems/{slug}`. They expect a [`Readiness`] among the
/// app's data.
pub fn routes(config: &mut web::ServiceConfig) {
    let read = || web::route().guard(guard::Any(guard::Get()).or(guard::Head()));
    let resource =
        |path: &str, route| web::resource(path).route(route).default_service(web::to(read_only));
    config
        .service(resource("/healthz", read().to(healthz)))
        .service(resource("/readyz", read().to(readyz)))
        // A scope, so that other paths are not matched against the pattern.
        .service(web::scope("/problems").service(resource("/{slug}", read().to(explain))));
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
