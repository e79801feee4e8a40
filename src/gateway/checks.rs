//! What is checked of a request once its service is known: credential, tenant, scope, rate limit,
//! in this order. All of it is decided from the head, at once where nothing has to be fetched.

use std::sync::Arc;

use actix_http::RequestHead;
use actix_web::http::Method;
use futures_util::future::LocalBoxFuture;
use percent_encoding::percent_decode_str;

use super::{
    Admitted, AuthSettings, Early, Module, RateLimitSettings, TrustedProxies,
    audit::Refused,
    auth::{Authenticator, Guesses, Refusal, Verdict},
    client, metrics,
    rate_limit::{Class, Count, Counted, Limits, Subject},
    registry::{Service, Target},
    tenants::{Rules, Tenants},
};
use crate::{
    database::Database,
    problem::{Kind, Problem},
    settings::Invalid,
    tenant::{Principal, Scopes, TenantId},
};

/// What credentials and rate limits requests are checked by. Shared by all listeners and workers.
#[derive(Clone, Debug, Default)]
pub struct Checks {
    authenticator: Option<Authenticator>,
    limits: Option<Limits>,
    /// None where there is no database.
    tenants: Option<Tenants>,
    trusted_proxies: TrustedProxies,
    modules: &'static [Module],
}

/// The outcome of the checks.
pub(super) enum Decision {
    /// It is known.
    Now(Result<Admitted, Early>),
    /// Something has to be fetched first.
    Later(LocalBoxFuture<'static, Result<Admitted, Early>>),
}

impl Decision {
    /// The outcome, once it is known.
    pub(super) async fn outcome(self) -> Result<Admitted, Early> {
        match self {
            Self::Now(outcome) => outcome,
            Self::Later(deciding) => deciding.await,
        }
    }
}

/// What the checks need to know of a request.
struct Case {
    service: Arc<Service>,
    rest_at: usize,
    writes: bool,
    /// The scope that its path asks for, in place of the service's.
    own_scope: Option<&'static str>,
    /// The tenant that it names.
    named: Result<Option<TenantId>, Kind>,
    /// Where it comes from. It is only found out where somebody asks.
    client: Option<std::net::IpAddr>,
}

impl Checks {
    /// The checks of these valid settings, with the API keys and tenants of this database. It takes
    /// a runtime around it.
    ///
    /// # Errors
    /// The setting that is wrong.
    pub async fn new(
        auth: &AuthSettings,
        rate_limits: &RateLimitSettings,
        trusted_proxies: TrustedProxies,
        database: Option<Database>,
        modules: &'static [Module],
    ) -> Result<Self, Invalid> {
        let limited = rate_limits.enabled.in_mode(auth.mode);
        let guesses = limited.then(|| Guesses::new(rate_limits.failed_credentials));
        Ok(Self {
            authenticator: Authenticator::new(auth, database.clone(), guesses)?,
            limits: limited.then(|| Limits::new(rate_limits)).transpose()?,
            tenants: match database {
                Some(database) => Some(Tenants::start(database).await),
                None => None,
            },
            trusted_proxies,
            modules,
        })
    }

    /// What tells whether nobody may act for a tenant; none where that has to be known, since credentials
    /// are asked for, and is not yet.
    pub fn suspended(&self) -> impl Fn(&TenantId) -> Option<bool> + Send + Sync + use<> {
        let (tenants, is_needed) = (self.tenants.clone(), self.ask_for_credentials());
        move |tenant| {
            let Some(tenants) = &tenants else { return Some(false) };
            if is_needed && !tenants.are_known() {
                return None;
            }
            Some(tenants.rules(tenant).is_some_and(|rules| rules.suspended()))
        }
    }

    /// Whether credentials are asked for, and so are the gateway's to keep.
    pub(super) fn ask_for_credentials(&self) -> bool {
        self.authenticator.is_some()
    }

    /// Decides about a request for `service`, the rest of whose path begins at `rest_at`.
    pub(super) fn decide(
        &self,
        head: &RequestHead,
        service: Arc<Service>,
        rest_at: usize,
    ) -> Decision {
        let case = Case {
            own_scope: self.own_scope(head, &service, rest_at),
            service,
            rest_at,
            writes: !matches!(head.method, Method::GET | Method::HEAD),
            named: TenantId::from_headers(head.headers()),
            client: if self.authenticator.is_some() || self.limits.is_some() {
                client::address(head, &self.trusted_proxies)
            } else {
                None
            },
        };
        let Some(authenticator) = &self.authenticator else {
            return self.settle(case, None);
        };
        match authenticator.check(head.headers(), case.client) {
            Verdict::Known(Ok(principal)) => self.settle(case, Some(principal)),
            Verdict::Known(Err(refusal)) => Decision::Now(Err(case.refuse(&refusal, None))),
            Verdict::Asking(asking) => {
                let checks = self.clone();
                Decision::Later(Box::pin(async move {
                    match asking.await {
                        Ok(principal) => checks.settle(case, Some(principal)).outcome().await,
                        Err(refusal) => Err(case.refuse(&refusal, None)),
                    }
                }))
            }
        }
    }

