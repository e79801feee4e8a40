//! The HTTP side of steps: the answers that services give later.

use actix_web::{HttpRequest, HttpResponse, web};

use super::{Steps, call::LARGEST};
use crate::{
    consumers::{
        described::{AnswerRefused, Signature},
        error::Error,
        handlers::{UploadBody, broken, decoded_segment, id, linked_tenant},
        head,
        upload::Uploads,
    },
    problem::Problem,
    tenant::TenantId,
};

/// `POST /signed/{tenant}/steps/{step}/{upload}/{id}`: what the step's service makes of the content that
/// an upload has brought, by whoever holds the link.
#[utoipa::path(
    post, path = "/signed/{tenant}/steps/{step}/{upload}/{id}", operation_id = "answerStep", tag = "Links",
    summary = "Answer what a step has asked",
    description = "For the service of a step that answered 202 at first: any JSON of at most 64 KiB, a gate's with \
        `\"pass\": true` or `false`. The first answer counts.",
    params(
        ("tenant" = TenantId, Path),
        ("step" = String, Path, description = "The step's name.", pattern = "^[a-z0-9_-]{1,32}$"),
        ("upload" = Uuid, Path, description = "The upload that brought the content."),
        ("id" = Uuid, Path, description = "The image's id."),
        Signature,
    ),
    request_body(content = inline(serde_json::Value), content_type = "application/json"),
    responses((status = 204, description = "The answer is kept."), AnswerRefused),
)]
pub async fn answer(
    request: HttpRequest,
    payload: web::Payload,
    steps: web::Data<Steps>,
    uploads: web::Data<Uploads>,
) -> Result<HttpResponse, Problem> {
    let (tenant, content) = (linked_tenant(&request, 4)?, (id(&request, 0)?, id(&request, 1)?));
    let step = String::from_utf8(decoded_segment(&request, 2)).unwrap_or_default();
    let call = steps.called(&tenant, content, &step, request.query_string()).await?;
    let length = head::length(request.headers()).map_err(|error| match error {
        Error::FileMissing => Error::AnswerInvalid("The answer is empty."),
        other => other,
    })?;
    let mut body = UploadBody::of(&request, payload, length, uploads.settings());
    let answer = body.body.collect(LARGEST).await.map_err(broken)?;
    steps.answer(&tenant, content, call, &answer).await?;
    Ok(HttpResponse::NoContent().finish())
}
