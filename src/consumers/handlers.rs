//! The HTTP side of the module: extract, call one function of [`super::upload`], answer.

use actix_web::{
    HttpMessage, HttpRequest, HttpResponse,
    http::header::{CONTENT_TYPE, ETAG},
    web,
};
use serde::Serialize;
use utoipa::{OpenApi, ToSchema};
use uuid::Uuid;

use super::{
    body::{Body, MinRate},
    described::{Form, Stored, UploadRefused, WriteConditions},
    error::Error,
    head,
    images::{conditional::Conditions, record::Record, validators},
    metrics::{Coming, Method},
    multipart,
    names::{CustomerId, FileName},
    records::{self, Image},
    settings::ImageSettings,
    upload::Uploads,
};
use crate::{
    edge::{Cors, Labels},
    problem::{Kind, Problem},
    tenant::{Tenant, TenantId},
};

/// The description of these.
#[derive(OpenApi)]
#[openapi(paths(upload_form, upload_raw), components(schemas(Created<'static>, CustomerId, FileName)))]
pub(super) struct Described;

/// `POST customer-images/upload/{customerId}`: an image as `multipart/form-data`.
#[utoipa::path(
    post, path = "/customer-images/upload/{customerId}", operation_id = "uploadForm", tag = "Uploads",
    summary = "Upload an image by a form",
    description = "Its name is that of the file in the form, and `fileName` the one to show, where that is another. \
        What the bytes are decides, whatever the request says of them. An image of the same name is replaced, unless \
        the settings or a condition say otherwise.",
    params(("customerId" = CustomerId, Path), WriteConditions),
    request_body(content = Form, content_type = "multipart/form-data"),
    responses(Stored, UploadRefused),
)]
pub async fn upload_form(
    request: HttpRequest,
    tenant: Tenant,
    payload: web::Payload,
    uploads: web::Data<Uploads>,
) -> Result<HttpResponse, Problem> {
    let customer = customer(&request, 0)?;
    let size_hint = head::length(request.headers())?;
    let content_type = request.headers().get(CONTENT_TYPE).map(|value| value.as_bytes());
    let boundary = multipart::boundary(content_type.unwrap_or_default())?;
    let mut body = UploadBody::of(&request, payload, size_hint, uploads.settings());
    let conditions = Conditions::of(request.headers());
    let coming = Coming::begin(Method::Form);
    let stored = uploads
        .take_form(&tenant.0, customer, &mut body.body, &boundary, conditions, size_hint)
        .await;
    coming.ended(stored.as_ref());
    match stored {
        // A chunked body whose first chunk is the last is no body at all.
        Err(Error::MultipartInvalid(_)) if body.body.received() == 0 => {
            Err(Error::FileMissing.into())
        }
        stored => Ok(created(&stored?)),
    }
}

/// `PUT customer-images/upload/{customerId}/{fileName}`: an image as the body, for `curl -T`.
#[utoipa::path(
    put, path = "/customer-images/upload/{customerId}/{fileName}", operation_id = "uploadRaw", tag = "Uploads",
    summary = "Upload an image as the body",
    description = "The same by one request whose body is the image, such as `curl -T image.jpg` sends.",
    params(("customerId" = CustomerId, Path), ("fileName" = FileName, Path), WriteConditions),
    request_body(content = inline(crate::openapi::Bytes), content_type = "application/octet-stream"),
    responses(Stored, UploadRefused),
)]
pub async fn upload_raw(
    request: HttpRequest,
    tenant: Tenant,
    payload: web::Payload,
    uploads: web::Data<Uploads>,
) -> Result<HttpResponse, Problem> {
    let customer = customer(&request, 1)?;
    let name = decoded_segment(&request, 0);
    let size_hint = head::raw_length(request.headers(), uploads.settings())?;
    let mut body = UploadBody::of(&request, payload, size_hint, uploads.settings());
    let conditions = Conditions::of(request.headers());
    let coming = Coming::begin(Method::Raw);
    let stored =
        uploads.take_raw(&tenant.0, customer, &name, &mut body.body, conditions, size_hint).await;
    coming.ended(stored.as_ref());
    Ok(created(&stored?))
}

/// `OPTIONS` of what a link for reading leads to, which pages may use: a preflight, or nothing.
pub async fn preflight_to_read(
    request: HttpRequest,
    cors: Option<web::Data<Cors>>,
) -> Result<HttpResponse, Problem> {
    preflight(&request, cors, "GET, HEAD")
}

/// The same of a link for sending.
pub async fn preflight_to_put(
    request: HttpRequest,
    cors: Option<web::Data<Cors>>,
) -> Result<HttpResponse, Problem> {
    preflight(&request, cors, "PUT")
}

