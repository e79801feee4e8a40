//! The streaming reverse proxy: one request to a remote service, and its answer back.
//!
//! It knows HTTP/1.1 and the rules of forwarding (RFC 9110, section 7.6). Routing, tenants,
//! credentials and the answers to errors are the gateway's: they come in through [`Outgoing`]
//! and go out as [`Error`]. Everything here belongs to one worker and one thread.
//!
//! The way of a request: a connection comes from the `pool` or `connect`, `head` writes the
//! request's head on it and reads the response's, `connection` sends and waits, `response` makes
//! what actix sends. A request goes out a second time only when nothing of it was sent, or
//! when it has no body, is idempotent, and a reused connection closed without a byte of answer.

mod body;
mod connect;
mod connection;
mod decoder;
mod error;
mod head;
mod output;
mod pool;
mod response;
mod stream;
mod timer;
mod tls;
mod tunnel;
mod upstream;

use std::{
    future::{Future as _, poll_fn},
    net::IpAddr,
    pin::pin,
    rc::Rc,
    sync::Arc,
    task::Poll,
};

use self::{
    body::RequestBody,
    connection::{Connection, NoAnswer},
    pool::{Lease, Pool},
    response::Asked,
};
pub use self::{
    error::{Error, Kind, Phase},
    tunnel::{Carried, ClientSide},
    upstream::Upstream,
};
use super::headers::Framing;
use actix_web::{
    HttpResponse,
    dev::Payload,
    http::{Method, StatusCode, Version, header::HeaderMap},
};

/// A request as it came, and what the gateway has settled about it.
#[derive(Clone, Copy)]
pub struct Outgoing<'a> {
    /// The request's method.
    pub method: &'a Method,
    /// The version that the client speaks.
    pub version: Version,
    /// What follows `/{service}/` in the raw path, byte for byte; it may be empty. `None` when
    /// not even the slash is there.
    pub rest: Option<&'a str>,
    /// The raw query, without its `?`.
    pub query: Option<&'a str>,
    /// The header fields as they came.
    pub headers: &'a HeaderMap,
    /// The tenant to send as `x-tenant-id`, verified or, in open mode, checked for its form.
    /// Without one that header does not go out, whatever came in.
    pub tenant: Option<&'a str>,
    /// The request's id, sent as `x-request-id`.
    pub request_id: &'a str,
    /// Who sent the request.
    pub peer: Option<IpAddr>,
    /// Whether that peer's `X-Forwarded-*` and `Forwarded` are believed.
    pub peer_is_trusted: bool,
    /// `http` or `https`, as the client came.
    pub scheme: &'a str,
    /// The client's side of a tunnel, should it become one.
    pub client: Option<ClientSide<'a>>,
}

/// What became of a request.
pub enum Answer {
    /// The upstream's response.
    Response(HttpResponse),
    /// The connection was a tunnel, and has ended.
    Tunnelled(Carried),
}

/// A worker's proxy with its connections. Cloning it shares them.
#[derive(Clone, Default)]
pub struct Client {
    pool: Rc<Pool>,
}

impl Client {
    /// A client without connections.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sends a request to `upstream` and returns its response when the head has come. The
    /// body streams behind it; dropping it, or this future, closes the connection at once. An
    /// upgrade that the upstream grants runs in here until it is over.
    ///
    /// # Errors
    /// When there is no response to relay. A failure after the head breaks the response's body,
    /// and so the client's connection.
    pub async fn forward(
        &self,
        upstream: &Arc<Upstream>,
        outgoing: &Outgoing<'_>,
        payload: Payload,
    ) -> Result<Answer, Error> {
        let framing = Framing::of(outgoing.headers)
            .map_err(|unfit| Error::new(Kind::Target, Phase::Check).because(unfit))?;
        let mut early = Payload::None;
        let mut body = match framing {
            Framing::None | Framing::Length(0) => {
                early = payload;
                None
            }
            Framing::Length(length) if upstream.max_body_size.is_some_and(|max| length > max) => {
                return Err(Error::new(Kind::TooLarge, Phase::Check));
            }
            _ => Some(Box::new(RequestBody::new(payload, framing, upstream.max_body_size))),
        };
        let asked = Asked::by(outgoing, body.is_some());
        let replayable = body.is_none() && outgoing.method.is_idempotent();
        if !replayable && self.pool.has_idle(upstream) {
            // It gets one chance: let the system tell first which connections have closed.
            tokio::task::yield_now().await;
        }

        let mut idle = self.pool.take(upstream, replayable);
        loop {
            let reused = idle.is_some();
            let mut connection = match idle.take() {
                Some(connection) => connection,
                None => connect(upstream, body.as_deref_mut()).await?,
            };
            connection.begin(body.take(), asked.upgrade.is_some(), |out| {
                head::write(upstream, outgoing, framing, asked.upgrade, out)
            })?;
            match poll_fn(|cx| connection.poll_head(cx, upstream, asked.head)).await {
                Ok(head) if head.status == StatusCode::SWITCHING_PROTOCOLS => {
                    let client = asked.agrees(&head, outgoing.client)?;
                    let tunnel = tunnel::run(client, outgoing.request_id, early, connection, &head);
                    return Ok(Answer::Tunnelled(Box::pin(tunnel).await));
                }
                Ok(head) => {
                    let lease = Lease::new(connection, upstream, &self.pool);
                    return response::relay(head, lease, asked).map(Answer::Response);
                }
                Err(NoAnswer::Unsent(unsent, _)) if reused => {
                    body = unsent;
                    idle = self.pool.take(upstream, replayable);
                }
                Err(NoAnswer::Silent(_)) if reused && replayable => {}
                Err(
                    NoAnswer::Unsent(_, error) | NoAnswer::Silent(error) | NoAnswer::Failed(error),
                ) => return Err(error),
            }
        }
    }
}

/// A new connection, unless the request turns out to be broken meanwhile.
async fn connect(
    upstream: &Upstream,
    mut body: Option<&mut RequestBody>,
) -> Result<Box<Connection>, Error> {
    let mut connecting = pin!(connect::connect(upstream));
    let stream = poll_fn(|cx| match body.as_mut().map(|body| body.poll_ahead(cx)) {
        Some(Poll::Ready(kind)) => Poll::Ready(Err(Error::new(kind, Phase::Send))),
        _ => connecting.as_mut().poll(cx),
    });
    Ok(Box::new(Connection::over(stream.await?)))
}
