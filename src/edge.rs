//! The outermost layer of every listener: request ids, problems, panics and the access line.
//!
//! It knows no module. What the gateway settled about a request it finds as [`Labels`] in the
//! request's extensions.

use std::{
    any::Any,
    cell::RefCell,
    fmt,
    future::{Future, Ready, ready},
    net::IpAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{self, Context, Poll},
    time::Instant,
};

use actix_web::{
    Error, HttpMessage, HttpResponse, ResponseError,
    body::{BodySize, EitherBody, MessageBody},
    dev::{Service, ServiceRequest, ServiceResponse, Transform, forward_ready},
    http::{
        Method, StatusCode, Uri,
        header::{HeaderMap, HeaderName, HeaderValue},
    },
    web::Bytes,
};
use pin_project_lite::pin_project;
use tokio_util::task::{TaskTracker, task_tracker::TaskTrackerToken};
use tracing::Span;
use tracing_actix_web::RootSpanBuilder;
use uuid::Uuid;

use crate::{
    problem::{Kind, Problem},
    telemetry::access::{self, AccessLine},
};

/// What `Allow` says where a method is known nowhere: `CONNECT` asks for a kind of proxy that
/// this is not.
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// The header that carries a request's id, both ways.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A request's id: the client's own if it is 1 to 128 visible ASCII characters, else a new
/// UUIDv7.
#[derive(Clone, Debug)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// The id for a request with these fields.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut sent = headers.get_all(&REQUEST_ID);
        if let (Some(id), None) = (sent.next(), sent.next())
            && (1..=128).contains(&id.len())
            && id.as_bytes().iter().all(u8::is_ascii_graphic)
        {
            return Self(id.clone());
        }
        let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
        let id = Uuid::now_v7().hyphenated().encode_lower(&mut text);
        Self(HeaderValue::from_str(id).unwrap_or_else(|_| HeaderValue::from_static("unknown")))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or("unknown")
    }
}

/// What the access line tells beyond the request itself. Whoever learns it fills it in.
#[derive(Clone, Debug, Default)]
pub struct Labels(Rc<RefCell<LabelValues>>);

#[derive(Debug, Default)]
struct LabelValues {
    service: Option<Arc<str>>,
    tenant: Option<Arc<str>>,
    received: Option<u64>,
}

impl Labels {
    /// Tells the service and the tenant that a request was admitted for.
    pub fn admitted(&self, service: Arc<str>, tenant: Option<Arc<str>>) {
        let mut values = self.0.borrow_mut();
        values.service = Some(service);
        values.tenant = tenant;
    }

    /// Tells how many bytes of body came in.
    pub fn received(&self, bytes: u64) {
        self.0.borrow_mut().received = Some(bytes);
    }
}

/// The request's root span, for filters that ask for it (`debug`) and for exporters. The
/// access line alone carries the same fields at a tenth of the cost.
pub struct RequestSpan;

impl RootSpanBuilder for RequestSpan {
    fn on_request_start(request: &ServiceRequest) -> Span {
        let span = tracing::debug_span!(
            "request",
            request_id = tracing::field::Empty,
            method = %request.method(),
            service = tracing::field::Empty,
            tenant = tracing::field::Empty,
            status = tracing::field::Empty,
            received = tracing::field::Empty,
        );
        if !span.is_disabled()
            && let Some(id) = request.extensions().get::<RequestId>()
        {
            span.record("request_id", id.as_str());
        }
        span
    }

    fn on_request_end<B: MessageBody>(span: Span, outcome: &Result<ServiceResponse<B>, Error>) {
        if span.is_disabled() {
            return;
        }
        let Ok(response) = outcome else { return };
        span.record("status", response.status().as_u16());
        if let Some(labels) = response.request().extensions().get::<Labels>() {
            let values = labels.0.borrow();
            span.record("service", values.service.as_deref());
            span.record("tenant", values.tenant.as_deref());
            span.record("received", values.received);
        }
    }
}

/// The middleware factory of this layer.
#[derive(Clone, Debug)]
pub struct Edge {
    work: TaskTracker,
}

impl Edge {
    /// Every request counts as one of `work` until its response has been sent or given up.
    pub fn new(work: TaskTracker) -> Self {
        Self { work }
    }
}

impl<S, B> Transform<S, ServiceRequest> for Edge
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
    B: MessageBody + 'static,
{
    type Response = ServiceResponse<CountedBody<EitherBody<B>>>;
    type Error = Error;
    type Transform = EdgeMiddleware<S>;
    type InitError = ();
    type Future = Ready<Result<Self::Transform, ()>>;

    fn new_transform(&self, service: S) -> Self::Future {
        ready(Ok(EdgeMiddleware { service, work: self.work.clone() }))
    }
}

