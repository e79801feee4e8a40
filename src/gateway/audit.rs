//! The audit log: acts that bear on security, under a target of their own, so that they can be
//! kept apart from other lines. Never with a credential in them.

use std::{net::IpAddr, sync::Arc};

use crate::tenant::Principal;

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

/// A request whose credential does not let it in.
#[derive(Clone, Debug)]
pub struct Refused {
    /// Why, in a word.
    pub reason: &'static str,
    /// Where it comes from.
    pub client: Option<IpAddr>,
    /// The service that it is for.
    pub service: Arc<str>,
    /// Who sent it, if the credential itself is good.
    pub principal: Option<Principal>,
}

impl Refused {
    /// Writes the line.
    pub fn tell(&self, request_id: &str) {
        tracing::info!(
            target: TARGET,
            event = "credential-refused",
            reason = self.reason,
            request_id,
            client = self.client.map(tracing::field::display),
            service = &*self.service,
            principal = self.principal.as_ref().map(Principal::id),
            "credential refused"
        );
    }
}