    /// The scope that a module's path asks for by itself; also of a service that has a module's name,
    /// wherever it is.
    fn own_scope(
        &self,
        head: &RequestHead,
        service: &Service,
        rest_at: usize,
    ) -> Option<&'static str> {
        self.authenticator.as_ref()?;
        let is_it =
            |module: &&Module| service.is_module(module.name) || *service.name == *module.name;
        let module = self.modules.iter().find(is_it)?;
        let rest = head.uri.path().get(rest_at..)?;
        (module.scope)(&percent_decode_str(rest).decode_utf8_lossy())
    }

    /// Decides about a request whose sender is known, or believed in open mode.
    fn settle(&self, case: Case, principal: Option<Principal>) -> Decision {
        let admitted = match case.admit(principal) {
            Ok(admitted) => admitted,
            Err(early) => return Decision::Now(Err(early)),
        };
        let rules = match self.rules(&case, &admitted) {
            Ok(rules) => rules,
            Err(early) => return Decision::Now(Err(early)),
        };
        let Some(limits) = &self.limits else { return Decision::Now(Ok(admitted)) };
        let class = match (&case.service.target, case.writes) {
            (Target::Remote(_), _) => Class::Remote,
            (Target::Module(_), false) => Class::Reads,
            (Target::Module(_), true) => Class::Writes,
        };
        let tenant = admitted.tenant.as_ref().map(TenantId::as_str);
        let subject = match &admitted.principal {
            Some(principal) => Subject { name: tenant.or(Some(principal.id())), client: None },
            None => Subject { name: tenant, client: case.client },
        };
        match limits.count(class, subject, rules) {
            Count::Now(counted) => Decision::Now(finish(admitted, class, counted)),
            Count::Later(counting) => {
                Decision::Later(Box::pin(async move { finish(admitted, class, counting.await) }))
            }
        }
    }

    /// What is said about the request's tenant.
    fn rules(&self, case: &Case, admitted: &Admitted) -> Result<Option<Arc<Rules>>, Early> {
        let (Some(tenants), Some(tenant)) = (&self.tenants, &admitted.tenant) else {
            return Ok(None);
        };
        let principal = admitted.principal.as_ref();
        // Where credentials are asked for, nobody gets in who may be suspended.
        if principal.is_some() && !tenants.are_known() {
            let cause = "the table of tenants has not been read since the start".to_owned();
            return Err(case.refuse(&Refusal::DatabaseUnavailable(cause), principal));
        }
        match tenants.rules(tenant) {
            Some(rules) if rules.suspended() => Err(case.refuse(&Refusal::Suspended, principal)),
            rules => Ok(rules),
        }
    }
}

impl Case {
    /// What the gateway settles about it, but for the rate limit.
    fn admit(&self, principal: Option<Principal>) -> Result<Admitted, Early> {
        let named = self.named.clone().map_err(|kind| self.refuse_plainly(kind, None))?;
        let tenant = match &principal {
            None => named,
            Some(principal) => principal
                .acting_for(named)
                .map_err(|_| self.refuse(&Refusal::OtherTenant, Some(principal)))?,
        };
        if tenant.is_none() && self.service.tenant_required {
            return Err(self.refuse_plainly(Kind::TenantMissing, principal.as_ref()));
        }
        if let Some(principal) = &principal {
            let scopes = &self.service.required_scopes;
            let own = self.own_scope.map(Scopes::parse);
            let of_service = if self.writes { &scopes.write } else { &scopes.read };
            let needed = own.as_ref().unwrap_or(of_service);
            if !principal.scopes().include(needed) {
                let refusal = Refusal::MissingScope(needed.clone());
                return Err(self.refuse(&refusal, Some(principal)));
            }
        }
        Ok(Admitted {
            service: Arc::clone(&self.service),
            tenant,
            principal,
            counted: None,
            rest_at: self.rest_at,
        })
    }

    /// Refuses it for its credential.
    fn refuse(&self, refusal: &Refusal, principal: Option<&Principal>) -> Early {
        let reason = Some((refusal.word(), self.client));
        self.refused(refusal.problem(), reason, principal)
    }

    /// Refuses it whatever its credential.
    fn refuse_plainly(&self, kind: Kind, principal: Option<&Principal>) -> Early {
        self.refused(kind.into(), None, principal)
    }

    fn refused(
        &self,
        problem: Problem,
        reason: Option<(&'static str, Option<std::net::IpAddr>)>,
        principal: Option<&Principal>,
    ) -> Early {
        let refused = Refused {
            service: Arc::clone(&self.service.name),
            tenant: None,
            principal: principal.cloned(),
            reason,
        };
        Early::Refused(Box::new(problem), Box::new(refused))
    }
}

/// A request that was counted, unless it is one too many.
fn finish(admitted: Admitted, class: Class, counted: Counted) -> Result<Admitted, Early> {
    if counted.wait.is_none() {
        return Ok(Admitted { counted: Some(Box::new(counted)), ..admitted });
    }
    metrics::rate_limited(class);
    let Admitted { service, tenant, principal, .. } = admitted;
    let refused = Refused { service: Arc::clone(&service.name), tenant, principal, reason: None };
    Err(Early::Refused(Box::new(counted.refusal()), Box::new(refused)))
}
