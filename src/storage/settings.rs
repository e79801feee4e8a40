//! The `[storage]` settings, and the one place that turns them into a store.

use std::{fmt, path::PathBuf, sync::Arc};

use bytesize::ByteSize;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::{Budget, SharedStorage, local, s3};

/// S3's smallest part (but for the last).
const SMALLEST_PART: ByteSize = ByteSize::mib(5);
/// S3's largest part.
const LARGEST_PART: ByteSize = ByteSize::gib(5);

/// Which store, and how each is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The store in use.
    pub backend: BackendKind,
    /// For `backend = "local"`.
    pub local: LocalSettings,
    /// For `backend = "s3"`.
    pub s3: S3Settings,
}

/// The stores there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BackendKind {
    /// Files below a folder of this machine.
    #[default]
    Local,
    /// AWS S3, or a store that speaks its API.
    S3,
}

/// Files below a folder.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct LocalSettings {
    /// The folder; made if it is missing. Relative to the working directory.
    pub root: PathBuf,
}

/// An S3 bucket. What is not set here comes from where AWS's own tools look (environment,
/// profile, instance metadata); credentials always do.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct S3Settings {
    /// The bucket's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bucket: Option<String>,
    /// The endpoint of MinIO and others; else AWS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint_url: Option<String>,
    /// The region; `us-east-1` if none is found and a custom endpoint is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Whether the bucket stands in the path instead of the host's name; the default once a
    /// custom endpoint is in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub force_path_style: Option<bool>,
    /// What fits one part is one `PutObject`; more is a multipart upload of such parts.
    #[serde(with = "size")]
    pub part_size: ByteSize,
    /// Put literally in front of every key.
    pub prefix: String,
    /// `x-amz-server-side-encryption`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_side_encryption: Option<Encryption>,
    /// The KMS key, for `aws:kms` and `aws:kms:dsse`; else AWS's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kms_key_id: Option<String>,
    /// How requests that clients send to the store themselves are signed.
    pub presign: PresignSettings,
    /// Credentials to use instead of those that AWS's tools find; never read from settings.
    #[serde(skip)]
    pub credentials: Option<aws_sdk_s3::config::Credentials>,
}

/// How requests are signed that clients send to the store themselves. What is not set is as for
/// this process's own requests. The key signs what brings bytes to `_staging/`; links, by which
/// they are read, are signed by this process's own.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct PresignSettings {
    /// The key to sign with: one that may put objects below `_staging/` and nothing else, say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_key_id: Option<String>,
    /// Its secret.
    #[serde(skip_serializing)]
    pub secret_access_key: Option<SecretString>,
    /// The address at which clients reach the store, where it differs from the one that this
    /// process uses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint_url: Option<String>,
}

/// How the store encrypts what it keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum Encryption {
    /// With keys of S3's own.
    #[serde(rename = "AES256")]
    Aes256,
    /// With a key of KMS.
    #[serde(rename = "aws:kms")]
    Kms,
    /// In two layers with a key of KMS.
    #[serde(rename = "aws:kms:dsse")]
    KmsDsse,
}

/// Why no store can be made of the settings. Displays as a sentence.
#[derive(Debug)]
pub struct BuildError {
    setting: &'static str,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Settings {
    /// Finds contradictions.
    ///
    /// # Errors
    /// The first setting that is wrong, by its path below `storage`, and a sentence on it.
    pub fn validate(&self) -> Result<(), (&'static str, String)> {
        // Whatever the store: settings are printed, and secrets never are.
        validate_endpoint("s3.endpoint_url", self.s3.endpoint_url.as_deref())?;
        let presign = &self.s3.presign;
        validate_endpoint("s3.presign.endpoint_url", presign.endpoint_url.as_deref())?;
        match self.backend {
            BackendKind::Local => self.local.validate(),
            BackendKind::S3 => self.s3.validate(),
        }
    }

    /// Makes the store. A store that is down does not fail this: it answers `Unavailable`
    /// until it is up. Must run on the runtime that outlives all uploads: what they leave to be
    /// cleaned up in the background runs there.
    ///
    /// # Errors
    /// When the settings are wrong, or the local folder cannot be used.
    pub async fn build(&self, budget: Arc<Budget>) -> Result<SharedStorage, BuildError> {
        self.validate().map_err(|(setting, message)| BuildError::new(setting, message))?;
        match self.backend {
            BackendKind::Local => local::build(&self.local, &budget).await,
            BackendKind::S3 => s3::build(&self.s3, &budget).await,
        }
    }
}

