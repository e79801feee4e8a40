//! The HTTP side of the images API: extract, call one function of [`super::access`], answer.

use actix_web::{
    HttpMessage, HttpRequest, HttpResponse, HttpResponseBuilder,
    body::SizedStream,
    http::{
        Method, StatusCode,
        header::{
            ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_RANGE,
            CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderValue, LAST_MODIFIED, RANGE, VARY,
            X_CONTENT_TYPE_OPTIONS,
        },
    },
    web,
};
use bytes::Bytes;
use futures_util::{Stream, stream};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    access::{Content, Images, Wish, validators},
    conditional::{Access, Conditions, Outcome},
    disposition,
    erase::{By, Erased},
    link::{Links, validity},
    negotiation,
    query::{self, Query},
    record::WholeRecord,
};
use crate::{
    consumers::{
        described::{
            ContentRefused, ContentSent, EraseRefused, ImageRefused, LinkedRefused, ListRefused,
            QueryRefused, Ranges, ReadConditions, Signature, UsageRefused, WriteConditions,
        },
        error::Error,
        handlers::{customer, id, linked_tenant},
        names::CustomerId,
        records::{self, Extent, Image, Usage},
        signed::Link,
        steps::{Progress, Steps},
    },
    edge::{Labels, PublicBase},
    problem::{Kind, Problem},
    storage::{self, Reading},
    tenant::{Principal, Tenant, TenantId},
};

/// What may be kept by the client's own cache only.
const PRIVATE: &str = "private";

/// A page of images.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ImagePage)]
struct Page<'a> {
    images: Vec<WholeRecord<'a>>,
    /// What the next page is asked for with; null on the last one.
    #[schema(required = true)]
    next_cursor: Option<String>,
}

/// `GET customer-images/images`: a page of the tenant's images, newest first.
#[utoipa::path(
    method(get, head), path = "/customer-images/images", operation_id = "listImages", tag = "Images",
    summary = "List images, the newest first",
    description = "Pages stay right while images come and go. A parameter is sent once, and is not empty.",
    params(query::Query),
    responses((status = 200, description = "A page of images.", body = Page<'static>), ListRefused),
)]
pub async fn list(
    request: HttpRequest,
    tenant: Tenant,
    images: web::Data<Images>,
) -> Result<HttpResponse, Problem> {
    let query = Query::parse(request.query_string())?;
    let listing = images.list(&tenant.0, query).await?;
    Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, PRIVATE)).json(Page {
        images: listing.images.iter().map(WholeRecord::of).collect(),
        next_cursor: listing.next.map(query::cursor),
    }))
}

/// The record, how far the steps are, and what has come of them.
#[derive(Serialize, ToSchema)]
#[schema(as = ProcessedImage)]
struct Told<'a> {
    #[serde(flatten)]
    record: WholeRecord<'a>,
    #[serde(flatten)]
    #[schema(value_type = Progress)]
    progress: Option<Progress>,
}

/// `GET customer-images/images/{id}`: the record.
#[utoipa::path(
    method(get, head), path = "/customer-images/images/{id}", operation_id = "getImage", tag = "Images",
    summary = "Look an image up",
    description = "Where steps follow uploads, the record tells how far they are and what has come of them. It is then \
        answered whole, whatever `If-None-Match` says.",
    params(("id" = Uuid, Path, description = "The image's id."), ReadConditions),
    responses(
        (status = 200, description = "The record.", body = Told<'static>,
         headers(
            ("ETag" = String, description = "The content's entity tag."),
            ("Last-Modified" = String, description = "When the content was stored."),
         )),
        (status = 304, description = "The version that the client has is the current one."),
        ImageRefused,
    ),
)]
pub async fn show(
    request: HttpRequest,
    tenant: Tenant,
    images: web::Data<Images>,
    steps: web::Data<Steps>,
) -> Result<HttpResponse, Problem> {
    let image = images.find(&tenant.0, id(&request, 0)?).await?;
    let progress = steps.of(&image).await?;
    let conditions = Conditions::of(request.headers());
    match conditions.evaluate(Access::Read, Some(&validators(&image))) {
        // The tag is the content's: what the steps have come to since, it does not tell.
        Outcome::NotModified if progress.is_none() => {
            Ok(answer(StatusCode::NOT_MODIFIED, &image).finish())
        }
        Outcome::Proceed | Outcome::NotModified => {
            let mut response = answer(StatusCode::OK, &image);
            if progress.is_some() {
                response.insert_header((CACHE_CONTROL, "private, no-cache"));
            }
            Ok(response.json(Told { record: WholeRecord::of(&image), progress }))
        }
        Outcome::Failed => Err(Error::from(records::Error::Condition).into()),
    }
}