/// The middleware of this layer.
#[derive(Debug)]
pub struct EdgeMiddleware<S> {
    service: S,
    work: TaskTracker,
}

impl<S, B> Service<ServiceRequest> for EdgeMiddleware<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
    B: MessageBody + 'static,
{
    type Response = ServiceResponse<CountedBody<EitherBody<B>>>;
    type Error = Error;
    type Future = EdgeFuture<S::Future>;

    forward_ready!(service);

    fn call(&self, request: ServiceRequest) -> Self::Future {
        let mut access = Access::of(request.head());
        access.work = Some(self.work.token());
        request.extensions_mut().insert(access.request_id.clone());
        request.extensions_mut().insert(access.labels.clone());
        if *request.method() == Method::CONNECT {
            let problem = Problem::new(Kind::MethodNotAllowed).allow(METHODS);
            let inner = Inner::Refused { error: Some(problem.into()) };
            return EdgeFuture { inner, access: Some(access) };
        }
        let called = catch_unwind(AssertUnwindSafe(|| self.service.call(request)));
        let inner = match called {
            Ok(future) => Inner::Called { future },
            Err(panic) => Inner::Refused { error: Some(panicked(&*panic)) },
        };
        EdgeFuture { inner, access: Some(access) }
    }
}

pin_project! {
    /// A request on its way through the layers below.
    pub struct EdgeFuture<F> {
        #[pin]
        inner: Inner<F>,
        access: Option<Access>,
    }
}

pin_project! {
    #[project = InnerProjection]
    enum Inner<F> {
        Called { #[pin] future: F },
        Refused { error: Option<Error> },
    }
}

impl<F, B> Future for EdgeFuture<F>
where
    F: Future<Output = Result<ServiceResponse<B>, Error>>,
    B: MessageBody + 'static,
{
    type Output = Result<ServiceResponse<CountedBody<EitherBody<B>>>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let outcome = match this.inner.project() {
            // A panic must still be answered and logged with the request's id. What it may have
            // left half-done belongs to this request alone.
            InnerProjection::Called { future } => {
                match catch_unwind(AssertUnwindSafe(|| future.poll(cx))) {
                    Ok(polled) => task::ready!(polled),
                    Err(panic) => Err(panicked(&*panic)),
                }
            }
            InnerProjection::Refused { error } => match error.take() {
                Some(error) => Err(error),
                None => return Poll::Pending,
            },
        };
        let Some(access) = this.access.take() else {
            return Poll::Pending;
        };
        Poll::Ready(match outcome {
            Ok(response) => Ok(finish(response, access)),
            Err(error) => Err(finish_without_request(&error, access)),
        })
    }
}

fn panicked(panic: &(dyn Any + Send)) -> Error {
    Problem::new(Kind::Internal).because(panic_message(panic)).into()
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("panic: {}", text.unwrap_or("without a message"))
}

/// Renders a problem if there is one, and sets what every response carries.
fn finish<B: MessageBody + 'static>(
    response: ServiceResponse<B>,
    mut access: Access,
) -> ServiceResponse<CountedBody<EitherBody<B>>> {
    let rendered = response.response().error().map(|error| access.render(error));
    let (request, response) = response.into_parts();
    let mut response = match rendered {
        Some(rendered) => rendered.map_into_right_body(),
        None => response.map_into_left_body(),
    };
    response.headers_mut().insert(REQUEST_ID, access.request_id.0.clone());
    access.status = response.status();
    access.complete = matches!(response.body().size(), BodySize::None | BodySize::Sized(0));
    let counted = response.map_body(|_, body| CountedBody { body, access });
    ServiceResponse::new(request, counted)
}

/// The same where the layers below lost the request, as after a panic.
fn finish_without_request(error: &Error, mut access: Access) -> Error {
    let rendered = access.render(error);
    access.status = rendered.status();
    let request_id = access.request_id.clone();
    match error.as_error::<Problem>() {
        Some(problem) => {
            Rendered { kind: problem.kind(), allow: problem.allowed(), request_id }.into()
        }
        None => Rendered { kind: Kind::Internal, allow: None, request_id }.into(),
    }
}

/// A problem that knows its request's id, for where actix renders it.
#[derive(Debug)]
struct Rendered {
    kind: Kind,
    allow: Option<&'static str>,
    request_id: RequestId,
}

impl fmt::Display for Rendered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.title())
    }
}

impl ResponseError for Rendered {
    fn status_code(&self) -> StatusCode {
        self.kind.status()
    }

