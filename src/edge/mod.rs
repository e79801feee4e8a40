//! The outermost layer of every listener: request ids, problems, panics, the access line, and which
//! pages of other origins may read answers.
//!
//! It knows no module. What the gateway settled about a request it finds as [`Labels`] in the
//! request's extensions.

mod access;
mod cors;
mod request_id;
mod span;

use std::{
    any::Any,
    fmt,
    future::{Future, Ready, ready},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{self, Context, Poll},
};

use actix_http::ConnectionType;
use actix_web::{
    Error, HttpMessage, HttpResponse, ResponseError,
    body::{BodySize, EitherBody, MessageBody},
    dev::{Service, ServiceRequest, ServiceResponse, Transform, forward_ready},
    http::{Method, StatusCode},
};
use pin_project_lite::pin_project;
use tokio_util::task::TaskTracker;

pub use self::{
    access::Labels,
    cors::{Cors, CorsSettings},
    request_id::{REQUEST_ID, RequestId},
    span::RequestSpan,
};
use self::{
    access::{Access, CountedBody},
    cors::Sharing,
};
use crate::{
    connection::Exchange,
    problem::{Kind, Problem},
};

/// What `Allow` says where a method is known nowhere: `CONNECT` asks for a kind of proxy that
/// this is not.
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// The middleware factory of this layer.
#[derive(Clone, Debug)]
pub struct Edge {
    work: TaskTracker,
    cors: Option<Arc<Cors>>,
}

impl Edge {
    /// Every request counts as one of `work` until its response has been sent or given up.
    /// Answers are shared with pages of other origins by the rules of `cors`, if there are any.
    pub fn new(work: TaskTracker, cors: Option<Arc<Cors>>) -> Self {
        Self { work, cors }
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
        ready(Ok(EdgeMiddleware { service, work: self.work.clone(), cors: self.cors.clone() }))
    }
}

/// The middleware of this layer.
#[derive(Debug)]
pub struct EdgeMiddleware<S> {
    service: S,
    work: TaskTracker,
    cors: Option<Arc<Cors>>,
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

    fn call(&self, mut request: ServiceRequest) -> Self::Future {
        let labels = Labels::of(request.headers());
        let mut access = Access::of(request.head(), labels, self.cors.as_ref());
        access.work = Some(self.work.token());
        access.exchange = Exchange::begin(&mut request);
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
    access.mark(response.headers_mut());
    // Asked to switch protocols, actix says that it does whatever the answer is.
    if request.head().upgrade() && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        response.head_mut().set_connection_type(ConnectionType::Close);
    }
    access.status = response.status();
    access.complete = matches!(response.body().size(), BodySize::None | BodySize::Sized(0));
    if let Some(exchange) = &access.exchange {
        let size = response.body().size();
        let until_close = size == BodySize::Stream && !response.head().chunked();
        exchange.answered(size, until_close);
    }
    let counted = response.map_body(|_, body| CountedBody { body, access });
    ServiceResponse::new(request, counted)
}

/// The same where the layers below lost the request, as after a panic.
fn finish_without_request(error: &Error, mut access: Access) -> Error {
    let rendered = access.render(error);
    access.status = rendered.status();
    let (kind, allow) = match error.as_error::<Problem>() {
        Some(problem) => (problem.kind(), problem.allowed()),
        None => (Kind::Internal, None),
    };
    let (labels, sharing) = (access.labels.clone(), access.sharing.clone());
    Rendered { kind, allow, labels, sharing }.into()
}

/// A problem that knows its request's labels, for where actix renders it.
#[derive(Debug)]
struct Rendered {
    kind: Kind,
    allow: Option<&'static str>,
    labels: Labels,
    sharing: Option<Sharing>,
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
        let mut response = problem.respond(self.labels.request_id().as_str());
        let headers = response.headers_mut();
        self.labels.mark(headers);
        if let Some(sharing) = &self.sharing {
            sharing.mark(headers);
        }
        response
    }
}

/// Renders the problem with which a request is refused before it becomes one of actix-web's
/// (while the client waits for `100 Continue`), and logs its access line.
pub fn refuse(
    head: &actix_http::RequestHead,
    labels: Labels,
    problem: Problem,
    cors: Option<&Arc<Cors>>,
) -> HttpResponse {
    let mut access = Access::of(head, labels, cors);
    let error = Error::from(problem);
    let mut response = access.render(&error);
    access.mark(response.headers_mut());
    access.status = response.status();
    access.complete = true;
    response
}

/// Logs every panic with its place; [`Edge`] adds the request's id and answers.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        tracing::error!(place, "{}", panic_message(panic.payload()));
    }));
}
