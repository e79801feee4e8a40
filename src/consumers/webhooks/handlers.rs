//! The HTTP side of webhooks: extract, call one function, answer.

use std::future::{Ready, ready};

use actix_web::{
    FromRequest, HttpMessage as _, HttpRequest, HttpResponse,
    dev::Payload,
    http::{StatusCode, header::CACHE_CONTROL},
    web,
};
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    Asked, SCOPE, Webhooks,
    deliveries::{Delivery, Page},
    rows::Webhook,
};
use crate::{
    consumers::{
        error::Error,
        handlers::{id, json_body},
        upload::Uploads,
    },
    problem::{Kind, Problem},
    tenant::{Principal, Scopes, Tenant, TenantId},
};

/// Who may have a tenant's webhooks, and these. An extractor: the gateway has looked at the scope; what
/// lets one read all events is looked at twice.
struct Owner {
    tenant: TenantId,
    webhooks: web::Data<Webhooks>,
}

impl FromRequest for Owner {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Self::of(request))
    }
}

impl Owner {
    fn of(request: &HttpRequest) -> Result<Self, Problem> {
        let extensions = request.extensions();
        let tenant = extensions.get::<Tenant>().ok_or_else(|| Problem::new(Kind::TenantMissing))?;
        let webhooks = request.app_data::<web::Data<Webhooks>>();
        let webhooks = webhooks.ok_or_else(|| Problem::new(Kind::Internal))?;
        if !webhooks.settings.enabled {
            return Err(
                Problem::new(Kind::NotFound).detail("There are no webhooks on this server.")
            );
        }
        let lacks = |principal: &Principal| !principal.scopes().include(&Scopes::parse(SCOPE));
        if extensions.get::<Principal>().is_some_and(lacks) {
            return Err(Problem::new(Kind::Forbidden)
                .detail("The credential lacks the scope webhooks:manage."));
        }
        Ok(Self { tenant: tenant.0.clone(), webhooks: webhooks.clone() })
    }
}

/// Adds the resources.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .service(
            web::resource("/customer-images/webhooks")
                .route(web::get().to(list))
                .route(web::head().to(list))
                .route(web::post().to(create))
                .default_service(web::to(|| only("GET, HEAD, POST"))),
        )
        .service(
            web::resource("/customer-images/webhooks/{id}")
                .route(web::get().to(show))
                .route(web::head().to(show))
                .route(web::patch().to(change))
                .route(web::delete().to(delete))
                .default_service(web::to(|| only("GET, HEAD, PATCH, DELETE"))),
        )
        .service(
            web::resource("/customer-images/webhooks/{id}/rotate-secret")
                .route(web::post().to(rotate))
                .default_service(web::to(|| only("POST"))),
        )
        .service(
            web::resource("/customer-images/webhooks/{id}/test")
                .route(web::post().to(test))
                .default_service(web::to(|| only("POST"))),
        )
        .service(
            web::resource("/customer-images/webhooks/{id}/deliveries")
                .route(web::get().to(deliveries))
                .route(web::head().to(deliveries))
                .default_service(web::to(|| only("GET, HEAD"))),
        )
        .service(
            web::resource("/customer-images/webhooks/{id}/deliveries/{delivery}/replay")
                .route(web::post().to(replay))
                .default_service(web::to(|| only("POST"))),
        );
}

/// `POST customer-images/webhooks`: makes one. Its secret is told here, and when it is rotated.
async fn create(
    request: HttpRequest,
    Owner { tenant, webhooks }: Owner,
    payload: web::Payload,
    uploads: web::Data<Uploads>,
) -> Result<HttpResponse, Problem> {
    let asked = asked(&request, payload, &uploads).await?;
    let webhook = webhooks.create(&tenant, asked).await?;
    Ok(answer(StatusCode::CREATED, with_secret(&webhook)))
}

/// `GET customer-images/webhooks`: all of the tenant's.
async fn list(Owner { tenant, webhooks }: Owner) -> Result<HttpResponse, Problem> {
    let all = webhooks.list(&tenant).await?;
    let all: Vec<_> = all.iter().map(told).collect();
    Ok(answer(StatusCode::OK, json!({ "webhooks": all })))
}

