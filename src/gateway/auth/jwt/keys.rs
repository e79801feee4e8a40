//! Keys that tokens are checked with, each for the algorithms that fit it: which key is used is
//! never for the token alone to say.

use std::fmt;

use jsonwebtoken::{
    AlgorithmFamily, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse},
};
use serde::{Deserialize, Serialize};

/// The most keys that are taken from an issuer.
const MOST_KEYS: usize = 100;

/// The bytes of an uncompressed point of P-256.
const P256_POINT: usize = 65;

/// A signature that settings can accept (RFC 7518, section 3; RFC 8037).
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub enum Algorithm {
    /// HMAC with SHA-256.
    #[serde(rename = "HS256")]
    Hs256,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    #[serde(rename = "RS256")]
    Rs256,
    /// RSASSA-PSS with SHA-256.
    #[serde(rename = "PS256")]
    Ps256,
    /// ECDSA on P-256 with SHA-256.
    #[serde(rename = "ES256")]
    Es256,
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
}

impl Algorithm {
    /// As the library calls it.
    pub(super) fn of_library(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::Hs256 => jsonwebtoken::Algorithm::HS256,
            Self::Rs256 => jsonwebtoken::Algorithm::RS256,
            Self::Ps256 => jsonwebtoken::Algorithm::PS256,
            Self::Es256 => jsonwebtoken::Algorithm::ES256,
            Self::EdDsa => jsonwebtoken::Algorithm::EdDSA,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.of_library(), f)
    }
}

/// A key, and what it is for.
#[derive(Debug)]
struct Key {
    id: Option<String>,
    /// The only algorithm that its owner means it for, if that was said.
    only: Option<jsonwebtoken::Algorithm>,
    key: DecodingKey,
}

impl Key {
    fn fits(&self, algorithm: Algorithm) -> bool {
        let algorithm = algorithm.of_library();
        self.only.map_or(self.key.family() == algorithm.family(), |only| only == algorithm)
    }
}

/// Keys to check tokens with.
#[derive(Debug)]
pub struct KeySet {
    keys: Vec<Key>,
    /// Whether a token has to name its key. With a single key of the settings it need not.
    named: bool,
}

impl KeySet {
    /// The one key that a secret is.
    pub fn of_secret(secret: &str) -> Self {
        let key = DecodingKey::from_secret(secret.as_bytes());
        Self { keys: vec![Key { id: None, only: None, key }], named: false }
    }

    /// The public key of a PEM file, for all of these algorithms.
    ///
    /// # Errors
    /// What is wrong, as the rest of a sentence about the file.
    pub fn of_pem(pem: &[u8], algorithms: &[Algorithm]) -> Result<Self, String> {
        let families = [
            ("an RSA key", DecodingKey::from_rsa_pem(pem)),
            ("an EC key", DecodingKey::from_ec_pem(pem)),
            ("an Ed25519 key", DecodingKey::from_ed_pem(pem)),
        ];
        let found = families.into_iter().find_map(|(name, key)| Some((name, key.ok()?)));
        let (name, key) = found.ok_or(
            "holds no public key in PEM; write it there by `openssl pkey -pubout -in PRIVATE_KEY`",
        )?;
        let is_point =
            |key: &DecodingKey| key.try_get_as_bytes().is_ok_and(|b| b.len() == P256_POINT);
        if key.family() == AlgorithmFamily::Ec && !is_point(&key) {
            return Err("holds a key of another curve than P-256, which is ES256's".to_owned());
        }
        let key = Key { id: None, only: None, key };
        if let Some(wrong) = algorithms.iter().find(|algorithm| !key.fits(**algorithm)) {
            return Err(format!(
                "holds {name}, which {wrong} cannot use; set auth.jwt.algorithms to what fits the key"
            ));
        }
        Ok(Self { keys: vec![key], named: false })
    }

    /// The keys of a JWK set (RFC 7517, section 5) that are for signatures and understood; others
    /// are passed over.
    ///
    /// # Errors
    /// When it is no such set, or nothing of it can be used.
    pub fn of_jwks(json: &[u8]) -> Result<Self, &'static str> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<serde_json::Value>,
        }
        let set: Set = serde_json::from_slice(json).map_err(|_| "it is no JWK set")?;
        let keys: Vec<_> = set.keys.into_iter().filter_map(of_jwk).take(MOST_KEYS).collect();
        if keys.is_empty() {
            Err("it has no key that can be used")
        } else {
            Ok(Self { keys, named: true })
        }
    }

    /// The key for a token of this algorithm that names this key. Without a name there must be
    /// just one that fits.
    pub(super) fn find(&self, algorithm: Algorithm, id: Option<&str>) -> Option<&DecodingKey> {
        let is_it = |key: &&Key| {
            let named = !self.named || id.is_none_or(|id| key.id.as_deref() == Some(id));
            named && key.fits(algorithm)
        };
        let mut found = self.keys.iter().filter(is_it);
        let first = found.next()?;
        let alone = found.next().is_none();
        (alone || id.is_some()).then_some(&first.key)
    }
}

/// A public key for signatures, of a kind that is understood.
fn of_jwk(value: serde_json::Value) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(value).ok()?;
    let only = match jwk.common.key_algorithm {
        Some(algorithm) => Some(jsonwebtoken::Algorithm::try_from(algorithm).ok()?),
        None => None,
    };
    let is_for_signatures =
        jwk.common.public_key_use.as_ref().is_none_or(|usage| *usage == PublicKeyUse::Signature);
    let may_verify = jwk
        .common
        .key_operations
        .as_ref()
        .is_none_or(|operations| operations.contains(&KeyOperations::Verify));
    // A secret in public is none.
    let is_public = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => true,
        AlgorithmParameters::EllipticCurve(ec) => ec.curve == EllipticCurve::P256,
        AlgorithmParameters::OctetKeyPair(pair) => pair.curve == EllipticCurve::Ed25519,
        _ => false,
    };
    if !(is_for_signatures && may_verify && is_public) {
        return None;
    }
    let key = DecodingKey::from_jwk(&jwk).ok()?;
    let fits = only.is_none_or(|only| only.family() == key.family());
    fits.then_some(Key { id: jwk.common.key_id, only, key })
}
