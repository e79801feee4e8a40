//! Settings: nests each module's own, and names the key that is wrong, its source and the remedy.
//!
//! Layers, later wins: built-in defaults, a TOML file, the environment
//! (`GATEHOUSE__SECTION__KEY`), and the well-known names `S3_BUCKET` and
//! `TR_CONSUMER_SERVICE_BASE_URL`. The environment comes in as an argument, so that tests
//! never change the process's own.

mod difference;
mod layers;
mod secret;
mod strict;
#[cfg(test)]
mod tests;
pub mod text;

use std::{fmt, net::SocketAddr, time::Duration};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

pub use layers::{DEFAULT_FILE, Sources};
pub use secret::Secret;

use crate::{consumers, database, edge, gateway, operations, storage, telemetry};
use layers::Layers;

/// The modules of this process, as `services.*.module` names them.
const MODULES: &[&str] = &[consumers::NAME];

/// All settings, in effect once [`load`] returned them.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The listener and its clients.
    pub server: ServerSettings,
    /// The listener for those who run the process.
    pub operations: operations::Settings,
    /// Who may come in.
    pub auth: gateway::AuthSettings,
    /// The services table: what the gateway routes to, by name.
    pub services: gateway::ServicesSettings,
    /// How many requests a tenant may send.
    pub rate_limits: gateway::RateLimitSettings,
    /// The consumers module.
    pub consumers: consumers::Settings,
    /// Where tenants are told of their events.
    pub webhooks: consumers::webhooks::WebhookSettings,
    /// Where image bytes are kept.
    pub storage: storage::Settings,
    /// Where records are kept.
    pub database: database::Settings,
    /// The most that each tenant's images may come to.
    pub quotas: consumers::Quotas,
    /// Logs.
    pub telemetry: telemetry::Settings,
}

/// `[server]`: the listener and its clients.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerSettings {
    /// The address and port to listen on; port 0 takes a free one.
    #[serde(with = "text")]
    pub listen: SocketAddr,
    /// Where clients and the services of steps reach the server, for the links that it tells; what stands
    /// before the paths of the API.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_url: Option<String>,
    /// Worker threads; 0 means one a core.
    pub workers: usize,
    /// The most connections of clients that are open at a time, all listeners and workers
    /// together, tunnels included; more wait unaccepted.
    pub max_connections: usize,
    /// How long running requests may take to finish once a stop was asked for.
    #[serde(with = "text")]
    pub shutdown_timeout: Duration,
    /// Peers whose `X-Forwarded-*` and `Forwarded` fields are believed.
    #[serde(with = "text")]
    pub trusted_proxies: Vec<IpNet>,
    /// How long a client may take to send a request's head.
    #[serde(with = "text")]
    pub header_timeout: Duration,
    /// How long readiness is red before the listener closes.
    #[serde(with = "text")]
    pub drain_delay: Duration,
    /// Which pages of other origins may use the API.
    pub cors: edge::CorsSettings,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 3000)),
            public_url: None,
            workers: 0,
            max_connections: 10_000,
            shutdown_timeout: Duration::from_secs(30),
            trusted_proxies: Vec::new(),
            header_timeout: Duration::from_secs(10),
            drain_delay: Duration::ZERO,
            cors: edge::CorsSettings::default(),
        }
    }
}

impl ServerSettings {
    /// The number of worker threads that `workers` comes to on this machine.
    pub fn worker_count(&self) -> usize {
        match self.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            workers => workers,
        }
    }

    /// Where the server is reached that listens on `address`: as the settings say, or by that address as far as
    /// this machine.
    pub fn base(&self, address: SocketAddr) -> String {
        match &self.public_url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None if address.ip().is_unspecified() => format!("http://localhost:{}", address.port()),
            None => format!("http://{address}"),
        }
    }

    fn validate_public_url(&self) -> Result<(), Invalid> {
        let is_base = |url: &String| {
            let url = url.parse::<http::Uri>().ok();
            url.is_some_and(|url| {
                matches!(url.scheme_str(), Some("http" | "https")) && url.query().is_none()
            })
        };
        match &self.public_url {
            Some(url) if !is_base(url) => Err(Invalid::new(
                "server.public_url",
                "must be a URL without a query, such as \"https://images.example.com\"",
            )),
            _ => Ok(()),
        }
    }

    /// A worker's share of `max_connections`.
    pub fn connections_a_worker(&self) -> usize {
        self.max_connections / self.worker_count()
    }
}

