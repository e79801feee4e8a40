//! Sending a signed request as a client does: without any credential of this process's.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::time::timeout;
use tokio_rustls::rustls::crypto::aws_lc_rs;

use super::super::{super::SignedRequest, failure::Failure};

const WITHIN: Duration = Duration::from_secs(10);
/// The most of an answer that is read.
const LARGEST: usize = 64 * 1024;

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Who sends.
pub(super) struct Outsider(Client<HttpsConnector<HttpConnector>, Full<Bytes>>);

/// What came back.
pub(super) struct Answer {
    pub(super) headers: HeaderMap,
    status: u16,
    body: String,
}

impl Outsider {
    pub(super) fn new() -> Result<Self, Cause> {
        let provider = aws_lc_rs::default_provider();
        let connector = HttpsConnectorBuilder::new().with_provider_and_native_roots(provider)?;
        let connector = connector.https_or_http().enable_http1().build();
        Ok(Self(Client::builder(TokioExecutor::new()).build(connector)))
    }

    /// Sends `signed` with `more` fields.
    pub(super) async fn send(
        &self,
        signed: &SignedRequest,
        more: &[(&str, &str)],
        body: &'static [u8],
    ) -> Result<Answer, Cause> {
        let own = signed.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        self.ask(signed.method, &signed.url, own.chain(more.iter().copied()), body).await
    }

    /// Asks as a browser does whether a page may send such a request.
    pub(super) async fn preflight(
        &self,
        signed: &SignedRequest,
        origin: &str,
        names: &str,
    ) -> Result<Answer, Cause> {
        let fields = [
            ("origin", origin),
            ("access-control-request-method", signed.method),
            ("access-control-request-headers", names),
        ];
        self.ask("OPTIONS", &signed.url, fields.into_iter(), b"").await
    }

    async fn ask(
        &self,
        method: &str,
        url: &str,
        fields: impl Iterator<Item = (&str, &str)>,
        body: &'static [u8],
    ) -> Result<Answer, Cause> {
        let request = Request::builder().method(Method::from_bytes(method.as_bytes())?).uri(url);
        let request = fields.fold(request, |request, (name, value)| request.header(name, value));
        let request = request.body(Full::new(Bytes::from_static(body)))?;
        let exchange = async {
            let (head, body) = self.0.request(request).await?.into_parts();
            let body = Limited::new(body, LARGEST).collect().await?.to_bytes();
            let body = String::from_utf8_lossy(&body).into_owned();
            Ok(Answer { headers: head.headers, status: head.status.as_u16(), body })
        };
        timeout(WITHIN, exchange).await?
    }
}

impl Answer {
    /// Why it is no success, if it is none.
    pub(super) fn failure(&self) -> Option<Failure> {
        let within = |tag: &str| {
            let (_, rest) = self.body.split_once(&format!("<{tag}>"))?;
            Some(rest.split_once("</")?.0.to_owned())
        };
        let message = within("Message").unwrap_or_else(|| "no message".to_owned());
        let failed = !(200..300).contains(&self.status);
        failed.then(|| Failure::told(self.status, within("Code"), &message))
    }
}
