//! The gateway scope's one middleware: a request is admitted, or answered here.

use std::{
    future::{Future, Ready, ready},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use actix_web::{
    Error, HttpMessage,
    body::{EitherBody, MessageBody},
    dev::{Service, ServiceRequest, ServiceResponse, Transform, forward_ready},
};
use pin_project_lite::pin_project;

use super::{Early, Gateway};
use crate::{
    edge::Labels,
    problem::Problem,
    tenant::{Tenant, TenantId},
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
        ready(Ok(AdmissionMiddleware { service, gateway: self.0.clone() }))
    }
}

/// The middleware.
pub struct AdmissionMiddleware<S> {
    service: S,
    gateway: Gateway,
}

impl<S, B> Service<ServiceRequest> for AdmissionMiddleware<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
    B: MessageBody,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = Error;
    type Future = AdmissionFuture<S::Future, B>;

    forward_ready!(service);

    fn call(&self, request: ServiceRequest) -> Self::Future {
        match self.gateway.admit(request.head()) {
            Ok(admitted) => {
                let mut extensions = request.extensions_mut();
                if let Some(labels) = extensions.get::<Labels>() {
                    let tenant = admitted.tenant.as_ref().map(TenantId::shared);
                    labels.admitted(Arc::clone(&admitted.service.name), tenant);
                }
                if let Some(tenant) = &admitted.tenant {
                    extensions.insert(Tenant(tenant.clone()));
                }
                extensions.insert(admitted);
                drop(extensions);
                AdmissionFuture::Admitted { inner: self.service.call(request) }
            }
            Err(early) => {
                let answer = match early {
                    Early::Refused(kind) => request.error_response(Problem::new(kind)),
                    Early::Preflight(answer) => request.into_response(*answer),
                };
                AdmissionFuture::Answered { response: Some(answer.map_into_right_body()) }
            }
        }
    }
}

pin_project! {
    /// A request behind the middleware, or its answer.
    #[project = AdmissionFutureProjection]
    pub enum AdmissionFuture<F, B> {
        Admitted { #[pin] inner: F },
        Answered { response: Option<ServiceResponse<EitherBody<B>>> },
    }
}

impl<F, B> Future for AdmissionFuture<F, B>
where
    F: Future<Output = Result<ServiceResponse<B>, Error>>,
    B: MessageBody,
{
    type Output = Result<ServiceResponse<EitherBody<B>>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            AdmissionFutureProjection::Admitted { inner } => {
                let response = ready!(inner.poll(cx))?;
                Poll::Ready(Ok(response.map_into_left_body()))
            }
            AdmissionFutureProjection::Answered { response } => match response.take() {
                Some(response) => Poll::Ready(Ok(response)),
                None => Poll::Pending,
            },
        }
    }
}
