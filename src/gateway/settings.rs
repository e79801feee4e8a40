//! `[services]`: what the gateway routes to.

mod ca_file;

use std::{collections::BTreeMap, time::Duration};

use bytesize::ByteSize;
use http::uri::PathAndQuery;
use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};

pub use self::ca_file::CaFile;
use super::{
    proxy::{Circuit, HealthCheck, Upstream},
    registry::is_service_name,
};
use crate::{
    settings::{Invalid, Secret, text},
    tenant::Scopes,
};

/// `[services]`: the services table.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct ServicesSettings(pub BTreeMap<String, ServiceSettings>);

/// One entry of the services table: a module of this process, or a remote service. Of `module`,
/// `url` and `urls` it has exactly one.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServiceSettings {
    /// The module of this process that answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub module: Option<String>,
    /// The base URL of a remote service with one instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The base URLs of a remote service's instances, all of one scheme.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub urls: Option<Vec<String>>,
    /// The authorities to trust instead of the usual ones; for https.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<CaFile>,
    /// Whether a request needs a tenant. A module, or a service with a module's name, always does.
    pub tenant_required: bool,
    /// What a credential must allow. `images:read` and `images:write` for a module, and for a
    /// service with a module's name, unless set; else nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub required_scopes: Option<ScopeSettings>,
    /// Whether the client's credential travels on, where one is asked for.
    pub forward_credentials: bool,
    /// Sent as `x-api-key`, in place of what the client sent.
    #[serde(skip_serializing)]
    pub upstream_api_key: Option<Secret>,
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
    /// The most requests that may be under way to the service, all instances together; one more
    /// is refused at once. None: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_requests: Option<u32>,
    /// What to ask each instance for, to see whether it is well: a path of its host, not below
    /// its base URL. None: it is not asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health_path: Option<String>,
    /// How often `health_path` is asked for, and how long its answer may take.
    #[serde(with = "text")]
    pub health_interval: Duration,
    /// When an instance that fails is left alone. None: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub circuit: Option<CircuitSettings>,
}

/// The scopes that requests need, as lists with blanks between; none: no scope.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScopeSettings {
    /// To read: GET and HEAD.
    pub read: String,
    /// To do anything else.
    pub write: String,
}

impl ScopeSettings {
    /// What modules ask for, unless it is set otherwise.
    pub(super) fn of_modules() -> Self {
        Self { read: "images:read".to_owned(), write: "images:write".to_owned() }
    }

    /// What reading needs, and all else.
    pub fn parse(&self) -> (Scopes, Scopes) {
        (Scopes::parse(&self.read), Scopes::parse(&self.write))
    }
}

/// When an instance that fails is left alone, and for how long.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct CircuitSettings {
    /// So many failures in a row open the circuit.
    pub failures: u32,
    /// How long it stays open before a request tries the instance again.
    #[serde(with = "text")]
    pub open_for: Duration,
}

impl Default for CircuitSettings {
    fn default() -> Self {
        Self { failures: 5, open_for: Duration::from_secs(30) }
    }
}

impl Default for ServiceSettings {
    fn default() -> Self {
        Self {
            module: None,
            url: None,
            urls: None,
            ca_file: None,
            tenant_required: false,
            required_scopes: None,
            forward_credentials: false,
            upstream_api_key: None,
            connect_timeout: Duration::from_secs(2),
            response_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(30),
            max_body_size: None,
            max_requests: None,
            health_path: None,
            health_interval: Duration::from_secs(10),
            circuit: None,
        }
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
    /// unless that name is remote. A module needs a tenant and its scopes, and so does a service with
    /// a module's name, wherever it is.
    pub fn complete(&mut self, modules: &[&str]) {
        for &module in modules {
            let service = self.0.entry(module.to_owned()).or_default();
            if service.url.is_none() && service.urls.is_none() && service.module.is_none() {
                service.module = Some(module.to_owned());
            }
        }
        for (name, service) in &mut self.0 {
            if service.module.is_some() || modules.contains(&name.as_str()) {
                service.tenant_required = true;
                service.required_scopes.get_or_insert_with(ScopeSettings::of_modules);
            }
        }
    }

    /// Whether a service is this module of the process.
    pub fn have_module(&self, name: &str) -> bool {
        self.0.values().any(|service| service.module.as_deref() == Some(name))
    }

    /// Checks names, modules, URLs and limits.
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
            let Err(invalid) = service.validate(modules) else { continue };
            let below = if invalid.key.is_empty() { key } else { format!("{key}.{}", invalid.key) };
            return Err(Invalid::new(below, invalid.message));
        }
        Ok(())
    }
}

impl ServiceSettings {
    /// The base URLs of the remote service's instances; none for a module.
    pub fn instances(&self) -> &[String] {
        self.urls.as_deref().unwrap_or(self.url.as_slice())
    }

    /// The authorities of its own that vouch for it.
    fn authorities(&self) -> &[CertificateDer<'static>] {
        self.ca_file.as_ref().map_or(&[], CaFile::certificates)
    }

    /// The remote service that this entry describes, if it does.
    ///
    /// # Errors
    /// What is wrong with a URL.
    pub fn upstream(&self) -> Option<Result<Upstream, String>> {
        let urls = self.instances();
        if urls.is_empty() {
            return None;
        }
        let urls = urls.iter().map(String::as_str);
        Some(Upstream::parse(urls, self.authorities()).map(|mut upstream| {
            upstream.connect_timeout = self.connect_timeout;
            upstream.response_timeout = self.response_timeout;
            upstream.idle_timeout = self.idle_timeout;
            upstream.max_body_size = self.max_body_size.map(|size| size.as_u64());
            upstream.max_requests = self.max_requests;
            upstream.circuit = self
                .circuit
                .map(|CircuitSettings { failures, open_for }| Circuit { failures, open_for });
            upstream.health_check = self
                .health_path
                .as_deref()
                .map(|path| HealthCheck { path: path.into(), interval: self.health_interval });
            upstream
        }))
    }

