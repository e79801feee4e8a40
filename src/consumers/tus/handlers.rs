//! The HTTP side of resumable uploads: extract, call one function of [`super`], answer.

use std::{pin::Pin, time::SystemTime};

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder,
    http::{
        StatusCode,
        header::{
            CACHE_CONTROL, CONTENT_LENGTH, CONTENT_LOCATION, ETAG, HeaderName, HeaderValue,
            HttpDate, LOCATION,
        },
    },
    web,
};
use futures_util::StreamExt;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::{
    FINISHED, ResumableUploads, Standing,
    described::{Added, Appending, Begun, Creating, Ended, Overriding, Protocol, Told, Version},
    fields::{self, Checksum},
    terms::Terms,
    writer::{Appended, Piece},
};
use crate::{
    consumers::{
        described::{
            AppendRefused, CreateRefused, OverriddenRefused, ResumableRefused, WriteConditions,
        },
        error::Error,
        handlers::{UploadBody, customer, id},
        head,
        images::{conditional::Conditions, validators},
        names::CustomerId,
        records::{Finished, Image},
    },
    edge::PublicBase,
    openapi::Bytes,
    problem::{Kind, Problem},
    tenant::Tenant,
};

const RESUMABLE: HeaderName = HeaderName::from_static("tus-resumable");
const OFFSET: HeaderName = HeaderName::from_static("upload-offset");
const EXPIRES: HeaderName = HeaderName::from_static("upload-expires");
const OVERRIDE: &str = "x-http-method-override";

type Data = web::Data<ResumableUploads>;

/// `OPTIONS` where uploads begin: what of the protocol is known here.
#[utoipa::path(
    options, path = "/customer-images/tus/{customerId}", operation_id = "getProtocol", tag = "Resumable uploads",
    summary = "Ask what of the protocol is known",
    description = "The version, the extensions, and the largest upload.",
    params(("customerId" = String, Path, description = "Any.")),
    responses(Protocol),
)]
pub async fn options(resumable: Data) -> HttpResponse {
    protocol(&resumable)
}

/// The same of an upload.
#[utoipa::path(
    options, path = "/customer-images/tus/{customerId}/{id}", operation_id = "getProtocolOfUpload", tag = "Resumable uploads",
    summary = "Ask the same of an upload",
    description = "The same of an upload.",
    params(("customerId" = String, Path, description = "Any."), ("id" = String, Path, description = "Any.")),
    responses(Protocol),
)]
pub async fn options_of_upload(resumable: Data) -> HttpResponse {
    protocol(&resumable)
}

fn protocol(resumable: &Data) -> HttpResponse {
    HttpResponse::NoContent()
        .insert_header((RESUMABLE, fields::VERSION))
        .insert_header(("tus-version", fields::VERSION))
        .insert_header(("tus-extension", fields::EXTENSIONS))
        .insert_header(("tus-max-size", resumable.settings().max_file_size.as_u64().to_string()))
        .insert_header(("tus-checksum-algorithm", fields::ALGORITHMS))
        .finish()
}

/// `POST customer-images/tus/{customerId}`: begins an upload, with its first bytes if they are there.
#[utoipa::path(
    post, path = "/customer-images/tus/{customerId}", operation_id = "createUpload", tag = "Resumable uploads",
    summary = "Begin a resumable upload",
    description = "tus 1.0.0, with its extensions creation and creation-with-upload: `Upload-Length`, or `Upload-Defer-Length: 1` to \
        tell it later, and the file's name in `Upload-Metadata`.",
    params(("customerId" = CustomerId, Path), Version, Creating, WriteConditions),
    request_body(content = inline(Bytes), content_type = "application/offset+octet-stream"),
    responses(Begun, CreateRefused),
)]
pub async fn create(
    request: HttpRequest,
    tenant: Tenant,
    payload: web::Payload,
    resumable: Data,
) -> Result<HttpResponse, Problem> {
    told(created(&request, tenant, payload, resumable).await)
}

