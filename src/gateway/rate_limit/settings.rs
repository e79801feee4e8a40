//! `[rate_limits]`: how many requests a tenant may send.

use std::{fmt, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{
    gateway::AuthMode,
    settings::{Invalid, Secret},
};

/// The longest that a burst may take to be full again: state is kept for as long.
const LONGEST_REFILL: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// `[rate_limits]`: how many requests a tenant may send; in open mode, a tenant from one address.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RateLimitSettings {
    /// Whether there are limits.
    pub enabled: Enabled,
    /// For requests to modules that read (GET, HEAD).
    pub reads: Rate,
    /// For all others to modules.
    pub writes: Rate,
    /// For requests to remote services.
    pub remote: Rate,
    /// For credentials from one address that turn out to be wrong.
    pub failed_credentials: Rate,
    /// The Redis that replicas share; none: each process counts by itself.
    #[serde(skip_serializing)]
    pub redis_url: Option<Secret>,
}

impl Default for RateLimitSettings {
    fn default() -> Self {
        Self {
            enabled: Enabled::Auto,
            reads: Rate { per_second: 500.0, burst: 1000 },
            writes: Rate { per_second: 100.0, burst: 200 },
            remote: Rate { per_second: 500.0, burst: 1000 },
            failed_credentials: Rate { per_second: 1.0, burst: 100 },
            redis_url: None,
        }
    }
}

/// How often something may happen: so often at once, and in the long run so often a second.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// In the long run; it may be a fraction.
    pub per_second: f64,
    /// At once.
    pub burst: u32,
}

impl Rate {
    /// The time after which one more may happen.
    pub fn period(self) -> Duration {
        Duration::try_from_secs_f64(1.0 / self.per_second).unwrap_or(Duration::MAX)
    }

    /// The time after which a whole burst may happen again.
    pub fn refill(self) -> Duration {
        let seconds = f64::from(self.burst) / self.per_second;
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }

    /// Checks the numbers.
    ///
    /// # Errors
    /// The key below the rate's own that is wrong, and what would be right.
    pub fn validate(self) -> Result<(), (&'static str, &'static str)> {
        if self.per_second <= 0.0 {
            return Err(("per_second", "lets nothing through; use a number such as 100 or 0.5"));
        }
        if self.burst == 0 {
            return Err(("burst", "is 0, so nothing could pass; use at least 1"));
        }
        if self.period().is_zero() {
            return Err(("per_second", "is more than can be counted; use at most 1000000000"));
        }
        if self.refill() > LONGEST_REFILL {
            return Err((
                "burst",
                "takes more than 30 days to refill; lower it, or raise per_second",
            ));
        }
        Ok(())
    }
}

/// Whether there are limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enabled {
    /// Where credentials are asked for.
    Auto,
    /// Always, or never.
    Set(bool),
}

impl Enabled {
    /// What it comes to.
    pub fn in_mode(self, mode: AuthMode) -> bool {
        match self {
            Self::Auto => mode == AuthMode::Required,
            Self::Set(enabled) => enabled,
        }
    }
}

impl Serialize for Enabled {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::Set(enabled) => serializer.serialize_bool(*enabled),
        }
    }
}

impl<'de> Deserialize<'de> for Enabled {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Enabled;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"auto\", true or false")
            }

            fn visit_bool<E: de::Error>(self, enabled: bool) -> Result<Enabled, E> {
                Ok(Enabled::Set(enabled))
            }

            // A variable's value is text.
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Enabled, E> {
                match text {
                    "auto" => Ok(Enabled::Auto),
                    "true" => Ok(Enabled::Set(true)),
                    "false" => Ok(Enabled::Set(false)),
                    _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
                }
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

impl RateLimitSettings {
    /// Checks the numbers, and the URL of Redis.
    ///
    /// # Errors
    /// The first setting that is wrong.
    pub fn validate(&self) -> Result<(), Invalid> {
        let rates = [
            ("reads", self.reads),
            ("writes", self.writes),
            ("remote", self.remote),
            ("failed_credentials", self.failed_credentials),
        ];
        for (name, rate) in rates {
            rate.validate().map_err(|(key, message)| {
                Invalid::new(format!("rate_limits.{name}.{key}"), message)
            })?;
        }
        match &self.redis_url {
            // What is wrong with it is not told: there may be a password in it.
            Some(url) if redis::Client::open(url.expose()).is_err() => Err(Invalid::new(
                "rate_limits.redis_url",
                "is no URL of a Redis; write one such as \"redis://127.0.0.1/\"",
            )),
            _ => Ok(()),
        }
    }
}