/// `GET` or `HEAD customer-images/images/{id}/content`: the bytes.
#[utoipa::path(
    method(get, head), path = "/customer-images/images/{id}/content", operation_id = "getContent",
    tag = "Images",
    summary = "Read an image",
    description = "Ranges and conditions hold as RFC 9110 has them. `variant` asks for what a step has made of the image; where that is there in several formats, `Accept` chooses.",
    params(
        ("id" = Uuid, Path, description = "The image's id."),
        ("variant" = Option<String>, Query, nullable = false, description = "The step that made what is wanted."),
        ReadConditions, Ranges,
    ),
    responses(ContentSent, ContentRefused),
)]
pub async fn download(
    request: HttpRequest,
    tenant: Tenant,
    images: web::Data<Images>,
    steps: web::Data<Steps>,
) -> Result<HttpResponse, Problem> {
    let (id, wish) = (id(&request, 1)?, wish(&request, None));
    let Some(step) = variant(request.query_string())? else {
        return Ok(content(images.content(&tenant.0, id, &wish).await?));
    };
    let Some(offers) = steps.offers(&step) else {
        return Ok(content(images.variant(&tenant.0, id, &step, &wish).await?));
    };
    let mut found = Err(Error::VariantMissing);
    for offer in negotiation::preferred(&request, offers) {
        found = images.variant(&tenant.0, id, &offer.step, &wish).await;
        // The image may be none of which there is this format.
        if !matches!(found, Err(Error::VariantMissing)) {
            break;
        }
    }
    let mut response = content(found?);
    response.headers_mut().insert(VARY, HeaderValue::from_static("accept"));
    Ok(response)
}

/// `GET` or `HEAD /signed/{tenant}/images/{id}`: the bytes, for whoever holds the link.
#[utoipa::path(
    method(get, head), path = "/signed/{tenant}/images/{id}", operation_id = "getLinkedContent",
    tag = "Links",
    summary = "Read an image by a link",
    description = "The link is the credential. It is asked for at `…/images/{id}/link`.",
    params(
        ("tenant" = TenantId, Path),
        ("id" = Uuid, Path, description = "The image's id."),
        Signature, ReadConditions, Ranges,
    ),
    responses(ContentSent, LinkedRefused),
)]
pub async fn download_linked(
    request: HttpRequest,
    images: web::Data<Images>,
    links: web::Data<Links>,
) -> Result<HttpResponse, Problem> {
    let (tenant, id) = (linked_tenant(&request, 2)?, id(&request, 0)?);
    links.check(&tenant, id, None, request.query_string()).await?;
    Ok(content(images.content(&tenant, id, &wish(&request, None)).await?))
}

/// `GET` or `HEAD /signed/{tenant}/contents/{upload}/{id}`: the bytes that an upload has brought, held
/// back or not, for the step's service that was given the link.
#[utoipa::path(
    method(get, head), path = "/signed/{tenant}/contents/{upload}/{id}", operation_id = "getInspectedContent",
    tag = "Links",
    summary = "Read what an upload brought",
    description = "For the service of a step, which is given the link with what it is asked. An image that is held back is read so, too; one that was replaced is not there any more.",
    params(
        ("tenant" = TenantId, Path),
        ("upload" = Uuid, Path, description = "The upload that brought the content."),
        ("id" = Uuid, Path, description = "The image's id."),
        Signature, ReadConditions, Ranges,
    ),
    responses(ContentSent, LinkedRefused),
)]
pub async fn download_inspected(
    request: HttpRequest,
    images: web::Data<Images>,
    links: web::Data<Links>,
) -> Result<HttpResponse, Problem> {
    let (upload, image) = (id(&request, 1)?, id(&request, 0)?);
    let tenant = linked_tenant(&request, 3)?;
    links.check(&tenant, image, Some(upload), request.query_string()).await?;
    Ok(content(images.content(&tenant, image, &wish(&request, Some(upload))).await?))
}

