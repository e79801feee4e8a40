//! Whose key signs what others send to the store, and until when that key is good.
//!
//! What brings bytes is signed by the key of `storage.s3.presign`, which need not be able to do
//! anything else; what reads them, by this process's own.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aws_sdk_s3::{
    config::{Builder, Config, Credentials, ProvideCredentials, Region, SharedCredentialsProvider},
    presigning::PresigningConfig,
};

use super::super::{Error, ErrorKind, PresignSettings, Result};

const SIGN: &str = "sign";
/// The longest that SigV4 allows.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// How long before their end credentials are asked for again.
const RENEWED_BEFORE: Duration = Duration::from_secs(5 * 60);
/// Those without an end may be changed as well.
const RENEWED_AFTER: Duration = Duration::from_secs(15 * 60);

pub(super) struct Signing {
    region: Region,
    endpoint: Option<String>,
    uploads: Signer,
    links: Signer,
    is_separate: bool,
}

struct Signer {
    provider: Option<SharedCredentialsProvider>,
    /// The credentials that were told last, and until when they are not asked for again.
    known: Mutex<Option<(Credentials, SystemTime)>>,
}

/// What one signature is made with.
pub(super) struct Terms {
    pub(super) credentials: Credentials,
    pub(super) region: Region,
    /// To the second, as it is signed.
    pub(super) begins: SystemTime,
    pub(super) valid: Duration,
    endpoint: Option<String>,
}

impl Signing {
    /// Signs uploads by the credential of `settings`, else by `own`, and links by `own`.
    pub(super) fn new(
        settings: &PresignSettings,
        region: Region,
        own: Option<SharedCredentialsProvider>,
    ) -> Self {
        let given = settings.access_key_id.as_deref().zip(settings.secret());
        let given = given.filter(|(key, _)| !key.is_empty()).map(|(key, secret)| {
            let credentials = Credentials::new(key, secret, None, None, "storage.s3.presign");
            SharedCredentialsProvider::new(credentials)
        });
        Self {
            region,
            endpoint: settings.endpoint_url.clone(),
            is_separate: given.is_some(),
            uploads: Signer::of(given.or_else(|| own.clone())),
            links: Signer::of(own),
        }
    }

    /// Whether uploads are signed by another key than this process's own.
    pub(super) fn is_separate(&self) -> bool {
        self.is_separate
    }

    /// What to sign an upload with for `valid`, or as long as the credentials and SigV4 allow.
    pub(super) async fn for_upload(&self, valid: Duration) -> Result<Terms> {
        self.terms(&self.uploads, valid).await
    }

    /// The same for a link by which bytes are read.
    pub(super) async fn for_link(&self, valid: Duration) -> Result<Terms> {
        self.terms(&self.links, valid).await
    }

    async fn terms(&self, signer: &Signer, valid: Duration) -> Result<Terms> {
        let now = SystemTime::now();
        let credentials = signer.credentials(now).await?;
        let left = credentials.expiry().map(|end| end.duration_since(now).unwrap_or_default());
        let valid = valid.min(left.unwrap_or(LONGEST)).clamp(Duration::from_secs(1), LONGEST);
        let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        Ok(Terms {
            credentials,
            region: self.region.clone(),
            begins: UNIX_EPOCH + Duration::from_secs(seconds),
            valid: Duration::from_secs(valid.as_secs()),
            endpoint: self.endpoint.clone(),
        })
    }
}

impl Signer {
    fn of(provider: Option<SharedCredentialsProvider>) -> Self {
        Self { provider, known: Mutex::default() }
    }

    async fn credentials(&self, now: SystemTime) -> Result<Credentials> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((credentials, until)) = known
            && now < until
        {
            return Ok(credentials);
        }
        let internal = || Error::new(ErrorKind::Internal, SIGN);
        let provider = self.provider.as_ref();
        let provider = provider.ok_or_else(|| internal().because("no credentials"))?;
        let asked = provider.provide_credentials().await;
        let credentials = asked.map_err(|e| internal().because(e))?;
        let until = match credentials.expiry() {
            Some(end) => end.checked_sub(RENEWED_BEFORE).unwrap_or(now),
            None => now + RENEWED_AFTER,
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        *known = Some((credentials.clone(), until));
        Ok(credentials)
    }
}

impl Terms {
    pub(super) fn expires_at(&self) -> SystemTime {
        self.begins + self.valid
    }

    /// What differs from the configuration of this process's own requests.
    pub(super) fn config(&self) -> Builder {
        let mut config = Config::builder().credentials_provider(self.credentials.clone());
        // To set none would be to forget this process's own.
        if let Some(endpoint) = &self.endpoint {
            config = config.endpoint_url(endpoint);
        }
        config
    }

    pub(super) fn presigning(&self) -> Result<PresigningConfig> {
        let config = PresigningConfig::builder().start_time(self.begins).expires_in(self.valid);
        config.build().map_err(|e| Error::new(ErrorKind::Internal, SIGN).because(e))
    }
}
