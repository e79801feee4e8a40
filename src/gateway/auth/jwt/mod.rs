//! JSON Web Tokens (RFC 7519): checked by keys of the settings or of their issuer (RFC 7517).
//!
//! What has been verified is remembered by its hash until it expires or the keys change, so that
//! a token costs its signature once. Nothing here waits but for an issuer's keys.

mod claims;
mod fetch;
mod jwks;
mod keys;

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::digest::{SHA256, digest};
use jsonwebtoken::{Header, Validation, decode, decode_header, errors::ErrorKind};
use serde_json::{Map, Value};

pub use self::keys::{Algorithm, KeySet};
use self::{claims::ClaimPath, jwks::Jwks};
use super::{
    Refusal,
    settings::{JwtSettings, KeySource},
};
use crate::{gateway::recent::Recent, settings::Invalid, tenant::Principal};

/// The longest token in bytes.
pub const LONGEST: usize = 8 * 1024;

/// How many verified tokens are remembered at least, if there are as many.
const REMEMBERED: usize = 16 * 1024;

/// What checks tokens. Shared by all workers.
#[derive(Debug)]
pub struct Tokens {
    keys: Keys,
    rules: Vec<(Algorithm, Validation)>,
    tenant_claim: ClaimPath,
    leeway: u64,
    verified: Recent<[u8; 32], Verified>,
}

#[derive(Debug)]
enum Keys {
    Fixed(Arc<KeySet>),
    Issuer(Arc<Jwks>),
}

/// A token that was verified.
#[derive(Clone, Debug)]
struct Verified {
    principal: Principal,
    /// The second since the epoch from which on it is not accepted any more.
    until: u64,
    /// What it was verified with.
    keys: Arc<KeySet>,
}

/// What became of a token without waiting.
pub enum Checked {
    /// It is known whether it is good.
    Known(Result<Principal, Refusal>),
    /// Its key is not among these and has to be fetched first, see [`Tokens::check_later`].
    KeyMissing(Option<Arc<KeySet>>),
}

impl Tokens {
    /// What checks tokens by these settings. An issuer's keys are fetched from now on, in the
    /// background; that takes a runtime.
    ///
    /// # Errors
    /// The setting that is wrong.
    pub fn new(settings: &JwtSettings) -> Result<Self, Invalid> {
        let keys = match settings.key_source()? {
            KeySource::Fixed(keys) => Keys::Fixed(Arc::new(keys)),
            KeySource::Issuer(url) => {
                let jwks = Jwks::start(url)
                    .map_err(|message| Invalid::new("auth.jwt.jwks_url", message))?;
                Keys::Issuer(jwks)
            }
        };
        let rules =
            settings.algorithms().iter().map(|algorithm| (*algorithm, rule(*algorithm, settings)));
        Ok(Self {
            keys,
            rules: rules.collect(),
            tenant_claim: ClaimPath::parse(&settings.tenant_claim),
            leeway: settings.leeway.as_secs(),
            verified: Recent::new(REMEMBERED),
        })
    }

    /// Whom a token is for that was verified before.
    pub fn remembered(&self, token: &str) -> Option<Principal> {
        let keys = self.current_keys()?;
        let known = self.verified.get(&hash(token))?;
        let holds = known.until > now() && Arc::ptr_eq(&known.keys, &keys);
        holds.then_some(known.principal)
    }

    /// Checks a token as far as that goes without waiting.
    pub fn check(&self, token: &str) -> Checked {
        if token.len() > LONGEST {
            return Checked::Known(Err(Refusal::TooLong));
        }
        let asked = match self.inspect(token) {
            Ok(asked) => asked,
            Err(refusal) => return Checked::Known(Err(refusal)),
        };
        let Some(keys) = self.current_keys() else { return Checked::KeyMissing(None) };
        match (self.verify(token, &asked, &keys), &self.keys) {
            (Ok((principal, until)), _) => {
                let verified = Verified { principal: principal.clone(), until, keys };
                self.verified.insert(hash(token), verified);
                Checked::Known(Ok(principal))
            }
            (Err(Refusal::UnknownKey), Keys::Issuer(_)) => Checked::KeyMissing(Some(keys)),
            (Err(refusal), _) => Checked::Known(Err(refusal)),
        }
    }

    fn current_keys(&self) -> Option<Arc<KeySet>> {
        match &self.keys {
            Keys::Fixed(keys) => Some(Arc::clone(keys)),
            Keys::Issuer(jwks) => jwks.current(),
        }
    }

    /// Checks a token whose key was not among those in `seen`, once the issuer has been asked for it.
    pub async fn check_later(
        &self,
        token: &str,
        seen: Option<&Arc<KeySet>>,
    ) -> Result<Principal, Refusal> {
        if let Keys::Issuer(jwks) = &self.keys {
            jwks.ask_again(seen).await;
        }
        match self.check(token) {
            Checked::Known(outcome) => outcome,
            Checked::KeyMissing(_) => Err(match &self.keys {
                Keys::Issuer(jwks) if jwks.current().is_none() => Refusal::KeysUnavailable,
                _ => Refusal::UnknownKey,
            }),
        }
    }

