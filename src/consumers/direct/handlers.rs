//! The HTTP side of direct uploads: extract, call one function of [`super`], answer.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG},
    web,
};

use super::{Answer, Asked, DirectUploads, request::Json};
use crate::{
    consumers::{
        described::{
            CompleteRefused, FindRefused, OpenRefused, PutRefused, Signature, Stored,
            WriteConditions,
        },
        error::Error,
        handlers::{UploadBody, broken, created, customer, id, json_body, linked_tenant},
        head,
        images::conditional::Conditions,
        names::CustomerId,
    },
    edge::PublicBase,
    problem::{Kind, Problem},
    tenant::{Principal, Scopes, Tenant, TenantId},
};

/// The scope of who may upload.
const WRITE: &str = "images:write";

/// `POST customer-images/direct-uploads/{customerId}`: begins an upload.
#[utoipa::path(
    post, path = "/customer-images/direct-uploads/{id}", operation_id = "openDirectUpload", tag = "Direct uploads",
    summary = "Begin a direct upload",
    description = "Asks for signed requests by which the bytes go to the store itself. They become an image when the \
        upload is completed.",
    params(("id" = CustomerId, Path, description = "The customer's id."), WriteConditions),
    request_body(content = Json, content_type = "application/json"),
    responses(
        (status = 201, description = "How to send the bytes.", body = Answer, links(
            ("show" = (operation_id = "getDirectUpload", parameters(("id" = "$response.body#/uploadId")))),
            ("complete" = (operation_id = "completeDirectUpload", parameters(("id" = "$response.body#/uploadId")))),
            ("cancel" = (operation_id = "cancelDirectUpload", parameters(("id" = "$response.body#/uploadId")))),
        )),
        OpenRefused,
    ),
)]
pub async fn open(
    request: HttpRequest,
    tenant: Tenant,
    payload: web::Payload,
    direct: web::Data<DirectUploads>,
) -> Result<HttpResponse, Problem> {
    let customer = customer(&request, 0)?;
    let json = json_body(&request, payload, direct.settings(), Error::UploadInvalid).await?;
    let (asked, conditions) = (Asked::parse(&json)?, Conditions::of(request.headers()));
    let base = PublicBase::of(&request);
    let answer = direct.open(&tenant.0, customer, asked, &conditions, &base).await?;
    Ok(HttpResponse::Created().insert_header((CACHE_CONTROL, "no-store")).json(answer))
}

/// `GET customer-images/direct-uploads/{uploadId}`: how it goes on, signed anew.
#[utoipa::path(
    method(get, head), path = "/customer-images/direct-uploads/{id}", operation_id = "getDirectUpload",
    tag = "Direct uploads", summary = "Ask how a direct upload goes on",
    description = "The requests, signed anew, and which parts are there; or the image that it has become. Since they \
        let one write, this needs the scope `images:write`, too.",
    params(("id" = Uuid, Path, description = "The upload's id.")),
    responses((status = 200, description = "How it goes on.", body = Answer), FindRefused),
)]
pub async fn show(
    request: HttpRequest,
    tenant: Tenant,
    principal: Option<Principal>,
    direct: web::Data<DirectUploads>,
) -> Result<HttpResponse, Problem> {
    // What is told lets its reader write.
    if principal.is_some_and(|principal| !principal.scopes().include(&Scopes::parse(WRITE))) {
        return Err(
            Problem::new(Kind::Forbidden).detail("The credential lacks the scope images:write.")
        );
    }
    let base = PublicBase::of(&request);
    let answer = direct.show(&tenant.0, id(&request, 0)?, &base).await?;
    Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(answer))
}

/// `POST customer-images/direct-uploads/{uploadId}/complete`: makes it an image.
#[utoipa::path(
    post, path = "/customer-images/direct-uploads/{id}/complete", operation_id = "completeDirectUpload",
    tag = "Direct uploads", summary = "Complete a direct upload",
    description = "Looks at the bytes that were sent, and makes them an image. Asked again, it answers the same. \
        `upload-conflict` says that bytes are missing.",
    params(("id" = Uuid, Path, description = "The upload's id."), WriteConditions),
    responses(Stored, CompleteRefused),
)]
pub async fn complete(
    request: HttpRequest,
    tenant: Tenant,
    direct: web::Data<DirectUploads>,
) -> Result<HttpResponse, Problem> {
    let (id, conditions) = (id(&request, 1)?, Conditions::of(request.headers()));
    let image = direct.into_inner().complete(tenant.0, id, conditions).await?;
    Ok(created(&image))
}

/// `DELETE customer-images/direct-uploads/{uploadId}`: ends it.
#[utoipa::path(
    delete, path = "/customer-images/direct-uploads/{id}", operation_id = "cancelDirectUpload",
    tag = "Direct uploads", summary = "End a direct upload", description = "What was sent is thrown away.",
    params(("id" = Uuid, Path, description = "The upload's id.")),
    responses((status = 204, description = "It has ended."), FindRefused),
)]
pub async fn cancel(
    request: HttpRequest,
    tenant: Tenant,
    direct: web::Data<DirectUploads>,
) -> Result<HttpResponse, Problem> {
    direct.cancel(&tenant.0, id(&request, 0)?).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// `PUT /signed/{tenant}/uploads/{uploadId}`: the bytes, by whoever holds the link.
#[utoipa::path(
    put, path = "/signed/{tenant}/uploads/{id}", operation_id = "putDirectUpload", tag = "Links",
    summary = "Send a direct upload's bytes by a link",
    description = "Where the store takes no requests of clients, a direct upload's URL leads here. Exactly what was \
        asked for is taken: its size, its type as `Content-Type`, and its hash if that was told.",
    params(("tenant" = TenantId, Path), ("id" = Uuid, Path, description = "The upload's id."), Signature),
    request_body(content = inline(crate::openapi::Bytes), content_type = "image/*"),
    responses(
        (status = 200, description = "The bytes are there, and not looked at yet.",
         headers(("ETag" = String, description = "What the store calls them."))),
        PutRefused,
    ),
)]
pub async fn put(
    request: HttpRequest,
    payload: web::Payload,
    direct: web::Data<DirectUploads>,
) -> Result<HttpResponse, Problem> {
    let tenant = linked_tenant(&request, 2)?;
    let session = direct.permitted(&tenant, id(&request, 0)?, request.query_string()).await?;
    let sent_type = request.headers().get(CONTENT_TYPE).map(|value| value.as_bytes());
    if sent_type != session.content_type.as_deref().map(str::as_bytes) {
        return Err(Error::LinkTerms.into());
    }
    let length = head::length(request.headers())?;
    if length.is_some_and(|length| Some(length) != session.length) {
        return Err(Error::LinkTerms.into());
    }
    let mut body = UploadBody::of(&request, payload, length, direct.settings());
    let etag = direct.receive(&session, &mut body.body).await.map_err(broken)?;
    Ok(HttpResponse::Ok().insert_header((ETAG, format!("\"{etag}\""))).finish())
}

/// Any other method on an upload's path.
pub async fn only_known() -> Result<HttpResponse, Problem> {
    Err(Problem::new(Kind::MethodNotAllowed).allow("POST, GET, HEAD, DELETE"))
}
