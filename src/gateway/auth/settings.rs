//! `[auth]`: who may come in, and how tokens are checked.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use http::{Uri, uri::Scheme};
use serde::{Deserialize, Serialize};

use super::jwt::{Algorithm, KeySet};
use crate::settings::{Invalid, Secret, text};

/// The shortest secret of HS256 in bytes (RFC 7518, section 3.2).
const SHORTEST_SECRET: usize = 32;

/// The most that an issuer's clock may differ.
const LONGEST_LEEWAY: Duration = Duration::from_secs(10 * 60);

/// `[auth]`: how a request's tenant is established.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthSettings {
    /// Whether credentials are asked for.
    pub mode: AuthMode,
    /// In open mode: listen on addresses that others can reach all the same.
    pub allow_open_network: bool,
    /// How tokens are checked; none: API keys are all there is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwt: Option<JwtSettings>,
}

/// How a request's tenant is established.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthMode {
    /// `x-tenant-id` is believed.
    #[default]
    Open,
    /// A credential is asked for, and says whom it is for.
    Required,
}

/// `[auth.jwt]`: how tokens are checked. Of `jwks_url`, `public_key_file` and `secret` it has
/// exactly one.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct JwtSettings {
    /// The signatures that are accepted; none: `HS256` with a secret, else `RS256`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub algorithms: Vec<Algorithm>,
    /// Where the issuer publishes its keys (RFC 7517).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwks_url: Option<String>,
    /// The issuer's public key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_key_file: Option<PublicKeyFile>,
    /// The secret that is shared with the issuer.
    #[serde(skip_serializing)]
    pub secret: Option<Secret>,
    /// What `iss` must be; none: it is not looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// What must be among `aud`; none: it is not looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// The claim that names the tenant: a name, or names with dots between.
    pub tenant_claim: String,
    /// By how much the issuer's clock may differ.
    #[serde(with = "text")]
    pub leeway: Duration,
}

impl Default for JwtSettings {
    fn default() -> Self {
        Self {
            algorithms: Vec::new(),
            jwks_url: None,
            public_key_file: None,
            secret: None,
            issuer: None,
            audience: None,
            tenant_claim: "tenant_id".to_owned(),
            leeway: Duration::from_secs(30),
        }
    }
}

/// A PEM file with a public key. It is read along with the settings, so that one that cannot be
/// used stops the start.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(try_from = "PathBuf", into = "PathBuf")]
pub struct PublicKeyFile {
    path: PathBuf,
    pem: Vec<u8>,
}

impl TryFrom<PathBuf> for PublicKeyFile {
    type Error = String;

    fn try_from(path: PathBuf) -> Result<Self, String> {
        match std::fs::read(&path) {
            Ok(pem) => Ok(Self { path, pem }),
            Err(error) => Err(format!(
                "names {}, which cannot be read ({error}); name a PEM file that this user may read",
                path.display()
            )),
        }
    }
}

impl From<PublicKeyFile> for PathBuf {
    fn from(file: PublicKeyFile) -> Self {
        file.path
    }
}

/// Where the keys are that tokens are checked with.
#[derive(Debug)]
pub enum KeySource {
    /// In the settings.
    Fixed(KeySet),
    /// At the issuer's.
    Issuer(Uri),
}

impl AuthSettings {
    /// Refuses a listener that would let strangers act for any tenant.
    ///
    /// # Errors
    /// In open mode, for an address that is not a loopback one, unless it is allowed.
    pub fn check_listener(&self, key: &str, address: SocketAddr) -> Result<(), Invalid> {
        if self.mode == AuthMode::Required || address.ip().is_loopback() || self.allow_open_network
        {
            return Ok(());
        }
        Err(Invalid::new(
            key,
            format!(
                "is {address}, which others can reach, while auth.mode = \"open\" believes any tenant header; \
                 listen on 127.0.0.1, set auth.mode = \"required\", or set auth.allow_open_network = true if \
                 only trusted clients can get there"
            ),
        ))
    }

    /// Finds contradictions.
    ///
    /// # Errors
    /// The first setting that is wrong.
    pub fn validate(&self) -> Result<(), Invalid> {
        match (self.mode, &self.jwt) {
            (AuthMode::Open, Some(_)) => Err(Invalid::new(
                "auth.jwt",
                "is set while auth.mode = \"open\" checks no token; set auth.mode = \"required\", or remove it",
            )),
            (AuthMode::Required, _) if self.allow_open_network => Err(Invalid::new(
                "auth.allow_open_network",
                "is for auth.mode = \"open\", and it is \"required\"; remove it",
            )),
            (_, Some(jwt)) => jwt.validate(),
            (_, None) => Ok(()),
        }
    }
}

impl JwtSettings {
    /// The signatures that are accepted.
    pub fn algorithms(&self) -> &[Algorithm] {
        match (&*self.algorithms, &self.secret) {
            ([], Some(_)) => &[Algorithm::Hs256],
            ([], None) => &[Algorithm::Rs256],
            (given, _) => given,
        }
    }

