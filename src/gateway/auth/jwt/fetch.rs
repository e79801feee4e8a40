//! One GET of an issuer's keys: with a limit in time and size, without redirects, so that only
//! the URL of the settings is ever asked.

use std::time::Duration;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Request, StatusCode, Uri,
    header::{ACCEPT, AGE, CACHE_CONTROL},
};
use tokio::time::timeout;

use crate::outbound::{self, Client, Reach};

/// How long a fetch may take in all.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The largest answer in bytes.
const LARGEST: usize = 1024 * 1024;

/// Why keys could not be fetched.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("no answer within 5 s")]
    Timeout,
    #[error("the issuer answered {0}")]
    Status(StatusCode),
    #[error("the issuer cannot be asked")]
    Outbound(#[from] outbound::Error),
    #[error("the answer cannot be used: {0}")]
    Unusable(&'static str),
}

/// What was fetched.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) body: Bytes,
    /// For how long it is fresh, if the issuer says so.
    pub(super) fresh_for: Option<Duration>,
}

/// What fetches one URL.
#[derive(Debug)]
pub(super) struct Fetch {
    url: Uri,
    client: Client,
}

impl Fetch {
    /// A client for this URL. No connection is kept: fetches are rare.
    ///
    /// # Errors
    /// When there is nobody to trust, as half a sentence about the setting.
    pub(super) fn of(url: Uri) -> Result<Self, String> {
        outbound::check_trust(&url)?;
        Ok(Self { url, client: Client::new(Reach::Anywhere, 0)? })
    }

    /// Asks once.
    ///
    /// # Errors
    /// Why there is no answer that can be used.
    pub(super) async fn get(&self) -> Result<Fetched, Error> {
        timeout(TIMEOUT, self.ask()).await.map_err(|_| Error::Timeout)?
    }

    async fn ask(&self) -> Result<Fetched, Error> {
        let mut request = Request::default();
        *request.uri_mut() = self.url.clone();
        let accepted = HeaderValue::from_static("application/jwk-set+json, application/json");
        request.headers_mut().insert(ACCEPT, accepted);
        let response = self.client.send(request).await?;
        if response.status() != StatusCode::OK {
            return Err(Error::Status(response.status()));
        }
        let fresh_for = fresh_for(response.headers());
        let body = outbound::collect(response.into_body(), LARGEST).await?;
        Ok(Fetched { body, fresh_for })
    }
}

/// For how long an answer is fresh (RFC 9111, section 4.2): what `Cache-Control` says, less the
/// time that caches have had it.
fn fresh_for(headers: &HeaderMap) -> Option<Duration> {
    let mut fresh_for = None;
    for value in headers.get_all(CACHE_CONTROL) {
        for directive in value.to_str().ok()?.split(',') {
            let directive = directive.trim().to_ascii_lowercase();
            match directive.split_once('=') {
                None if directive == "no-store" || directive == "no-cache" => {
                    return Some(Duration::ZERO);
                }
                Some(("max-age", seconds)) => {
                    fresh_for = seconds.trim_matches('"').parse().ok().map(Duration::from_secs);
                }
                _ => {}
            }
        }
    }
    let age = headers.get(AGE).and_then(|age| age.to_str().ok()?.parse().ok());
    Some(fresh_for?.saturating_sub(Duration::from_secs(age.unwrap_or(0))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_fresh_for_as_long_as_it_says() {
        let seconds = |fields: &[(&'static str, &'static str)]| {
            let fields = fields.iter().map(|(name, value)| {
                (http::HeaderName::from_static(name), http::HeaderValue::from_static(value))
            });
            fresh_for(&fields.collect()).map(|time| time.as_secs())
        };
        assert_eq!(seconds(&[]), None);
        assert_eq!(seconds(&[("cache-control", "max-age=60")]), Some(60));
        assert_eq!(
            seconds(&[("cache-control", "public, Max-Age=\"60\", must-revalidate")]),
            Some(60)
        );
        assert_eq!(seconds(&[("cache-control", "max-age=60"), ("age", "45")]), Some(15));
        assert_eq!(seconds(&[("cache-control", "max-age=60"), ("age", "70")]), Some(0));
        assert_eq!(seconds(&[("cache-control", "max-age=60, no-cache")]), Some(0));
        assert_eq!(seconds(&[("cache-control", "no-store")]), Some(0));
        assert_eq!(seconds(&[("cache-control", "max-age=x")]), None);
    }
}
