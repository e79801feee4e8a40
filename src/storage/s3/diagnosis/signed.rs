//! What is found out about signed requests by sending some, as a client and as a page would.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use http::HeaderMap;
use serde_json::json;
use uuid::Uuid;

use super::{
    super::{
        super::{
            Error, ErrorKind, GetTerms, ObjectKey, Presigner, PutTerms, Result, SignedRequest,
            diagnosis::Finding,
        },
        Bucket,
        failure::chain,
    },
    BYTES, CONTENT_TYPE, Diagnosis, GET, PUT,
    exchange::{Answer, Outsider},
    remedy::Remedy,
};

const VALID: Duration = Duration::from_secs(300);

const SIGNED_PUT: &str = "a signed PutObject, sent as a client does";
const SIGNED_GET: &str = "a signed GetObject, sent as a client does";
const SIGNER: &str = "the key that signs uploads";

/// `object` is there to be read, `put` is not there yet.
pub(super) async fn diagnose(
    diagnosis: &mut Diagnosis<'_>,
    object: Option<&ObjectKey>,
    put: &ObjectKey,
    origins: &[String],
) {
    let outsider = match Outsider::new() {
        Ok(outsider) => outsider,
        Err(cause) => {
            let why = format!("no root certificates are found ({}); install them", chain(&*cause));
            diagnosis.findings.push(Finding::missing(SIGNED_PUT, why));
            return;
        }
    };
    if let Some(object) = object {
        try_get(diagnosis, &outsider, object).await;
    }
    if let Some(signed) = try_put(diagnosis, &outsider, put).await {
        try_separation(diagnosis, &outsider, put).await;
        for origin in origins {
            try_page(diagnosis, &outsider, &signed, origin, origins).await;
        }
    }
}

/// A signed `PUT` that works.
async fn try_put(
    diagnosis: &mut Diagnosis<'_>,
    outsider: &Outsider,
    key: &ObjectKey,
) -> Option<SignedRequest> {
    let bucket = diagnosis.bucket;
    let folder = format!("{}/", diagnosis.staging);
    let needed = Remedy::of_uploads(bucket).of_objects_below(&folder, "s3:PutObject");
    let terms = PutTerms {
        size: BYTES.len() as u64,
        content_type: CONTENT_TYPE.to_owned(),
        sha256: digest(&SHA256, BYTES).as_ref().try_into().ok(),
        upload: Uuid::now_v7(),
    };
    let signed = Presigner::put(&**bucket, key, &terms, VALID).await;
    let outcome = match signed {
        Ok(signed) => sent(outsider, &signed, PUT, BYTES).await.map(|_| signed),
        Err(error) => Err(error),
    };
    diagnosis.note(SIGNED_PUT, outcome, needed)
}

async fn try_get(diagnosis: &mut Diagnosis<'_>, outsider: &Outsider, key: &ObjectKey) {
    let bucket = diagnosis.bucket;
    let outcome = match Presigner::get(&**bucket, key, &link(), VALID).await {
        Ok(signed) => sent(outsider, &signed, GET, b"").await,
        Err(error) => Err(error),
    };
    diagnosis.note(SIGNED_GET, outcome, Remedy::of_own(bucket).of_objects("s3:GetObject"));
}

/// Whether the key that signs uploads, which works, is refused to read: whoever gets hold of it
/// then gets hold of no image.
async fn try_separation(diagnosis: &mut Diagnosis<'_>, outsider: &Outsider, key: &ObjectKey) {
    let bucket = diagnosis.bucket;
    let allowed = format!("s3:PutObject on arn:aws:s3:::{}", bucket.name);
    let allowed = format!("{allowed}/{}{}/*", bucket.prefix, diagnosis.staging);
    let finding = if !bucket.signing.is_separate() {
        let advice = format!(
            "it is this process's own; \
             set storage.s3.presign.access_key_id to one that has {allowed} only"
        );
        Finding::advice(SIGNER, advice)
    } else if can_read(bucket, outsider, key).await {
        Finding::advice(SIGNER, format!("it can read objects; leave it {allowed} only"))
    } else {
        Finding::fine(format!("{SIGNER} cannot read"))
    };
    diagnosis.findings.push(finding);
}

async fn can_read(bucket: &Bucket, outsider: &Outsider, key: &ObjectKey) -> bool {
    let Ok(with) = bucket.signing.for_upload(VALID).await else { return false };
    let Ok(signed) = bucket.signed_get(key, &link(), &with).await else { return false };
    sent(outsider, &signed, GET, b"").await.is_ok()
}