/// A setting that stops the start: one sentence with the key, its source and the remedy.
#[derive(Debug)]
pub struct Error(String);

impl Error {
    /// One line, whatever keys and values have in them.
    fn new(message: String) -> Self {
        Self(message.replace(char::is_control, " "))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

/// What a module's own validation finds: the key, and what is wrong with it and would be right.
#[derive(Debug)]
pub struct Invalid {
    /// The full key, such as `storage.s3.part_size`.
    pub key: String,
    /// What is wrong and what would be right, as the rest of a sentence that begins with the key.
    pub message: String,
}

impl Invalid {
    /// Names `key` and completes the sentence "`key` ...".
    pub fn new(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self { key: key.into(), message: message.into() }
    }
}

/// Loads and checks the settings.
///
/// # Errors
/// One sentence that names the key, its source and what would be right.
pub fn load(sources: &Sources) -> Result<Settings, Error> {
    let layers = Layers::read(sources)?;
    let mut settings: Settings = layers.deserialize()?;
    settings.services.complete(MODULES);
    settings.validate().map_err(|invalid| layers.error(&invalid.key, &invalid.message))?;
    if settings.consumers.workers.only {
        settings.services = gateway::ServicesSettings::default();
        settings.consumers.listen = None;
    }
    Ok(settings)
}

impl Settings {
    /// Checks what the types alone cannot: contradictions between values.
    fn validate(&self) -> Result<(), Invalid> {
        if self.server.workers > 1024 {
            return Err(Invalid::new(
                "server.workers",
                "is too large; use 0 for one a core, or up to 1024",
            ));
        }
        self.server.validate_public_url()?;
        if self.server.connections_a_worker() == 0 {
            let workers = self.server.worker_count();
            let message = format!(
                "is less than one for each of the {workers} workers; raise it, or lower server.workers"
            );
            return Err(Invalid::new("server.max_connections", message));
        }
        if self.server.header_timeout.is_zero() {
            return Err(Invalid::new(
                "server.header_timeout",
                "is zero; use a time such as \"10s\"",
            ));
        }
        self.server.cors.validate()?;
        let listeners = [
            ("server.listen", Some(self.server.listen)),
            ("consumers.listen", self.consumers.listen),
        ];
        for (key, address) in listeners {
            if let Some(address) = address {
                self.auth.check_listener(key, address)?;
            }
        }
        self.auth.validate()?;
        self.services.validate(MODULES)?;
        self.rate_limits.validate()?;
        self.consumers.validate()?;
        self.webhooks.validate()?;
        let calls = !self.consumers.steps.calls().is_empty();
        if self.consumers.workers.only && calls && self.server.public_url.is_none() {
            return Err(Invalid::new(
                "server.public_url",
                "is missing: steps' services cannot send their answers to a process of workers only; set it \
                 to where the others are reached",
            ));
        }
        self.storage
            .validate()
            .map_err(|(key, message)| Invalid::new(format!("storage.{key}"), message))?;
        self.database
            .validate()
            .map_err(|(key, message)| Invalid::new(format!("database.{key}"), message))?;
        self.telemetry.validate()
    }

    /// Whether the consumers module is served by this process, and so needs its store and records.
    pub fn serve_consumers(&self) -> bool {
        self.consumers.listen.is_some() || self.services.have_module(consumers::NAME)
    }

    /// Whether the consumers module is in this process, to be served or for its workers alone.
    pub fn have_consumers(&self) -> bool {
        self.serve_consumers() || self.consumers.workers.only
    }

    /// Whether this process keeps anything in the database: records of images, or API keys.
    pub fn need_database(&self) -> bool {
        self.have_consumers() || self.auth.mode == gateway::AuthMode::Required
    }

    /// The settings in effect as TOML, without the secrets.
    ///
    /// # Errors
    /// When a value has no TOML form, which is a defect.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string_pretty(self)
    }
}
