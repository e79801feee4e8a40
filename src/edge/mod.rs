//! The outermost layer of every listener: request ids, problems, panics, the access line, and which
//! pages of other origins may read answers.
//!
//! It knows no module. What the gateway settled about a request it finds as [`Labels`] in the
//! request's extensions.

mod access;
mod cors;
pub mod metrics;
mod public;
mod request_id;
mod span;
mod traced;

use std::{
    any::Any,
    future::{Future, Ready, ready},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{self, Context, Poll},
};

use actix_http::{ConnectionType, HttpMessage as _, Request, RequestHead};
use actix_service::{Service, Transform, forward_ready};
use actix_web::{
    Error, HttpResponse,
    body::{BodySize, EitherBody, MessageBody},
    http::{Method, StatusCode},
};
use pin_project_lite::pin_project;
use tokio_util::task::TaskTracker;

pub use self::{
    access::Labels,
    cors::{Cors, CorsSettings, Origin},
    public::PublicBase,
    request_id::{REQUEST_ID, RequestId},
};
use self::{
    access::{Access, CountedBody},
    cors::Sharing,
    metrics::Active,
};
use crate::{
    connection::Exchange,
    problem::{Kind, Problem},
};

/// What `Allow` says where a method is known nowhere: `CONNECT` asks for a kind of proxy that
/// this is not.
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// Whether the process is about to end. From then on each answer ends its connection (RFC 9112, 9.6),
/// so that a balancer has none left to send a request into when they are closed.
#[derive(Clone, Debug, Default)]
pub struct Leaving(Arc<AtomicBool>);