    /// What a token's header asks for, if that can be had at all.
    fn inspect(&self, token: &str) -> Result<Asked<'_>, Refusal> {
        let header = decode_header(token).map_err(|error| refusal(error.kind()))?;
        if brings_a_key(&header) {
            return Err(Refusal::EmbeddedKey);
        }
        // No extension is understood (RFC 7515, section 4.1.11).
        if header.crit.is_some() {
            return Err(Refusal::Critical);
        }
        let rule = self.rules.iter().find(|(algorithm, _)| algorithm.of_library() == header.alg);
        let (algorithm, rule) = rule.ok_or(Refusal::Algorithm)?;
        Ok(Asked { algorithm: *algorithm, rule, key: header.kid })
    }

    /// Whom a token is for, and until when, in seconds since the epoch.
    fn verify(
        &self,
        token: &str,
        asked: &Asked<'_>,
        keys: &KeySet,
    ) -> Result<(Principal, u64), Refusal> {
        let key = keys.find(asked.algorithm, asked.key.as_deref()).ok_or(Refusal::UnknownKey)?;
        let claims: Map<String, Value> =
            decode(token, key, asked.rule).map_err(|error| refusal(error.kind()))?.claims;
        // The library takes a fraction for the nearest second.
        let expires = claims.get("exp").and_then(Value::as_f64).ok_or(Refusal::Expiry)?;
        let until = (expires.round() as u64).saturating_add(self.leeway).saturating_add(1);
        Ok((self.tenant_claim.principal(&claims)?, until))
    }
}

/// What a token's header asks for.
struct Asked<'a> {
    algorithm: Algorithm,
    rule: &'a Validation,
    /// The key that it names.
    key: Option<String>,
}

fn rule(algorithm: Algorithm, settings: &JwtSettings) -> Validation {
    let mut rule = Validation::new(algorithm.of_library());
    let mut required = vec!["exp"];
    rule.leeway = settings.leeway.as_secs();
    rule.validate_nbf = true;
    if let Some(issuer) = &settings.issuer {
        rule.set_issuer(&[issuer]);
        required.push("iss");
    }
    rule.validate_aud = settings.audience.is_some();
    if let Some(audience) = &settings.audience {
        rule.set_audience(&[audience]);
        required.push("aud");
    }
    rule.set_required_spec_claims(&required);
    rule
}

/// Whether a token says by which key it wants to be checked.
fn brings_a_key(header: &Header) -> bool {
    header.jwk.is_some() || header.jku.is_some() || header.x5u.is_some() || header.x5c.is_some()
}

fn refusal(error: &ErrorKind) -> Refusal {
    match error {
        ErrorKind::ExpiredSignature => Refusal::Expired,
        ErrorKind::ImmatureSignature => Refusal::NotYet,
        ErrorKind::InvalidIssuer => Refusal::Issuer,
        ErrorKind::InvalidAudience => Refusal::Audience,
        ErrorKind::InvalidSignature => Refusal::Signature,
        ErrorKind::InvalidAlgorithm | ErrorKind::UnsupportedAlgorithm => Refusal::Algorithm,
        ErrorKind::MissingRequiredClaim(claim) | ErrorKind::InvalidClaimFormat(claim) => {
            match claim.as_str() {
                "exp" => Refusal::Expiry,
                "iss" => Refusal::Issuer,
                "aud" => Refusal::Audience,
                _ => Refusal::Malformed,
            }
        }
        _ => Refusal::Malformed,
    }
}

fn hash(token: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
    hash
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// What checks tokens by a secret.
    fn tokens() -> Tokens {
        let secret = json!({ "secret": "0123456789abcdef0123456789abcdef" });
        Tokens::new(&serde_json::from_value(secret).unwrap()).unwrap()
    }

    /// A header that tokens may have, or not.
    fn header() -> impl Strategy<Value = String> {
        let name = "alg|kid|typ|crit|jwk|jku|b64|[a-z]{1,4}";
        let value = "\"(HS256|none|RS256|JWT|\\PC{0,8})\"|null|true|-?[0-9]{1,20}|\\[\\]|\\{\\}|\\[\"exp\"\\]";
        let member = format!("\"({name})\":({value})");
        let member = prop::string::string_regex(&member).unwrap();
        let members = prop::collection::vec(member, 0..5);
        members.prop_map(|members| format!("{{{}}}", members.join(",")))
    }

    fn base64url(bytes: &[u8]) -> String {
        const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let mut text = String::new();
        for chunk in bytes.chunks(3) {
            let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
            let bits = bits << (8 * (3 - chunk.len()));
            let digits = (0..=chunk.len()).map(|at| DIGITS[(bits >> (18 - 6 * at) & 63) as usize]);
            text.extend(digits.map(char::from));
        }
        text
    }

    fn is_good(tokens: &Tokens, token: &str) -> bool {
        matches!(tokens.check(token), Checked::Known(Ok(_)))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases.max(2000)))]

        #[test]
        fn nobody_gets_in_by_chance(token in "[A-Za-z0-9_=-]{0,40}(\\.[A-Za-z0-9_=-]{0,40}){0,4}|\\PC{0,60}") {
            prop_assert!(!is_good(&tokens(), &token));
        }

        #[test]
        fn no_header_makes_up_for_a_signature(header in header(), signature in prop::collection::vec(any::<u8>(), 0..40)) {
            let claims = base64url(br#"{"exp":9999999999,"tenant_id":"acme"}"#);
            let header = base64url(header.as_bytes());
            let token = format!("{header}.{claims}.{}", base64url(&signature));
            prop_assert!(!is_good(&tokens(), &token));
        }
    }
}