    fn error_response(&self) -> HttpResponse {
        let problem = Problem::new(self.kind);
        let problem = match self.allow {
            Some(methods) => problem.allow(methods),
            None => problem,
        };
        let mut response = problem.respond(self.request_id.as_str());
        response.headers_mut().insert(REQUEST_ID, self.request_id.0.clone());
        response
    }
}

/// Renders the problem with which a request is refused before it becomes one of actix-web's
/// (while the client waits for `100 Continue`), and logs its access line.
pub fn refuse(head: &actix_http::RequestHead, problem: Problem) -> HttpResponse {
    let mut access = Access::of(head);
    let error = Error::from(problem);
    let mut response = access.render(&error);
    response.headers_mut().insert(REQUEST_ID, access.request_id.0.clone());
    access.status = response.status();
    access.complete = true;
    response
}

/// What the access line says of a request whose client left before there was a status; nginx's
/// number for it.
fn client_closed_request() -> StatusCode {
    StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST)
}

/// One request's access line, written when the response's body ends or is given up.
#[derive(Debug)]
struct Access {
    request_id: RequestId,
    labels: Labels,
    started: Instant,
    method: Method,
    uri: Uri,
    peer: Option<IpAddr>,
    status: StatusCode,
    sent: u64,
    complete: bool,
    problem: Option<(Kind, Option<&'static str>)>,
    work: Option<TaskTrackerToken>,
}

impl Access {
    fn of(head: &actix_http::RequestHead) -> Self {
        Self {
            request_id: RequestId::of(head.headers()),
            labels: Labels::default(),
            started: Instant::now(),
            method: head.method.clone(),
            uri: head.uri.clone(),
            peer: head.peer_addr.map(|addr| addr.ip()),
            status: client_closed_request(),
            sent: 0,
            complete: false,
            problem: None,
            work: None,
        }
    }

    /// Renders an error with the request's id. A defect's or outage's cause is logged here, once.
    fn render(&mut self, error: &Error) -> HttpResponse {
        let foreign;
        let problem = match error.as_error::<Problem>() {
            Some(problem) => problem,
            None => {
                let kind = match error.as_response_error().status_code() {
                    StatusCode::NOT_FOUND => Kind::NotFound,
                    StatusCode::METHOD_NOT_ALLOWED => Kind::MethodNotAllowed,
                    StatusCode::PAYLOAD_TOO_LARGE => Kind::TooLarge,
                    _ => Kind::Internal,
                };
                foreign = Problem::new(kind).because(error.to_string());
                &foreign
            }
        };
        self.problem = Some((problem.kind(), problem.reason_word()));
        if problem.kind().status().is_server_error() {
            let cause = problem.chain();
            tracing::error!(
                request_id = self.request_id.as_str(),
                problem = problem.kind().slug(),
                reason = problem.reason_word(),
                cause = cause.as_deref(),
                "a request failed"
            );
        }
        problem.respond(self.request_id.as_str())
    }
}

impl Drop for Access {
    fn drop(&mut self) {
        if !access::enabled() {
            return;
        }
        let labels = self.labels.0.borrow();
        let (problem, reason) = match self.problem {
            Some((kind, reason)) => (Some(kind.slug()), reason),
            None => (None, None),
        };
        access::write(&AccessLine {
            request_id: self.request_id.as_str(),
            method: self.method.as_str(),
            path: self.uri.path(),
            service: labels.service.as_deref(),
            tenant: labels.tenant.as_deref(),
            status: self.status.as_u16(),
            problem,
            reason,
            received: labels.received,
            sent: self.sent,
            complete: self.complete,
            duration: self.started.elapsed(),
            peer: self.peer,
        });
    }
}

pin_project! {
    /// A response's body that counts what it sends, for the access line.
    pub struct CountedBody<B> {
        #[pin]
        body: B,
        access: Access,
    }
}

impl<B: MessageBody> MessageBody for CountedBody<B> {
    type Error = B::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let this = self.project();
        let polled = this.body.poll_next(cx);
        match &polled {
            Poll::Ready(Some(Ok(chunk))) if this.access.method != Method::HEAD => {
                this.access.sent += chunk.len() as u64;
            }
            Poll::Ready(None) => this.access.complete = true,
            _ => {}
        }
        polled
    }
}

/// Logs every panic with its place; [`Edge`] adds the request's id and answers.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        tracing::error!(place, "{}", panic_message(panic.payload()));
    }));
}

/// The peers that are believed about whom they speak for.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(pub Arc<[ipnet::IpNet]>);

impl TrustedProxies {
    /// Whether `peer` is one of them.
    pub fn contains(&self, peer: IpAddr) -> bool {
        self.0.iter().any(|net| net.contains(&peer.to_canonical()))
    }
}
