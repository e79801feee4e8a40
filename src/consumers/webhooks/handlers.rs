//! The HTTP side of webhooks: extract, call one function, answer.

use std::future::{Ready, ready};

use actix_web::{
    FromRequest, HttpMessage as _, HttpRequest, HttpResponse,
    dev::Payload,
    http::{StatusCode, header::CACHE_CONTROL},
    web,
};
use serde::Serialize;
use utoipa::{OpenApi, ToSchema};
use uuid::Uuid;

use super::{
    Asked, NewWebhook, SCOPE, Webhooks,
    deliveries::{Delivery, Page},
    rows::Webhook,
    types::Types,
};
use crate::{
    consumers::{
        described::{FindRefused, NewWebhookRefused, QueryRefused, SendRefused},
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

/// The resources' description.
#[derive(OpenApi)]
#[openapi(
    paths(create, list, show, change, delete, rotate, test, deliveries, replay),
    components(schemas(Asked, Types))
)]
pub(super) struct Described;

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
#[utoipa::path(
    post, path = "/customer-images/webhooks", operation_id = "createWebhook", tag = "Webhooks",
    summary = "Make a webhook", description = "From now on the tenant is told of its events there, signed as Standard Webhooks has it. The `secret` that verifies \
        them is told here, and nowhere again.",
    request_body(content = NewWebhook, content_type = "application/json"),
    responses(
        (status = 201, description = "The webhook, with its secret.", body = Secret<'static>, links(
            ("show" = (operation_id = "getWebhook", parameters(("id" = "$response.body#/id")))),
            ("change" = (operation_id = "changeWebhook", parameters(("id" = "$response.body#/id")))),
            ("delete" = (operation_id = "deleteWebhook", parameters(("id" = "$response.body#/id")))),
            ("test" = (operation_id = "testWebhook", parameters(("id" = "$response.body#/id")))),
        )),
        NewWebhookRefused,
    ),
)]
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

/// All of a tenant's webhooks.
#[derive(Serialize, ToSchema)]
#[schema(as = WebhookList)]
struct All<'a> {
    webhooks: Vec<Told<'a>>,
}

/// `GET customer-images/webhooks`: all of the tenant's.
#[utoipa::path(
    method(get, head), path = "/customer-images/webhooks", operation_id = "listWebhooks", tag = "Webhooks",
    summary = "List the webhooks", description = "All of the tenant's, at most 20, without their secrets.",
    responses((status = 200, description = "All of them.", body = All<'static>), FindRefused),
)]
async fn list(Owner { tenant, webhooks }: Owner) -> Result<HttpResponse, Problem> {
    let all = webhooks.list(&tenant).await?;
    Ok(answer(StatusCode::OK, All { webhooks: all.iter().map(Told::of).collect() }))
}

/// `GET customer-images/webhooks/{id}`.
#[utoipa::path(
    method(get, head), path = "/customer-images/webhooks/{id}", operation_id = "getWebhook", tag = "Webhooks",
    summary = "Look a webhook up", description = "Without its secret.",
    params(("id" = Uuid, Path, description = "The webhook's id.")),
    responses((status = 200, description = "The webhook.", body = Told<'static>), FindRefused),
)]
async fn show(
    request: HttpRequest,
    Owner { tenant, webhooks }: Owner,
) -> Result<HttpResponse, Problem> {
    let webhook = webhooks.find(&tenant, id(&request, 0)?).await?;
    Ok(answer(StatusCode::OK, Told::of(&webhook)))
}

/// `PATCH customer-images/webhooks/{id}`: changes what the body names.
#[utoipa::path(
    patch, path = "/customer-images/webhooks/{id}", operation_id = "changeWebhook", tag = "Webhooks",
    summary = "Change a webhook", description = "What the body leaves out stays as it is. What waits for a webhook that is disabled fails when its time comes.",
    params(("id" = Uuid, Path, description = "The webhook's id.")),
    request_body(content = Asked, content_type = "application/json"),
    responses((status = 200, description = "The webhook as it is now.", body = Told<'static>), NewWebhookRefused),
)]
async fn change(
    request: HttpRequest,
    Owner { tenant, webhooks }: Owner,
    payload: web::Payload,
    uploads: web::Data<Uploads>,
) -> Result<HttpResponse, Problem> {
    let (id, asked) = (id(&request, 0)?, asked(&request, payload, &uploads).await?);
    let webhook = webhooks.change(&tenant, id, asked).await?;
    Ok(answer(StatusCode::OK, Told::of(&webhook)))
}

