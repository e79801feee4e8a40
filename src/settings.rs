//! Settings: nests each module's own, loads them in layers, and names the key that is wrong.
//!
//! Layers, later wins: built-in defaults, a TOML file, the environment
//! (`GATEHOUSE__SECTION__KEY`), and the well-known names `S3_BUCKET` and
//! `TR_CONSUMER_SERVICE_BASE_URL`. The environment comes in as an argument, so that tests
//! never change the process's own.

use std::{collections::BTreeMap, fmt, net::SocketAddr, path::PathBuf, time::Duration};

use config::{Config, Environment, File, FileFormat};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::{consumers, gateway, storage, telemetry};

/// The file that is read when none is named and it exists.
pub const DEFAULT_FILE: &str = "settings.toml";

const ENV_PREFIX: &str = "GATEHOUSE";
const BUCKET_VARIABLE: &str = "S3_BUCKET";
const CONSUMERS_URL_VARIABLE: &str = "TR_CONSUMER_SERVICE_BASE_URL";

/// All settings, in effect once [`load`] returned them.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The listener and its clients.
    pub server: ServerSettings,
    /// Who may come in.
    pub auth: gateway::AuthSettings,
    /// The services table: what the gateway routes to, by name.
    pub services: gateway::ServicesSettings,
    /// The consumers module.
    pub consumers: consumers::Settings,
    /// Where image bytes are kept.
    pub storage: storage::Settings,
    /// Logs.
    pub telemetry: telemetry::Settings,
}

/// `[server]`: the listener and its clients.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerSettings {
    /// The address and port to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Worker threads; 0 means one a core.
    pub workers: usize,
    /// How long running requests may take to finish once a stop was asked for.
    #[serde(with = "duration")]
    pub shutdown_timeout: Duration,
    /// Peers whose `X-Forwarded-*` and `Forwarded` fields are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// How long a client may take to send a request's head.
    #[serde(with = "duration")]
    pub header_timeout: Duration,
    /// How long readiness is red before the listener closes.
    #[serde(with = "duration")]
    pub drain_delay: Duration,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 3000)),
            workers: 0,
            shutdown_timeout: Duration::from_secs(30),
            trusted_proxies: Vec::new(),
            header_timeout: Duration::from_secs(10),
            drain_delay: Duration::ZERO,
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
}

/// Where settings come from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// A TOML file that must exist; none: [`DEFAULT_FILE`] if it does.
    pub file: Option<PathBuf>,
    /// Environment variables, of which only gatehouse's own are looked at.
    pub env: Vec<(String, String)>,
}

impl Sources {
    /// The named file and this process's environment. Variables that are no UTF-8 are passed over.
    pub fn of_process(file: Option<PathBuf>) -> Self {
        let env = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self { file, env }
    }

    fn variable(&self, name: &str) -> Option<&str> {
        let (_, value) = self.env.iter().find(|(key, value)| key == name && !value.is_empty())?;
        Some(value)
    }

    /// The environment variable that sets `key`, if one does.
    fn variable_for(&self, key: &str) -> Option<String> {
        let name = format!("{ENV_PREFIX}__{}", key.to_uppercase().replace('.', "__"));
        self.env.iter().find(|(key, _)| key.to_uppercase() == name).map(|(key, _)| key.clone())
    }

    fn file_path(&self) -> PathBuf {
        self.file.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_FILE))
    }

    /// Where the value of `key` came from, for a person to find it.
    fn origin(&self, key: &str) -> String {
        if key == "storage.s3.bucket" && self.variable(BUCKET_VARIABLE).is_some() {
            return format!("environment variable {BUCKET_VARIABLE}");
        }
        if key.starts_with("services.consumers") && self.variable(CONSUMERS_URL_VARIABLE).is_some()
        {
            return format!("environment variable {CONSUMERS_URL_VARIABLE}");
        }
        if let Some(name) = self.variable_for(key) {
            return format!("environment variable {name}");
        }
        let path = self.file_path();
        let in_file = std::fs::read_to_string(&path)
            .ok()
            .and_then(|text| text.parse::<toml::Table>().ok())
            .is_some_and(|table| contains(&table, key));
        if in_file { path.display().to_string() } else { "the defaults".to_owned() }
    }
}

