//! Why a credential does not let a request in, and what its sender is told of it.

use std::{borrow::Cow, time::Duration};

use actix_web::http::header::{HeaderValue, WWW_AUTHENTICATE};

use super::jwt;
use crate::{
    gateway::rate_limit::Counted,
    problem::{Kind, Problem},
    tenant::Scopes,
};

/// When to come again while credentials cannot be checked.
const SOON: Duration = Duration::from_secs(2);

/// Why a credential does not let a request in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is none.
    Missing,
    /// There are several.
    Ambiguous,
    /// `Authorization` is of another scheme than `Bearer`.
    Scheme,
    /// It can be no credential at all.
    Malformed,
    /// It is longer than a token may be.
    TooLong,
    /// It is signed in a way that is not accepted, or not at all.
    Algorithm,
    /// It names no key that there is.
    UnknownKey,
    /// It brings its own key, or says where to get it.
    EmbeddedKey,
    /// It asks for an extension to be understood.
    Critical,
    /// Its signature is wrong.
    Signature,
    /// It does not say when it expires, or not as a number.
    Expiry,
    /// It has expired.
    Expired,
    /// It is not valid yet.
    NotYet,
    /// It is another issuer's.
    Issuer,
    /// It is for another audience.
    Audience,
    /// It is no API key that there is.
    UnknownApiKey,
    /// It is an API key that was revoked.
    RevokedApiKey,
    /// It is an API key that has expired.
    ExpiredApiKey,
    /// It names no tenant.
    NoTenant,
    /// The request names another tenant than its own.
    OtherTenant,
    /// It lacks one of these scopes.
    MissingScope(Scopes),
    /// Its sender has failed too often, and may try again in this time.
    TooOften(Counted),
    /// The issuer's keys cannot be had.
    KeysUnavailable,
    /// The database that knows of it, or of its tenant, cannot be asked; the cause is for the log.
    DatabaseUnavailable(String),
    /// Its tenant is suspended.
    Suspended,
}

impl Refusal {
    /// What the audit log calls it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Ambiguous => "ambiguous",
            Self::Scheme => "scheme",
            Self::Malformed => "malformed",
            Self::TooLong => "too-long",
            Self::Algorithm => "algorithm",
            Self::UnknownKey => "unknown-key",
            Self::EmbeddedKey => "embedded-key",
            Self::Critical => "critical-extension",
            Self::Signature => "signature",
            Self::Expiry => "expiry",
            Self::Expired => "expired",
            Self::NotYet => "not-yet-valid",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::UnknownApiKey => "unknown-api-key",
            Self::RevokedApiKey => "revoked-api-key",
            Self::ExpiredApiKey => "expired-api-key",
            Self::NoTenant => "no-tenant",
            Self::OtherTenant => "other-tenant",
            Self::MissingScope(_) => "missing-scope",
            Self::TooOften(_) => "too-often",
            Self::KeysUnavailable => "keys-unavailable",
            Self::DatabaseUnavailable(_) => "database-unavailable",
            Self::Suspended => "suspended",
        }
    }

    /// Whether it may have been a guess, which its sender has only so many of.
    pub fn is_failure(&self) -> bool {
        !matches!(
            self,
            Self::Missing
                | Self::NoTenant
                | Self::OtherTenant
                | Self::MissingScope(_)
                | Self::TooOften(_)
                | Self::KeysUnavailable
                | Self::DatabaseUnavailable(_)
                | Self::Suspended
        )
    }

    /// What the client is told, with the challenge of RFC 6750, section 3.
    pub fn problem(&self) -> Problem {
        match self {
            Self::TooOften(counted) => counted
                .clone()
                .refusal()
                .detail("Too many credentials from here were wrong; wait for as long as Retry-After says."),
            Self::KeysUnavailable => Problem::new(Kind::UpstreamUnavailable)
                .detail("Credentials cannot be checked right now; try again after the time in Retry-After.")
                .retry_after(SOON),
            Self::DatabaseUnavailable(cause) => Problem::new(Kind::StorageUnavailable)
                .detail("Credentials cannot be checked right now; try again after the time in Retry-After.")
                .because(cause.clone()),
            Self::Suspended => Problem::new(Kind::Forbidden)
                .detail("This tenant is suspended; ask whoever runs this service."),
            Self::NoTenant => Problem::new(Kind::Forbidden)
                .detail("The token names no tenant, so there is nobody to act for."),
            Self::OtherTenant => Problem::new(Kind::Forbidden)
                .detail("The credential is another tenant's; leave x-tenant-id out, or send your own."),
            Self::MissingScope(needed) => Problem::new(Kind::Forbidden)
                .detail(format!("The credential lacks a scope; this needs {needed}."))
                .field(WWW_AUTHENTICATE, insufficient(needed)),
            Self::Missing => Problem::new(Kind::Unauthenticated)
                .detail("Send a credential: Authorization: Bearer, or x-api-key.")
                .field(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"gatehouse\"")),
            refusal => Problem::new(Kind::Unauthenticated).detail(refusal.advice()).field(
                WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"gatehouse\", error=\"invalid_token\""),
            ),
        }
    }

    /// What to do about a credential that is not accepted. It tells what its owner can see as
    /// well, and no more.
    fn advice(&self) -> Cow<'static, str> {
        match self {
            Self::Ambiguous => {
                "Send one credential: Authorization or x-api-key, not both, and not twice.".into()
            }
            Self::Scheme => "Send the credential as Authorization: Bearer, or x-api-key.".into(),
            Self::TooLong => format!("Send a token of at most {} bytes.", jwt::LONGEST).into(),
            Self::Expired => "The token has expired; get a new one.".into(),
            Self::ExpiredApiKey => "The API key has expired; get a new one.".into(),
            Self::NotYet => "The token is not valid yet; check the issuer's clock.".into(),
            _ => "The credential is not accepted; get a new one from whom you got it.".into(),
        }
    }
}

fn insufficient(needed: &Scopes) -> HeaderValue {
    let challenge =
        format!("Bearer realm=\"gatehouse\", error=\"insufficient_scope\", scope=\"{needed}\"");
    HeaderValue::from_str(&challenge)
        .unwrap_or_else(|_| HeaderValue::from_static("Bearer error=\"insufficient_scope\""))
}
