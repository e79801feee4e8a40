//! The HTTP client of OTLP/HTTP: this process's own, on the exporter's runtime.

use std::{future::Future, pin::Pin, time::Duration};

use ::http::{Request, Response};
use http_body_util::Full;
use opentelemetry_http::{Bytes, HttpClient, HttpError};
use tokio::{runtime::Handle, time::timeout};

use crate::outbound::{self, Client, Reach};

/// How long an answer may take.
const WITHIN: Duration = Duration::from_secs(10);
/// The most of an answer that is read.
const LARGEST: usize = 64 * 1024;

/// Posts to a collector.
#[derive(Debug)]
pub(super) struct Collector {
    client: Client,
    home: Handle,
}

impl Collector {
    /// One whose connections live on `home`.
    ///
    /// # Errors
    /// When there is nobody to trust, as half a sentence about what is wrong.
    pub(super) fn new(home: Handle) -> Result<Self, String> {
        Ok(Self { client: Client::new(Reach::Anywhere, 1)?, home })
    }
}

type Sending<'a> = Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'a>>;

impl HttpClient for Collector {
    fn send_bytes<'a, 'b>(&'a self, request: Request<Bytes>) -> Sending<'b>
    where
        'a: 'b,
        Self: 'b,
    {
        let (client, request) = (self.client.clone(), request.map(Full::new));
        let exchange = async move {
            let (head, body) = client.send(request).await?.into_parts();
            let body = outbound::collect(body, LARGEST).await?;
            Ok::<_, HttpError>(Response::from_parts(head, body))
        };
        let exchange = self.home.spawn(timeout(WITHIN, exchange));
        Box::pin(async move { exchange.await?? })
    }
}
