//! The gateway: resolves a service's name to a module of this process or a remote service.
//!
//! It may know `database`, `problem`, `tenant`, `edge` and `settings`; it knows no module: `app` hands it
//! each module's routes. The order of the checks stands in `Gateway::decide` and `checks`.

mod admission;
mod audit;
mod auth;
mod checks;
mod client;
mod described;
mod error;
mod headers;
pub mod metrics;
mod path;
mod proxy;
mod rate_limit;
mod recent;
mod registry;
mod relay;
mod settings;
mod tenants;

use std::{future::ready, net::IpAddr, sync::Arc};

use actix_http::{HttpMessage as _, Request, RequestHead};
use actix_web::{
    HttpResponse,
    dev::{HttpServiceFactory, ServiceRequest, fn_service},
    guard, web,
};
use tokio_util::sync::CancellationToken;

pub use admission::Admission;
pub use audit::Act;
pub use auth::{ApiKey, AuthMode, AuthSettings, JwtSettings, KeyRecord, KeyStore};
pub use checks::Checks;
pub use described::openapi;
pub use rate_limit::{Rate, RateLimitSettings};
pub use registry::{Changes, Registry};
pub use settings::{CaFile, CircuitSettings, ScopeSettings, ServiceSettings, ServicesSettings};
pub use tenants::{TenantRecord, TenantStore};

use crate::{
    database::Migration,
    edge::{self, Cors, Labels},
    problem::{Kind, Problem},
    tenant::{Principal, TenantId},
};
use audit::Refused;
use checks::Decision;
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
#[derive(Clone, Debug)]
pub struct Module {
    /// What `services.*.module` calls it.
    pub name: &'static str,
    /// Adds its resources, relative to the service's path.
    pub routes: fn(&mut web::ServiceConfig),
    /// The scope that a path asks for in place of those that are set for the service, if it does. The path is
    /// percent-decoded once, as actix-web does, and begins behind the service's name and a slash.
    pub scope: fn(&str) -> Option<&'static str>,
    /// The description of its resources, without what the gateway adds.
    pub openapi: fn() -> utoipa::openapi::OpenApi,
}

/// What a module refuses by a request's head alone: by that, the raw path behind the service's name and a slash, and
/// the tenant. It is asked before any of the body is read or asked for.
pub type HeadCheck =
    Arc<dyn Fn(&RequestHead, &str, &TenantId) -> Result<(), Problem> + Send + Sync>;

/// The peers that are believed about whom they speak for.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(pub Arc<[ipnet::IpNet]>);

impl TrustedProxies {
    /// Whether `peer` is one of them.
    pub fn contains(&self, peer: IpAddr) -> bool {
        self.0.iter().any(|net| net.contains(&peer.to_canonical()))
    }
}

/// What one listener's gateway needs to decide about a request. Shared by all workers.
#[derive(Clone)]
pub struct Gateway {
    prefix: &'static str,
    registry: Arc<Registry>,
    checks: Checks,
    trusted_proxies: TrustedProxies,
    /// Where clients reach it, if settings tell.
    public: Option<edge::PublicBase>,
    cors: Option<Arc<Cors>>,
    /// The process is about to stop.
    draining: CancellationToken,
    /// What a module refuses, and which.
    head_check: Option<(&'static str, HeadCheck)>,
}

/// Why a request is answered before it is anyone's.
enum Early {
    /// It is for no service, and why.
    NoService(Kind),
    /// What its sender is told, and what the logs are.
    Refused(Box<Problem>, Box<Refused>),
    /// It only asks whether a page may send another.
    Preflight(Box<HttpResponse>),
    /// It was admitted, but is not taken.
    NotTaken(Box<Admitted>, Box<Problem>),
}

impl Early {
    /// The answer. The logs are told.
    ///
    /// # Errors
    /// Why the request is refused.
    fn answer(self, labels: &Labels) -> Result<HttpResponse, Problem> {
        match self {
            Self::NoService(kind) => Err(kind.into()),
            Self::Refused(problem, refused) => {
                refused.tell(labels);
                Err(*problem)
            }
            Self::Preflight(answer) => Ok(*answer),
            Self::NotTaken(mut admitted, problem) => {
                admitted.label(labels);
                Err(*problem)
            }
        }
    }
}

/// What the gateway settled about a request. Kept in its extensions by [`Gateway::expect`] for
/// [`Admission`], and by that for the guards of modules.
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

impl Admitted {
    /// Tells the access line and the answer what was settled.
    fn label(&mut self, labels: &Labels) {
        let (tenant, principal) = (self.tenant.as_ref(), self.principal.as_ref());
        audit::label(labels, &self.service.name, tenant, principal);
        for (name, value) in self.counted.take().into_iter().flat_map(|c| c.into_fields()) {
            labels.answer_with(name, value);
        }
    }
}

impl Gateway {
    /// A gateway for the paths below `prefix`, which is empty or begins with `/`.
    pub fn new(
        prefix: &'static str,
        registry: Arc<Registry>,
        checks: Checks,
        trusted_proxies: TrustedProxies,
        public: Option<edge::PublicBase>,
        cors: Option<Arc<Cors>>,
        draining: CancellationToken,
    ) -> Self {
        Self { prefix, registry, checks, trusted_proxies, public, cors, draining, head_check: None }
    }

