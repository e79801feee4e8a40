//! Who issues tokens in tests: keys, tokens signed by hand as a test wants them, and the place
//! where the keys are published. It shares nothing with what checks tokens.

use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RSA_PSS_SHA256, RsaEncoding,
};
use aws_lc_rs::{hmac, rsa};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::upstream::{BUSY, Recorded, Upstream};

/// A key of an issuer.
pub struct Key {
    id: &'static str,
    kind: Kind,
}

enum Kind {
    Rsa(rsa::KeyPair),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
    Secret(Vec<u8>),
}

/// The RSA key that most tests sign with.
pub fn rsa_key() -> &'static Key {
    static KEY: LazyLock<Key> = LazyLock::new(|| Key::rsa("main"));
    &KEY
}

impl Key {
    pub fn rsa(id: &'static str) -> Self {
        Self { id, kind: Kind::Rsa(rsa::KeyPair::generate(rsa::KeySize::Rsa2048).unwrap()) }
    }

    pub fn ec(id: &'static str) -> Self {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        Self { id, kind: Kind::Ec(key) }
    }

    pub fn ed(id: &'static str) -> Self {
        Self { id, kind: Kind::Ed(Ed25519KeyPair::generate().unwrap()) }
    }

    pub fn secret(secret: &[u8]) -> Self {
        Self { id: "secret", kind: Kind::Secret(secret.to_vec()) }
    }

    /// The public key as a JWK.
    pub fn jwk(&self) -> Value {
        let mut jwk = match &self.kind {
            Kind::Rsa(key) => {
                let key = key.public_key();
                let part = |bytes: &[u8]| base64url(bytes);
                json!({
                    "kty": "RSA", "n": part(key.modulus().big_endian_without_leading_zero()),
                    "e": part(key.exponent().big_endian_without_leading_zero()),
                })
            }
            Kind::Ec(key) => {
                let point = &key.public_key().as_ref()[1..];
                let (x, y) = point.split_at(32);
                json!({ "kty": "EC", "crv": "P-256", "x": base64url(x), "y": base64url(y) })
            }
            Kind::Ed(key) => {
                let x = base64url(key.public_key().as_ref());
                json!({ "kty": "OKP", "crv": "Ed25519", "x": x })
            }
            Kind::Secret(secret) => json!({ "kty": "oct", "k": base64url(secret) }),
        };
        jwk["kid"] = self.id.into();
        jwk
    }

    /// The public key as a PEM file has it.
    pub fn pem(&self) -> String {
        let der: PublicKeyX509Der<'_> = match &self.kind {
            Kind::Rsa(key) => key.public_key().as_der().unwrap(),
            Kind::Ec(key) => key.public_key().as_der().unwrap(),
            Kind::Ed(key) => key.public_key().as_der().unwrap(),
            Kind::Secret(_) => panic!("a secret has no public key"),
        };
        let text = base64(der.as_ref());
        let lines: Vec<_> =
            text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
    }

    /// A token with exactly this header and these claims, signed as `algorithm` says.
    pub fn sign(&self, algorithm: &str, header: &Value, claims: &Value) -> String {
        self.sign_text(algorithm, &header.to_string(), &claims.to_string())
    }

    /// The same, of texts that need not be JSON.
    pub fn sign_text(&self, algorithm: &str, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", base64url(header.as_bytes()), base64url(claims.as_bytes()));
        let bytes = message.as_bytes();
        let random = SystemRandom::new();
        let signature = match (&self.kind, algorithm) {
            (Kind::Rsa(key), "RS256" | "PS256") => {
                let padding: &'static dyn RsaEncoding =
                    if algorithm == "RS256" { &RSA_PKCS1_SHA256 } else { &RSA_PSS_SHA256 };
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(padding, &random, bytes, &mut signature).unwrap();
                signature
            }
            (Kind::Ec(key), "ES256") => key.sign(&random, bytes).unwrap().as_ref().to_vec(),
            (Kind::Ed(key), "EdDSA") => key.sign(bytes).as_ref().to_vec(),
            (Kind::Secret(secret), "HS256") => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
                hmac::sign(&key, bytes).as_ref().to_vec()
            }
            _ => panic!("no {algorithm} by this key"),
        };
        format!("{message}.{}", base64url(&signature))
    }

    /// A good token with these claims, by the algorithm that fits the key best.
    pub fn token(&self, claims: &Value) -> String {
        let algorithm = match &self.kind {
            Kind::Rsa(_) => "RS256",
            Kind::Ec(_) => "ES256",
            Kind::Ed(_) => "EdDSA",
            Kind::Secret(_) => "HS256",
        };
        self.sign(algorithm, &json!({ "alg": algorithm, "typ": "JWT", "kid": self.id }), claims)
    }
}

/// The claims of a good token for a tenant: all scopes, for an hour.
pub fn claims(tenant: &str) -> Value {
    json!({
        "iss": "https://issuer.example/", "aud": "gatehouse", "sub": "tester",
        "tenant_id": tenant, "scope": "images:read images:write", "exp": now() + 3600,
    })
}

/// The same with one claim changed, or taken away if it is null.
pub fn claims_with(tenant: &str, name: &str, value: Value) -> Value {
    let mut claims = claims(tenant);
    match value {
        Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
        value => claims[name] = value,
    }
    claims
}

/// Seconds since the epoch.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

/// A place where keys are published; it counts who asks.
pub struct Issuer {
    upstream: Upstream,
    answer: watch::Sender<&'static str>,
}

impl Issuer {
    /// Publishes the public parts of these keys.
    pub async fn of(keys: &[&Key]) -> Self {
        Self::answering(jwks(keys, "max-age=3600")).await
    }

    /// Answers whatever a test wants.
    pub async fn answering(answer: String) -> Self {
        let (upstream, answer) = Upstream::switched(answer.leak()).await;
        Self { upstream, answer }
    }

    /// Publishes these from now on.
    pub fn publish(&self, keys: &[&Key], cache_control: &str) {
        self.answer(jwks(keys, cache_control));
    }

    /// Answers this from now on.
    pub fn answer(&self, answer: String) {
        self.answer.send_replace(answer.leak());
    }

    /// Answers 503 from now on.
    pub fn go_down(&self) {
        self.answer.send_replace(BUSY);
    }

    /// Lets who asks wait from now on.
    pub fn stall(&self) {
        self.answer.send_replace("");
    }

    pub fn url(&self) -> String {
        self.upstream.url("/.well-known/jwks.json")
    }

    /// How the keys were asked for, once.
    pub fn request(&self) -> Recorded {
        self.upstream.request()
    }

    /// How often the keys were asked for.
    pub fn fetches(&self) -> usize {
        self.upstream.requests().len()
    }
}

/// The answer that publishes these keys.
pub fn jwks(keys: &[&Key], cache_control: &str) -> String {
    let keys: Vec<_> = keys.iter().map(|key| key.jwk()).collect();
    answer(&json!({ "keys": keys }).to_string(), cache_control)
}

/// An answer with this body.
pub fn answer(body: &str, cache_control: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nCache-Control: {cache_control}\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Base64 as tokens have it (RFC 7515, section 2).
pub fn base64url(bytes: &[u8]) -> String {
    base64(bytes).trim_end_matches('=').replace('+', "-").replace('/', "_")
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let mut three = [0; 3];
        three[..chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes([0, three[0], three[1], three[2]]);
        for at in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * at) & 63) as usize];
            text.push(if at <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}
