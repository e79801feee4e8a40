//! The contract's error table, and the check that an answer is one of its lines in full.

use super::http::Response;

/// Every type: slug, status, title.
pub const TABLE: &[(&str, u16, &str)] = &[
    ("service-not-found", 404, "Service not found"),
    ("not-found", 404, "Not found"),
    ("method-not-allowed", 405, "Method not allowed"),
    ("path-invalid", 400, "Invalid path"),
    ("tenant-missing", 400, "Tenant ID missing"),
    ("tenant-invalid", 400, "Invalid tenant ID"),
    ("customer-invalid", 400, "Invalid customer ID"),
    ("file-missing", 400, "No file uploaded"),
    ("file-name-invalid", 400, "Invalid file name"),
    ("query-invalid", 400, "Invalid query"),
    ("multipart-invalid", 400, "Invalid multipart body"),
    ("media-type-unsupported", 415, "Unsupported media type"),
    ("image-unsupported", 415, "Not a supported image"),
    ("image-invalid", 422, "Invalid image"),
    ("too-large", 413, "Payload too large"),
    ("precondition-failed", 412, "Precondition failed"),
    ("range-not-satisfiable", 416, "Range not satisfiable"),
    ("already-exists", 409, "Image already exists"),
    ("unauthenticated", 401, "Authentication required"),
    ("forbidden", 403, "Forbidden"),
    ("rate-limited", 429, "Too many requests"),
    ("quota-exceeded", 507, "Storage quota exceeded"),
    ("storage-unavailable", 503, "Storage unavailable"),
    ("overloaded", 503, "Server busy"),
    ("request-timeout", 408, "Request timeout"),
    ("upstream-unreachable", 502, "Bad gateway"),
    ("upstream-invalid", 502, "Bad gateway"),
    ("upstream-unavailable", 503, "Service unavailable"),
    ("upstream-timeout", 504, "Gateway timeout"),
    ("upload-invalid", 400, "Invalid upload request"),
    ("body-invalid", 400, "Invalid body"),
    ("upload-conflict", 409, "Upload conflict"),
    ("upload-locked", 423, "Upload locked"),
    ("checksum-mismatch", 460, "Checksum mismatch"),
    ("webhook-invalid", 400, "Invalid webhook"),
    ("webhook-conflict", 409, "Webhook conflict"),
    ("internal", 500, "Internal Error"),
];

/// Fails unless the response is this problem with every member right.
#[track_caller]
pub fn assert_problem(response: &Response, slug: &str) {
    let seen = || format!("wanted {slug}, got {} {}", response.status, response.text());
    let line = TABLE.iter().find(|line| line.0 == slug).expect("a type of the table");
    let (_, status, title) = *line;
    assert_eq!(response.status, status, "{}", seen());
    let kind = response.header("content-type");
    assert_eq!(kind.as_deref(), Some("application/problem+json"), "{}", seen());

    let body = response.json();
    assert_eq!(body["type"], format!("/problems/{slug}"), "{}", seen());
    assert_eq!(body["title"], title, "{}", seen());
    assert_eq!(body["status"], status, "{}", seen());
    assert_eq!(body["message"], title, "{}", seen());
    let request_id = response.header("x-request-id").expect("x-request-id");
    assert_eq!(body["instance"], request_id, "{}", seen());
    let detail = body["detail"].as_str().unwrap_or_else(|| panic!("no detail: {}", seen()));
    assert!(detail.len() > 10 && detail.ends_with('.'), "no sentence: {}", seen());
    for internal in ["src/", "panicked", "/tmp", "os error", "127.0.0.1", "bucket"] {
        assert!(!detail.contains(internal), "tells internals: {}", seen());
    }

    let upstream = slug.starts_with("upstream-");
    let mut wanted = vec!["detail", "instance", "message", "status", "title", "type"];
    if upstream {
        wanted.insert(3, "reason");
    }
    let members: Vec<_> = body.as_object().unwrap().keys().cloned().collect();
    assert_eq!(sorted(members), wanted, "{}", seen());
    if status == 401 {
        let challenge = response.header("www-authenticate").expect("WWW-Authenticate");
        assert!(challenge.starts_with("Bearer "), "{challenge}");
    }
    if status == 503 || status == 429 {
        let seconds = response.header("retry-after").expect("Retry-After");
        assert!(seconds.parse::<u64>().is_ok_and(|s| s > 0), "Retry-After: {seconds}");
    }
    if status == 405 {
        assert!(!response.header("allow").expect("Allow").is_empty());
    }
}

/// The same, for the failures of an upstream, with its `reason`.
#[track_caller]
pub fn assert_upstream_problem(response: &Response, slug: &str, reason: &str) {
    assert_problem(response, slug);
    assert_eq!(response.json()["reason"], reason, "{}", response.text());
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names
}
