//! Where the gateway meets a request, before actix-web does: one for a service is admitted, or
//! answered here. For a remote service it is passed on from here, for a module by actix-web.

use std::{
    future::{Ready, ready},
    rc::Rc,
};

use actix_http::{HttpMessage as _, Request};
use actix_service::{Service, Transform, forward_ready};
use actix_web::{
    Error, HttpResponse,
    body::{EitherBody, MessageBody},
    dev::ServiceResponse,
    http::header::{AUTHORIZATION, HeaderValue},
};
use futures_util::future::LocalBoxFuture;

use super::{Admitted, Early, Gateway, Target, auth::API_KEY, relay::Relay};
use crate::{
    connection::discard,
    edge::Labels,
    problem::{Kind, Problem},
    tenant::{self, Tenant, TenantId},
    trace,
};

/// What stands between [`Edge`](crate::edge::Edge) and an actix-web app with [`Gateway::scope`].
pub struct Admission(Gateway);

impl Admission {
    /// Admits by this gateway's rules.
    pub fn new(gateway: Gateway) -> Self {
        Self(gateway)
    }
}

impl<S, B> Transform<S, Request> for Admission
where
    S: Service<Request, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: MessageBody + 'static,
{
    type Response = HttpResponse<EitherBody<B>>;
    type Error = Error;
    type Transform = AdmissionService<S>;
    type InitError = ();
    type Future = Ready<Result<Self::Transform, ()>>;

    fn new_transform(&self, app: S) -> Self::Future {
        let relay = Rc::new(Relay::new(self.0.clone()));
        ready(Ok(AdmissionService { app: Rc::new(app), relay }))
    }
}

/// The service of one worker.
pub struct AdmissionService<S> {
    app: Rc<S>,
    relay: Rc<Relay>,
}

impl<S, B> Service<Request> for AdmissionService<S>
where
    S: Service<Request, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: MessageBody + 'static,
{
    type Response = HttpResponse<EitherBody<B>>;
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<Self::Response, Error>>;

    forward_ready!(app);

    fn call(&self, mut request: Request) -> Self::Future {
        let (app, relay) = (Rc::clone(&self.app), Rc::clone(&self.relay));
        Box::pin(async move {
            let labels = request.extensions().get::<Labels>().cloned();
            let labels = labels.ok_or_else(|| Problem::new(Kind::Internal))?;
            // A client that waited for `100 Continue` has been decided on.
            let decided = request.extensions_mut().remove::<Admitted>();
            let outcome = match decided {
                Some(admitted) => Ok(admitted),
                None => relay.gateway().decide(request.head()).await,
            };
            match outcome {
                Ok(mut admitted) => {
                    admitted.label(&labels);
                    if let Target::Remote(upstream) = &admitted.service.target {
                        let answer = relay.forward(request, &admitted, upstream, &labels).await?;
                        return Ok(answer.map_into_right_body());
                    }
                    if let Some(base) = relay.gateway().base(request.head()) {
                        request.extensions_mut().insert(base);
                    }
                    hand_over(&mut request, admitted);
                }
                // It may be for something else that the app serves.
                Err(Early::NoService(_)) => {}
                Err(early) => {
                    let not_taken = matches!(early, Early::NotTaken(..));
                    let answer = early.answer(&labels);
                    if not_taken {
                        // Another will be sent, and the connection can take it.
                        labels.received(discard(&mut request).await);
                    }
                    return Ok(answer?.map_into_right_body());
                }
            }
            let response = app.call(request).await?;
            if trace::is_sampled()
                && let Some(route) = response.request().match_pattern()
            {
                labels.routed(route);
            }
            Ok(HttpResponse::from(response).map_into_left_body())
        })
    }
}

/// Leaves what was settled in a module's request.
fn hand_over(request: &mut Request, admitted: Admitted) {
    if let Some(principal) = &admitted.principal {
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
    if let Some(tenant) = &admitted.tenant {
        extensions.insert(Tenant(tenant.clone()));
    }
    extensions.insert(admitted);
}
