//! Signatures as Standard Webhooks has them (standardwebhooks.com, version 1.0.0, symmetric): who knows the
//! secret can tell that a message is this process's, unchanged, and how old it is.

use std::{
    fmt,
    time::{SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::{hmac, rand};
use base64::{Engine as _, prelude::BASE64_STANDARD as BASE64};
use bytes::Bytes;
use http::{HeaderName, Request, Uri, header::CONTENT_TYPE};
use http_body_util::Full;

const PREFIX: &str = "whsec_";
/// Bytes of a secret: as the specification asks.
const BYTES: std::ops::RangeInclusive<usize> = 24..=64;

const ID: HeaderName = HeaderName::from_static("webhook-id");
const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// A secret that messages are signed with. Never printed but by [`SigningSecret::expose`].
#[derive(Clone)]
pub struct SigningSecret(Vec<u8>);

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningSecret")
    }
}

impl SigningSecret {
    /// A new one, of 32 random bytes.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn generate() -> Result<Self, aws_lc_rs::error::Unspecified> {
        let mut bytes = vec![0; 32];
        rand::fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// The secret of its text form: `whsec_` and 24 to 64 bytes in Base64. None for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = BASE64.decode(text.strip_prefix(PREFIX)?).ok()?;
        BYTES.contains(&bytes.len()).then_some(Self(bytes))
    }

    /// Its text form.
    pub fn expose(&self) -> String {
        format!("{PREFIX}{}", BASE64.encode(&self.0))
    }

    fn sign(&self, id: &str, timestamp: u64, body: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &self.0));
        context.update(format!("{id}.{timestamp}.").as_bytes());
        context.update(body);
        format!("v1,{}", BASE64.encode(context.sign()))
    }
}

/// A request that posts `body`, which is JSON, with the header fields of a message that is sent now: what
/// names it, the same whenever it is sent again, when it was sent, and a signature by each secret.
///
/// # Errors
/// When `url` is none, or `id` cannot stand in a header field.
pub fn signed_post<U>(
    url: U,
    id: &str,
    body: Bytes,
    secrets: &[&SigningSecret],
) -> Result<Request<Full<Bytes>>, http::Error>
where
    U: TryInto<Uri>,
    U::Error: Into<http::Error>,
{
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    Request::post(url)
        .header(CONTENT_TYPE, "application/json")
        .header(ID, id)
        .header(TIMESTAMP, now)
        .header(SIGNATURE, signatures(now, id, &body, secrets))
        .body(Full::new(body))
}

fn signatures(timestamp: u64, id: &str, body: &[u8], secrets: &[&SigningSecret]) -> String {
    let signatures: Vec<_> = secrets.iter().map(|s| s.sign(id, timestamp, body)).collect();
    signatures.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_specifications_example_is_signed_alike() {
        // github.com/standard-webhooks/standard-webhooks, the tests of its libraries.
        let secret = SigningSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let (id, body) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", br#"{"test": 2432232314}"#);
        assert_eq!(
            signatures(1_614_265_330, id, body, &[&secret]),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }

    #[test]
    fn a_secret_is_told_as_it_is_read_and_never_printed() {
        let secret = SigningSecret::generate().unwrap();
        let text = secret.expose();
        assert_eq!(SigningSecret::parse(&text).unwrap().expose(), text);
        assert_ne!(SigningSecret::generate().unwrap().expose(), text);
        assert_eq!(format!("{secret:?}"), "SigningSecret");
        for wrong in ["", "whsec_", "whsec_c2hvcnQ=", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_!"]
        {
            assert!(SigningSecret::parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn each_secret_signs() {
        let secrets = [SigningSecret::generate().unwrap(), SigningSecret::generate().unwrap()];
        let all = [&secrets[0], &secrets[1]];
        let request = signed_post("http://a/", "b", "c".into(), &all).unwrap();
        let signatures: Vec<_> =
            request.headers()[SIGNATURE].to_str().unwrap().split(' ').collect();
        assert_eq!(signatures.len(), 2);
        assert!(signatures.iter().all(|s| s.starts_with("v1,")) && signatures[0] != signatures[1]);
        assert!(signed_post("http://a/", "b\n", "c".into(), &all).is_err());
        assert!(signed_post("", "b", "c".into(), &all).is_err());
    }
}