/// Whether pages of `origin` may send the signed `PUT`, and read what they need of the answer.
async fn try_page(
    diagnosis: &mut Diagnosis<'_>,
    outsider: &Outsider,
    signed: &SignedRequest,
    origin: &str,
    origins: &[String],
) {
    let tried = format!("CORS for pages of {origin}");
    // What any page may, that of an address that nobody has may as well.
    let sender = if origin == "*" { "https://gatehouse-check.invalid" } else { origin };
    let finding = match refused(outsider, signed, sender).await {
        Ok(()) => Finding::fine(tried),
        Err(why) => {
            let rules = rules(origins);
            let bucket = &diagnosis.bucket.name;
            Finding::missing(
                tried,
                format!(
                    "{why}; give the bucket these rules, along with its others: \
                     aws s3api put-bucket-cors --bucket {bucket} --cors-configuration '{rules}' \
                     (MinIO: set MINIO_API_CORS_ALLOW_ORIGIN)"
                ),
            )
        }
    };
    diagnosis.findings.push(finding);
}

/// # Errors
/// What a browser would not let pass.
async fn refused(
    outsider: &Outsider,
    signed: &SignedRequest,
    origin: &str,
) -> std::result::Result<(), String> {
    let names: Vec<_> = signed.headers.iter().map(|(name, _)| name.as_str()).collect();
    let answer = outsider.preflight(signed, origin, &names.join(",")).await;
    let answer =
        answer.map_err(|cause| format!("the preflight has no answer ({})", chain(&*cause)))?;
    if let Some(failure) = answer.failure() {
        return Err(format!("the preflight is refused ({failure})"));
    }
    is_for(&answer, origin)?;
    let allows = |field, name| listed(&answer.headers, field).any(|n| n == "*" || n == name);
    if !allows("access-control-allow-methods", "put") {
        return Err("Access-Control-Allow-Methods has no PUT".to_owned());
    }
    if let Some(name) = names.iter().find(|name| !allows("access-control-allow-headers", name)) {
        return Err(format!("Access-Control-Allow-Headers has no {name}"));
    }
    let answer = outsider.send(signed, &[("origin", origin)], BYTES).await;
    let answer =
        answer.map_err(|cause| format!("a page's request has no answer ({})", chain(&*cause)))?;
    is_for(&answer, origin)?;
    let mut exposed = listed(&answer.headers, "access-control-expose-headers");
    if !exposed.any(|name| name == "*" || name == "etag") {
        return Err("Access-Control-Expose-Headers has no ETag".to_owned());
    }
    Ok(())
}

fn is_for(answer: &Answer, origin: &str) -> std::result::Result<(), String> {
    let mut allowed = listed(&answer.headers, "access-control-allow-origin");
    if allowed.any(|allowed| allowed == "*" || allowed == origin) {
        return Ok(());
    }
    Err(format!("Access-Control-Allow-Origin does not name {origin}"))
}

/// What a field lists, in small letters.
fn listed(headers: &HeaderMap, name: &str) -> impl Iterator<Item = String> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    let names = values.flat_map(|value| value.split(','));
    names.map(|name| name.trim().to_ascii_lowercase()).collect::<Vec<_>>().into_iter()
}

/// What a bucket has to say to browsers, as `aws s3api put-bucket-cors` takes it.
fn rules(origins: &[String]) -> String {
    let rule = json!({
        "AllowedOrigins": origins,
        "AllowedMethods": ["PUT", "POST", "GET", "HEAD"],
        "AllowedHeaders": ["*"],
        "ExposeHeaders": ["ETag"],
    });
    json!({ "CORSRules": [rule] }).to_string()
}

fn link() -> GetTerms {
    GetTerms {
        content_type: CONTENT_TYPE.to_owned(),
        disposition: "inline".to_owned(),
        cache_control: "no-store".to_owned(),
    }
}

/// Sends it, which must succeed.
async fn sent(
    outsider: &Outsider,
    signed: &SignedRequest,
    operation: &'static str,
    body: &'static [u8],
) -> Result<()> {
    let answer = outsider.send(signed, &[], body).await.map_err(|cause| {
        let address = signed.url.split('?').next().unwrap_or_default();
        let cause = format!(
            "no answer from {address} ({}); \
             set storage.s3.presign.endpoint_url to where clients reach the store",
            chain(&*cause)
        );
        Error::new(ErrorKind::Unavailable, operation).because(cause)
    })?;
    answer.failure().map_or(Ok(()), |failure| Err(failure.into_error(operation)))
}
