//! A description as it is served: as JSON, and as a page. Both are made once.

use std::sync::LazyLock;

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{
        CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, EntityTag, Header as _,
        IfNoneMatch, X_CONTENT_TYPE_OPTIONS,
    },
};
use aws_lc_rs::digest;
use base64::{Engine as _, prelude::BASE64_STANDARD as BASE64};
use bytes::Bytes;
use utoipa::openapi::OpenApi;

use super::page;

/// A description that is made when it is first asked for: that takes memory for good, which few need.
pub type LazyDocument = &'static LazyLock<Document>;

/// A description, ready to be served.
pub struct Document {
    json: String,
    served_json: Served,
    page: Served,
    /// What the page may load and run: nothing; of styles, only its own holds.
    page_policy: String,
}

/// A body with its entity tag.
struct Served {
    body: Bytes,
    tag: EntityTag,
}

impl Document {
    /// Renders a description.
    pub fn new(api: &OpenApi) -> Self {
        // Nothing in it is a map whose keys are no text, which is all that could fail.
        let mut json = serde_json::to_string_pretty(api).unwrap_or_default();
        json.push('\n');
        let page = Served::new(page::render(api));
        let style = BASE64.encode(digest::digest(&digest::SHA256, page::STYLE.as_bytes()));
        let page_policy = format!(
            "default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'; \
             frame-ancestors 'none'"
        );
        Self { served_json: Served::new(json.clone()), json, page, page_policy }
    }

    /// The description as JSON, with the end of its last line.
    pub fn json(&self) -> &str {
        &self.json
    }

    /// Answers with the JSON.
    pub fn answer_json(&self, request: &HttpRequest) -> HttpResponse {
        self.served_json.answer(request, "application/json", None)
    }

    /// Answers with the page.
    pub fn answer_page(&self, request: &HttpRequest) -> HttpResponse {
        self.page.answer(request, "text/html; charset=utf-8", Some(&self.page_policy))
    }
}

impl Served {
    fn new(text: String) -> Self {
        let digest = digest::digest(&digest::SHA256, text.as_bytes());
        let tag = EntityTag::new_strong(BASE64.encode(digest));
        Self { body: text.into(), tag }
    }

    fn answer(
        &self,
        request: &HttpRequest,
        content_type: &'static str,
        policy: Option<&str>,
    ) -> HttpResponse {
        let is_known = match IfNoneMatch::parse(request) {
            Ok(IfNoneMatch::Any) => true,
            Ok(IfNoneMatch::Items(tags)) => tags.iter().any(|tag| tag.weak_eq(&self.tag)),
            Err(_) => false,
        };
        let mut response = if is_known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
        // It changes with the program.
        response.insert_header((CACHE_CONTROL, "no-cache"));
        response.insert_header((ETAG, self.tag.to_string()));
        if is_known {
            return response.finish();
        }
        if let Some(policy) = policy {
            response.insert_header((CONTENT_SECURITY_POLICY, policy));
            response.insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"));
        }
        response.insert_header((CONTENT_TYPE, content_type)).body(self.body.clone())
    }
}
