//! The HTTP side of steps: the answers that services give later.

use actix_web::{HttpRequest, HttpResponse, web};

use super::{Steps, call::LARGEST};
use crate::{
    consumers::{
        error::Error,
        handlers::{UploadBody, acceptable_body, broken, decoded_segment, id, linked_tenant},
        upload::Uploads,
    },
    problem::Problem,
};

/// `POST /signed/{tenant}/steps/{step}/{upload}/{id}`: what the step's service makes of the content that
/// an upload has brought, by whoever holds the link.
pub async fn answer(
    request: HttpRequest,
    payload: web::Payload,
    steps: web::Data<Steps>,
    uploads: web::Data<Uploads>,
) -> Result<HttpResponse, Problem> {
    let (tenant, content) = (linked_tenant(&request, 4)?, (id(&request, 0)?, id(&request, 1)?));
    let step = String::from_utf8(decoded_segment(&request, 2)).unwrap_or_default();
    let call = steps.called(&tenant, content, &step, request.query_string()).await?;
    let length = acceptable_body(&request).map_err(|error| match error {
        Error::FileMissing => Error::AnswerInvalid("The answer is empty."),
        other => other,
    })?;
    let mut body = UploadBody::of(&request, payload, length, uploads.settings());
    let answer = body.body.collect(LARGEST).await.map_err(broken)?;
    steps.answer(&tenant, content, call, &answer).await?;
    Ok(HttpResponse::NoContent().finish())
}