/// `GET customer-images/webhooks/{id}`.
async fn show(
    request: HttpRequest,
    Owner { tenant, webhooks }: Owner,
) -> Result<HttpResponse, Problem> {
    Ok(answer(StatusCode::OK, told(&webhooks.find(&tenant, id(&request, 0)?).await?)))
}

/// `PATCH customer-images/webhooks/{id}`: changes what the body names.
async fn change(
    request: HttpRequest,
    Owner { tenant, webhooks }: Owner,
    payload: web::Payload,
    uploads: web::Data<Uploads>,
) -> Result<HttpResponse, Problem> {
    let (id, asked) = (id(&request, 0)?, asked(&request, payload, &uploads).await?);
    Ok(answer(StatusCode::OK, told(&webhooks.change(&tenant, id, asked).await?)))
}

/// `DELETE customer-images/webhooks/{id}`.
async fn delete(
    request: HttpRequest,
    Owner { tenant, webhooks }: Owner,
) -> Result<HttpResponse, Problem> {
    webhooks.delete(&tenant, id(&request, 0)?).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// `POST customer-images/webhooks/{id}/rotate-secret`: a new secret; the old one signs as well for a day.
async fn rotate(
    request: HttpRequest,
    Owner { tenant, webhooks }: Owner,
) -> Result<HttpResponse, Problem> {
    let webhook = webhooks.rotate(&tenant, id(&request, 1)?).await?;
    Ok(answer(StatusCode::OK, with_secret(&webhook)))
}

/// `POST customer-images/webhooks/{id}/test`: sends a test.
async fn test(
    request: HttpRequest,
    Owner { tenant, webhooks }: Owner,
) -> Result<HttpResponse, Problem> {
    Ok(accepted(webhooks.test(&tenant, id(&request, 1)?).await?))
}

/// `GET customer-images/webhooks/{id}/deliveries`: a page of them, the newest first.
async fn deliveries(
    request: HttpRequest,
    Owner { tenant, webhooks }: Owner,
) -> Result<HttpResponse, Problem> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Told {
        deliveries: Vec<Delivery>,
        next_cursor: Option<String>,
    }
    let (id, page) = (id(&request, 1)?, Page::parse(request.query_string())?);
    let (deliveries, next_cursor) = webhooks.deliveries(&tenant, id, page).await?;
    Ok(answer(StatusCode::OK, Told { deliveries, next_cursor }))
}

/// `POST customer-images/webhooks/{id}/deliveries/{delivery}/replay`: sends it once more.
async fn replay(
    request: HttpRequest,
    Owner { tenant, webhooks }: Owner,
) -> Result<HttpResponse, Problem> {
    let (webhook, delivery) = (id(&request, 3)?, id(&request, 1)?);
    Ok(accepted(webhooks.replay(&tenant, webhook, delivery).await?))
}

async fn only(methods: &'static str) -> Result<HttpResponse, Problem> {
    Err(Problem::new(Kind::MethodNotAllowed).allow(methods))
}

async fn asked(
    request: &HttpRequest,
    payload: web::Payload,
    uploads: &Uploads,
) -> Result<Asked, Problem> {
    let json = json_body(request, payload, uploads.settings(), Error::WebhookInvalid).await?;
    Ok(Asked::parse(&json)?)
}

/// A webhook as it is told, without its secret.
fn told(webhook: &Webhook) -> Value {
    let time = |time| humantime::format_rfc3339_millis(time).to_string();
    let (disabled_at, reason) = webhook.disabled.clone().unzip();
    let previous = webhook.previous.as_ref().map(|(_, until)| time(*until));
    json!({
        "id": webhook.id.to_string(), "url": webhook.url, "events": webhook.types.told(),
        "description": webhook.description, "disabled": disabled_at.is_some(),
        "disabledAt": disabled_at.map(time), "disabledReason": reason,
        "previousSecretUntil": previous, "createdAt": time(webhook.created_at),
    })
}

fn with_secret(webhook: &Webhook) -> Value {
    let mut told = told(webhook);
    told["secret"] = webhook.secret.expose().into();
    told
}

fn accepted(delivery: Uuid) -> HttpResponse {
    answer(StatusCode::ACCEPTED, json!({ "deliveryId": delivery.to_string() }))
}

fn answer(status: StatusCode, told: impl Serialize) -> HttpResponse {
    HttpResponse::build(status).insert_header((CACHE_CONTROL, "no-store")).json(told)
}
