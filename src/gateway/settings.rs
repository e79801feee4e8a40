//! `[auth]` and `[services]`: who may come in, and what the gateway routes to.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

use super::{proxy::Upstream, registry::is_service_name};
use crate::settings::{Invalid, text};

/// `[auth]`: how a request's tenant is established.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthSettings {
    /// Whether credentials are asked for.
    pub mode: AuthMode,
    /// In open mode: listen on addresses that others can reach all the same.
    pub allow_open_network: bool,
}

/// How a request's tenant is established.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthMode {
    /// `x-tenant-id` is believed.
    #[default]
    Open,
}

impl AuthSettings {
    /// Refuses a listener that would let strangers act for any tenant.
    ///
    /// # Errors
    /// In open mode, for an address that is not a loopback one, unless it is allowed.
    pub fn check_listener(&self, key: &str, address: SocketAddr) -> Result<(), Invalid> {
        if address.ip().is_loopback() || self.allow_open_network {
            return Ok(());
        }
        Err(Invalid::new(
            key,
            format!(
                "is {address}, which others can reach, while auth.mode = \"open\" believes any tenant header; \
                 listen on 127.0.0.1, or set auth.allow_open_network = true if only trusted clients can get there"
            ),
        ))
    }
}

/// `[services]`: the services table.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(transparent)]
pub struct ServicesSettings(pub BTreeMap<String, ServiceSettings>);

/// One entry of the services table: a module of this process, or a remote service.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServiceSettings {
    /// The module of this process that answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub module: Option<String>,
    /// The remote service's base URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Whether a request needs a tenant. A module, or a service with a module's name, always does.
    pub tenant_required: bool,
    /// How long connecting may take.
    #[serde(with = "text")]
    pub connect_timeout: Duration,
    /// How long the response's head may take once the request has been sent.
    #[serde(with = "text")]
    pub response_timeout: Duration,
    /// How long either side may pause within a body.
    #[serde(with = "text")]
    pub idle_timeout: Duration,
    /// The largest request body that is passed on, inclusive; none: no limit.
    #[serde(with = "text", skip_serializing_if = "Option::is_none")]
    pub max_body_size: Option<ByteSize>,
}

impl Default for ServiceSettings {
    fn default() -> Self {
        Self {
            module: None,
            url: None,
            tenant_required: false,
            connect_timeout: Duration::from_secs(2),
            response_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(30),
            max_body_size: None,
        }
    }
}

impl ServiceSettings {
    /// The remote service that this entry describes, if it does.
    ///
    /// # Errors
    /// What is wrong with the URL.
    pub fn upstream(&self) -> Option<Result<Upstream, String>> {
        let url = self.url.as_deref()?;
        Some(Upstream::parse(url).map(|mut upstream| {
            upstream.connect_timeout = self.connect_timeout;
            upstream.response_timeout = self.response_timeout;
            upstream.idle_timeout = self.idle_timeout;
            upstream.max_body_size = self.max_body_size.map(|size| size.as_u64());
            upstream
        }))
    }
}

impl ServicesSettings {
    /// The table that has just these modules of this process.
    pub fn of_modules(modules: &[&str]) -> Self {
        let mut services = Self::default();
        services.complete(modules);
        services
    }

    /// Adds what is so by default: each of the process's modules is a service of its own name,
    /// unless that name is remote. A module needs a tenant, and so does a service with a
    /// module's name, wherever it is.
    pub fn complete(&mut self, modules: &[&str]) {
        for &module in modules {
            let service = self.0.entry(module.to_owned()).or_default();
            if service.url.is_none() && service.module.is_none() {
                service.module = Some(module.to_owned());
            }
        }
        for (name, service) in &mut self.0 {
            if service.module.is_some() || modules.contains(&name.as_str()) {
                service.tenant_required = true;
            }
        }
    }

    /// Checks names, modules and URLs.
    ///
    /// # Errors
    /// The first entry that is wrong.
    pub fn validate(&self, modules: &[&str]) -> Result<(), Invalid> {
        for (name, service) in &self.0 {
            let key = format!("services.{name}");
            if !is_service_name(name) {
                return Err(Invalid::new(
                    key,
                    "has a name that no path can ask for; use up to 63 lower-case letters, digits and '-', \
                     beginning with a letter or digit",
                ));
            }
            match (&service.module, service.upstream()) {
                (Some(module), None) if modules.contains(&module.as_str()) => {}
                (Some(module), None) => {
                    let known = modules.join(", ");
                    return Err(Invalid::new(
                        format!("{key}.module"),
                        format!(
                            "names \"{module}\", which is no module of this process; there is: {known}"
                        ),
                    ));
                }
                (None, Some(Ok(_))) => {}
                (None, Some(Err(message))) => {
                    return Err(Invalid::new(
                        format!("{key}.url"),
                        format!("{message}; write a URL such as \"http://orders:8080/api\""),
                    ));
                }
                (Some(_), Some(_)) => {
                    return Err(Invalid::new(key, "has both a module and a url; keep one of them"));
                }
                (None, None) => {
                    return Err(Invalid::new(
                        key,
                        "has neither a module nor a url; give it one of them",
                    ));
                }
            }
            let times = [
                ("connect_timeout", service.connect_timeout),
                ("response_timeout", service.response_timeout),
                ("idle_timeout", service.idle_timeout),
            ];
            if let Some((time, _)) = times.iter().find(|(_, value)| value.is_zero()) {
                return Err(Invalid::new(
                    format!("{key}.{time}"),
                    "is zero; use a time such as \"30s\"",
                ));
            }
        }
        Ok(())
    }
}
