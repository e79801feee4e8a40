//! The gateway: resolves a service's name to a module of this process or a remote service.
//!
//! It may know `problem`, `tenant`, `edge` and `settings`; it knows no module: `app` hands it
//! each module's routes. The order of the checks stands in `Gateway::admit`.

mod admission;
mod error;
mod headers;
mod path;
mod proxy;
mod registry;
mod settings;

use std::{net::IpAddr, sync::Arc};

use actix_web::{
    Error, HttpMessage, HttpRequest, HttpResponse,
    dev::{HttpServiceFactory, Payload, ServiceRequest, ServiceResponse, fn_service},
    guard, web,
};
use tokio_util::sync::CancellationToken;

pub use registry::{Changes, Registry};
pub use settings::{
    AuthMode, AuthSettings, CaFile, CircuitSettings, ServiceSettings, ServicesSettings,
};

use crate::{
    edge::{Cors, Labels},
    problem::{Kind, Problem},
    tenant::TenantId,
};
use admission::Admission;
use proxy::ClientSide;
use registry::{Service, Target};

/// The path in front of a service's name.
pub const PREFIX: &str = "/consumer-api/service";

/// A module of this process that can be mounted: its name in the settings and its routes.
#[derive(Clone)]
pub struct Module {
    /// What `services.*.module` calls it.
    pub name: &'static str,
    /// Adds its resources, relative to the service's path.
    pub routes: fn(&mut web::ServiceConfig),
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

/// Tells that the process is about to stop; one a worker.
struct Draining(CancellationToken);

/// What one listener's gateway needs to decide about a request. Shared by all workers.
#[derive(Clone)]
pub struct Gateway {
    prefix: &'static str,
    registry: Arc<Registry>,
    trusted_proxies: TrustedProxies,
    cors: Option<Arc<Cors>>,
    /// The process is about to stop.
    draining: CancellationToken,
}

/// Why a request is answered before it is anyone's.
enum Early {
    Refused(Kind),
    /// It only asks whether a page may send another.
    Preflight(Box<HttpResponse>),
}

impl From<Kind> for Early {
    fn from(kind: Kind) -> Self {
        Self::Refused(kind)
    }
}

/// What the gateway settled about a request; in its extensions from then on.
#[derive(Clone, Debug)]
struct Admitted {
    service: Arc<Service>,
    tenant: Option<TenantId>,
    /// Where the rest of the path begins, behind the service's name and a slash; beyond the
    /// path's end if not even the slash is there.
    rest_at: usize,
}

impl Gateway {
    /// A gateway for the paths below `prefix`, which is empty or begins with `/`.
    pub fn new(
        prefix: &'static str,
        registry: Arc<Registry>,
        trusted_proxies: TrustedProxies,
        cors: Option<Arc<Cors>>,
        draining: CancellationToken,
    ) -> Self {
        Self { prefix, registry, trusted_proxies, cors, draining }
    }

    /// Decides about a request from its head alone, before any of its body is read or asked
    /// for. The order is the contract's: path, service, CORS preflight, tenant.
    fn admit(&self, head: &actix_http::RequestHead) -> Result<Admitted, Early> {
        path::check(head.uri.path())?;
        let path = head.uri.path();
        let tail = path.strip_prefix(self.prefix).and_then(|tail| tail.strip_prefix('/'));
        let tail = tail.ok_or(Kind::ServiceNotFound)?;
        let name = tail.split('/').next().unwrap_or_default();
        let rest_at = path.len() - tail.len() + name.len() + 1;
        let service = self.registry.find(name).ok_or(Kind::ServiceNotFound)?;
        if let Some(answer) = self.cors.as_ref().and_then(|cors| cors.preflight(head)) {
            return Err(Early::Preflight(Box::new(answer)));
        }
        let tenant = TenantId::from_headers(head.headers())?;
        if tenant.is_none() && service.tenant_required {
            return Err(Kind::TenantMissing.into());
        }
        Ok(Admitted { service, tenant, rest_at })
    }

