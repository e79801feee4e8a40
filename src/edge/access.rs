//! What a request's access line tells, gathered until its response has been sent or given up.

use std::{
    cell::{Ref, RefCell},
    net::IpAddr,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use actix_web::{
    Error, HttpResponse,
    body::{BodySize, MessageBody},
    http::{
        Method, StatusCode, Uri,
        header::{HeaderMap, HeaderName, HeaderValue},
    },
    web::Bytes,
};
use pin_project_lite::pin_project;
use smallvec::SmallVec;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::Span;

use super::{
    Cors, REQUEST_ID, RequestId, Sharing,
    metrics::{Active, Ended},
    traced,
};
use crate::{
    connection::Exchange,
    problem::{Kind, Problem},
    telemetry::access::{self, AccessLine},
    trace,
};

/// A request's id, and what the access line tells beyond the request itself: whoever learns it
/// fills it in.
#[derive(Clone, Debug)]
pub struct Labels(Rc<(RequestId, RefCell<LabelValues>)>);

#[derive(Debug, Default)]
pub(super) struct LabelValues {
    pub(super) service: Option<Arc<str>>,
    pub(super) tenant: Option<Arc<str>>,
    pub(super) principal: Option<Arc<str>>,
    fields: SmallVec<[(HeaderName, HeaderValue); 2]>,
    sharing: Option<Sharing>,
    pub(super) received: Option<u64>,
    pub(super) sent: Option<u64>,
    pub(super) route: Option<String>,
}

impl Labels {
    /// The labels of a request with these fields, which settle its id and the pages that may read its answer.
    pub fn of(headers: &HeaderMap, cors: Option<&Arc<Cors>>) -> Self {
        let sharing = cors.map(|cors| Sharing::of(cors, headers));
        let values = LabelValues { sharing, ..LabelValues::default() };
        Self(Rc::new((RequestId::of(headers), RefCell::new(values))))
    }

    /// The request's id.
    pub fn request_id(&self) -> &RequestId {
        &self.0.0
    }

    /// Tells the service and the tenant that a request is for, and who sent it.
    pub fn settled(
        &self,
        service: Arc<str>,
        tenant: Option<Arc<str>>,
        principal: Option<Arc<str>>,
    ) {
        let mut values = self.0.1.borrow_mut();
        values.service = Some(service);
        values.tenant = tenant;
        values.principal = principal;
    }

    /// Adds a field to the answer, whatever that turns out to be.
    pub fn answer_with(&self, name: HeaderName, value: HeaderValue) {
        self.0.1.borrow_mut().fields.push((name, value));
    }

    /// Sets what every answer to the request carries; once.
    pub fn mark(&self, headers: &mut HeaderMap) {
        headers.insert(REQUEST_ID, self.request_id().value());
        let mut values = self.0.1.borrow_mut();
        for (name, value) in values.fields.drain(..) {
            headers.insert(name, value);
        }
        if let Some(sharing) = &values.sharing {
            sharing.mark(headers);
        }
    }

    pub(super) fn values(&self) -> Ref<'_, LabelValues> {
        self.0.1.borrow()
    }

    /// Tells how many bytes a tunnel carried from and to the client.
    pub fn carried(&self, received: u64, sent: u64) {
        let mut values = self.0.1.borrow_mut();
        values.received = Some(received);
        values.sent = Some(sent);
    }

    /// Tells which route the path took: the path with a name in place of each part that differs from
    /// request to request. For traces that are sampled.
    pub fn routed(&self, route: String) {
        self.0.1.borrow_mut().route = Some(route);
    }

    /// Tells how many bytes of body came in.
    pub fn received(&self, bytes: u64) {
        self.0.1.borrow_mut().received = Some(bytes);
    }
}

/// What the access line says of a request whose client left before there was a status; nginx's
/// number for it.
fn client_closed_request() -> StatusCode {
    StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST)
}

