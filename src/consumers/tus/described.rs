//! The protocol's header fields in the description of the handlers.

use std::collections::BTreeMap;

use utoipa::{
    IntoParams, IntoResponses, OpenApi,
    openapi::{
        HttpMethod, ObjectBuilder, RefOr, Required, Response, Type,
        path::{Parameter, ParameterIn},
    },
};

use super::{fields, handlers};
use crate::openapi::{self, answer, header, number, text};

/// The resources' description.
#[derive(OpenApi)]
#[openapi(paths(
    handlers::create,
    handlers::options,
    handlers::show,
    handlers::append,
    handlers::terminate,
    handlers::overridden,
    handlers::options_of_upload,
))]
struct Described;

/// The resources' description. Only a PATCH must have a body.
pub fn openapi() -> utoipa::openapi::OpenApi {
    let mut api = Described::openapi();
    openapi::each(&mut api, |_, method, operation| {
        if let (HttpMethod::Post, Some(RefOr::T(body))) = (method, &mut operation.request_body) {
            body.required = Some(Required::False);
        }
    });
    api
}

/// What every request has but `OPTIONS`.
pub(super) struct Version;

impl IntoParams for Version {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![header(
            "Tus-Resumable",
            true,
            one_of(&[fields::VERSION]),
            "The version that is spoken.",
        )]
    }
}

/// What begins an upload.
pub(super) struct Creating;

impl IntoParams for Creating {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let metadata = text(
            "^([^,]+,)*filename [A-Za-z0-9+/]{4,}={0,2}(,[^,]+)*$",
            "Keys, each with a value in base64; `filename` is needed, `displayName` where the name to show is another.",
            "filename aW1hZ2UuanBn",
        );
        vec![
            header(
                "Upload-Length",
                false,
                number(1, None, "Bytes."),
                "Bytes that the upload will have.",
            ),
            header("Upload-Defer-Length", false, one_of(&["1"]), "`1`: the length is told later."),
            header("Upload-Metadata", true, metadata, "What is known of the file."),
            checksum(),
        ]
    }
}

/// What adds to an upload.
pub(super) struct Appending;

impl IntoParams for Appending {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![
            header("Upload-Offset", true, number(0, None, "Bytes."), "Bytes that the upload has."),
            header(
                "Upload-Length",
                false,
                number(1, None, "Bytes."),
                "Its length, if it was not told before.",
            ),
            checksum(),
        ]
    }
}

/// What stands for another method.
pub(super) struct Overriding;

impl IntoParams for Overriding {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let methods = one_of(&["PATCH", "DELETE", "HEAD"]);
        vec![
            header("X-HTTP-Method-Override", true, methods, "The method that is meant."),
            header(
                "Upload-Offset",
                false,
                number(0, None, "Bytes."),
                "Bytes that the upload has, for `PATCH`.",
            ),
        ]
    }
}

const RESUMABLE: (&str, &str) = ("Tus-Resumable", "The version, 1.0.0.");
const OFFSET: (&str, &str) = ("Upload-Offset", "Bytes that the upload has.");
const EXPIRES: (&str, &str) = ("Upload-Expires", "When it is ended if nothing more comes.");
const IMAGE: (&str, &str) = ("Content-Location", "The image's record, once all is there.");
const TAG: (&str, &str) = ("ETag", "The image's entity tag, once all is there.");

macro_rules! answers {
    ($($(#[$doc:meta])* $name:ident: $status:literal $text:literal [$($field:expr),*];)*) => {$(
        $(#[$doc])*
        pub(super) struct $name;

        impl IntoResponses for $name {
            fn responses() -> BTreeMap<String, RefOr<Response>> {
                let response = answer($text, &[RESUMABLE, $($field),*]).build();
                [($status.to_owned(), response.into())].into()
            }
        }
    )*};
}

answers! {
    /// An upload has begun.
    Begun: "201" "The upload has begun." [
        OFFSET, EXPIRES, IMAGE, TAG, ("Location", "The upload, relative to this request's URL.")
    ];
    /// How far it is.
    Told: "200" "How far it is." [
        OFFSET, EXPIRES, IMAGE, TAG,
        ("Upload-Length", "Bytes that it will have, if that is known."),
        ("Upload-Defer-Length", "`1` if that is not known."),
        ("Upload-Metadata", "As it was sent.")
    ];
    /// There is more of it.
    Added: "204" "The bytes are there." [OFFSET, EXPIRES, IMAGE, TAG];
    /// It is no more.
    Ended: "204" "It has ended." [];
    /// What is known of the protocol.
    Protocol: "204" "What is known." [
        ("Tus-Version", "The versions."),
        ("Tus-Extension", "The extensions."),
        ("Tus-Max-Size", "The largest upload, in bytes."),
        ("Tus-Checksum-Algorithm", "What checksums can be of.")
    ];
}

fn checksum() -> Parameter {
    let of = text(
        "^(sha1 [A-Za-z0-9+/]{27}=|sha256 [A-Za-z0-9+/]{43}=)$",
        "`sha1` or `sha256`, and the digest in base64.",
        "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
    );
    header("Upload-Checksum", false, of, "Of the body: other bytes are not kept.")
}

fn one_of(values: &[&str]) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(values.to_vec()))
}
