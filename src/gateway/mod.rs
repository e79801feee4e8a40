//! The gateway: resolves a service's name to a module of this process or a remote service.
//!
//! It may know `database`, `problem`, `tenant`, `edge` and `settings`; it knows no module: `app` hands it
//! each module's routes. The order of the checks stands in `Gateway::admit` and `checks`.

mod admission;
mod audit;
mod auth;
mod checks;
mod client;
mod error;
mod headers;
mod path;
mod proxy;
mod rate_limit;
mod recent;
mod registry;
mod secret;
mod settings;
mod tenants;

use std::{net::IpAddr, sync::Arc};

use actix_web::{
    Error, HttpMessage, HttpRequest, HttpResponse,
    dev::{HttpServiceFactory, Payload, ServiceRequest, ServiceResponse, fn_service},
    guard, web,
};
use tokio_util::sync::CancellationToken;

pub use audit::Act;
pub use auth::{ApiKey, AuthMode, AuthSettings, JwtSettings, KeyRecord, KeyStore};
pub use checks::Checks;
pub use rate_limit::{Rate, RateLimitSettings};
pub use registry::{Changes, Registry};
pub use secret::Secret;
pub use settings::{CaFile, CircuitSettings, ScopeSettings, ServiceSettings, ServicesSettings};
pub use tenants::{TenantRecord, TenantStore};

use crate::{
    database::Migration,
    edge::{Cors, Labels},
    problem::{Kind, Problem},
    tenant::{Principal, TenantId},
};
use admission::Admission;
use audit::Refused;
use checks::Decision;
use headers::Credentials;
use proxy::ClientSide;
use rate_limit::Counted;
use registry::{Service, Target};

/// The migrations of this module's tables. Their versions begin at 100, apart from other modules'.
pub const MIGRATIONS: &[Migration] = &[Migration {
    version: 100,
    name: "access",
    sqlite: include_str!("migrations/0100_access.sql"),
    postgres: include_str!("migrations/0100_access.sql"),
}];

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
    checks: Checks,
    trusted_proxies: TrustedProxies,
    cors: Option<Arc<Cors>>,
    /// The process is about to stop.
    draining: CancellationToken,
}

/// Why a request is answered before it is anyone's.
enum Early {
    /// What it is told, and what the audit log is.
    Refused(Box<Problem>, Option<Box<Refused>>),
    /// It only asks whether a page may send another.
    Preflight(Box<HttpResponse>),
}

impl From<Kind> for Early {
    fn from(kind: Kind) -> Self {
        Self::Refused(Box::new(kind.into()), None)
    }
}

impl Early {
    /// Tells the audit log, if it is to be told.
    fn audit(&self, labels: Option<&Labels>) {
        if let (Self::Refused(_, Some(refused)), Some(labels)) = (self, labels) {
            refused.tell(labels.request_id().as_str());
        }
    }
}

/// What the gateway settled about a request; in its extensions from then on.
#[derive(Clone, Debug)]
struct Admitted {
    service: Arc<Service>,
    tenant: Option<TenantId>,
    /// Who sent it; none in open mode.
    principal: Option<Principal>,
    /// The limit that it counted against.
    counted: Option<Box<Counted>>,
    /// Where the rest of the path begins, behind the service's name and a slash; beyond the
    /// path's end if not even the slash is there.
    rest_at: usize,
}

impl Gateway {
    /// A gateway for the paths below `prefix`, which is empty or begins with `/`.
    pub fn new(
        prefix: &'static str,
        registry: Arc<Registry>,
        checks: Checks,
        trusted_proxies: TrustedProxies,
        cors: Option<Arc<Cors>>,
        draining: CancellationToken,
    ) -> Self {
        Self { prefix, registry, checks, trusted_proxies, cors, draining }
    }

    /// Decides about a request from its head alone, before any of its body is read or asked
    /// for. The order is the contract's: path, service, CORS preflight, then the [`Checks`]:
    /// credential, tenant, rate limit.
    fn admit(&self, head: &actix_http::RequestHead) -> Decision {
        match self.resolve(head) {
            Ok((service, rest_at)) => self.checks.decide(head, service, rest_at),
            Err(early) => Decision::Now(Err(early)),
        }
    }

    /// The service that a request is for, and where the rest of its path begins.
    fn resolve(&self, head: &actix_http::RequestHead) -> Result<(Arc<Service>, usize), Early> {
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
        Ok((service, rest_at))
    }

    /// The gateway's decision for a client that waits for `100 Continue`. Paths that
    /// are not for a service of this gateway are not its to refuse. An admitted request keeps
    /// the decision, so that it counts once.
    ///
    /// # Errors
    /// Why the request is refused.
    pub async fn expect(
        &self,
        request: &actix_http::Request,
        labels: &Labels,
    ) -> Result<(), Problem> {
        let head = request.head();
        let below = head.uri.path().strip_prefix(self.prefix);
        if !below.is_some_and(|tail| tail.starts_with('/')) {
            return Ok(());
        }
        let outcome = match self.admit(head) {
            Decision::Now(outcome) => outcome,
            Decision::Later(deciding) => deciding.await,
        };
        match outcome {
            Err(Early::Preflight(_)) => Ok(()),
            // The listener's own paths begin like a service's there.
            Err(Early::Refused(problem, _))
                if self.prefix.is_empty() && problem.kind() == Kind::ServiceNotFound =>
            {
                Ok(())
            }
            Err(early) => {
                early.audit(Some(labels));
                match early {
                    Early::Refused(problem, _) => Err(*problem),
                    Early::Preflight(_) => Ok(()),
                }
            }
            Ok(admitted) if admitted.service.is_exceeded_by(head.headers()) => {
                let counted = admitted.counted.iter().flat_map(|counted| counted.fields());
                let problem = Problem::new(Kind::TooLarge);
                Err(counted.fold(problem, |problem, (name, value)| problem.field(name, value)))
            }
            Ok(admitted) => {
                actix_http::HttpMessage::extensions_mut(request).insert(admitted);
                Ok(())
            }
        }
    }

    /// The scope that serves this gateway's paths: each module behind a guard that asks whether
    /// the request's service is that module right now, and everything else to the proxy.
    pub fn scope(self, modules: &[Module]) -> impl HttpServiceFactory + use<> {
        let mut scope = web::scope(self.prefix)
            .app_data(self.trusted_proxies.clone())
            .app_data(Draining(self.draining.child_token()))
            .app_data(self.checks.clone())
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
    let (Some(client), Some(trusted), Some(Draining(draining)), Some(checks)) = (
        request.app_data::<proxy::Client>(),
        request.app_data::<TrustedProxies>(),
        request.app_data::<Draining>(),
        request.app_data::<Checks>(),
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
        credentials: Credentials {
            pass: !checks.ask_for_credentials() || admitted.service.forward_credentials,
            api_key: admitted.service.upstream_api_key.as_ref().map(Secret::expose),
        },
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