async fn created(
    request: &HttpRequest,
    tenant: Tenant,
    payload: web::Payload,
    resumable: Data,
) -> Result<HttpResponse, Problem> {
    check_head(request)?;
    let (customer, headers) = (customer(request, 0)?, request.headers());
    let (asked, conditions) = (fields::asked(headers)?, Conditions::of(headers));
    let with_bytes = fields::has_bytes(headers);
    let terms = Terms {
        offset: 0,
        length: None,
        body: body_length(request),
        checksum: if with_bytes { Checksum::of(headers)? } else { None },
    };
    let (session, intent) = resumable.create(&tenant.0, customer, asked, &conditions).await?;
    let location = location(request, session.id);
    let appended = if with_bytes {
        let (sender, receiver) = mpsc::channel(1);
        let body = UploadBody::of(request, payload, terms.body, resumable.settings());
        let work = resumable.into_inner().append_first(session, intent, terms, receiver);
        let work = Box::pin(work);
        feed(body, sender, work).await?
    } else {
        intent.release().await.map_err(Error::from)?;
        Appended { offset: 0, expires_at: session.expires_at, image: None }
    };
    let mut answer = standing(StatusCode::CREATED, request, &appended);
    answer.insert_header((LOCATION, location));
    Ok(answer.finish())
}

/// `HEAD customer-images/tus/{customerId}/{uploadId}`: how far it is.
#[utoipa::path(
    head, path = "/customer-images/tus/{customerId}/{id}", operation_id = "getUpload", tag = "Resumable uploads",
    summary = "Ask how far a resumable upload is",
    description = "What is told to be there is durable.",
    params(("customerId" = CustomerId, Path), ("id" = Uuid, Path, description = "The upload's id."), Version),
    responses(Told, ResumableRefused),
)]
pub async fn show(
    request: HttpRequest,
    tenant: Tenant,
    resumable: Data,
) -> Result<HttpResponse, Problem> {
    told(shown(&request, tenant, resumable).await)
}

async fn shown(
    request: &HttpRequest,
    tenant: Tenant,
    resumable: Data,
) -> Result<HttpResponse, Problem> {
    check_head(request)?;
    let found = resumable.find(&tenant.0, &customer(request, 1)?, id(request, 0)?).await?;
    let mut answer = HttpResponse::Ok();
    answer.insert_header((CACHE_CONTROL, "no-store"));
    match found {
        Standing::Open(session) => {
            answer.insert_header((OFFSET, session.received.to_string()));
            answer.insert_header((EXPIRES, date(session.expires_at)));
            match session.length {
                Some(length) => answer.insert_header(("upload-length", length.to_string())),
                None => answer.insert_header(("upload-defer-length", "1")),
            };
            tell_metadata(&mut answer, session.metadata);
        }
        Standing::Finished(Finished { image, metadata }) => {
            answer.insert_header((OFFSET, image.size.to_string()));
            answer.insert_header(("upload-length", image.size.to_string()));
            tell_image(&mut answer, request, &image);
            tell_metadata(&mut answer, metadata);
        }
    }
    Ok(answer.finish())
}

/// `PATCH customer-images/tus/{customerId}/{uploadId}`: more of its bytes.
#[utoipa::path(
    patch, path = "/customer-images/tus/{customerId}/{id}", operation_id = "appendToUpload", tag = "Resumable uploads",
    summary = "Add to a resumable upload",
    description = "What has come of a request that breaks off is kept. The request that brings the last bytes makes them an image.",
    params(("customerId" = CustomerId, Path), ("id" = Uuid, Path, description = "The upload's id."), Version, Appending),
    request_body(content = inline(Bytes), content_type = "application/offset+octet-stream"),
    responses(Added, AppendRefused),
)]
pub async fn append(
    request: HttpRequest,
    tenant: Tenant,
    payload: web::Payload,
    resumable: Data,
) -> Result<HttpResponse, Problem> {
    told(appended(&request, tenant, payload, resumable).await)
}

