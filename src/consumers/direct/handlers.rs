//! The HTTP side of direct uploads: extract, call one function of [`super`], answer.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG},
    web,
};

use super::{Asked, DirectUploads};
use crate::{
    consumers::{
        error::Error,
        handlers::{
            UploadBody, acceptable_body, broken, created, customer, id, json_body, linked_tenant,
        },
        images::conditional::Conditions,
    },
    edge::PublicBase,
    problem::{Kind, Problem},
    tenant::{Principal, Scopes, Tenant},
};

/// The scope of who may upload.
const WRITE: &str = "images:write";

/// `POST customer-images/direct-uploads/{customerId}`: begins an upload.
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
pub async fn cancel(
    request: HttpRequest,
    tenant: Tenant,
    direct: web::Data<DirectUploads>,
) -> Result<HttpResponse, Problem> {
    direct.cancel(&tenant.0, id(&request, 0)?).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// `PUT /signed/{tenant}/uploads/{uploadId}`: the bytes, by whoever holds the link.
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
    let length = acceptable_body(&request)?;
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