/// `DELETE customer-images/webhooks/{id}`.
#[utoipa::path(
    delete, path = "/customer-images/webhooks/{id}", operation_id = "deleteWebhook", tag = "Webhooks",
    summary = "Delete a webhook", description = "What waits for it goes with it.",
    params(("id" = Uuid, Path, description = "The webhook's id.")),
    responses((status = 204, description = "It is gone."), FindRefused),
)]
async fn delete(
    request: HttpRequest,
    Owner { tenant, webhooks }: Owner,
) -> Result<HttpResponse, Problem> {
    webhooks.delete(&tenant, id(&request, 0)?).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// `POST customer-images/webhooks/{id}/rotate-secret`: a new secret; the old one signs as well for a day.
#[utoipa::path(
    post, path = "/customer-images/webhooks/{id}/rotate-secret", operation_id = "rotateSecret", tag = "Webhooks",
    summary = "Give a webhook a new secret", description = "For 24 hours both sign, so that the receiver can change over.",
    params(("id" = Uuid, Path, description = "The webhook's id.")),
    responses((status = 200, description = "The webhook, with its new secret.", body = Secret<'static>), FindRefused),
)]
async fn rotate(
    request: HttpRequest,
    Owner { tenant, webhooks }: Owner,
) -> Result<HttpResponse, Problem> {
    let webhook = webhooks.rotate(&tenant, id(&request, 1)?).await?;
    Ok(answer(StatusCode::OK, with_secret(&webhook)))
}

/// `POST customer-images/webhooks/{id}/test`: sends a test.
#[utoipa::path(
    post, path = "/customer-images/webhooks/{id}/test", operation_id = "testWebhook", tag = "Webhooks",
    summary = "Send a test", description = "A `webhook.test` is sent as an event would be.",
    params(("id" = Uuid, Path, description = "The webhook's id.")),
    responses((status = 202, description = "It is being sent.", body = Accepted), SendRefused),
)]
async fn test(
    request: HttpRequest,
    Owner { tenant, webhooks }: Owner,
) -> Result<HttpResponse, Problem> {
    Ok(accepted(webhooks.test(&tenant, id(&request, 1)?).await?))
}

/// A page of deliveries.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = DeliveryPage)]
struct Deliveries {
    deliveries: Vec<Delivery>,
    /// What the next page is asked for with; null on the last one.
    #[schema(required = true)]
    next_cursor: Option<String>,
}

/// `GET customer-images/webhooks/{id}/deliveries`: a page of them, the newest first.
#[utoipa::path(
    method(get, head), path = "/customer-images/webhooks/{id}/deliveries", operation_id = "listDeliveries", tag = "Webhooks",
    summary = "List a webhook's deliveries", description = "The newest first. Those that have ended are told for seven days.",
    params(("id" = Uuid, Path, description = "The webhook's id."), Page),
    responses((status = 200, description = "A page of deliveries.", body = Deliveries), QueryRefused),
)]
async fn deliveries(
    request: HttpRequest,
    Owner { tenant, webhooks }: Owner,
) -> Result<HttpResponse, Problem> {
    let (id, page) = (id(&request, 1)?, Page::parse(request.query_string())?);
    let (deliveries, next_cursor) = webhooks.deliveries(&tenant, id, page).await?;
    Ok(answer(StatusCode::OK, Deliveries { deliveries, next_cursor }))
}

/// `POST customer-images/webhooks/{id}/deliveries/{delivery}/replay`: sends it once more.
#[utoipa::path(
    post, path = "/customer-images/webhooks/{id}/deliveries/{delivery}/replay", operation_id = "replayDelivery", tag = "Webhooks",
    summary = "Send a delivery once more", description = "As a delivery of its own, with the same `webhook-id`.",
    params(("id" = Uuid, Path, description = "The webhook's id."), ("delivery" = Uuid, Path, description = "The delivery's id.")),
    responses((status = 202, description = "It is being sent.", body = Accepted), SendRefused),
)]
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
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Webhook)]
struct Told<'a> {
    #[schema(format = Uuid)]
    id: String,
    #[schema(format = "uri")]
    url: &'a str,
    /// The types of what it is told; `*`: all.
    #[schema(value_type = Vec<String>)]
    events: Vec<&'a str>,
    #[schema(required = true)]
    description: Option<&'a str>,
    disabled: bool,
    #[schema(required = true, format = DateTime)]
    disabled_at: Option<String>,
    #[schema(required = true)]
    disabled_reason: Option<&'a str>,
    /// Until when the secret before signs, too.
    #[schema(required = true, format = DateTime)]
    previous_secret_until: Option<String>,
    #[schema(format = DateTime)]
    created_at: String,
}

/// The same with its secret.
#[derive(Serialize, ToSchema)]
#[schema(as = WebhookWithSecret)]
struct Secret<'a> {
    #[serde(flatten)]
    webhook: Told<'a>,
    #[schema(example = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")]
    secret: String,
}

/// The delivery that something is sent by.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = NewDelivery)]
struct Accepted {
    #[schema(format = Uuid)]
    delivery_id: String,
}

impl<'a> Told<'a> {
    fn of(webhook: &'a Webhook) -> Self {
        let time = |time| humantime::format_rfc3339_millis(time).to_string();
        let disabled = webhook.disabled.as_ref();
        Self {
            id: webhook.id.to_string(),
            url: &webhook.url,
            events: webhook.types.told(),
            description: webhook.description.as_deref(),
            disabled: disabled.is_some(),
            disabled_at: disabled.map(|(at, _)| time(*at)),
            disabled_reason: disabled.map(|(_, reason)| reason.as_str()),
            previous_secret_until: webhook.previous.as_ref().map(|(_, until)| time(*until)),
            created_at: time(webhook.created_at),
        }
    }
}

fn with_secret(webhook: &Webhook) -> Secret<'_> {
    Secret { webhook: Told::of(webhook), secret: webhook.secret.expose().to_owned() }
}

fn accepted(delivery: Uuid) -> HttpResponse {
    answer(StatusCode::ACCEPTED, Accepted { delivery_id: delivery.to_string() })
}

fn answer(status: StatusCode, told: impl Serialize) -> HttpResponse {
    HttpResponse::build(status).insert_header((CACHE_CONTROL, "no-store")).json(told)
}
