//! Where settings come from: the file and the environment, laid over each other so that each
//! value still knows its source. It knows which variables are gatehouse's, and no other key.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ffi::OsString,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use config::{Config, ConfigError, Source, Value, ValueKind};

use super::{
    Error,
    strict::{self, Strict},
};
use crate::consumers;

/// The file that is read when none is named and it exists.
pub const DEFAULT_FILE: &str = "settings.toml";

const PREFIX: &str = "GATEHOUSE__";
const BUCKET_VARIABLE: &str = "S3_BUCKET";
const CONSUMERS_URL_VARIABLE: &str = "TR_CONSUMER_SERVICE_BASE_URL";

/// How the origin of an environment variable's value begins.
const VARIABLE: &str = "environment variable ";

/// Where settings come from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// A TOML file that must exist; none: [`DEFAULT_FILE`] if it does.
    pub file: Option<PathBuf>,
    /// Environment variables, of which only gatehouse's own are looked at.
    pub env: Vec<(OsString, OsString)>,
}

impl Sources {
    /// The named file and this process's environment.
    pub fn of_process(file: Option<PathBuf>) -> Self {
        Self { file, env: std::env::vars_os().collect() }
    }

    /// Where the value of `key` comes from, for a person to find it.
    pub fn origin(&self, key: &str) -> String {
        Layers::read(self).map_or_else(|_| "the settings".to_owned(), |layers| layers.origin(key))
    }

    /// The file that is read, whether it is there or not.
    pub fn file_path(&self) -> &Path {
        self.file.as_deref().unwrap_or(Path::new(DEFAULT_FILE))
    }

    /// gatehouse's own variables, without the empty ones, which count as not set.
    fn variables(&self) -> Result<BTreeMap<&str, &str>, Error> {
        let own = |name: &OsString| {
            name.as_encoded_bytes().starts_with(PREFIX.as_bytes())
                || name == BUCKET_VARIABLE
                || name == CONSUMERS_URL_VARIABLE
        };
        self.env
            .iter()
            .filter(|(name, value)| own(name) && !value.is_empty())
            .map(|(name, value)| {
                name.to_str().zip(value.to_str()).ok_or_else(|| {
                    let name = name.to_string_lossy();
                    Error::new(format!("{VARIABLE}{name} is not UTF-8; write it as UTF-8 text"))
                })
            })
            .collect()
    }
}

/// What the file and the environment come to. The defaults are not among them.
pub(super) struct Layers {
    root: Value,
    /// The file's name, which sections without a key of their own come from.
    file: String,
}

impl Layers {
    /// Reads all layers and lays the later ones over the earlier.
    pub(super) fn read(sources: &Sources) -> Result<Self, Error> {
        let path = sources.file_path();
        let file = path.display().to_string();
        let mut builder = Config::builder();
        if let Some(text) = read_file(path, sources.file.is_some())? {
            builder = builder.add_source(Layer(parse_file(&text, &file)?));
        }
        for layer in of_environment(&sources.variables()?)? {
            builder = builder.add_source(layer);
        }
        let merged = builder.build().map_err(|error| Error::new(error.to_string()))?;
        let root = match merged.cache.kind {
            ValueKind::Table(mut table) => table.remove(Layer::ROOT),
            _ => None,
        };
        Ok(Self { root: root.unwrap_or_else(|| HashMap::<String, Value>::new().into()), file })
    }

    /// The settings, and for each that is missing its default.
    pub(super) fn deserialize<T: serde::de::DeserializeOwned>(&self) -> Result<T, Error> {
        serde_path_to_error::deserialize(Strict(self.root.clone())).map_err(|error| {
            let key = key_of(error.path());
            let what: strict::Error = error.into_inner();
            self.error(&key, &what.to_string())
        })
    }

    /// The sentence about `key` that `what` is the rest of.
    pub(super) fn error(&self, key: &str, what: &str) -> Error {
        Error::new(format!("setting {key} (from {}) {what}", self.origin(key)))
    }

    /// Where `key`, or all that is below it, comes from.
    pub(super) fn origin(&self, key: &str) -> String {
        let Some(value) = find(&self.root, key) else { return "the defaults".to_owned() };
        let mut origins = BTreeSet::new();
        gather_origins(value, &mut origins);
        if origins.is_empty() {
            return self.file.clone();
        }
        origins.into_iter().collect::<Vec<_>>().join(" and ")
    }
}

/// Whether a value is of the environment, where everything is text.
pub(super) fn is_of_variable(value: &Value) -> bool {
    value.origin().is_some_and(|origin| origin.starts_with(VARIABLE))
}

/// One file's or one variable's settings.
#[derive(Clone, Debug)]
struct Layer(Value);

impl Layer {
    /// `config` takes a source's top keys for paths, with dots and brackets, and what is below
    /// them as it is: so there is just one top key.
    const ROOT: &str = "settings";

