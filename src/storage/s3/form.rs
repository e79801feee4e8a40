//! An upload as an HTML form: a policy that says what the form must be, signed by SigV4.
//!
//! By "Browser-Based Uploads Using POST (AWS Signature Version 4)" of the S3 API reference.

use std::time::{Duration, SystemTime};

use aws_lc_rs::hmac;
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use super::{
    super::{Error, ErrorKind, ObjectKey, PutTerms, Result, SignedForm},
    Bucket,
    failure::Failure,
    multipart::UPLOAD,
    signing::Terms,
};

const FORM: &str = "PostObject";

pub(super) async fn sign(
    bucket: &Bucket,
    key: &ObjectKey,
    terms: &PutTerms,
    valid: Duration,
) -> Result<SignedForm> {
    let key = bucket.key(key);
    // S3 would put the file's own name there.
    if key.contains("${filename}") {
        let cause = "a form's key cannot have ${filename} in it";
        return Err(Error::new(ErrorKind::Internal, FORM).because(cause));
    }
    let with = bucket.signing.for_upload(valid).await?;
    let date = date(with.begins);
    let scope = format!("{}/{}/s3/aws4_request", &date[..8], with.region);
    let upload = format!("x-amz-meta-{UPLOAD}");
    let mut fields = vec![
        ("key", key),
        (upload.as_str(), terms.upload.to_string()),
        ("Content-Type", terms.content_type.clone()),
        ("x-amz-algorithm", "AWS4-HMAC-SHA256".to_owned()),
        ("x-amz-credential", format!("{}/{scope}", with.credentials.access_key_id())),
        ("x-amz-date", date.clone()),
    ];
    let token = with.credentials.session_token();
    fields.extend(token.map(|token| ("x-amz-security-token", token.to_owned())));
    let hash = terms.sha256.map(|hash| BASE64_STANDARD.encode(hash));
    fields.extend(hash.map(|hash| ("x-amz-checksum-sha256", hash)));
    let encryption = bucket.encryption.as_ref();
    let encryption = encryption.map(|how| ("x-amz-server-side-encryption", how.to_string()));
    fields.extend(encryption);
    let kms_key = bucket.kms_key_id.clone();
    fields.extend(kms_key.map(|id| ("x-amz-server-side-encryption-aws-kms-key-id", id)));

    let policy = BASE64_STANDARD.encode(policy(bucket, &fields, terms.size, &with).to_string());
    let signature = signature(&with, &date[..8], &policy);
    fields.extend([("policy", policy), ("x-amz-signature", signature)]);
    Ok(SignedForm {
        url: url(bucket, &with).await?,
        fields: fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        expires_at: with.expires_at(),
    })
}

/// Every field exactly as it is, and a file of exactly `size` bytes.
fn policy(bucket: &Bucket, fields: &[(&str, String)], size: u64, with: &Terms) -> Value {
    let own = [json!({ "bucket": bucket.name }), json!(["content-length-range", size, size])];
    let exact = fields.iter().map(|(name, value)| json!(["eq", format!("${name}"), value]));
    json!({
        "expiration": humantime::format_rfc3339_millis(with.expires_at()).to_string(),
        "conditions": own.into_iter().chain(exact).collect::<Vec<_>>(),
    })
}

/// The signature of the policy by the key that is derived for the day, the region and S3.
fn signature(with: &Terms, day: &str, policy: &str) -> String {
    let keyed = |key: &[u8], text: &str| {
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes())
    };
    let secret = format!("AWS4{}", with.credentials.secret_access_key());
    let day = keyed(secret.as_bytes(), day);
    let region = keyed(day.as_ref(), with.region.as_ref());
    let service = keyed(region.as_ref(), "s3");
    let key = keyed(service.as_ref(), "aws4_request");
    let signature = keyed(key.as_ref(), policy);
    signature.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bucket's own URL, as the SDK makes it of an object's.
async fn url(bucket: &Bucket, with: &Terms) -> Result<String> {
    let request = bucket.client().get_object().bucket(&bucket.name).key("object");
    let signed = request.customize().config_override(with.config());
    let signed = signed.presigned(with.presigning()?).await;
    let signed = signed.map_err(|e| Failure::of(&e).into_error(FORM))?;
    let path = signed.uri().split('?').next().unwrap_or_default();
    Ok(path.strip_suffix("object").unwrap_or(path).to_owned())
}

/// As SigV4 writes it: `20261125T200742Z`.
fn date(at: SystemTime) -> String {
    humantime::format_rfc3339_seconds(at).to_string().replace(['-', ':'], "")
}
