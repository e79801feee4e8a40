//! `/metrics`, on the listener of operations.

use actix_web::{HttpResponse, http::header, web};

use super::{read, resource};
use crate::{
    metrics,
    problem::{Kind, Problem},
};

/// Sets those metrics that stand for how things are now; called before they are told.
pub struct Look(pub Box<dyn Fn() + Send + Sync>);

/// Adds `/metrics`. It expects a [`Look`] among the app's data.
pub fn metrics_routes(config: &mut web::ServiceConfig) {
    config.service(resource("/metrics", read().to(tell)));
}

async fn tell(look: web::Data<Look>) -> Result<HttpResponse, Problem> {
    (look.0)();
    let text = metrics::text().map_err(|error| Problem::new(Kind::Internal).because(error))?;
    Ok(HttpResponse::Ok().insert_header((header::CONTENT_TYPE, metrics::MEDIA_TYPE)).body(text))
}
