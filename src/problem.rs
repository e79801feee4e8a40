//! RFC 9457 problem details: the one way an error leaves the process. Knows no module.
//!
//! A module's error becomes a [`Problem`] at its edge. What the client is told
//! ([`Problem::detail`]) and what the log is told ([`Problem::because`]) are two fields, so
//! that an error never tells internals. [`crate::edge`] fills in the request's id.

use std::{borrow::Cow, error::Error as StdError, fmt, time::Duration};

use actix_web::{
    HttpResponse, HttpResponseBuilder, ResponseError,
    http::{
        StatusCode,
        header::{self, HeaderName, HeaderValue},
    },
};
use serde::Serialize;
use utoipa::ToSchema;

/// The media type of every error's body, RFC 9457 section 3.
pub const MEDIA_TYPE: &str = "application/problem+json";

macro_rules! kinds {
    ($($variant:ident $slug:literal $status:literal $title:literal $help:literal;)*) => {
        /// The types of problem there are; `GET /problems/{slug}` explains each to a human.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs, reason = "each variant is its slug; the table below documents it")]
        pub enum Kind { $($variant),* }

        impl Kind {
            /// Every type.
            pub const ALL: &[Kind] = &[$(Kind::$variant),*];

            /// The last part of the type's URI, `/problems/{slug}`.
            pub fn slug(self) -> &'static str {
                match self { $(Kind::$variant => $slug),* }
            }

            /// The type whose URI ends so, if there is one.
            pub fn of_slug(slug: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|kind| kind.slug() == slug)
            }

            /// The HTTP status it is answered with.
            pub fn status(self) -> StatusCode {
                let code = match self { $(Kind::$variant => $status),* };
                StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
            }

            /// The short summary, the same for every occurrence.
            pub fn title(self) -> &'static str {
                match self { $(Kind::$variant => $title),* }
            }

            /// What a person can do about it: the default `detail`, and the page's text.
            pub fn help(self) -> &'static str {
                match self { $(Kind::$variant => $help),* }
            }
        }
    };
}

