//! The audit log: acts that bear on security, under a target of their own, so that they can be
//! kept apart from other lines. Never with a credential in them.

use std::{net::IpAddr, sync::Arc};

use super::metrics;
use crate::{
    edge::Labels,
    tenant::{Principal, TenantId},
};

/// What the filter of `telemetry.log` calls it.
const TARGET: &str = "gatehouse::audit";

/// An operator's act on a credential or a tenant.
#[derive(Clone, Copy, Debug)]
pub enum Act {
    /// An API key was made.
    KeyCreated,
    /// An API key was revoked.
    KeyRevoked,
    /// A tenant was suspended.
    TenantSuspended,
    /// A suspended tenant may act again.
    TenantResumed,
    /// A tenant got limits of its own, or lost them.
    TenantLimited,
}

impl Act {
    /// Writes the line. `subject` is the key's id or the tenant's, `detail` what is told besides.
    pub fn tell(self, subject: &str, detail: &str) {
        let event = match self {
            Self::KeyCreated => "key-created",
            Self::KeyRevoked => "key-revoked",
            Self::TenantSuspended => "tenant-suspended",
            Self::TenantResumed => "tenant-resumed",
            Self::TenantLimited => "tenant-limited",
        };
        tracing::info!(target: TARGET, event, subject, detail, "done by command");
    }
}

/// Tells the access line whose a request is, as far as that is settled.
pub fn label(
    labels: &Labels,
    service: &Arc<str>,
    tenant: Option<&TenantId>,
    principal: Option<&Principal>,
) {
    let (tenant, principal) = (tenant.map(TenantId::shared), principal.map(Principal::shared_id));
    labels.settled(Arc::clone(service), tenant, principal);
}

/// A request that does not get to its service.
#[derive(Clone, Debug)]
pub struct Refused {
    /// The service that it is for.
    pub service: Arc<str>,
    /// The tenant that it acts for, if that is settled.
    pub tenant: Option<TenantId>,
    /// Who sent it, if its credential is good.
    pub principal: Option<Principal>,
    /// Why, in a word, and where it comes from, if that is for its credential.
    pub reason: Option<(&'static str, Option<IpAddr>)>,
}

impl Refused {
    /// Tells the access line, and the audit log of a credential that does not let its sender in.
    pub fn tell(&self, labels: &Labels) {
        label(labels, &self.service, self.tenant.as_ref(), self.principal.as_ref());
        let Some((reason, client)) = self.reason else { return };
        metrics::credential_refused(reason);
        tracing::info!(
            target: TARGET,
            event = "credential-refused",
            reason,
            request_id = labels.request_id().as_str(),
            client = client.map(tracing::field::display),
            service = &*self.service,
            principal = self.principal.as_ref().map(Principal::id),
            "credential refused"
        );
    }
}
