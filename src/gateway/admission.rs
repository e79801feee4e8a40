//! The gateway scope's one middleware: a request is admitted, or answered here.

use std::{
    future::{Future, Ready, ready},
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
};

use actix_web::{
    Error, HttpMessage,
    body::{EitherBody, MessageBody},
    dev::{Service, ServiceRequest, ServiceResponse, Transform, forward_ready},
    http::header::{AUTHORIZATION, HeaderValue},
};
use futures_util::future::LocalBoxFuture;
use pin_project_lite::pin_project;

use super::{Admitted, Decision, Early, Gateway, Target, auth::API_KEY};
use crate::{
    edge::Labels,
    tenant::{self, Tenant, TenantId},
};

/// The middleware factory.
pub struct Admission(Gateway);

impl Admission {
    /// Admits by this gateway's rules.
    pub fn new(gateway: Gateway) -> Self {
        Self(gateway)
    }
}

impl<S, B> Transform<S, ServiceRequest> for Admission
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
    B: MessageBody,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = Error;
    type Transform = AdmissionMiddleware<S>;
    type InitError = ();
    type Future = Ready<Result<Self::Transform, ()>>;

    fn new_transform(&self, service: S) -> Self::Future {
        ready(Ok(AdmissionMiddleware { service: Rc::new(service), gateway: self.0.clone() }))
    }
}

/// The middleware.
pub struct AdmissionMiddleware<S> {
    service: Rc<S>,
    gateway: Gateway,
}

impl<S, B> Service<ServiceRequest> for AdmissionMiddleware<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
    B: MessageBody,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = Error;
    type Future = AdmissionFuture<S, B>;

    forward_ready!(service);

    fn call(&self, request: ServiceRequest) -> Self::Future {
        // A client that waited for `100 Continue` has been decided on.
        let decided = request.extensions_mut().remove::<Admitted>();
        let decision = match decided {
            Some(admitted) => Decision::Now(Ok(admitted)),
            None => self.gateway.admit(request.head()),
        };
        match decision {
            Decision::Now(Ok(admitted)) => {
                AdmissionFuture::Admitted { inner: self.service.call(marked(request, admitted)) }
            }
            Decision::Now(Err(early)) => {
                AdmissionFuture::Answered { response: Some(answer(request, early)) }
            }
            Decision::Later(deciding) => AdmissionFuture::Deciding {
                deciding,
                request: Some(request),
                service: Rc::clone(&self.service),
            },
        }
    }
}

/// The request, with what was settled about it for whoever comes next.
fn marked(mut request: ServiceRequest, mut admitted: Admitted) -> ServiceRequest {
    if let (Some(principal), Target::Module(_)) = (&admitted.principal, &admitted.service.target) {
        request.extensions_mut().insert(principal.clone());
        // As a remote service would get it.
        let headers = request.headers_mut();
        headers.remove(AUTHORIZATION);
        headers.remove(API_KEY);
        let tenant = admitted.tenant.as_ref().map(TenantId::as_str);
        if let Some(Ok(tenant)) = tenant.map(HeaderValue::from_str) {
            headers.insert(tenant::HEADER, tenant);
        }
    }
    let mut extensions = request.extensions_mut();
    if let Some(labels) = extensions.get::<Labels>() {
        let tenant = admitted.tenant.as_ref().map(TenantId::shared);
        labels.admitted(Arc::clone(&admitted.service.name), tenant);
        for (name, value) in admitted.counted.take().iter().flat_map(|counted| counted.fields()) {
            labels.answer_with(name, value);
        }
    }
    if let Some(tenant) = &admitted.tenant {
        extensions.insert(Tenant(tenant.clone()));
    }
    extensions.insert(admitted);
    drop(extensions);
    request
}

/// The answer to a request that is not admitted.
fn answer<B>(request: ServiceRequest, early: Early) -> ServiceResponse<EitherBody<B>> {
    early.audit(request.extensions().get::<Labels>());
    match early {
        Early::Refused(problem, _) => request.error_response(*problem),
        Early::Preflight(answer) => request.into_response(*answer),
    }
    .map_into_right_body()
}

pin_project! {
    /// A request behind the middleware, on its way there, or its answer.
    #[project = AdmissionFutureProjection]
    #[project_replace = AdmissionFutureReplaced]
    pub enum AdmissionFuture<S, B>
    where
        S: Service<ServiceRequest>,
    {
        Admitted { #[pin] inner: S::Future },
        Answered { response: Option<ServiceResponse<EitherBody<B>>> },
        Deciding {
            deciding: LocalBoxFuture<'static, Result<Admitted, Early>>,
            request: Option<ServiceRequest>,
            service: Rc<S>,
        },
    }
}

impl<S, B> Future for AdmissionFuture<S, B>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
    B: MessageBody,
{
    type Output = Result<ServiceResponse<EitherBody<B>>, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let next = match self.as_mut().project() {
                AdmissionFutureProjection::Admitted { inner } => {
                    let response = ready!(inner.poll(cx))?;
                    return Poll::Ready(Ok(response.map_into_left_body()));
                }
                AdmissionFutureProjection::Answered { response } => {
                    return match response.take() {
                        Some(response) => Poll::Ready(Ok(response)),
                        None => Poll::Pending,
                    };
                }
                AdmissionFutureProjection::Deciding { deciding, request, service } => {
                    let outcome = ready!(deciding.as_mut().poll(cx));
                    let Some(request) = request.take() else { return Poll::Pending };
                    match outcome {
                        Ok(admitted) => {
                            Self::Admitted { inner: service.call(marked(request, admitted)) }
                        }
                        Err(early) => Self::Answered { response: Some(answer(request, early)) },
                    }
                }
            };
            self.as_mut().project_replace(next);
        }
    }
}