    /// Where the keys are.
    ///
    /// # Errors
    /// The first setting that is wrong.
    pub fn key_source(&self) -> Result<KeySource, Invalid> {
        match (&self.jwks_url, &self.public_key_file, &self.secret) {
            (Some(url), None, None) => {
                self.refuse_algorithm(
                    "jwks_url",
                    |algorithm| algorithm == Algorithm::Hs256,
                    "needs a secret, and auth.jwt.jwks_url has public keys",
                )?;
                let url = issuer_url(url)
                    .map_err(|message| Invalid::new("auth.jwt.jwks_url", message))?;
                Ok(KeySource::Issuer(url))
            }
            (None, Some(file), None) => {
                let keys = KeySet::of_pem(&file.pem, self.algorithms()).map_err(|message| {
                    let message = format!("names {}, which {message}", file.path.display());
                    Invalid::new("auth.jwt.public_key_file", message)
                })?;
                Ok(KeySource::Fixed(keys))
            }
            (None, None, Some(secret)) => {
                self.refuse_algorithm(
                    "secret",
                    |algorithm| algorithm != Algorithm::Hs256,
                    "needs a public key, and auth.jwt.secret is none",
                )?;
                if secret.expose().len() < SHORTEST_SECRET {
                    return Err(Invalid::new(
                        "auth.jwt.secret",
                        "is shorter than the 32 bytes that HS256 needs; make one by `openssl rand -hex 32`",
                    ));
                }
                Ok(KeySource::Fixed(KeySet::of_secret(secret.expose())))
            }
            (None, None, None) => Err(Invalid::new(
                "auth.jwt",
                "has no key to check tokens with; set jwks_url, public_key_file or secret",
            )),
            _ => Err(Invalid::new(
                "auth.jwt",
                "has more than one of jwks_url, public_key_file and secret; keep one of them",
            )),
        }
    }

    fn refuse_algorithm(
        &self,
        source: &str,
        is_wrong: impl Fn(Algorithm) -> bool,
        why: &str,
    ) -> Result<(), Invalid> {
        match self.algorithms().iter().find(|algorithm| is_wrong(**algorithm)) {
            None => Ok(()),
            Some(algorithm) => Err(Invalid::new(
                "auth.jwt.algorithms",
                format!("lists {algorithm}, which {why}; list what fits auth.jwt.{source}"),
            )),
        }
    }

    fn validate(&self) -> Result<(), Invalid> {
        let texts = [
            ("issuer", self.issuer.as_deref()),
            ("audience", self.audience.as_deref()),
            ("tenant_claim", Some(&*self.tenant_claim)),
        ];
        for (key, text) in texts {
            if text == Some("") {
                let message = "is empty, so no token could be right; give its text, or remove it";
                return Err(Invalid::new(format!("auth.jwt.{key}"), message));
            }
        }
        if self.leeway > LONGEST_LEEWAY || self.leeway.subsec_nanos() > 0 {
            let message = "is the clocks' difference; write whole seconds, at most \"10m\"";
            return Err(Invalid::new("auth.jwt.leeway", message));
        }
        self.key_source().map(drop)
    }
}

/// The URL of an issuer's keys.
fn issuer_url(url: &str) -> Result<Uri, String> {
    const REMEDY: &str = "write a URL such as \"https://issuer.example/.well-known/jwks.json\"";
    let parsed: Uri = url.parse().map_err(|_| format!("is no URL; {REMEDY}"))?;
    let (Some(scheme), Some(authority)) = (parsed.scheme(), parsed.authority()) else {
        return Err(format!("is no URL; {REMEDY}"));
    };
    if authority.as_str().contains('@') {
        return Err(format!("has a user or a password in it; {REMEDY}"));
    }
    if *scheme == Scheme::HTTPS || (*scheme == Scheme::HTTP && is_loopback(authority.host())) {
        return Ok(parsed);
    }
    Err("fetches keys without TLS, so that anybody on the way could put in their own; use https \
         (plain http is for loopback only)"
        .to_owned())
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_fetched_by_https_or_from_this_machine() {
        for url in [
            "https://issuer.example/jwks",
            "HTTPS://issuer.example",
            "http://127.0.0.1:8080/jwks",
            "http://[::1]/jwks",
            "http://localhost/jwks",
        ] {
            assert!(issuer_url(url).is_ok(), "{url}");
        }
        for url in [
            "",
            "jwks.json",
            "/jwks",
            "ftp://issuer.example/",
            "http://issuer.example/jwks",
            "http://127.0.0.1.example/jwks",
            "http://10.0.0.1/jwks",
            "https://me:pw@issuer.example/",
        ] {
            assert!(issuer_url(url).is_err(), "{url}");
        }
    }
}