async fn appended(
    request: &HttpRequest,
    tenant: Tenant,
    payload: web::Payload,
    resumable: Data,
) -> Result<HttpResponse, Problem> {
    check_head(request)?;
    let headers = request.headers();
    if !fields::has_bytes(headers) {
        return Err(Error::MediaTypeUnsupported("Send application/offset+octet-stream.").into());
    }
    let (customer, id) = (customer(request, 1)?, id(request, 0)?);
    let terms = Terms {
        offset: fields::offset(headers)?,
        length: fields::length(headers)?,
        body: body_length(request),
        checksum: Checksum::of(headers)?,
    };
    if let Standing::Finished(Finished { image, .. }) =
        resumable.find_idle(&tenant.0, &customer, id).await?
    {
        // Its last answer may have been lost.
        if terms.offset != image.size || terms.body.is_some_and(|body| body > 0) {
            return Err(FINISHED.into());
        }
        let (offset, expires_at) = (image.size, SystemTime::now());
        let appended = Appended { offset, expires_at, image: Some(image) };
        return Ok(standing(StatusCode::NO_CONTENT, request, &appended).finish());
    }
    let (sender, receiver) = mpsc::channel(1);
    let body = UploadBody::of(request, payload, terms.body, resumable.settings());
    let work = Box::pin(resumable.into_inner().append(tenant.0, customer, id, terms, receiver));
    let appended = feed(body, sender, work).await?;
    Ok(standing(StatusCode::NO_CONTENT, request, &appended).finish())
}

/// `DELETE customer-images/tus/{customerId}/{uploadId}`: ends it.
#[utoipa::path(
    delete, path = "/customer-images/tus/{customerId}/{id}", operation_id = "terminateUpload", tag = "Resumable uploads",
    summary = "End a resumable upload",
    description = "What has come of it is thrown away.",
    params(("customerId" = CustomerId, Path), ("id" = Uuid, Path, description = "The upload's id."), Version),
    responses(Ended, ResumableRefused),
)]
pub async fn terminate(
    request: HttpRequest,
    tenant: Tenant,
    resumable: Data,
) -> Result<HttpResponse, Problem> {
    let ended = async {
        check_head(&request)?;
        resumable.terminate(&tenant.0, &customer(&request, 1)?, id(&request, 0)?).await?;
        Ok(HttpResponse::NoContent().finish())
    };
    told(ended.await)
}

/// `POST` with `X-HTTP-Method-Override`, for clients that can send nothing else.
#[utoipa::path(
    post, path = "/customer-images/tus/{customerId}/{id}", operation_id = "overrideMethod", tag = "Resumable uploads",
    summary = "Go on with a resumable upload by POST",
    description = "For clients that can send no other method: `X-HTTP-Method-Override` tells which is meant.",
    params(("customerId" = CustomerId, Path), ("id" = Uuid, Path, description = "The upload's id."), Version, Overriding),
    request_body(content = inline(Bytes), content_type = "application/offset+octet-stream"),
    responses(Told, Added, OverriddenRefused),
)]
pub async fn overridden(
    request: HttpRequest,
    tenant: Tenant,
    payload: web::Payload,
    resumable: Data,
) -> Result<HttpResponse, Problem> {
    let method = request.headers().get(OVERRIDE).map(HeaderValue::as_bytes);
    match method {
        Some(b"PATCH") => append(request, tenant, payload, resumable).await,
        Some(b"DELETE") => terminate(request, tenant, resumable).await,
        Some(b"HEAD") => show(request, tenant, resumable).await,
        _ => only_known().await,
    }
}

/// Any other method on where uploads begin.
pub async fn only_create() -> Result<HttpResponse, Problem> {
    told(Err(Problem::new(Kind::MethodNotAllowed).allow("POST, OPTIONS")))
}