fn preflight(
    request: &HttpRequest,
    cors: Option<web::Data<Cors>>,
    methods: &'static str,
) -> Result<HttpResponse, Problem> {
    let answer = cors.and_then(|cors| cors.preflight(request.head()));
    answer.ok_or_else(|| Problem::new(Kind::MethodNotAllowed).allow(methods))
}

/// Any other method on an upload's path.
pub async fn only_post() -> Result<HttpResponse, Problem> {
    Err(Problem::new(Kind::MethodNotAllowed).allow("POST"))
}

/// Any other method on a raw upload's path.
pub async fn only_put() -> Result<HttpResponse, Problem> {
    Err(Problem::new(Kind::MethodNotAllowed).allow("PUT"))
}

/// The customer's id, which stands `from_end` segments before the path's last.
pub(super) fn customer(request: &HttpRequest, from_end: usize) -> Result<CustomerId, Error> {
    head::customer(segment(request, from_end))
}

fn segment(request: &HttpRequest, from_end: usize) -> &str {
    request.uri().path().rsplit('/').nth(from_end).unwrap_or_default()
}

/// A segment of the path, which stands `from_end` segments before the last.
pub(super) fn decoded_segment(request: &HttpRequest, from_end: usize) -> Vec<u8> {
    head::decoded(segment(request, from_end))
}

/// An id, which stands `from_end` segments before the path's last.
pub(super) fn id(request: &HttpRequest, from_end: usize) -> Result<Uuid, Error> {
    let segment = decoded_segment(request, from_end);
    // In the one form in which ids are told.
    let hyphenated = Some(&segment).filter(|id| id.len() == uuid::fmt::Hyphenated::LENGTH);
    hyphenated.and_then(|id| Uuid::try_parse_ascii(id).ok()).ok_or(records::Error::NotFound.into())
}

/// The tenant that a link of this process's own names, `from_end` segments before the path's last.
pub(super) fn linked_tenant(request: &HttpRequest, from_end: usize) -> Result<TenantId, Error> {
    let text = String::from_utf8(decoded_segment(request, from_end)).unwrap_or_default();
    TenantId::parse(&text).map_err(|_| records::Error::NotFound.into())
}

/// A body that tells the access line how much of it came, even when the client leaves.
pub(super) struct UploadBody {
    pub(super) body: Body,
    labels: Option<Labels>,
}

impl UploadBody {
    pub(super) fn of(
        request: &HttpRequest,
        payload: web::Payload,
        length: Option<u64>,
        settings: &ImageSettings,
    ) -> Self {
        let rate = MinRate {
            bytes_per_second: settings.min_rate.as_u64(),
            window: settings.min_rate_window,
        };
        let labels = request.extensions().get::<Labels>().cloned();
        Self { body: Body::new(payload, length, rate), labels }
    }
}

impl Drop for UploadBody {
    fn drop(&mut self) {
        if let Some(labels) = &self.labels {
            labels.received(self.body.received());
        }
    }
}

/// The longest JSON that a client may send.
const LONGEST_JSON: usize = 16 * 1024;

/// A body that is to be JSON, whole; `invalid` is what is said of it otherwise.
pub(super) async fn json_body(
    request: &HttpRequest,
    payload: web::Payload,
    settings: &ImageSettings,
    invalid: fn(&'static str) -> Error,
) -> Result<Vec<u8>, Problem> {
    let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = content_type.unwrap_or_default().split(';').next().unwrap_or_default();
    if !media_type.trim().eq_ignore_ascii_case("application/json") {
        return Err(Error::MediaTypeUnsupported("Send application/json.").into());
    }
    let length = head::length(request.headers()).map_err(|error| match error {
        Error::FileMissing => invalid("Send a JSON object."),
        other => other,
    })?;
    let mut body = UploadBody::of(request, payload, length, settings);
    body.body.collect(LONGEST_JSON).await.map_err(|error| match error {
        Error::TooLarge(_) => invalid("The JSON object is over 16 KiB.").into(),
        other => broken(other),
    })
}

/// What is said of a body that is no form's.
pub(super) fn broken(error: Error) -> Problem {
    match error {
        Error::BodyBroken(_) => Kind::BodyInvalid.into(),
        error => error.into(),
    }
}

/// The answer to an upload.
#[derive(Serialize, ToSchema)]
#[schema(as = UploadedImage)]
pub(super) struct Created<'a> {
    #[schema(example = "Image uploaded successfully")]
    message: &'static str,
    #[serde(flatten)]
    record: Record<'a>,
}

/// The answer to whoever has stored this image.
pub(super) fn created(image: &Image) -> HttpResponse {
    let etag = validators(image).etag_value();
    HttpResponse::Created()
        .insert_header((ETAG, etag))
        .json(Created { message: "Image uploaded successfully", record: Record::of(image) })
}
