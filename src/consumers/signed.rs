//! Links of this process's own: who holds one may do what it says until it expires, without any other
//! credential. They stand in for a store's signed requests where the store takes none.
//!
//! A link is `/signed/{tenant}/{what}/…/{id}?expires={seconds since 1970}&signature={HMAC-SHA256}`. All
//! of it but the signature is signed, and the method with it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use serde::{Serialize, Serializer};
use tokio::sync::OnceCell;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{error::Error, records::Records};
use crate::tenant::TenantId;

/// What all links begin with.
pub const PREFIX: &str = "/signed";

/// What a link lets its holder do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permit<'a> {
    /// `PUT` the bytes of a direct upload.
    Upload,
    /// `GET` an image's content.
    Read,
    /// `GET` the content that this upload brought, held back or not.
    Inspect(Uuid),
    /// `POST` what this step makes of the content that this upload brought.
    Answer(&'a str, Uuid),
}

impl Permit<'_> {
    fn method(self) -> &'static str {
        match self {
            Self::Upload => "PUT",
            Self::Read | Self::Inspect(_) => "GET",
            Self::Answer(..) => "POST",
        }
    }

    fn path(self, tenant: &TenantId, id: Uuid) -> String {
        let what = match self {
            Self::Upload => "uploads".to_owned(),
            Self::Read => "images".to_owned(),
            Self::Inspect(upload) => format!("contents/{upload}"),
            Self::Answer(step, upload) => format!("steps/{step}/{upload}"),
        };
        format!("{PREFIX}/{tenant}/{what}/{id}")
    }
}

/// A link as it is told, whoever signed it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Link {
    /// A whole URL.
    #[schema(format = "uri")]
    pub url: String,
    /// Until when it is good.
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: SystemTime,
}

fn rfc3339<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_rfc3339_millis(*time))
}

/// Signs links, and tells whether it did.
pub struct Signer {
    records: Records,
    key: OnceCell<hmac::Key>,
}

impl Signer {
    /// One whose key the database keeps, for all replicas.
    pub fn new(records: Records) -> Self {
        Self { records, key: OnceCell::new() }
    }

    /// A link, from its path on, which is good until `expires_at`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn link(
        &self,
        permit: Permit<'_>,
        tenant: &TenantId,
        id: Uuid,
        expires_at: SystemTime,
    ) -> Result<String, Error> {
        let expires = expires_at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let path = permit.path(tenant, id);
        let tag = hmac::sign(self.key().await?, signed(permit, &path, expires).as_bytes());
        Ok(format!("{path}?expires={expires}&signature={}", BASE64.encode(tag)))
    }

    /// Lets pass who holds a link with this query.
    ///
    /// # Errors
    /// [`Error::LinkInvalid`] for any other; or the database fails.
    pub async fn check(
        &self,
        permit: Permit<'_>,
        tenant: &TenantId,
        id: Uuid,
        query: &str,
    ) -> Result<(), Error> {
        let (expires, signature) = parse(query).ok_or(Error::LinkInvalid)?;
        let signed = signed(permit, &permit.path(tenant, id), expires);
        hmac::verify(self.key().await?, signed.as_bytes(), &signature)
            .map_err(|_| Error::LinkInvalid)?;
        let expires_at = UNIX_EPOCH.checked_add(Duration::from_secs(expires));
        match expires_at.filter(|at| *at > SystemTime::now()) {
            Some(_) => Ok(()),
            None => Err(Error::LinkInvalid),
        }
    }

    async fn key(&self) -> Result<&hmac::Key, Error> {
        let made = self.key.get_or_try_init(|| async {
            let secret = self.records.signing_secret().await?;
            Ok::<_, Error>(hmac::Key::new(hmac::HMAC_SHA256, &secret))
        });
        made.await
    }
}

fn signed(permit: Permit<'_>, path: &str, expires: u64) -> String {
    format!("{} {path} {expires}", permit.method())
}

fn parse(query: &str) -> Option<(u64, Vec<u8>)> {
    let (expires, signature) = query.strip_prefix("expires=")?.split_once("&signature=")?;
    Some((expires.parse().ok()?, BASE64.decode(signature).ok()?))
}