    /// The gateway's decision for a client that waits for `100 Continue`. Paths that
    /// are not for a service of this gateway are not its to refuse.
    ///
    /// # Errors
    /// Why the request is refused.
    pub fn expect(&self, head: &actix_http::RequestHead) -> Result<(), Problem> {
        let below = head.uri.path().strip_prefix(self.prefix);
        if !below.is_some_and(|tail| tail.starts_with('/')) {
            return Ok(());
        }
        match self.admit(head) {
            // The listener's own paths begin like a service's there.
            Err(Early::Refused(Kind::ServiceNotFound)) if self.prefix.is_empty() => Ok(()),
            Err(Early::Refused(kind)) => Err(kind.into()),
            Ok(admitted) if admitted.service.is_exceeded_by(head.headers()) => {
                Err(Kind::TooLarge.into())
            }
            Ok(_) | Err(Early::Preflight(_)) => Ok(()),
        }
    }

    /// The scope that serves this gateway's paths: each module behind a guard that asks whether
    /// the request's service is that module right now, and everything else to the proxy.
    pub fn scope(self, modules: &[Module]) -> impl HttpServiceFactory + use<> {
        let mut scope = web::scope(self.prefix)
            .app_data(self.trusted_proxies.clone())
            .app_data(Draining(self.draining.child_token()))
            .app_data(proxy::Client::new());
        for module in modules {
            let name = module.name;
            let internal = guard::fn_guard(move |context| {
                let admitted = context.req_data();
                admitted.get::<Admitted>().is_some_and(|a| a.service.is_module(name))
            });
            // The guard stands before the pattern: a remote service's request is not matched
            // against one.
            let module = web::scope("/{service}").configure(module.routes);
            scope = scope.service(web::scope("").guard(internal).service(module));
        }
        scope.default_service(fn_service(forward)).wrap(Admission::new(self))
    }
}

/// Answers a request by what its remote service answers.
async fn forward(request: ServiceRequest) -> Result<ServiceResponse, Error> {
    let (request, payload) = request.into_parts();
    Ok(match relay(&request, payload).await {
        Ok(response) => ServiceResponse::new(request, response),
        Err(problem) => ServiceResponse::from_err(problem, request),
    })
}

/// Passes a request on to its remote service.
async fn relay(request: &HttpRequest, payload: Payload) -> Result<HttpResponse, Problem> {
    let (admitted, labels) = {
        let mut extensions = request.extensions_mut();
        (extensions.remove::<Admitted>(), extensions.get::<Labels>().cloned())
    };
    let (Some(admitted), Some(labels)) = (admitted, labels) else {
        return Err(Kind::NotFound.into());
    };
    let Target::Remote(upstream) = &admitted.service.target else {
        return Err(Kind::NotFound.into());
    };
    let (Some(client), Some(trusted), Some(Draining(draining))) = (
        request.app_data::<proxy::Client>(),
        request.app_data::<TrustedProxies>(),
        request.app_data::<Draining>(),
    ) else {
        return Err(Kind::Internal.into());
    };
    let peer = request.peer_addr().map(|address| address.ip());
    let outgoing = proxy::Outgoing {
        method: request.method(),
        version: request.version(),
        rest: request.uri().path().get(admitted.rest_at..),
        query: request.uri().query(),
        headers: request.headers(),
        tenant: admitted.tenant.as_ref().map(TenantId::as_str),
        request_id: labels.request_id().as_str(),
        peer,
        peer_is_trusted: peer.is_some_and(|peer| trusted.contains(peer)),
        scheme: "http",
        client: request.conn_data().map(|clock| ClientSide { clock, draining }),
    };
    match client.forward(upstream, &outgoing, payload).await? {
        proxy::Answer::Response(response) => Ok(response),
        proxy::Answer::Tunnelled(carried) => {
            labels.carried(carried.received, carried.sent);
            // For the access line: the client has had its own, and the connection is over.
            Ok(HttpResponse::SwitchingProtocols().finish())
        }
    }
}
