//! What the descriptions at this module's handlers have in common: parameters, and the problems that
//! requests of one kind are answered with. What the gateway answers before them it adds itself.

use std::collections::BTreeMap;

use utoipa::{
    IntoParams, IntoResponses, PartialSchema, ToSchema,
    openapi::{
        Content, KnownFormat, ObjectBuilder, Ref, RefOr, Response, Schema, SchemaFormat, Type,
        path::{Parameter, ParameterIn},
    },
};

use super::{
    handlers::Created,
    image::ImageType,
    names::{CustomerId, FileName},
};
use crate::{
    openapi::{Bytes, CONTROLS, answer, any_text, bytes, header, link, refusals, text},
    problem::Kind::{self, *},
};

/// The store or the database fails.
const KEPT: &[Kind] = &[StorageUnavailable];
/// A body does not come, or not as it should.
const BODY: &[Kind] = &[MediaTypeUnsupported, BodyInvalid, RequestTimeout];
/// What is wrong with an image, or with where it is to be.
const IMAGE: &[Kind] = &[
    FileMissing,
    FileNameInvalid,
    ImageUnsupported,
    ImageInvalid,
    TooLarge,
    PreconditionFailed,
    AlreadyExists,
    QuotaExceeded,
    Overloaded,
];
/// What an upload in several requests may have against one of them.
const UPLOAD: &[Kind] = &[UploadInvalid, UploadConflict, UploadLocked, ChecksumMismatch];
/// There is no such thing, of this tenant.
const FOUND: &[Kind] = &[NotFound];
/// There is no such customer.
const CUSTOMER: &[Kind] = &[CustomerInvalid];
/// A condition does not hold.
const CONDITION: &[Kind] = &[PreconditionFailed];

refusals! {
    /// Why an image is not taken in by one request.
    UploadRefused: CUSTOMER, IMAGE, KEPT, &[MultipartInvalid, MediaTypeUnsupported, RequestTimeout];
    /// Why nothing can be told of a tenant as a whole.
    UsageRefused: KEPT;
    /// Why images are not listed.
    ListRefused: KEPT, &[QueryInvalid];
    /// Why a customer is not erased.
    EraseRefused: CUSTOMER, KEPT, &[Overloaded];
    /// Why an image's record is not told, or the image not deleted.
    ImageRefused: FOUND, CONDITION, KEPT, &[Overloaded];
    /// Why an image's bytes are not sent.
    ContentRefused: FOUND, CONDITION, KEPT, &[QueryInvalid, RangeNotSatisfiable];
    /// Why they are not sent to who has a link.
    LinkedRefused: FOUND, CONDITION, KEPT, &[Forbidden, RangeNotSatisfiable];
    /// Why there is no link, or no page of a list.
    QueryRefused: FOUND, KEPT, &[QueryInvalid];
    /// Why something is not told, or ended.
    FindRefused: FOUND, KEPT;
    /// Why there is no stream.
    StreamRefused: KEPT, &[QueryInvalid, Overloaded];
    /// Why a direct upload is not begun.
    OpenRefused: CUSTOMER, KEPT, BODY, &[
        UploadInvalid, FileNameInvalid, ImageUnsupported, TooLarge, PreconditionFailed, AlreadyExists, QuotaExceeded,
        Overloaded,
    ];
    /// Why it does not become an image.
    CompleteRefused: FOUND, KEPT, &[
        UploadConflict, ImageUnsupported, ImageInvalid, TooLarge, PreconditionFailed, AlreadyExists, QuotaExceeded,
        Overloaded,
    ];
    /// Why its bytes are not taken by a link.
    PutRefused: FOUND, KEPT, BODY, &[Forbidden, FileMissing, ChecksumMismatch, TooLarge, Overloaded];
    /// Why a step's answer is not.
    AnswerRefused: FOUND, KEPT, BODY, &[Forbidden, TooLarge];
    /// Why a resumable upload is not begun.
    CreateRefused: CUSTOMER, IMAGE, UPLOAD, KEPT, BODY;
    /// Why nothing is added to it.
    AppendRefused: CUSTOMER, FOUND, IMAGE, UPLOAD, KEPT, BODY;
    /// Why nothing is told of it, or it is not ended.
    ResumableRefused: CUSTOMER, FOUND, CONDITION, KEPT, &[UploadLocked];
    /// The same where the method stands in a field.
    OverriddenRefused: CUSTOMER, FOUND, IMAGE, UPLOAD, KEPT, BODY, &[MethodNotAllowed];
    /// Why a webhook is not made.
    NewWebhookRefused: FOUND, KEPT, BODY, &[WebhookInvalid, WebhookConflict];
    /// Why a webhook sends nothing.
    SendRefused: FOUND, KEPT, &[WebhookConflict];
}

/// An image was taken in.
pub struct Stored;