fn contains(table: &toml::Table, key: &str) -> bool {
    match key.split_once('.') {
        None => table.contains_key(key),
        Some((head, rest)) => {
            table.get(head).and_then(toml::Value::as_table).is_some_and(|t| contains(t, rest))
        }
    }
}

/// A setting that stops the start: one sentence with the key, its source and the remedy.
#[derive(Debug)]
pub struct Error(String);

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
    let mut settings = read_layers(sources)?;
    if let Some(bucket) = sources.variable(BUCKET_VARIABLE) {
        settings.storage.backend = storage::BackendKind::S3;
        settings.storage.s3.bucket = Some(bucket.to_owned());
    }
    settings.services.complete();
    if let Some(url) = sources.variable(CONSUMERS_URL_VARIABLE) {
        settings.services.make_remote("consumers", url);
    }
    settings.validate().map_err(|invalid| {
        let origin = sources.origin(&invalid.key);
        Error(format!("setting {} (from {origin}) {}", invalid.key, invalid.message))
    })?;
    Ok(settings)
}

fn read_layers(sources: &Sources) -> Result<Settings, Error> {
    let path = sources.file_path();
    let prefix = format!("{ENV_PREFIX}__");
    let variables = sources
        .env
        .iter()
        .filter(|(name, _)| name.to_uppercase().starts_with(&prefix))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let environment = Environment::with_prefix(ENV_PREFIX)
        .prefix_separator("__")
        .separator("__")
        .try_parsing(true)
        .list_separator(",")
        .with_list_parse_key("server.trusted_proxies")
        .with_list_parse_key("consumers.images.accept")
        .source(Some(variables));
    let file = File::new(&path.display().to_string(), FileFormat::Toml);
    let layers = Config::builder()
        .add_source(file.required(sources.file.is_some()))
        .add_source(environment)
        .build()
        .map_err(|error| {
            Error(format!("the settings file {} cannot be read: {error}", path.display()))
        })?;
    serde_path_to_error::deserialize(layers).map_err(|error| {
        let path = error.path().to_string();
        let message = reason(error.inner());
        let key = match unknown_field(&message) {
            Some(field) if path == "." => field.to_owned(),
            Some(field) if !path.ends_with(field) => format!("{path}.{field}"),
            _ => path,
        };
        let origin = sources.origin(&key);
        Error(format!("setting {key} (from {origin}) is not right: {message}"))
    })
}

/// The bare message of a layer's error, without the position that [`Sources::origin`] tells better.
fn reason(error: &config::ConfigError) -> String {
    match error {
        config::ConfigError::At { error, .. } => reason(error),
        other => other.to_string(),
    }
}

/// The field that serde's `unknown field` message names.
fn unknown_field(message: &str) -> Option<&str> {
    message.strip_prefix("unknown field `")?.split('`').next()
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
        if self.server.header_timeout.is_zero() {
            return Err(Invalid::new(
                "server.header_timeout",
                "is zero; use a time such as \"10s\"",
            ));
        }
        let listeners = [
            ("server.listen", Some(self.server.listen)),
            ("consumers.listen", self.consumers.listen),
        ];
        for (key, address) in listeners {
            if let Some(address) = address {
                self.auth.check_listener(key, address)?;
            }
        }
        self.services.validate(&["consumers"])?;
        self.consumers.validate()?;
        self.storage
            .validate()
            .map_err(|(key, message)| Invalid::new(format!("storage.{key}"), message))?;
        self.telemetry.validate()
    }

    /// The settings in effect as TOML, without the secrets.
    ///
    /// # Errors
    /// When a value has no TOML form, which is a defect.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string_pretty(self)
    }
}

/// The services table as the settings file writes it.
pub type Table<T> = BTreeMap<String, T>;

/// Serde for times as people write them: `"30s"`, `"1m 30s"`, `"500ms"`.
pub mod duration {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    /// Reads a time such as `"30s"`.
    ///
    /// # Errors
    /// When the text is no time.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_duration(&text).map_err(|error| {
            D::Error::custom(format!("\"{text}\" is no time ({error}); write for example \"30s\""))
        })
    }

    /// Writes a time such as `30s`.
    ///
    /// # Errors
    /// None of its own.
    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(*duration))
    }
}