kinds! {
    ServiceNotFound "service-not-found" 404 "Service not found"
        "No service of this name is configured; check the name after /consumer-api/service/.";
    NotFound "not-found" 404 "Not found"
        "There is nothing here, or it is not yours; check the path and the id.";
    MethodNotAllowed "method-not-allowed" 405 "Method not allowed"
        "This resource does not know this method; the Allow field lists those it knows.";
    PathInvalid "path-invalid" 400 "Invalid path"
        "Send a path without dot segments, control characters or broken percent escapes, however encoded.";
    TenantMissing "tenant-missing" 400 "Tenant ID missing"
        "Send the tenant's id in the x-tenant-id header.";
    TenantInvalid "tenant-invalid" 400 "Invalid tenant ID"
        "Send x-tenant-id once: a letter or digit, then up to 62 letters, digits, '.', '_' or '-', not ending in '.'.";
    CustomerInvalid "customer-invalid" 400 "Invalid customer ID"
        "A customer id is a letter or digit, then up to 127 letters, digits, '.', '_', '@', '+' or '-', not ending in '.'.";
    FileMissing "file-missing" 400 "No file uploaded"
        "Send the image as the multipart field 'file' with a file name, or as the body of a PUT.";
    FileNameInvalid "file-name-invalid" 400 "Invalid file name"
        "A file name is 1 to 255 bytes of UTF-8 without control characters or bidi overrides, and not '.' or '..'.";
    QueryInvalid "query-invalid" 400 "Invalid query"
        "A query parameter is wrong; the detail of the answer says which.";
    MultipartInvalid "multipart-invalid" 400 "Invalid multipart body"
        "Send one well-formed multipart/form-data body (RFC 7578) with one 'file' part, within the limits on parts, part headers and text fields.";
    MediaTypeUnsupported "media-type-unsupported" 415 "Unsupported media type"
        "Send multipart/form-data without a Content-Encoding.";
    ImageUnsupported "image-unsupported" 415 "Not a supported image"
        "The bytes are not an image of an accepted type (by default JPEG, PNG, GIF, WebP, AVIF or HEIC).";
    ImageInvalid "image-invalid" 422 "Invalid image"
        "The image's header is broken, or it has more pixels than allowed.";
    BodyInvalid "body-invalid" 400 "Invalid body"
        "The body's framing is broken or it ended early; send it whole.";
    TooLarge "too-large" 413 "Payload too large"
        "Send a smaller body; nothing of this one was kept.";
    PreconditionFailed "precondition-failed" 412 "Precondition failed"
        "The resource is not in the state that the request's condition asks for; read it again.";
    RangeNotSatisfiable "range-not-satisfiable" 416 "Range not satisfiable"
        "Ask for a range within the size that the Content-Range field tells.";
    AlreadyExists "already-exists" 409 "Image already exists"
        "An image of this name exists and is not to be overwritten; choose another name or delete it first.";
    Unauthenticated "unauthenticated" 401 "Authentication required"
        "Send a valid credential.";
    Forbidden "forbidden" 403 "Forbidden"
        "The credential does not allow this, or is another tenant's.";
    RateLimited "rate-limited" 429 "Too many requests"
        "Wait for as long as Retry-After says.";
    QuotaExceeded "quota-exceeded" 507 "Storage quota exceeded"
        "Delete images, or ask for a larger quota.";
    StorageUnavailable "storage-unavailable" 503 "Storage unavailable"
        "The store cannot be reached right now and nothing was kept; try again after the time in Retry-After.";
    Overloaded "overloaded" 503 "Server busy"
        "The server has as much under way as it can hold, or is shutting down; try again after the time in Retry-After.";
    RequestTimeout "request-timeout" 408 "Request timeout"
        "The body came too slowly; nothing of it was kept. Send it again over a faster connection.";
    UpstreamUnreachable "upstream-unreachable" 502 "Bad gateway"
        "The service behind the gateway could not be reached; try again later.";
    UpstreamInvalid "upstream-invalid" 502 "Bad gateway"
        "The service behind the gateway did not answer in valid HTTP.";
    UpstreamUnavailable "upstream-unavailable" 503 "Service unavailable"
        "The service behind the gateway is not taking requests; try again after the time in Retry-After.";
    UpstreamTimeout "upstream-timeout" 504 "Gateway timeout"
        "The service behind the gateway did not answer in time; try again later.";
    UploadInvalid "upload-invalid" 400 "Invalid upload request"
        "The request that begins an upload, or goes on with one, is malformed; the detail of the answer says what is wrong.";
    UploadConflict "upload-conflict" 409 "Upload conflict"
        "The upload is not where this request takes it to be; ask how far it is, and go on from there.";
    UploadLocked "upload-locked" 423 "Upload locked"
        "Another request works on this upload and has not let go; try again in a second.";
    ChecksumMismatch "checksum-mismatch" 460 "Checksum mismatch"
        "The bytes do not have the checksum that was sent with them, and were not kept; send them again.";
    WebhookInvalid "webhook-invalid" 400 "Invalid webhook"
        "What the request says of the webhook is wrong; the detail of the answer says what.";
    WebhookConflict "webhook-conflict" 409 "Webhook conflict"
        "The tenant's webhooks are not in a state that allows this; the detail of the answer says why.";
    Internal "internal" 500 "Internal Error"
        "Something failed that should not have; tell the operator the request id.";
}

/// The cause of a problem, for the log only.
type Cause = Box<dyn StdError + Send + Sync>;

/// One occurrence of a problem: what the client is told, and why for the log.
#[derive(Debug)]
pub struct Problem {
    kind: Kind,
    detail: Cow<'static, str>,
    reason: Option<&'static str>,
    retry_after: Option<Duration>,
    allow: Option<&'static str>,
    fields: Vec<(HeaderName, HeaderValue)>,
    cause: Option<Cause>,
}

impl Problem {
    /// A problem with its type's standing advice as `detail`.
    pub fn new(kind: Kind) -> Self {
        let retry_after = match kind {
            Kind::StorageUnavailable | Kind::Overloaded | Kind::UpstreamUnavailable => {
                Some(Duration::from_secs(5))
            }
            _ => None,
        };
        Self {
            kind,
            detail: Cow::Borrowed(kind.help()),
            reason: None,
            retry_after,
            allow: None,
            fields: Vec::new(),
            cause: None,
        }
    }