impl IntoResponses for Stored {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let tag = [("ETag", "The content's entity tag.")];
        let content = Content::new(Some(Ref::from_schema_name(Created::name())));
        let stored = answer("The image is durable, and has its record.", &tag)
            .content("application/json", content);
        let of = |operation| link(operation, "id", "$response.body#/id");
        let stored = stored
            .link("show", of("getImage"))
            .link("read", of("getContent"))
            .link("delete", of("deleteImage"));
        [("201".to_owned(), stored.build().into())].into()
    }
}

/// An image's bytes, or that the client has them.
pub struct ContentSent;

impl IntoResponses for ContentSent {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        const TAG: (&str, &str) = ("ETag", "The content's entity tag.");
        const DATE: (&str, &str) = ("Last-Modified", "When this content was stored.");
        let whole = [
            TAG,
            DATE,
            ("Accept-Ranges", "`bytes`."),
            ("Content-Disposition", "`inline`, with the name to show (RFC 6266)."),
        ];
        let part = [TAG, DATE, ("Content-Range", "Which bytes these are, and of how many.")];
        let content = || Content::new(Some(Bytes::schema()));
        let known = "The version that the client has is the current one.";
        [
            ("200", answer("All bytes.", &whole).content("image/*", content())),
            ("206", answer("The bytes of the range.", &part).content("image/*", content())),
            ("304", answer(known, &[TAG, DATE])),
        ]
        .map(|(status, response)| (status.to_owned(), response.build().into()))
        .into()
    }
}

impl PartialSchema for CustomerId {
    fn schema() -> RefOr<Schema> {
        const PATTERN: &str = "^[A-Za-z0-9]([A-Za-z0-9._@+-]{0,126}[A-Za-z0-9_@+-])?$";
        text(PATTERN, "Which of the tenant's customers.", "12345").into()
    }
}

impl ToSchema for CustomerId {}

impl PartialSchema for FileName {
    fn schema() -> RefOr<Schema> {
        // At least one character that is neither a dot nor a blank.
        let any = format!(r"[^/\\{CONTROLS}\u202a-\u202e\u2066-\u2069]");
        let one = format!(r"[^/\\{CONTROLS}\u202a-\u202e\u2066-\u2069.\s]");
        let what = "A file's name: at most 255 bytes of UTF-8. Of a path only what is behind the last / or \\ counts.";
        let name = text(&format!("^{any}*{one}{any}*$"), what, "image.jpg");
        name.max_length(Some(255)).into()
    }
}

impl ToSchema for FileName {}

impl PartialSchema for ImageType {
    fn schema() -> RefOr<Schema> {
        let types = ObjectBuilder::new()
            .schema_type(Type::String)
            .enum_values(Some(ImageType::ALL.map(ImageType::content_type)))
            .description(Some("What an image is; which types are taken in is set up."));
        types.into()
    }
}

impl ToSchema for ImageType {}

/// A body of `multipart/form-data` that has an image.
pub struct Form;

impl PartialSchema for Form {
    fn schema() -> RefOr<Schema> {
        let form = ObjectBuilder::new()
            .schema_type(Type::Object)
            .property("file", bytes("The image, with its file's name."))
            .property("fileName", FileName::schema())
            .required("file");
        form.into()
    }
}

impl ToSchema for Form {}

/// A condition of a request.
fn condition(name: &str, what: &str) -> Parameter {
    header(name, false, any_text(), what)
}

/// Conditions on what is there, of requests that change it (RFC 9110 section 13).
pub struct WriteConditions;

impl IntoParams for WriteConditions {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![
            condition("If-Match", "Change only the version that has one of these entity tags."),
            condition(
                "If-None-Match",
                "`*`: only if there is none. Entity tags: only if it is none of these versions.",
            ),
        ]
    }
}

/// Conditions on what is read (RFC 9110 section 13).
pub struct ReadConditions;

impl IntoParams for ReadConditions {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![
            condition("If-Match", "Only a version that has one of these entity tags."),
            condition(
                "If-None-Match",
                "Only a version that has none of these entity tags; otherwise 304.",
            ),
            condition("If-Modified-Since", "Only what is newer than this date; otherwise 304."),
            condition("If-Unmodified-Since", "Only what is not newer than this date."),
        ]
    }
}

/// Which bytes are read (RFC 9110 section 14).
pub struct Ranges;

impl IntoParams for Ranges {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![
            header("Range", false, any_text(), "Some of the bytes, such as `bytes=0-1023`."),
            condition(
                "If-Range",
                "The entity tag or date of the version that the range is of; of another, all bytes are sent.",
            ),
        ]
    }
}

/// The query of a signed link.
pub struct Signature;

impl IntoParams for Signature {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let query = |name: &str, schema: ObjectBuilder| {
            let mut parameter = header(name, true, schema, "As the link has it.");
            parameter.parameter_in = ParameterIn::Query;
            parameter
        };
        let seconds = ObjectBuilder::new()
            .schema_type(Type::Integer)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
            .minimum(Some(0));
        let signature = text("^[A-Za-z0-9_-]{43}$", "An HMAC.", &"A".repeat(43));
        vec![query("expires", seconds), query("signature", signature)]
    }
}