    /// The same, where a module has something to say of requests' heads.
    #[must_use]
    pub fn checking_heads(self, head_check: Option<(&'static str, HeadCheck)>) -> Self {
        Self { head_check, ..self }
    }

    /// Decides about a request from its head alone, before any of its body is read or asked
    /// for. The order is the contract's: path, service, CORS preflight, then the [`Checks`]:
    /// credential, tenant, rate limit; and last, what its module has against it.
    async fn decide(&self, head: &RequestHead) -> Result<Admitted, Early> {
        let admitted = self.admit(head).outcome().await?;
        if let Some((module, check)) = &self.head_check
            && admitted.service.is_module(module)
            && let Some(tenant) = &admitted.tenant
            && let Some(rest) = head.uri.path().get(admitted.rest_at..)
            && let Err(problem) = check(head, rest, tenant)
        {
            return Err(Early::NotTaken(Box::new(admitted), Box::new(problem)));
        }
        Ok(admitted)
    }

    /// The same, whatever the module takes.
    fn admit(&self, head: &RequestHead) -> Decision {
        let (service, rest_at) = match self.resolve(head.uri.path()) {
            Ok(resolved) => resolved,
            Err(kind) => return Decision::Now(Err(Early::NoService(kind))),
        };
        if let Some(answer) = self.cors.as_ref().and_then(|cors| cors.preflight(head)) {
            return Decision::Now(Err(Early::Preflight(Box::new(answer))));
        }
        self.checks.decide(head, service, rest_at)
    }

    /// Where clients reach this process, if settings or a trusted proxy tell.
    fn base(&self, head: &RequestHead) -> Option<edge::PublicBase> {
        self.public.clone().or_else(|| client::base(head, &self.trusted_proxies))
    }

    /// The service that a raw path is for, and where the rest of the path begins.
    fn resolve(&self, path: &str) -> Result<(Arc<Service>, usize), Kind> {
        path::check(path)?;
        let tail = path.strip_prefix(self.prefix).and_then(|tail| tail.strip_prefix('/'));
        let tail = tail.ok_or(Kind::ServiceNotFound)?;
        let name = tail.split('/').next().unwrap_or_default();
        let rest_at = path.len() - tail.len() + name.len() + 1;
        let service = self.registry.find(name).ok_or(Kind::ServiceNotFound)?;
        Ok((service, rest_at))
    }

    /// The gateway's decision for a client that waits for `100 Continue`. Paths that
    /// are not for a service of this gateway are not its to refuse. An admitted request keeps
    /// the decision, so that it counts once.
    ///
    /// # Errors
    /// Why the request is refused.
    pub async fn expect(&self, request: &Request, labels: &Labels) -> Result<(), Problem> {
        let head = request.head();
        let below = head.uri.path().strip_prefix(self.prefix);
        if !below.is_some_and(|tail| tail.starts_with('/')) {
            return Ok(());
        }
        match self.decide(head).await {
            // The listener's own paths begin like a service's there.
            Err(Early::NoService(Kind::ServiceNotFound)) if self.prefix.is_empty() => Ok(()),
            Err(early) => early.answer(labels).map(drop),
            Ok(admitted) if admitted.service.is_exceeded_by(head.headers()) => {
                let problem = Box::new(Kind::TooLarge.into());
                Early::NotTaken(Box::new(admitted), problem).answer(labels).map(drop)
            }
            Ok(admitted) => {
                request.extensions_mut().insert(admitted);
                Ok(())
            }
        }
    }

    /// The scope that serves this gateway's modules, behind [`Admission`]: each has a guard that asks
    /// whether the request was admitted for it. Refuses what is for no service.
    pub fn scope(self, modules: &[Module]) -> impl HttpServiceFactory + use<> {
        let mut scope = web::scope(self.prefix);
        for module in modules {
            let name = module.name;
            let internal = guard::fn_guard(move |context| {
                let admitted = context.req_data();
                admitted.get::<Admitted>().is_some_and(|a| a.service.is_module(name))
            });
            let module = web::scope("/{service}").guard(internal).configure(module.routes);
            scope = scope.service(module);
        }
        scope.default_service(fn_service(move |request: ServiceRequest| {
            let kind = self.resolve(request.uri().path()).err().unwrap_or(Kind::NotFound);
            ready(Ok(request.error_response(Problem::from(kind))))
        }))
    }
}