impl LocalSettings {
    fn validate(&self) -> Result<(), (&'static str, String)> {
        if self.root.as_os_str().is_empty() {
            return Err(("local.root", "must name a folder".to_owned()));
        }
        Ok(())
    }
}

impl S3Settings {
    fn validate(&self) -> Result<(), (&'static str, String)> {
        let wrong = |key, message: &str| Err((key, message.to_owned()));
        if self.bucket.as_deref().is_none_or(str::is_empty) {
            return wrong("s3.bucket", "must be set when storage.backend is \"s3\"");
        }
        if !(SMALLEST_PART..=LARGEST_PART).contains(&self.part_size) {
            return wrong("s3.part_size", "must be at least 5MiB and at most 5GiB");
        }
        if self.prefix.starts_with('/') {
            return wrong("s3.prefix", "must not begin with a slash: S3 keeps it as a name");
        }
        if self.prefix.len() >= 512 || self.prefix.chars().any(char::is_control) {
            return wrong("s3.prefix", "must be under 512 bytes, without control characters");
        }
        if self.prefix.split('/').any(|s| matches!(s, "." | "..")) {
            return wrong("s3.prefix", "must have no segment \".\" or \"..\"");
        }
        let kms =
            matches!(self.server_side_encryption, Some(Encryption::Kms | Encryption::KmsDsse));
        if self.kms_key_id.is_some() && !kms {
            return wrong(
                "s3.kms_key_id",
                "needs server_side_encryption = \"aws:kms\" or \"aws:kms:dsse\"",
            );
        }
        self.presign.validate()
    }
}

fn validate_endpoint(
    setting: &'static str,
    url: Option<&str>,
) -> Result<(), (&'static str, String)> {
    let wrong = |message: &str| Err((setting, message.to_owned()));
    let Some(url) = url else { return Ok(()) };
    let uri = url
        .parse::<http::Uri>()
        .ok()
        .filter(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.query().is_none());
    match uri.as_ref().and_then(http::Uri::authority) {
        Some(authority) if authority.as_str().contains('@') => wrong(
            "has a user or a password in it; give credentials by AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        ),
        Some(_) => Ok(()),
        None => wrong("must be a URL such as \"http://127.0.0.1:9000\""),
    }
}

impl PresignSettings {
    fn validate(&self) -> Result<(), (&'static str, String)> {
        let given = |text: Option<&str>| text.is_some_and(|text| !text.is_empty());
        let key = given(self.access_key_id.as_deref());
        let secret = given(self.secret());
        match (key, secret) {
            (true, false) => Err((
                "s3.presign.secret_access_key",
                "must be set with s3.presign.access_key_id".to_owned(),
            )),
            (false, true) => Err((
                "s3.presign.access_key_id",
                "must be set with s3.presign.secret_access_key".to_owned(),
            )),
            _ => Ok(()),
        }
    }

    /// The secret itself, for the one place that needs it.
    pub(super) fn secret(&self) -> Option<&str> {
        self.secret_access_key.as_ref().map(ExposeSecret::expose_secret)
    }
}

/// Settings are compared with each other, never with what somebody sends.
impl PartialEq for PresignSettings {
    fn eq(&self, other: &Self) -> bool {
        self.access_key_id == other.access_key_id
            && self.secret() == other.secret()
            && self.endpoint_url == other.endpoint_url
    }
}

impl Eq for PresignSettings {}

impl Default for LocalSettings {
    fn default() -> Self {
        Self { root: PathBuf::from("data/objects") }
    }
}

impl Default for S3Settings {
    fn default() -> Self {
        Self {
            bucket: None,
            endpoint_url: None,
            region: None,
            force_path_style: None,
            part_size: ByteSize::mib(8),
            prefix: String::new(),
            server_side_encryption: None,
            kms_key_id: None,
            presign: PresignSettings::default(),
            credentials: None,
        }
    }
}

impl BuildError {
    pub(super) fn new(setting: &'static str, message: impl Into<String>) -> Self {
        Self { setting, message: message.into(), source: None }
    }

    pub(super) fn because(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The setting that is wrong, as a path below `storage`.
    pub fn setting(&self) -> &'static str {
        self.setting
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "setting storage.{} {}", self.setting, self.message)
    }
}

impl std::error::Error for BuildError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|e| e as &(dyn std::error::Error + 'static))
    }
}