    /// Checks the entry; keys are those below it, empty for the entry itself.
    fn validate(&self, modules: &[&str]) -> Result<(), Invalid> {
        match (&self.module, &self.url, &self.urls) {
            (Some(module), None, None) => self.validate_module(module, modules)?,
            (None, Some(_), None) | (None, None, Some(_)) => self.validate_urls()?,
            (None, None, None) => {
                return Err(Invalid::new(
                    "",
                    "has neither a module nor a url nor urls; give it one of them",
                ));
            }
            _ => {
                return Err(Invalid::new(
                    "",
                    "has more than one of module, url and urls; keep one of them",
                ));
            }
        }
        self.validate_credentials()?;
        self.validate_health_path()?;
        self.validate_limits()
    }

    fn validate_module(&self, module: &str, modules: &[&str]) -> Result<(), Invalid> {
        if !modules.contains(&module) {
            let known = modules.join(", ");
            let message = format!(
                "names \"{module}\", which is no module of this process; there is: {known}"
            );
            return Err(Invalid::new("module", message));
        }
        let of_remote = [
            ("ca_file", self.ca_file.is_some()),
            ("forward_credentials", self.forward_credentials),
            ("upstream_api_key", self.upstream_api_key.is_some()),
            ("max_requests", self.max_requests.is_some()),
            ("health_path", self.health_path.is_some()),
            ("circuit", self.circuit.is_some()),
        ];
        match of_remote.iter().find(|(_, is_set)| *is_set) {
            None => Ok(()),
            Some((key, _)) => Err(Invalid::new(
                *key,
                "is for a remote service, and this one is a module of this process; remove it",
            )),
        }
    }

    fn validate_urls(&self) -> Result<(), Invalid> {
        let urls = self.instances();
        let secure = urls.iter().filter(|url| is_https(url)).count();
        if urls.is_empty() {
            return Err(Invalid::new(
                "urls",
                "is empty; list a URL such as \"http://orders:8080/api\"",
            ));
        }
        if secure > 0 && secure < urls.len() {
            return Err(Invalid::new(
                "urls",
                "mixes https:// with others; give all instances one scheme",
            ));
        }
        for (index, url) in urls.iter().enumerate() {
            let key = if self.urls.is_some() { format!("urls[{index}]") } else { "url".to_owned() };
            if urls[..index].contains(url) {
                return Err(Invalid::new(key, "is listed twice; list each instance once"));
            }
            if let Err(message) = Upstream::parse([url.as_str()], self.authorities()) {
                let message = format!("{message}; write a URL such as \"http://orders:8080/api\"");
                return Err(Invalid::new(key, message));
            }
        }
        if self.ca_file.is_some() && secure == 0 {
            return Err(Invalid::new(
                "ca_file",
                "is for https, and the service's URL is not; write https:// there, or remove this",
            ));
        }
        Ok(())
    }

    fn validate_credentials(&self) -> Result<(), Invalid> {
        let scopes = self.required_scopes.iter().flat_map(|scopes| {
            [("required_scopes.read", &scopes.read), ("required_scopes.write", &scopes.write)]
        });
        for (key, list) in scopes {
            if !Scopes::are_valid(list) {
                return Err(Invalid::new(
                    key,
                    "is no list of scopes; write names with blanks between, such as \"orders:read\"",
                ));
            }
        }
        match &self.upstream_api_key {
            Some(key) if !key.expose().bytes().all(|b| b.is_ascii_graphic()) => Err(Invalid::new(
                "upstream_api_key",
                "has blanks or other characters that no header can carry; copy the key alone",
            )),
            _ => Ok(()),
        }
    }

    fn validate_health_path(&self) -> Result<(), Invalid> {
        let is_path = |path: &str| {
            // A `#` and what follows would be cut off.
            let parsed = path.parse::<PathAndQuery>();
            path.starts_with('/') && parsed.is_ok_and(|parsed| parsed.as_str() == path)
        };
        match &self.health_path {
            Some(path) if !is_path(path) => Err(Invalid::new(
                "health_path",
                "is no path that a request can have; write one such as \"/healthz\"",
            )),
            _ => Ok(()),
        }
    }

    fn validate_limits(&self) -> Result<(), Invalid> {
        let times = [
            ("connect_timeout", Some(self.connect_timeout)),
            ("response_timeout", Some(self.response_timeout)),
            ("idle_timeout", Some(self.idle_timeout)),
            ("health_interval", Some(self.health_interval)),
            ("circuit.open_for", self.circuit.map(|circuit| circuit.open_for)),
        ];
        if let Some((key, _)) = times.iter().find(|(_, time)| *time == Some(Duration::ZERO)) {
            return Err(Invalid::new(*key, "is zero; use a time such as \"30s\""));
        }
        let counts = [
            ("max_requests", self.max_requests),
            ("circuit.failures", self.circuit.map(|circuit| circuit.failures)),
        ];
        if let Some((key, _)) = counts.iter().find(|(_, count)| *count == Some(0)) {
            return Err(Invalid::new(*key, "is 0, so no request could pass; raise it"));
        }
        Ok(())
    }
}

fn is_https(url: &str) -> bool {
    url.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://"))
}
