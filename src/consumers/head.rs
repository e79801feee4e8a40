//! What is settled about a request by its head alone, before any of its body is read or asked for.

use actix_http::RequestHead;
use actix_web::http::{
    Method,
    header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap, TRANSFER_ENCODING},
};

use super::{error::Error, names::CustomerId, settings::ImageSettings, tus, upload::Uploads};
use crate::{problem::Problem, tenant::TenantId};

/// Refuses what no body could make right, and an upload that would only wait. `path` is the raw one behind the
/// service's name and a slash.
///
/// # Errors
/// What its sender is told.
pub fn check(
    uploads: &Uploads,
    head: &RequestHead,
    path: &str,
    tenant: &TenantId,
) -> Result<(), Problem> {
    // Every answer to these has fields of the protocol's: their handlers refuse.
    if path.starts_with(tus::PATH) {
        return Ok(());
    }
    check_coding(head.headers())?;
    let Some(upload) = path.strip_prefix("customer-images/upload/") else { return Ok(()) };
    let mut segments = upload.split('/');
    let (id, name, more) = (segments.next(), segments.next(), segments.next());
    let is_raw = match (&head.method, name, more) {
        (&Method::POST, None, _) => false,
        (&Method::PUT, Some(_), None) => true,
        _ => return Ok(()),
    };
    customer(id.unwrap_or_default())?;
    if is_raw {
        raw_length(head.headers(), uploads.settings())?;
    } else {
        length(head.headers())?;
    }
    Ok(uploads.check_load(tenant)?)
}

/// The customer's id that a segment of a raw path is.
pub(super) fn customer(segment: &str) -> Result<CustomerId, Error> {
    CustomerId::parse(&decoded(segment)).ok_or(Error::CustomerInvalid)
}

/// A segment of a raw path, percent-decoded once. (`match_info` has replaced what is no UTF-8.)
pub(super) fn decoded(segment: &str) -> Vec<u8> {
    percent_encoding::percent_decode_str(segment).collect()
}

/// Refuses a coding of the content.
pub(super) fn check_coding(headers: &HeaderMap) -> Result<(), Error> {
    if headers.contains_key(CONTENT_ENCODING) {
        return Err(Error::MediaTypeUnsupported("Send the request without a Content-Encoding."));
    }
    Ok(())
}

/// The length of a body, if it is known; refuses what has none.
pub(super) fn length(headers: &HeaderMap) -> Result<Option<u64>, Error> {
    check_coding(headers)?;
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let has_body =
        headers.contains_key(TRANSFER_ENCODING) || length.is_some_and(|length| length > 0);
    if has_body { Ok(length) } else { Err(Error::FileMissing) }
}

/// The same of one that is to be an image.
pub(super) fn raw_length(
    headers: &HeaderMap,
    settings: &ImageSettings,
) -> Result<Option<u64>, Error> {
    let limit = settings.max_file_size.as_u64();
    match length(headers)? {
        Some(length) if length > limit => Err(Error::TooLarge(limit)),
        length => Ok(length),
    }
}
