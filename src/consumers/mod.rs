//! The consumers module: tenants' images, taken in for their customers.
//!
//! It may know `storage`, `database`, `problem`, `tenant`, `edge` and `settings`; it never sees the gateway,
//! which mounts [`routes`] behind its checks.

pub mod adopt;
mod body;
mod commit;
mod described;
mod direct;
mod error;
mod events;
mod handlers;
mod head;
mod image;
mod images;
pub mod metrics;
pub mod multipart;
mod names;
pub mod records;
mod settings;
mod signed;
mod steps;
mod told;
mod tus;
mod upload;
pub mod webhooks;

use actix_web::web;
use utoipa::{
    OpenApi as _,
    openapi::{HttpMethod, OpenApi, Tag},
};

pub use direct::DirectUploads;
pub use error::Error;
pub use events::Events;
pub use head::check as check_head;
pub use images::{By, Erased, Images, Links, Survey};
pub use names::{CustomerId, FileName, image_key};
pub use records::Quotas;
pub use settings::{ImageSettings, OnConflict, Settings};
pub use signed::Signer;
pub use steps::{CALLS, Caller, Follow, Maker, Steps, StepsSettings};
pub use tus::ResumableUploads;
pub use upload::Uploads;

use crate::{
    openapi::{self, add_problems},
    problem::Kind,
};

/// What the services table calls this module.
pub const NAME: &str = "consumers";

/// The scope that a path of the module asks for in place of those that are set for its service. The path
/// is decoded, and begins behind the service's name and a slash.
pub fn scope(path: &str) -> Option<&'static str> {
    let below = path.strip_prefix(webhooks::PATH)?;
    (below.is_empty() || below.starts_with('/')).then_some(webhooks::SCOPE)
}

/// Adds the module's resources. They expect [`Uploads`], [`Images`], [`Links`], [`DirectUploads`],
/// [`ResumableUploads`], [`Steps`], [`Events`] and [`webhooks::Webhooks`] among the app's data, and a
/// [`crate::tenant::Tenant`] in each request.
pub fn routes(config: &mut web::ServiceConfig) {
    config
        .service(
            web::resource("/customer-images/upload/{customerId}")
                .route(web::post().to(handlers::upload_form))
                .default_service(web::to(handlers::only_post)),
        )
        .service(
            web::resource("/customer-images/upload/{customerId}/{fileName}")
                .route(web::put().to(handlers::upload_raw))
                .default_service(web::to(handlers::only_put)),
        )
        .configure(direct::routes)
        .configure(tus::routes)
        .configure(events::routes)
        .configure(webhooks::routes)
        .configure(images::routes);
}

/// What the parts of the module are called in its description, and what they are for.
const TAGS: &[(&str, &str)] = &[
    ("Uploads", "An image in one request."),
    (
        "Direct uploads",
        "The client sends the bytes to the store itself, by requests that are signed for it.",
    ),
    ("Resumable uploads", "In as many requests as it takes, by [tus](https://tus.io) 1.0.0."),
    ("Images", "What is kept: records, bytes, links to them, and what they come to."),
    ("Events", "What happens to the tenant's images, as it happens."),
    ("Webhooks", "The same sent to URLs of the tenant's, signed, and again until it is taken."),
];

/// The description of the module's resources, without what stands in front of them.
pub fn openapi() -> OpenApi {
    let mut api = handlers::Described::openapi();
    api.merge(direct::Described::openapi());
    api.merge(tus::openapi());
    api.merge(images::Described::openapi());
    api.merge(events::Described::openapi());
    api.merge(webhooks::openapi());
    openapi::each(&mut api, |_, method, operation| {
        if *method != HttpMethod::Options {
            add_problems(&mut operation.responses, [Kind::MediaTypeUnsupported]);
        }
    });
    let tag = |(name, description): &(&str, &str)| {
        let mut tag = Tag::new(*name);
        tag.description = Some((*description).to_owned());
        tag
    };
    api.tags = Some(TAGS.iter().map(tag).collect());
    api
}

/// The description of what links of this process's own lead to.
pub fn signed_openapi() -> OpenApi {
    let mut api = images::Signed::openapi();
    api.merge(direct::Signed::openapi());
    api.merge(steps::Signed::openapi());
    let mut tag = Tag::new("Links");
    tag.description =
        Some("Links that this process has given out: who holds one needs nothing else.".to_owned());
    api.tags = Some(vec![tag]);
    api
}

/// Adds what links of this process's own lead to, outside of any service: the links are the credential.
/// It expects [`DirectUploads`], [`Images`], [`Links`] and [`Steps`].
pub fn signed_routes(config: &mut web::ServiceConfig) {
    config
        .configure(direct::signed_routes)
        .configure(images::signed_routes)
        .configure(steps::signed_routes);
}
