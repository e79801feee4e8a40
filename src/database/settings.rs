//! `[database]`: which database, read so that its password is never printed.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::Dialect;

/// `[database]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where records are kept: `sqlite://FILE` or `postgres://…`.
    pub url: DatabaseUrl,
    /// The most connections of this process to Postgres.
    pub max_connections: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { url: DatabaseUrl::Sqlite(PathBuf::from("data/gatehouse.db")), max_connections: 10 }
    }
}

impl Settings {
    /// Finds what the types alone cannot.
    ///
    /// # Errors
    /// The setting that is wrong, by its path below `database`, and a sentence on it.
    pub fn validate(&self) -> Result<(), (&'static str, String)> {
        if self.max_connections == 0 {
            return Err(("max_connections", "is 0, so no request could succeed; raise it".into()));
        }
        Ok(())
    }
}

/// A database's URL.
#[derive(Clone)]
pub enum DatabaseUrl {
    /// A file of this machine, made if it is missing. Relative to the working directory.
    Sqlite(PathBuf),
    /// A Postgres, by its connection URI (the PostgreSQL manual's section 32.1.1.2).
    Postgres(SecretString),
}

impl DatabaseUrl {
    const FORM: &'static str =
        "is no database; use \"sqlite://FILE\" or \"postgres://USER:PASSWORD@HOST/DATABASE\"";

    /// Reads a URL. The error never repeats it, since a password may be in it.
    ///
    /// # Errors
    /// What would be right.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if let Some(file) = text.strip_prefix("sqlite://") {
            let plain = !file.is_empty() && !file.ends_with('/') && !file.contains(['?', '\0']);
            return if plain { Ok(Self::Sqlite(file.into())) } else { Err(Self::FORM) };
        }
        let uri = text.parse::<http::Uri>().map_err(|_| Self::FORM)?;
        if matches!(uri.scheme_str(), Some("postgres" | "postgresql")) && uri.host().is_some() {
            return Ok(Self::Postgres(text.into()));
        }
        Err(Self::FORM)
    }

    /// What dialect of SQL is spoken there.
    pub fn dialect(&self) -> Dialect {
        match self {
            Self::Sqlite(_) => Dialect::Sqlite,
            Self::Postgres(_) => Dialect::Postgres,
        }
    }

    /// The URL as sqlx takes it.
    pub(super) fn for_sqlx(&self) -> SecretString {
        match self {
            Self::Sqlite(file) => sqlite_url(file).into(),
            Self::Postgres(url) => url.clone(),
        }
    }
}

/// sqlx reads a path as a URL's: percent-encoded.
fn sqlite_url(file: &Path) -> String {
    const KEPT: &percent_encoding::AsciiSet =
        &percent_encoding::NON_ALPHANUMERIC.remove(b'/').remove(b'.').remove(b'-').remove(b'_');
    let path = file.to_string_lossy();
    format!("sqlite://{}?mode=rwc", percent_encoding::utf8_percent_encode(&path, KEPT))
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(file) => write!(f, "sqlite://{}", file.display()),
            Self::Postgres(url) => {
                let uri = url.expose_secret().parse::<http::Uri>().map_err(|_| fmt::Error)?;
                let place = uri.authority().map(http::uri::Authority::as_str).unwrap_or_default();
                let place = place.rsplit_once('@').map_or(place, |(_, place)| place);
                write!(f, "postgres://***@{place}{}", uri.path())
            }
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<'de> Deserialize<'de> for DatabaseUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer).map_err(|_| D::Error::custom(Self::FORM))?;
        Self::parse(&text).map_err(D::Error::custom)
    }
}

impl Serialize for DatabaseUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_postgres_are_databases() {
        for good in ["sqlite://data/gatehouse.db", "sqlite:///var/a b%.db"] {
            assert_eq!(DatabaseUrl::parse(good).unwrap().to_string(), good);
        }
        let url = DatabaseUrl::parse("postgresql://me:s3cret@db:5432/images?sslmode=require");
        assert_eq!(url.unwrap().to_string(), "postgres://***@db:5432/images");
        for bad in
            ["", "sqlite:", "sqlite://", "sqlite://a.db?mode=ro", "sqlite://a/", "mysql://h/d", "x"]
        {
            assert!(DatabaseUrl::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_password_is_never_printed() {
        let url = DatabaseUrl::parse("postgres://me:p%40ss@db/images?password=again").unwrap();
        for printed in [format!("{url:?}"), url.to_string(), serde_json::to_string(&url).unwrap()] {
            assert!(!printed.contains("p%40ss") && !printed.contains("again"), "{printed}");
        }
    }
}
