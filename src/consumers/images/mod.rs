//! The images API: what of a tenant's images can be looked up, read and deleted.
//!
//! [`handlers`] is its HTTP side, together with the fields and the query that it reads
//! ([`conditional`], [`range`], [`query`]) and writes ([`disposition`], [`record`]). What
//! is done with records and objects is in [`access`] and [`erase`].

mod access;
pub mod conditional;
mod disposition;
mod erase;
mod handlers;
mod link;
mod negotiation;
mod query;
mod range;
pub mod record;

use actix_web::{http::Method, web};
use utoipa::OpenApi;

pub use access::{Images, check_writing, validators};
pub use erase::{By, Erased, Survey};
pub use link::Links;

/// Adds the resources. They expect [`Images`] among the app's data.
pub fn routes(config: &mut web::ServiceConfig) {
    config
        .service(
            web::resource("/customer-images/usage")
                .route(web::get().to(handlers::usage))
                .route(web::head().to(handlers::usage))
                .default_service(web::to(handlers::only_read)),
        )
        .service(
            web::resource("/customer-images/customers/{customerId}")
                .route(web::delete().to(handlers::erase))
                .default_service(web::to(handlers::only_delete)),
        )
        .service(
            web::resource("/customer-images/images")
                .route(web::get().to(handlers::list))
                .route(web::head().to(handlers::list))
                .default_service(web::to(handlers::only_read)),
        )
        .service(
            web::resource("/customer-images/images/{id}")
                .route(web::get().to(handlers::show))
                .route(web::head().to(handlers::show))
                .route(web::delete().to(handlers::delete))
                .default_service(web::to(handlers::only_read_or_delete)),
        )
        .service(
            web::resource("/customer-images/images/{id}/content")
                .route(web::get().to(handlers::download))
                .route(web::head().to(handlers::download))
                .default_service(web::to(handlers::only_read)),
        )
        .service(
            web::resource("/customer-images/images/{id}/link")
                .route(web::get().to(handlers::link))
                .route(web::head().to(handlers::link))
                .default_service(web::to(handlers::only_read)),
        );
}

/// The resources' description.
#[derive(OpenApi)]
#[openapi(paths(
    handlers::list,
    handlers::show,
    handlers::delete,
    handlers::download,
    handlers::link,
    handlers::usage,
    handlers::erase,
))]
pub(super) struct Described;

/// The description of what links of this process's own lead to.
#[derive(OpenApi)]
#[openapi(paths(handlers::download_linked, handlers::download_inspected))]
pub(super) struct Signed;

/// Adds the resources that links of this process's own lead to. They expect [`Links`], too.
pub fn signed_routes(config: &mut web::ServiceConfig) {
    config.service(
        web::resource("/signed/{tenant}/images/{id}")
            .route(web::get().to(handlers::download_linked))
            .route(web::head().to(handlers::download_linked))
            .route(web::method(Method::OPTIONS).to(crate::consumers::handlers::preflight_to_read))
            .default_service(web::to(handlers::only_read)),
    );
    config.service(
        web::resource("/signed/{tenant}/contents/{upload}/{id}")
            .route(web::get().to(handlers::download_inspected))
            .route(web::head().to(handlers::download_inspected))
            .default_service(web::to(handlers::only_read)),
    );
}