/// Serde for sizes: `"8MiB"`, or a number of bytes. What is written reads back as the same.
mod size {
    use super::ByteSize;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ByteSize, D::Error> {
        ByteSize::deserialize(deserializer)
            .map_err(|_| D::Error::custom("is not a size; write a size such as \"8MiB\""))
    }

    pub fn serialize<S: Serializer>(size: &ByteSize, serializer: S) -> Result<S::Ok, S::Error> {
        let short = format!("{:.0}", size.display().iec()).replace(' ', "");
        let exact = short.parse() == Ok(*size);
        serializer.serialize_str(&if exact { short } else { size.as_u64().to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s3(change: impl FnOnce(&mut S3Settings)) -> Result<(), (&'static str, String)> {
        let mut settings = Settings { backend: BackendKind::S3, ..Settings::default() };
        settings.s3.bucket = Some("images".to_owned());
        change(&mut settings.s3);
        settings.validate()
    }

    #[test]
    fn the_defaults_are_local_files() {
        let settings: Settings = serde_json::from_str("{}").unwrap();
        assert_eq!(settings, Settings::default());
        assert_eq!(settings.backend, BackendKind::Local);
        assert_eq!(settings.local.root, PathBuf::from("data/objects"));
        assert_eq!(settings.s3.part_size, ByteSize::mib(8));
        assert_eq!(settings.validate(), Ok(()));
    }

    #[test]
    fn what_is_written_is_read_again() {
        let json = r#"{"backend":"s3","s3":{"bucket":"b","part_size":"16MiB","server_side_encryption":"aws:kms","kms_key_id":"k"}}"#;
        let settings: Settings = serde_json::from_str(json).unwrap();
        assert_eq!(settings.s3.part_size, ByteSize::mib(16));
        let text = serde_json::to_string(&settings).unwrap();
        assert_eq!(serde_json::from_str::<Settings>(&text).unwrap(), settings);
        assert!(serde_json::from_str::<Settings>(r#"{"s3":{"buckets":"b"}}"#).is_err());
    }

    #[test]
    fn the_secret_is_read_and_never_written() {
        let json = r#"{"s3":{"presign":{"access_key_id":"k","secret_access_key":"hush"}}}"#;
        let settings: Settings = serde_json::from_str(json).unwrap();
        assert_eq!(settings.s3.presign.secret(), Some("hush"));
        for text in [serde_json::to_string(&settings).unwrap(), format!("{settings:?}")] {
            assert!(!text.contains("hush"), "{text}");
        }
    }

    #[test]
    fn contradictions_name_their_setting() {
        let key = |r: Result<(), (&'static str, String)>| r.map_err(|(key, _)| key);
        assert_eq!(key(s3(|_| {})), Ok(()));
        assert_eq!(key(s3(|s| s.bucket = None)), Err("s3.bucket"));
        assert_eq!(key(s3(|s| s.part_size = ByteSize::mib(4))), Err("s3.part_size"));
        assert_eq!(key(s3(|s| s.part_size = ByteSize::gib(6))), Err("s3.part_size"));
        assert_eq!(key(s3(|s| s.prefix = "/a/".into())), Err("s3.prefix"));
        assert_eq!(key(s3(|s| s.prefix = "a/../".into())), Err("s3.prefix"));
        assert_eq!(key(s3(|s| s.kms_key_id = Some("k".into()))), Err("s3.kms_key_id"));
        assert_eq!(key(s3(|s| s.endpoint_url = Some("minio:9000".into()))), Err("s3.endpoint_url"));
        assert_eq!(key(s3(|s| s.endpoint_url = Some("http://h:1".into()))), Ok(()));
        let presign = |access_key_id: Option<&str>, secret: Option<&str>| PresignSettings {
            access_key_id: access_key_id.map(Into::into),
            secret_access_key: secret.map(Into::into),
            endpoint_url: None,
        };
        let only_key = key(s3(|s| s.presign = presign(Some("k"), None)));
        assert_eq!(only_key, Err("s3.presign.secret_access_key"));
        let only_secret = key(s3(|s| s.presign = presign(None, Some("s"))));
        assert_eq!(only_secret, Err("s3.presign.access_key_id"));
        assert_eq!(key(s3(|s| s.presign = presign(Some("k"), Some("s")))), Ok(()));
        let misdirected = key(s3(|s| s.presign.endpoint_url = Some("minio:9000".into())));
        assert_eq!(misdirected, Err("s3.presign.endpoint_url"));
    }
}
