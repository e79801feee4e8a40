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
        error::Error,
        handlers::{customer, id, linked_tenant},
        records::{self, Extent, Image, Usage},
        steps::{Progress, Steps},
    },
    edge::{Labels, PublicBase},
    problem::{Kind, Problem},
    storage::{self, Reading},
    tenant::{Principal, Tenant},
};

/// What may be kept by the client's own cache only.
const PRIVATE: &str = "private";

/// `GET customer-images/images`: a page of the tenant's images, newest first.
pub async fn list(
    request: HttpRequest,
    tenant: Tenant,
    images: web::Data<Images>,
) -> Result<HttpResponse, Problem> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Page<'a> {
        images: Vec<WholeRecord<'a>>,
        next_cursor: Option<String>,
    }
    let query = Query::parse(request.query_string())?;
    let listing = images.list(&tenant.0, query).await?;
    Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, PRIVATE)).json(Page {
        images: listing.images.iter().map(WholeRecord::of).collect(),
        next_cursor: listing.next.map(query::cursor),
    }))
}

/// `GET customer-images/images/{id}`: the record.
pub async fn show(
    request: HttpRequest,
    tenant: Tenant,
    images: web::Data<Images>,
    steps: web::Data<Steps>,
) -> Result<HttpResponse, Problem> {
    /// The record, how far the steps are, and what has come of them.
    #[derive(Serialize)]
    struct Told<'a> {
        #[serde(flatten)]
        record: WholeRecord<'a>,
        #[serde(flatten)]
        progress: Option<Progress>,
    }
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

/// `GET customer-images/usage`: what the tenant's images come to, and the most that they may.
pub async fn usage(tenant: Tenant, images: web::Data<Images>) -> Result<HttpResponse, Problem> {
    /// A limit that does not apply is null.
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Told {
        bytes: u64,
        images: u64,
        max_bytes: Option<u64>,
        max_images: Option<u64>,
    }
    let Usage { bytes, images, max_bytes, max_images } = images.usage(&tenant.0).await?;
    let told = Told { bytes, images, max_bytes, max_images };
    Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, PRIVATE)).json(told))
}

/// `DELETE customer-images/images/{id}`: the object and the record are gone.
pub async fn delete(
    request: HttpRequest,
    tenant: Tenant,
    images: web::Data<Images>,
) -> Result<HttpResponse, Problem> {
    let conditions = Conditions::of(request.headers());
    images.delete(&tenant.0, id(&request, 0)?, conditions).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// `DELETE customer-images/customers/{customerId}`: all that is kept of a customer is gone.
pub async fn erase(
    request: HttpRequest,
    tenant: Tenant,
    principal: Option<Principal>,
    images: web::Data<Images>,
) -> Result<HttpResponse, Problem> {
    /// What was there: images, and objects that were no image's.
    #[derive(Serialize)]
    struct Told {
        images: u64,
        objects: u64,
    }
    let customer = customer(&request, 0)?;
    let extent = Extent { tenant: tenant.0, customer: Some(customer.as_str().to_owned()) };
    let labels = request.extensions().get::<Labels>().cloned();
    let by = By {
        principal: principal.as_ref().map(Principal::id),
        request_id: labels.as_ref().map(|labels| labels.request_id().as_str()),
    };
    let Erased { images, objects, .. } = images.erase(&extent, by, &mut |_| {}).await?;
    Ok(HttpResponse::Ok().json(Told { images, objects }))
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