/// Any other method on an upload.
pub async fn only_known() -> Result<HttpResponse, Problem> {
    told(Err(Problem::new(Kind::MethodNotAllowed).allow("HEAD, PATCH, DELETE, OPTIONS")))
}

/// Every answer names the version.
fn told(answer: Result<HttpResponse, Problem>) -> Result<HttpResponse, Problem> {
    let version = HeaderValue::from_static(fields::VERSION);
    match answer {
        Ok(mut response) => {
            response.headers_mut().insert(RESUMABLE, version);
            Ok(response)
        }
        Err(problem) => Err(problem.field(RESUMABLE, version)),
    }
}

fn check_head(request: &HttpRequest) -> Result<(), Problem> {
    if fields::is_spoken(request.headers()) {
        return Ok(head::check_coding(request.headers())?);
    }
    let version = HeaderValue::from_static(fields::VERSION);
    let problem = Problem::new(Kind::PreconditionFailed).detail("Send Tus-Resumable: 1.0.0.");
    Err(problem.field(HeaderName::from_static("tus-version"), version))
}

/// Hands a body's pieces to the task that takes them. What has come is kept, whatever ends it.
async fn feed(
    mut body: UploadBody,
    sender: mpsc::Sender<Piece>,
    mut work: Pin<Box<impl Future<Output = Result<Appended, Error>>>>,
) -> Result<Appended, Error> {
    let broken = loop {
        let chunk = tokio::select! {
            biased;
            outcome = &mut work => return outcome,
            chunk = body.body.next() => chunk,
        };
        let piece = match chunk {
            Some(Ok(bytes)) => Piece::Bytes(bytes),
            Some(Err(error)) => break Some(error),
            None => Piece::End,
        };
        let is_last = matches!(piece, Piece::End);
        tokio::select! {
            biased;
            outcome = &mut work => return outcome,
            // Where it cannot be sent the work has ended.
            _ = sender.send(piece) => {}
        }
        if is_last {
            break None;
        }
    };
    drop(sender);
    let appended = work.await?;
    match broken {
        Some(error) => Err(Error::UploadInterrupted(Box::new(error))),
        None => Ok(appended),
    }
}

fn body_length(request: &HttpRequest) -> Option<u64> {
    request.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn standing(status: StatusCode, request: &HttpRequest, appended: &Appended) -> HttpResponseBuilder {
    let mut answer = HttpResponse::build(status);
    answer.insert_header((OFFSET, appended.offset.to_string()));
    match &appended.image {
        Some(image) => tell_image(&mut answer, request, image),
        None => {
            answer.insert_header((EXPIRES, date(appended.expires_at)));
        }
    }
    answer
}

fn tell_metadata(answer: &mut HttpResponseBuilder, metadata: Option<String>) {
    if let Some(metadata) = metadata.filter(|metadata| !metadata.is_empty()) {
        answer.insert_header(("upload-metadata", metadata));
    }
}

/// Which image the upload has become.
fn tell_image(answer: &mut HttpResponseBuilder, request: &HttpRequest, image: &Image) {
    let path = request.uri().path();
    let above = path.find("/customer-images/").map_or("", |at| &path[..at]);
    let base = PublicBase::told(request).unwrap_or_default();
    let location = format!("{base}{above}/customer-images/images/{}", image.id);
    answer.insert_header((CONTENT_LOCATION, location));
    answer.insert_header((ETAG, validators(image).etag_value()));
}

/// Where the upload is: a reference that is right whatever a proxy has made of the path, since it
/// is relative to the request's own URL (RFC 3986 section 5.2); the whole URL where a trusted proxy
/// told what that is.
fn location(request: &HttpRequest, id: Uuid) -> String {
    let path = request.uri().path().trim_end_matches('/');
    match PublicBase::told(request) {
        Some(base) => format!("{base}{path}/{id}"),
        None => {
            let last = path.rsplit('/').next().unwrap_or_default();
            format!("{last}/{id}")
        }
    }
}

fn date(time: SystemTime) -> String {
    HttpDate::from(time).to_string()
}