/// One request's access line, written when the response's body ends or is given up.
#[derive(Debug)]
pub(super) struct Access {
    pub(super) labels: Labels,
    started: Instant,
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) peer: Option<IpAddr>,
    pub(super) status: StatusCode,
    pub(super) sent: u64,
    pub(super) complete: bool,
    /// The response's body could not be had to its end.
    pub(super) broken: bool,
    problem: Option<(Kind, Option<&'static str>)>,
    /// Where metrics count it.
    pub(super) active: Option<Active>,
    pub(super) work: Option<TaskTrackerToken>,
    pub(super) exchange: Option<Exchange>,
    pub(super) span: Span,
    trace: Option<trace::Span>,
}

impl Access {
    pub(super) fn of(head: &actix_http::RequestHead, labels: Labels) -> Self {
        Self {
            labels,
            started: Instant::now(),
            method: head.method.clone(),
            uri: head.uri.clone(),
            peer: head.peer_addr.map(|addr| addr.ip()),
            status: client_closed_request(),
            sent: 0,
            complete: false,
            broken: false,
            problem: None,
            active: None,
            work: None,
            exchange: None,
            span: Span::none(),
            trace: traced::begin(head),
        }
    }

    /// Lets what is done until this is dropped belong to the request's trace, if it has one.
    pub(super) fn enter(&self) -> Option<trace::Entered> {
        self.trace.as_ref().map(trace::Span::enter)
    }

    /// The slug and the reason of the problem that it was answered with, if with one.
    pub(super) fn problem_words(&self) -> (Option<&'static str>, Option<&'static str>) {
        self.problem.map_or((None, None), |(kind, reason)| (Some(kind.slug()), reason))
    }

    pub(super) fn request_id(&self) -> &RequestId {
        self.labels.request_id()
    }

    /// Renders an error with the request's id. A defect's or failure's cause is logged here, once.
    pub(super) fn render(&mut self, error: &Error) -> HttpResponse {
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
        let cause = problem.chain();
        // Without a cause it is no failure, but a refusal whose reason was logged when it began.
        let failed = cause.is_some() || problem.kind() == Kind::Internal;
        if failed && problem.kind().status().is_server_error() {
            tracing::error!(
                request_id = self.request_id().as_str(),
                problem = problem.kind().slug(),
                reason = problem.reason_word(),
                cause = cause.as_deref(),
                "a request failed"
            );
        }
        problem.respond(self.request_id().as_str())
    }
}

impl Drop for Access {
    fn drop(&mut self) {
        if let (false, Some(exchange)) = (self.complete, &self.exchange) {
            exchange.broken_off();
        }
        if let Some(span) = &self.trace {
            traced::end(span, self);
        }
        let (labels, duration) = (self.labels.values(), self.started.elapsed());
        let sent = labels.sent.unwrap_or(self.sent);
        let (problem, reason) = self.problem_words();
        let ended = Ended {
            service: labels.service.as_deref().unwrap_or_default(),
            method: &self.method,
            status: self.status,
            problem,
            reason,
            received: labels.received,
            sent,
            complete: self.complete,
            duration,
        };
        if let Some(active) = self.active.take() {
            active.end(&ended);
        }
        if !access::enabled() {
            return;
        }
        let trace_id = self.trace.as_ref().map(trace::Span::trace_id);
        access::write(&AccessLine {
            request_id: self.request_id().as_str(),
            method: self.method.as_str(),
            path: self.uri.path(),
            service: labels.service.as_deref(),
            tenant: labels.tenant.as_deref(),
            principal: labels.principal.as_deref(),
            status: self.status.as_u16(),
            problem,
            reason,
            received: labels.received,
            sent,
            complete: self.complete,
            duration,
            peer: self.peer,
            trace_id: trace_id.as_deref(),
        });
    }
}

pin_project! {
    /// A response's body that counts what it sends, for the access line.
    pub struct CountedBody<B> {
        #[pin]
        pub(super) body: B,
        pub(super) access: Access,
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
        let _traced = this.access.enter();
        let polled = this.access.span.in_scope(|| this.body.poll_next(cx));
        match &polled {
            Poll::Ready(Some(Ok(chunk))) if this.access.method != Method::HEAD => {
                this.access.sent += chunk.len() as u64;
            }
            Poll::Ready(Some(Err(_))) => this.access.broken = true,
            Poll::Ready(None) => this.access.complete = true,
            _ => {}
        }
        polled
    }
}