impl Leaving {
    /// It is, for good.
    pub fn begin(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn has_begun(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The factory of this layer. It stands in front of actix-web, which not every request reaches.
#[derive(Clone, Debug)]
pub struct Edge {
    work: TaskTracker,
    cors: Option<Arc<Cors>>,
    leaving: Leaving,
    measured: bool,
}

impl Edge {
    /// Every request counts as one of `work` until its response has been sent or given up.
    /// Answers are shared with pages of other origins by the rules of `cors`, if there are any.
    pub fn new(work: TaskTracker, cors: Option<Arc<Cors>>, leaving: Leaving) -> Self {
        Self { work, cors, leaving, measured: true }
    }

    /// The same for a listener whose requests are no clients': metrics do not count them.
    #[must_use]
    pub fn unmeasured(self) -> Self {
        Self { measured: false, ..self }
    }
}

impl<S, B> Transform<S, Request> for Edge
where
    S: Service<Request, Response = HttpResponse<B>, Error = Error>,
    B: MessageBody + 'static,
{
    type Response = HttpResponse<CountedBody<EitherBody<B>>>;
    type Error = Error;
    type Transform = EdgeService<S>;
    type InitError = ();
    type Future = Ready<Result<Self::Transform, ()>>;

    fn new_transform(&self, service: S) -> Self::Future {
        let Self { work, cors, leaving, measured } = self.clone();
        ready(Ok(EdgeService { service, work, cors, leaving, measured }))
    }
}

/// The service of this layer.
#[derive(Debug)]
pub struct EdgeService<S> {
    service: S,
    work: TaskTracker,
    cors: Option<Arc<Cors>>,
    leaving: Leaving,
    measured: bool,
}

impl<S, B> Service<Request> for EdgeService<S>
where
    S: Service<Request, Response = HttpResponse<B>, Error = Error>,
    B: MessageBody + 'static,
{
    type Response = HttpResponse<CountedBody<EitherBody<B>>>;
    type Error = Error;
    type Future = EdgeFuture<S::Future>;

    forward_ready!(service);

    fn call(&self, mut request: Request) -> Self::Future {
        let labels = Labels::of(request.headers(), self.cors.as_ref());
        let mut access = Access::of(request.head(), labels);
        access.work = Some(self.work.token());
        access.active = self.measured.then(Active::begin).flatten();
        access.exchange = Exchange::begin(&mut request);
        access.span = span::begin(request.method(), &access.labels);
        let asks_for_upgrade = request.head().upgrade();
        request.extensions_mut().insert(access.labels.clone());
        let inner = if *request.method() == Method::CONNECT {
            let problem = Problem::new(Kind::MethodNotAllowed).allow(METHODS);
            Inner::Refused { error: Some(problem.into()) }
        } else {
            let call = AssertUnwindSafe(|| self.service.call(request));
            let _traced = access.enter();
            match access.span.in_scope(|| catch_unwind(call)) {
                Ok(future) => Inner::Called { future },
                Err(panic) => Inner::Refused { error: Some(panicked(&*panic)) },
            }
        };
        let leaving = self.leaving.clone();
        EdgeFuture { inner, access: Some(access), asks_for_upgrade, leaving }
    }
}

pin_project! {
    /// A request on its way through the layers below.
    pub struct EdgeFuture<F> {
        #[pin]
        inner: Inner<F>,
        access: Option<Access>,
        asks_for_upgrade: bool,
        leaving: Leaving,
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
    F: Future<Output = Result<HttpResponse<B>, Error>>,
    B: MessageBody + 'static,
{
    type Output = Result<HttpResponse<CountedBody<EitherBody<B>>>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Some(access) = this.access else { return Poll::Pending };
        let outcome = match this.inner.project() {
            // A panic must still be answered and logged with the request's id. What it may have
            // left half-done belongs to this request alone.
            InnerProjection::Called { future } => {
                let poll = AssertUnwindSafe(|| future.poll(cx));
                let _traced = access.enter();
                match access.span.in_scope(|| catch_unwind(poll)) {
                    Ok(polled) => task::ready!(polled),
                    Err(panic) => Err(panicked(&*panic)),
                }
            }
            InnerProjection::Refused { error } => match error.take() {
                Some(error) => Err(error),
                None => return Poll::Pending,
            },
        };
        let Some(access) = this.access.take() else { return Poll::Pending };
        // Asked to switch protocols, actix says that it does whatever the answer is.
        let closes = *this.asks_for_upgrade || this.leaving.has_begun();
        Poll::Ready(Ok(finish(outcome, access, closes)))
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
    outcome: Result<HttpResponse<B>, Error>,
    mut access: Access,
    closes: bool,
) -> HttpResponse<CountedBody<EitherBody<B>>> {
    let _traced = access.enter();
    let mut response = match outcome {
        Ok(response) => match response.error() {
            Some(error) => access.render(error).map_into_right_body(),
            None => response.map_into_left_body(),
        },
        Err(error) => access.render(&error).map_into_right_body(),
    };
    access.labels.mark(response.headers_mut());
    if closes && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        response.head_mut().set_connection_type(ConnectionType::Close);
    }
    access.status = response.status();
    access.complete = matches!(response.body().size(), BodySize::None | BodySize::Sized(0));
    if let Some(exchange) = &access.exchange {
        let size = response.body().size();
        let until_close = size == BodySize::Stream && !response.head().chunked();
        exchange.answered(size, until_close);
    }
    span::end(&access.span, access.status, &access.labels);
    response.map_body(|_, body| CountedBody { body, access })
}

/// Renders the problem with which a request is refused before [`Edge`] sees it (while the client
/// waits for `100 Continue`), and logs its access line.
pub fn refuse(head: &RequestHead, labels: Labels, problem: Problem) -> HttpResponse {
    let mut access = Access::of(head, labels);
    access.active = Active::begin();
    let error = Error::from(problem);
    let mut response = access.render(&error);
    access.labels.mark(response.headers_mut());
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

#[cfg(test)]
mod tests {
    use actix_http::test::TestRequest;
    use actix_service::fn_service;

    use super::*;

    async fn broken(_: Request) -> Result<HttpResponse, Error> {
        panic!("broken")
    }

    #[tokio::test]
    async fn a_panic_is_answered_as_a_problem_of_its_request() {
        let work = TaskTracker::new();
        let edge = Edge::new(work.clone(), None, Leaving::default());
        let service = edge.new_transform(fn_service(broken)).await.unwrap();
        let request = TestRequest::default().insert_header((REQUEST_ID, "mine")).finish();
        let response = service.call(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(response.headers().get(REQUEST_ID).unwrap(), "mine");
        assert_eq!(work.len(), 1, "it is work until it has been sent");
        drop(response);
        assert!(work.is_empty());
    }
}
