//! Passes admitted requests on to their remote services.

use std::sync::Arc;

use actix_http::{HttpMessage as _, Request};
use actix_web::{
    HttpResponse,
    http::{StatusCode, header::HeaderMap},
};
use tokio_util::sync::CancellationToken;

use super::{
    Admitted, Gateway,
    headers::Credentials,
    metrics::Asking,
    proxy::{Answer, Client, ClientSide, Outgoing, Upstream},
};
use crate::{edge::Labels, problem::Problem, settings::Secret, tenant::TenantId, trace};

/// A gateway with one worker's connections to remote services.
pub struct Relay {
    gateway: Gateway,
    client: Client,
    /// Tells that the process is about to stop. The worker's own: asking takes its lock.
    draining: CancellationToken,
}

impl Relay {
    /// A relay without connections.
    pub fn new(gateway: Gateway) -> Self {
        let draining = gateway.draining.child_token();
        Self { gateway, client: Client::new(), draining }
    }

    /// Whose requests these are.
    pub fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// Answers a request by what its remote service answers.
    ///
    /// # Errors
    /// When there is no answer to relay.
    pub async fn forward(
        &self,
        mut request: Request,
        admitted: &Admitted,
        upstream: &Arc<Upstream>,
        labels: &Labels,
    ) -> Result<HttpResponse, Problem> {
        if trace::is_sampled() {
            labels.routed(format!("{}/{{service}}/{{rest}}", self.gateway.prefix));
        }
        let payload = request.take_payload();
        let Gateway { checks, trusted_proxies, .. } = &self.gateway;
        let draining = &self.draining;
        let mark = |headers: &mut HeaderMap| labels.mark(headers);
        let peer = request.peer_addr().map(|address| address.ip());
        let outgoing = Outgoing {
            method: request.method(),
            version: request.version(),
            rest: request.uri().path().get(admitted.rest_at..),
            query: request.uri().query(),
            headers: request.headers(),
            tenant: admitted.tenant.as_ref().map(TenantId::as_str),
            credentials: Credentials {
                pass: !checks.ask_for_credentials() || admitted.service.forward_credentials,
                api_key: admitted.service.upstream_api_key.as_ref().map(Secret::expose),
            },
            request_id: labels.request_id().as_str(),
            peer,
            peer_is_trusted: peer.is_some_and(|peer| trusted_proxies.contains(peer)),
            scheme: "http",
            client: request.conn_data().map(|clock| ClientSide { clock, draining, mark: &mark }),
        };
        let asking = Asking::begin(upstream.service());
        match self.client.forward(upstream, &outgoing, payload).await {
            Err(error) => {
                asking.failed(&error);
                Err(error.into())
            }
            Ok(Answer::Response(response)) => {
                asking.answered(response.status());
                Ok(response)
            }
            Ok(Answer::Tunnelled(carried)) => {
                asking.answered(StatusCode::SWITCHING_PROTOCOLS);
                labels.carried(carried.received, carried.sent);
                // For the access line: the client has had its own, and the connection is over.
                Ok(HttpResponse::SwitchingProtocols().finish())
            }
        }
    }
}
