//! Requests that this process makes by itself, to whom settings or tenants name: over HTTP/1.1,
//! without redirects, cookies or proxies of the environment, and to no address that the caller's
//! [`Reach`] leaves out.
//!
//! The proxy's requests are not among them: those are its clients', see `gateway::proxy`. Knows no module but
//! `trace`.

mod connect;
mod reach;
mod signature;
mod tls;
mod traced;

use std::{error::Error as StdError, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, header::USER_AGENT};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy,
    rt::{TokioExecutor, TokioTimer},
};

use connect::{Connector, Refused};

pub use reach::Reach;
pub use signature::{SigningSecret, signed_post};
pub use tls::{check_trust, system as system_tls, trusting};

/// How long a connection is kept that nothing is sent over: shorter than servers usually keep it, so that it is
/// not closed just when it is used (Node.js has 5 s).
const IDLE: Duration = Duration::from_secs(4);
const PRODUCT: &str = concat!("gatehouse/", env!("CARGO_PKG_VERSION"));

/// What makes requests. Cheap to clone; clones share their connections.
#[derive(Clone, Debug)]
pub struct Client(legacy::Client<HttpsConnector<Connector>, Full<Bytes>>);

/// Why there is no answer that can be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody may be asked at the addresses that the host has.
    #[error("the host has no address that requests may be sent to")]
    Refused,
    /// There is no connection, or no valid HTTP over it.
    #[error("the host cannot be reached")]
    Unreachable(#[source] legacy::Error),
    /// The answer has more bytes than are taken.
    #[error("the answer is too large")]
    TooLarge,
    /// The answer ended early.
    #[error("the answer broke off")]
    Cut(#[source] Box<dyn StdError + Send + Sync>),
}

impl Client {
    /// One that trusts the system's certificate authorities, and keeps at most `idle` connections to a host
    /// that nothing is sent over. Where there are none to trust, all it can do is plain HTTP: see [`check_trust`].
    ///
    /// # Errors
    /// When TLS cannot be set up, as half a sentence about what is wrong.
    pub fn new(reach: Reach, idle: usize) -> Result<Self, String> {
        let mut tls = match tls::system() {
            Ok(trusting) => (*trusting).clone(),
            Err(_) => tls::nobody()?,
        };
        // The connector names the protocol itself.
        tls.alpn_protocols.clear();
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(Connector::new(reach));
        let client = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(idle)
            .build(connector);
        Ok(Self(client))
    }

    /// Sends a request, and gives what comes back up to the body. There is no limit in time. It goes on with
    /// the current trace, if there is one.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Unreachable`].
    pub async fn send(
        &self,
        mut request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, Error> {
        let agent = HeaderValue::from_static(PRODUCT);
        request.headers_mut().entry(USER_AGENT).or_insert(agent);
        let span = traced::begin(&mut request);
        let sent = self.0.request(request).await.map_err(|error| {
            if is_refused(&error) { Error::Refused } else { Error::Unreachable(error) }
        });
        traced::end(span, &sent);
        sent
    }
}

/// The whole of a body of at most `largest` bytes.
///
/// # Errors
/// [`Error::TooLarge`], [`Error::Cut`].
pub async fn collect(body: Incoming, largest: usize) -> Result<Bytes, Error> {
    match Limited::new(body, largest).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Error::TooLarge),
        Err(error) => Err(Error::Cut(error)),
    }
}

/// How long the answer asks to be left alone: `Retry-After` in seconds or as a time (RFC 9110,
/// section 10.2.3).
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let told = headers.get(http::header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = told.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until =
        std::time::SystemTime::from(told.parse::<actix_web::http::header::HttpDate>().ok()?);
    Some(until.duration_since(std::time::SystemTime::now()).unwrap_or_default())
}

/// Whether what has failed is that nobody may be asked there.
fn is_refused(error: &legacy::Error) -> bool {
    let mut source = error.source();
    while let Some(error) = source {
        if error.is::<Refused>() {
            return true;
        }
        // What an I/O error wraps is not its source.
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if inner.is_some_and(|inner| inner.is::<Refused>()) {
            return true;
        }
        source = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use http::header::RETRY_AFTER;

    use super::*;

    #[test]
    fn a_wait_is_seconds_or_a_time() {
        let wait = |told: &str| {
            let headers = [(RETRY_AFTER, HeaderValue::from_str(told).unwrap())];
            retry_after(&headers.into_iter().collect())
        };
        assert_eq!(wait("120"), Some(Duration::from_secs(120)));
        assert_eq!(wait("Fri, 31 Dec 1999 23:59:59 GMT"), Some(Duration::ZERO));
        let later = std::time::SystemTime::now() + Duration::from_secs(100);
        let later = wait(&actix_web::http::header::HttpDate::from(later).to_string()).unwrap();
        assert!((98..=100).contains(&later.as_secs()), "{later:?}");
        for wrong in ["-1", "1.5", "soon", ""] {
            assert_eq!(wait(wrong), None, "{wrong}");
        }
    }
}
