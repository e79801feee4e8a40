//! A request's credential: there is one, in one form, or the request is refused.

use actix_web::http::header::{AUTHORIZATION, HeaderMap, HeaderName};

use super::Refusal;

/// The field that carries an API key by itself.
pub const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// The authentication scheme of `Authorization` (RFC 6750, section 2.1).
const SCHEME: &[u8] = b"Bearer";

/// A request's credential, as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credential<'a> {
    /// In `Authorization: Bearer`: a token or an API key.
    Bearer(&'a str),
    /// In `x-api-key`.
    ApiKey(&'a str),
}

impl<'a> Credential<'a> {
    /// The credential of a request with these fields.
    ///
    /// # Errors
    /// When there is none, more than one, or one that is none of ours.
    pub fn of(headers: &'a HeaderMap) -> Result<Self, Refusal> {
        let mut bearers = headers.get_all(AUTHORIZATION);
        let mut keys = headers.get_all(API_KEY);
        match (bearers.next(), bearers.next(), keys.next(), keys.next()) {
            (None, _, None, _) => Err(Refusal::Missing),
            (Some(value), None, None, _) => {
                let (scheme, token) =
                    value.as_bytes().split_at_checked(SCHEME.len()).ok_or(Refusal::Scheme)?;
                if !scheme.eq_ignore_ascii_case(SCHEME) || token.first().is_none_or(|b| *b != b' ')
                {
                    return Err(Refusal::Scheme);
                }
                let blanks = token.iter().take_while(|b| **b == b' ').count();
                plain(&token[blanks..]).map(Self::Bearer)
            }
            (None, _, Some(value), None) => plain(value.as_bytes()).map(Self::ApiKey),
            _ => Err(Refusal::Ambiguous),
        }
    }
}

/// A credential without blanks.
fn plain(text: &[u8]) -> Result<&str, Refusal> {
    // All of them, good or not: many at a time instead of one by one.
    let is_plain = text.iter().fold(!text.is_empty(), |plain, b| plain & b.is_ascii_graphic());
    let text = str::from_utf8(text).ok().filter(|_| is_plain);
    text.ok_or(Refusal::Malformed)
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn of(fields: &[(&str, &[u8])]) -> Result<String, Refusal> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, HeaderValue::from_bytes(value).unwrap());
        }
        Credential::of(&headers).map(|credential| format!("{credential:?}"))
    }

    #[test]
    fn one_credential_is_taken_in_either_form() {
        let bearer = Ok("Bearer(\"abc.d\")".to_owned());
        for value in ["Bearer abc.d", "bearer abc.d", "BEARER   abc.d"] {
            assert_eq!(of(&[("authorization", value.as_bytes())]), bearer, "{value}");
        }
        assert_eq!(of(&[("x-api-key", b"abc")]), Ok("ApiKey(\"abc\")".to_owned()));
    }

    #[test]
    fn anything_else_is_refused() {
        type Fields<'a> = &'a [(&'a str, &'a [u8])];
        let cases: [(Fields<'_>, Refusal); 14] = [
            (&[], Refusal::Missing),
            (&[("cookie", b"token=abc")], Refusal::Missing),
            (&[("authorization", b"")], Refusal::Scheme),
            (&[("authorization", b"abc.d")], Refusal::Scheme),
            (&[("authorization", b"Bearer")], Refusal::Scheme),
            (&[("authorization", b"Basic YTpi")], Refusal::Scheme),
            (&[("authorization", b"Bearer ")], Refusal::Malformed),
            (&[("authorization", b"Bearer a b")], Refusal::Malformed),
            (&[("authorization", b"Bearer a, Bearer b")], Refusal::Malformed),
            (&[("authorization", b"Bearer \xff")], Refusal::Malformed),
            (&[("x-api-key", b"")], Refusal::Malformed),
            (&[("authorization", b"Bearer a"), ("authorization", b"Bearer a")], Refusal::Ambiguous),
            (&[("x-api-key", b"a"), ("x-api-key", b"a")], Refusal::Ambiguous),
            (&[("authorization", b"Bearer a"), ("x-api-key", b"a")], Refusal::Ambiguous),
        ];
        for (fields, refusal) in cases {
            assert_eq!(of(fields), Err(refusal), "{fields:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_taken_has_no_blanks(value in "\\PC{0,24}") {
            let value = format!("Bearer {value}");
            let mut headers = HeaderMap::new();
            headers.append(AUTHORIZATION, HeaderValue::from_bytes(value.as_bytes()).unwrap());
            if let Ok(Credential::Bearer(token)) = Credential::of(&headers) {
                prop_assert!(!token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic()));
            }
        }
    }
}
