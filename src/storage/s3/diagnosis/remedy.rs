//! What to do about a call that failed, in one sentence.

use super::super::{
    super::{Error, ErrorKind},
    Bucket,
    failure::Failure,
};

/// Who asked, and what they need the permission for.
pub(super) struct Remedy<'a> {
    bucket: &'a Bucket,
    who: &'static str,
    /// Where the key that signs is given: it, and its secret.
    key: &'static str,
    secret: &'static str,
    needed: String,
}

impl<'a> Remedy<'a> {
    /// For what this process asks.
    pub(super) fn of_own(bucket: &'a Bucket) -> Self {
        let (key, secret) = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY");
        Self { bucket, who: "this process's key", key, secret, needed: String::new() }
    }

    /// For what is signed for those who upload.
    pub(super) fn of_uploads(bucket: &'a Bucket) -> Self {
        if !bucket.signing.is_separate() {
            return Self::of_own(bucket);
        }
        let key = "storage.s3.presign.access_key_id";
        let secret = "storage.s3.presign.secret_access_key";
        Self { bucket, who: "the key of storage.s3.presign", key, secret, needed: String::new() }
    }

    /// What takes a permission on the bucket itself.
    pub(super) fn of_bucket(self, action: &str) -> Self {
        let needed = format!("{action} on arn:aws:s3:::{}", self.bucket.name);
        Self { needed, ..self }
    }

    /// What takes a permission on all objects.
    pub(super) fn of_objects(self, action: &str) -> Self {
        self.of_objects_below("", action)
    }

    /// What takes a permission on the objects whose keys begin with `folder`.
    pub(super) fn of_objects_below(self, folder: &str, action: &str) -> Self {
        let Bucket { name, prefix, kms_key_id, .. } = self.bucket;
        let mut needed = format!("{action} on arn:aws:s3:::{name}/{prefix}{folder}*");
        if let Some(key) = kms_key_id {
            needed.push_str(&format!(" and kms:GenerateDataKey and kms:Decrypt on {key}"));
        }
        Self { needed, ..self }
    }

    /// Whether no other call would do better.
    pub(super) fn is_fundamental(&self, error: &Error) -> bool {
        let failure = Failure::behind(error);
        error.kind() == ErrorKind::Unavailable
            || failure.is_some_and(|f| f.is_unanswered() || self.by_code(f).is_some())
    }

    pub(super) fn sentence(&self, error: &Error) -> String {
        let Some(failure) = Failure::behind(error) else {
            let cause = std::error::Error::source(error);
            return cause.map_or_else(|| error.to_string(), ToString::to_string);
        };
        if failure.is_unanswered() {
            let remedy = match error.kind() {
                ErrorKind::Unavailable => format!("see that it runs{}", self.where_it_is()),
                _ => format!(
                    "give {} and {}, or what else AWS's tools look for",
                    self.key, self.secret
                ),
            };
            return format!("the store cannot be asked ({failure}); {remedy}");
        }
        let remedy = self.by_code(failure).unwrap_or_else(|| match error.kind() {
            _ if failure.is_refusal() => format!("allow {} to {}", self.needed, self.who),
            ErrorKind::Unavailable => "see what keeps it busy, and try again".to_owned(),
            _ => "see what it does not support, or what stands in between".to_owned(),
        });
        format!("the store refuses it ({failure}); {remedy}")
    }

    fn where_it_is(&self) -> &'static str {
        if self.bucket.foreign { ", and that storage.s3.endpoint_url is its address" } else { "" }
    }

    /// What is wrong with every call that is asked for like this.
    fn by_code(&self, failure: &Failure) -> Option<String> {
        let Self { bucket, key, secret, .. } = self;
        let name = &bucket.name;
        Some(match failure.code()? {
            "InvalidAccessKeyId" | "InvalidToken" => format!("give {key} a key that it knows"),
            "SignatureDoesNotMatch" => format!("give {secret} the secret of {key}"),
            "ExpiredToken" => format!("renew the credential of {key}"),
            "RequestTimeTooSkewed" => "set this machine's clock".to_owned(),
            "NoSuchBucket" => {
                format!("make the bucket \"{name}\", or name another in storage.s3.bucket")
            }
            "PermanentRedirect"
            | "AuthorizationHeaderMalformed"
            | "IllegalLocationConstraintException" => {
                "set storage.s3.region to the bucket's region".to_owned()
            }
            _ => return None,
        })
    }
}