    /// A single value, for a variable's key.
    fn of_variable(name: &str, key: &[&str], value: Option<&str>) -> Self {
        let value = Value::new(Some(&format!("{VARIABLE}{name}")), value);
        Self(
            key.iter().rev().fold(value, |value, segment| {
                HashMap::from([((*segment).to_owned(), value)]).into()
            }),
        )
    }
}

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<HashMap<String, Value>, ConfigError> {
        Ok(HashMap::from([(Self::ROOT.to_owned(), self.0.clone())]))
    }
}

/// The file's text; none if it may be missing and is.
fn read_file(path: &Path, required: bool) -> Result<Option<String>, Error> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound && !required => Ok(None),
        Err(error) => Err(Error::new(format!(
            "the settings file {} cannot be read ({error}); make it a text file that this user may read",
            path.display()
        ))),
    }
}

/// The file's settings. A syntax error is told without the line's text: it may be a secret.
fn parse_file(text: &str, file: &str) -> Result<Value, Error> {
    let table: toml::Table = toml::from_str(text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let message = error.message();
        Error::new(format!(
            "the settings file {file} is not TOML: {message}; correct its line {line}"
        ))
    })?;
    of_toml(toml::Value::Table(table), &file.to_owned(), "")
}

fn of_toml(value: toml::Value, file: &String, key: &str) -> Result<Value, Error> {
    let kind = match value {
        toml::Value::String(text) => ValueKind::String(text),
        toml::Value::Integer(number) => ValueKind::I64(number),
        toml::Value::Float(number) => ValueKind::Float(number),
        toml::Value::Boolean(value) => ValueKind::Boolean(value),
        toml::Value::Datetime(_) => {
            return Err(Error::new(format!(
                "setting {key} (from {file}) is a date, which no setting is; write text in quotes"
            )));
        }
        toml::Value::Array(items) => {
            let items = items.into_iter().map(|item| of_toml(item, file, key));
            ValueKind::Array(items.collect::<Result<_, _>>()?)
        }
        toml::Value::Table(table) => {
            let entries = table.into_iter().map(|(name, value)| {
                let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                Ok((name, of_toml(value, file, &key)?))
            });
            ValueKind::Table(entries.collect::<Result<_, _>>()?)
        }
    };
    Ok(Value::new(Some(file), kind))
}

/// The environment's settings, the well-known names last.
fn of_environment(variables: &BTreeMap<&str, &str>) -> Result<Vec<Layer>, Error> {
    let mut layers = Vec::new();
    for (name, value) in variables {
        let Some(rest) = name.strip_prefix(PREFIX) else { continue };
        let section = format!("{name}__");
        if let Some(below) = variables.keys().find(|other| other.starts_with(&section)) {
            return Err(Error::new(format!(
                "{VARIABLE}{name} sets a value where {below} sets a section; unset one of them"
            )));
        }
        let key = rest.to_lowercase();
        let key: Vec<_> = key.split("__").collect();
        layers.push(Layer::of_variable(name, &key, Some(value)));
    }
    if let Some(bucket) = variables.get(BUCKET_VARIABLE) {
        let set = |key: &[&str], value| Layer::of_variable(BUCKET_VARIABLE, key, Some(value));
        layers.push(set(&["storage", "backend"], "s3"));
        layers.push(set(&["storage", "s3", "bucket"], bucket));
    }
    if let Some(url) = variables.get(CONSUMERS_URL_VARIABLE) {
        let service = |key| ["services", consumers::NAME, key];
        let set = |key, value| Layer::of_variable(CONSUMERS_URL_VARIABLE, &service(key), value);
        layers.push(set("module", None));
        layers.push(set("urls", None));
        layers.push(set("url", Some(url)));
    }
    Ok(layers)
}

/// The key as a person writes it.
fn key_of(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    let mut key = String::new();
    for segment in path {
        match segment {
            Segment::Map { key: name } if key.is_empty() => key.push_str(name),
            Segment::Map { key: name } => key.extend([".", name]),
            Segment::Seq { index } => key.push_str(&format!("[{index}]")),
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    key
}

/// The value of a key such as `server.listen` or `server.trusted_proxies[0]`, if a layer has it.
fn find<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    let ValueKind::Table(table) = &value.kind else { return None };
    table.iter().find_map(|(name, child)| {
        let rest = key.strip_prefix(name.as_str())?;
        match rest.strip_prefix('.') {
            Some(rest) => find(child, rest),
            None => (rest.is_empty() || rest.starts_with('[')).then_some(child),
        }
    })
}

fn gather_origins<'a>(value: &'a Value, origins: &mut BTreeSet<&'a str>) {
    match &value.kind {
        ValueKind::Table(table) => {
            table.values().for_each(|child| gather_origins(child, origins));
        }
        _ => origins.extend(value.origin()),
    }
}
