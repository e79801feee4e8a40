//! The streaming reverse proxy: one request to a remote service, and its answer back.
//!
//! It knows HTTP/1.1 and the rules of forwarding (RFC 9110, section 7.6). Routing, tenants,
//! credentials and the answers to errors are the gateway's: they come in through [`Outgoing`]
//! and go out as [`Error`]. Everything here belongs to one worker and one thread.
//!
//! The way of a request: `balance` chooses the instance, by its `breaker`, its `health` and how
//! much is under way there, which a `call` counts. A connection comes from the `pool` or
//! `connect`, `head` writes the request's head on it and reads the response's, `connection` sends
//! and waits, `response` makes what actix sends. After a 101 a `tunnel` takes over.
//!
//! A request goes out again only when nothing of it was sent, or when it has no body, is
//! idempotent, and there was no byte of answer, or a 503: to the same instance if a pooled
//! connection turned out to be closed, else to another, as far as the `budget` of retries goes.

mod balance;
mod body;
mod breaker;
mod budget;
mod call;
mod clock;
mod connect;
mod connection;
mod decoder;
mod error;
mod head;
mod health;
mod instance;
mod output;
mod pool;
mod response;
mod stream;
mod tls;
mod traced;
mod tunnel;
mod upstream;

use std::{
    future::{Future as _, poll_fn},
    net::IpAddr,
    rc::Rc,
    sync::Arc,
    task::Poll,
};

use self::{
    body::RequestBody,
    call::Call,
    connection::{Connection, NoAnswer},
    head::Head,
    pool::{Lease, Pool},
    response::Asked,
    traced::Traced,
};
pub use self::{
    breaker::Circuit,
    error::{Error, Kind, Phase},
    health::HealthCheck,
    tunnel::{Carried, ClientSide},
    upstream::Upstream,
};
use super::headers::{Credentials, Framing};
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
    /// What becomes of the client's credential.
    pub credentials: Credentials<'a>,
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
            _ => {
                let client = outgoing.client.map(|client| client.clock.clone());
                let body = RequestBody::new(payload, framing, upstream.max_body_size, client);
                Some(Box::new(body))
            }
        };
        if let Some(client) = outgoing.client {
            client.clock.limit_writes(upstream.idle_timeout);
        }
        let repeatable = body.is_none() && outgoing.method.is_idempotent();
        let asked = Asked::by(outgoing, body.is_some());
        let request = Request { outgoing, framing, asked, repeatable };
        let mut call = Call::begin(upstream)?;
        loop {
            let mut traced = Traced::begin(&call, outgoing);
            let no_answer = match self.attempt(&call, request, &traced, body.take()).await {
                Ok((head, connection)) => {
                    traced.answered(head.status);
                    call.answered(head.status);
                    if head.status == StatusCode::SWITCHING_PROTOCOLS {
                        let client = asked.agrees(&head, outgoing.client)?;
                        let limit = upstream.idle_timeout;
                        let tunnel = tunnel::run(client, early, connection, head, limit);
                        return Ok(Answer::Tunnelled(Box::pin(tunnel).await));
                    }
                    let refused = head.status == StatusCode::SERVICE_UNAVAILABLE;
                    if refused && repeatable && call.move_on() {
                        continue;
                    }
                    let at = call.at();
                    let lease = Lease::new(connection, call, &self.pool);
                    return response::relay(head, lease, asked)
                        .map(Answer::Response)
                        .inspect_err(|_| upstream.failed(at, false));
                }
                Err(no_answer) => no_answer,
            };
            traced.failed(no_answer.error());
            let (error, again) = match no_answer {
                NoAnswer::Unsent(unsent, error) => {
                    body = unsent;
                    // What this host is short of is no fault of the instance, and would be
                    // lacking for the others.
                    let of_instance = error.kind() != Kind::Exhausted;
                    if of_instance {
                        call.failed();
                    }
                    (error, of_instance)
                }
                NoAnswer::Silent(error) => (call.failed_by(error), repeatable),
                NoAnswer::Failed(error) => (call.failed_by(error), false),
            };
            if !again || !call.move_on() {
                return Err(error);
            }
        }
    }

    /// Tries a request at the call's instance. That a pooled connection was closed meanwhile is
    /// nobody's failure: it is repeated once, on a fresh one, where it may be.
    async fn attempt(
        &self,
        call: &Call,
        request: Request<'_>,
        traced: &Traced,
        mut body: Option<Box<RequestBody>>,
    ) -> Result<(Head, Box<Connection>), NoAnswer> {
        let instance = call.instance();
        if !request.repeatable && self.pool.has_idle(instance) {
            // It gets one chance: let the system tell first which connections have closed.
            tokio::task::yield_now().await;
        }
        if let Some(connection) = self.pool.take(instance, request.repeatable) {
            match exchange(connection, call, request, traced, body.take()).await {
                Err(NoAnswer::Unsent(unsent, _)) => body = unsent,
                Err(NoAnswer::Silent(_)) if request.repeatable => {}
                outcome => return outcome,
            }
        }
        match connect(call, body.as_deref_mut()).await {
            Ok(connection) => exchange(connection, call, request, traced, body).await,
            Err(error) if error.phase() == Phase::Connect => Err(NoAnswer::Unsent(body, error)),
            Err(error) => Err(NoAnswer::Failed(error)),
        }
    }
}

/// A request as it is tried, here or there.
#[derive(Clone, Copy)]
struct Request<'a> {
    outgoing: &'a Outgoing<'a>,
    framing: Framing,
    asked: Asked<'a>,
    /// Whether it may reach a service twice: it is idempotent, and has no body to be used up.
    repeatable: bool,
}

/// A new connection, unless the request turns out to be broken meanwhile.
async fn connect(
    call: &Call,
    mut body: Option<&mut RequestBody>,
) -> Result<Box<Connection>, Error> {
    // Boxed, since it is large, and most requests find a connection in the pool.
    let mut connecting = Box::pin(connect::connect(call.upstream(), call.instance()));
    let stream = poll_fn(|cx| match body.as_mut().map(|body| body.poll_ahead(cx)) {
        Some(Poll::Ready(kind)) => Poll::Ready(Err(Error::new(kind, Phase::Send))),
        _ => connecting.as_mut().poll(cx),
    });
    Ok(Box::new(Connection::over(stream.await?)))
}

/// Sends a request on a connection and waits for the answer's head.
async fn exchange(
    mut connection: Box<Connection>,
    call: &Call,
    request: Request<'_>,
    traced: &Traced,
    body: Option<Box<RequestBody>>,
) -> Result<(Head, Box<Connection>), NoAnswer> {
    let Request { outgoing, framing, asked, .. } = request;
    connection
        .begin(body, asked.upgrade.is_some(), |out| {
            let onward = traced.onward();
            head::write(call.instance(), outgoing, framing, asked.upgrade, onward, out)
        })
        .map_err(NoAnswer::Failed)?;
    let head = poll_fn(|cx| connection.poll_head(cx, call.upstream(), asked.head)).await?;
    Ok((head, connection))
}