/// `GET customer-images/images/{id}/link`: a link to the bytes, good for a while.
#[utoipa::path(
    method(get, head), path = "/customer-images/images/{id}/link", operation_id = "getLink", tag = "Images",
    summary = "Ask for a link to an image",
    description = "Whoever has the URL can read the bytes by it until it expires: from the store itself, where it signs \
        requests.",
    params(
        ("id" = Uuid, Path, description = "The image's id."),
        ("expiresIn" = Option<u32>, Query, nullable = false, minimum = 1, maximum = 604800,
         description = "Seconds; 300 unless told."),
    ),
    responses((status = 200, description = "The link.", body = Link), QueryRefused),
)]
pub async fn link(
    request: HttpRequest,
    tenant: Tenant,
    links: web::Data<Links>,
) -> Result<HttpResponse, Problem> {
    let valid = validity(request.query_string())?;
    let base = PublicBase::of(&request);
    let link = links.make(&tenant.0, id(&request, 1)?, valid, &base).await?;
    Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(link))
}

/// What of an image a request wants; where `upload` is given, of the content that it has brought.
fn wish(request: &HttpRequest, upload: Option<Uuid>) -> Wish<'_> {
    Wish {
        conditions: Conditions::of(request.headers()),
        range: range(request),
        with_body: request.method() != Method::HEAD,
        upload,
    }
}

/// The answer that has an image's bytes, as far as the request wants them.
fn content(content: Content) -> HttpResponse {
    match content {
        Content::NotModified(image) => answer(StatusCode::NOT_MODIFIED, &image).finish(),
        Content::Whole(image, reading) => {
            bytes(answer(StatusCode::OK, &image), &image, image.size, reading)
        }
        Content::Part(image, range, reading) => {
            let mut response = answer(StatusCode::PARTIAL_CONTENT, &image);
            let (first, last) = (range.start, range.end - 1);
            let told = format!("bytes {first}-{last}/{}", image.size);
            response.insert_header((CONTENT_RANGE, told));
            bytes(response, &image, range.end - range.start, Some(reading))
        }
    }
}

/// What a tenant has. A limit that does not apply is null.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Usage)]
struct Sums {
    bytes: u64,
    images: u64,
    #[schema(required = true)]
    max_bytes: Option<u64>,
    #[schema(required = true)]
    max_images: Option<u64>,
}

/// `GET customer-images/usage`: what the tenant's images come to, and the most that they may.
#[utoipa::path(
    method(get, head), path = "/customer-images/usage", operation_id = "getUsage", tag = "Images",
    summary = "Ask what the tenant has", description = "The sums of its images, and its quota.",
    responses((status = 200, description = "The sums.", body = Sums), UsageRefused),
)]
pub async fn usage(tenant: Tenant, images: web::Data<Images>) -> Result<HttpResponse, Problem> {
    let Usage { bytes, images, max_bytes, max_images } = images.usage(&tenant.0).await?;
    let told = Sums { bytes, images, max_bytes, max_images };
    Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, PRIVATE)).json(told))
}