    /// Says what to do about this very occurrence. The text goes to the client: no internals.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.detail = detail.into();
        self
    }

    /// The one-word cause of an upstream failure, the member `reason`.
    #[must_use]
    pub fn reason(mut self, reason: &'static str) -> Self {
        self.reason = Some(reason);
        self
    }

    /// When to try again, for the `Retry-After` field (RFC 9110 10.2.3): whole seconds, rounded up.
    #[must_use]
    pub fn retry_after(mut self, time: Duration) -> Self {
        self.retry_after = Some(time);
        self
    }

    /// The methods that would have been right, for the `Allow` field (RFC 9110 10.2.1).
    #[must_use]
    pub fn allow(mut self, methods: &'static str) -> Self {
        self.allow = Some(methods);
        self
    }

    /// Adds a field to the answer, such as `WWW-Authenticate`.
    #[must_use]
    pub fn field(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.fields.push((name, value));
        self
    }

    /// Keeps the cause, which the log tells and the client is not told.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Cause>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// Its type.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The one-word cause, if any.
    pub fn reason_word(&self) -> Option<&'static str> {
        self.reason
    }

    /// The cause and its causes in one line, for the log.
    pub fn chain(&self) -> Option<String> {
        self.cause.as_deref().map(|cause| chain(cause))
    }

    /// The answer, with `instance` telling the request's id.
    pub fn respond(&self, request_id: &str) -> HttpResponse {
        let body = Body::new(self.kind, &self.detail, self.reason, request_id);
        let mut response = self.head();
        response.insert_header((header::CONTENT_TYPE, MEDIA_TYPE));
        match serde_json::to_vec(&body) {
            Ok(json) => response.body(json),
            Err(_) => response.finish(),
        }
    }

    fn head(&self) -> HttpResponseBuilder {
        let mut response = HttpResponse::build(self.kind.status());
        if let Some(after) = self.retry_after {
            let part = u64::from(after.subsec_nanos() > 0);
            let seconds = after.as_secs().saturating_add(part);
            response.insert_header((header::RETRY_AFTER, seconds.max(1).to_string()));
        }
        if let Some(methods) = self.allow {
            response.insert_header((header::ALLOW, methods));
        }
        for (name, value) in &self.fields {
            response.insert_header((name.clone(), value.clone()));
        }
        response
    }
}

/// A problem as clients are told of it (RFC 9457 section 3).
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct Body<'a> {
    /// What to decide by: `/problems/` and the type's slug, where a person finds it explained.
    #[schema(format = "uri-reference", pattern = "^/problems/[a-z-]+$")]
    r#type: String,
    /// The same for every problem of the type.
    title: &'static str,
    /// The answer's status.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// The title again, for clients that read the `message` of an upload's answer.
    message: &'static str,
    /// What is wrong this time, and what to do.
    detail: &'a str,
    /// The cause of an upstream's failure in one word.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    reason: Option<&'static str>,
    /// The request's id, which is in the log and in `x-request-id`, too.
    instance: &'a str,
}

impl<'a> Body<'a> {
    fn new(kind: Kind, detail: &'a str, reason: Option<&'static str>, request_id: &'a str) -> Self {
        Self {
            r#type: format!("/problems/{}", kind.slug()),
            title: kind.title(),
            status: kind.status().as_u16(),
            message: kind.title(),
            detail,
            reason,
            instance: request_id,
        }
    }

    /// A problem of this type as it may look.
    pub fn example(kind: Kind) -> Self {
        let reason = match kind {
            Kind::UpstreamUnreachable => Some("refused"),
            Kind::UpstreamInvalid => Some("invalid"),
            Kind::UpstreamUnavailable => Some("circuit-open"),
            Kind::UpstreamTimeout => Some("timeout"),
            _ => None,
        };
        Self::new(kind, kind.help(), reason, "01a2064a-6d5b-76a0-8190-428f53330458")
    }
}

/// An error and its causes in one line, for the log.
pub fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line.push_str(": ");
        line.push_str(&error.to_string());
        cause = error.source();
    }
    line
}

impl From<Kind> for Problem {
    fn from(kind: Kind) -> Self {
        Self::new(kind)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.slug(), self.detail)
    }
}

impl StdError for Problem {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.cause.as_deref().map(|cause| cause as &(dyn StdError + 'static))
    }
}

/// actix keeps the problem inside the response; [`crate::edge`] finds it there, logs its
/// cause and renders it with the request's id.
impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.kind.status()
    }

    fn error_response(&self) -> HttpResponse {
        self.head().finish()
    }
}