/// `DELETE customer-images/images/{id}`: the object and the record are gone.
#[utoipa::path(
    delete, path = "/customer-images/images/{id}", operation_id = "deleteImage", tag = "Images",
    summary = "Delete an image", description = "The image, its record and what steps have made of it are gone.",
    params(("id" = Uuid, Path, description = "The image's id."), WriteConditions),
    responses((status = 204, description = "It is gone."), ImageRefused),
)]
pub async fn delete(
    request: HttpRequest,
    tenant: Tenant,
    images: web::Data<Images>,
) -> Result<HttpResponse, Problem> {
    let conditions = Conditions::of(request.headers());
    images.delete(&tenant.0, id(&request, 0)?, conditions).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// What was there: images, and objects that were no image's.
#[derive(Serialize, ToSchema)]
#[schema(as = Erased)]
struct Gone {
    images: u64,
    objects: u64,
}

/// `DELETE customer-images/customers/{customerId}`: all that is kept of a customer is gone.
#[utoipa::path(
    delete, path = "/customer-images/customers/{customerId}", operation_id = "eraseCustomer", tag = "Images",
    summary = "Erase all of a customer",
    description = "All images of the customer, what was begun and not finished, and what its events told. If it breaks \
        off, it can be asked for again.",
    params(("customerId" = CustomerId, Path)),
    responses((status = 200, description = "What was there.", body = Gone), EraseRefused),
)]
pub async fn erase(
    request: HttpRequest,
    tenant: Tenant,
    principal: Option<Principal>,
    images: web::Data<Images>,
) -> Result<HttpResponse, Problem> {
    let customer = customer(&request, 0)?;
    let extent = Extent { tenant: tenant.0, customer: Some(customer.as_str().to_owned()) };
    let labels = request.extensions().get::<Labels>().cloned();
    let by = By {
        principal: principal.as_ref().map(Principal::id),
        request_id: labels.as_ref().map(|labels| labels.request_id().as_str()),
    };
    let Erased { images, objects, .. } = images.erase(&extent, by, &mut |_| {}).await?;
    Ok(HttpResponse::Ok().json(Gone { images, objects }))
}

/// Any other method on all of a customer.
pub async fn only_delete() -> Result<HttpResponse, Problem> {
    Err(Problem::new(Kind::MethodNotAllowed).allow("DELETE"))
}

/// Any other method on what can only be read.
pub async fn only_read() -> Result<HttpResponse, Problem> {
    Err(Problem::new(Kind::MethodNotAllowed).allow("GET, HEAD"))
}

/// Any other method on a record.
pub async fn only_read_or_delete() -> Result<HttpResponse, Problem> {
    Err(Problem::new(Kind::MethodNotAllowed).allow("GET, HEAD, DELETE"))
}

/// The step that made what is wanted in place of the image itself.
fn variant(query: &str) -> Result<Option<String>, Error> {
    let mut named = query.split('&').filter_map(|pair| pair.strip_prefix("variant="));
    let step = named.next().map(str::to_owned);
    if named.next().is_some() {
        return Err(Error::QueryInvalid(
            "The parameter 'variant' is there twice; send it once.".to_owned(),
        ));
    }
    Ok(step)
}

/// The only `Range` field there is.
fn range(request: &HttpRequest) -> Option<&[u8]> {
    let mut fields = request.headers().get_all(RANGE).map(HeaderValue::as_bytes);
    let first = fields.next()?;
    fields.next().is_none().then_some(first)
}

/// An answer that tells which version of the image it is about.
fn answer(status: StatusCode, image: &Image) -> HttpResponseBuilder {
    let current = validators(image);
    let mut response = HttpResponse::build(status);
    response
        .insert_header((ETAG, current.etag_value()))
        .insert_header((LAST_MODIFIED, current.last_modified()))
        .insert_header((CACHE_CONTROL, PRIVATE));
    response
}

/// An answer of `length` bytes of the image. Browsers are to show them as what they are, and
/// never to run them.
fn bytes(
    mut response: HttpResponseBuilder,
    image: &Image,
    length: u64,
    reading: Option<Reading>,
) -> HttpResponse {
    response
        .insert_header((CONTENT_TYPE, image.content_type.as_str()))
        .insert_header((ACCEPT_RANGES, "bytes"))
        .insert_header((CONTENT_DISPOSITION, disposition::inline(&image.display_name)))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((CONTENT_SECURITY_POLICY, "sandbox"));
    match reading {
        Some(reading) => response.body(SizedStream::new(length, reading.body)),
        None => response.body(SizedStream::new(length, nothing())),
    }
}

/// The body of an answer to HEAD, of which only the length is told.
fn nothing() -> impl Stream<Item = storage::Result<Bytes>> + Unpin {
    stream::empty()
}
