//! `[webhooks]`: whether tenants may have any, and how deliveries are made.

use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::{
    jobs::{Backoff, Pace},
    outbound::Reach,
    settings::{Invalid, text},
};

/// Jobs that a process holds at once. Receivers that are slow, and hold four each, leave room for others.
const AT_ONCE: usize = 128;

/// `[webhooks]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct WebhookSettings {
    /// Whether there are any; if not, none can be made and nothing is sent.
    pub enabled: bool,
    /// Networks that receivers may be in, beside the public Internet.
    #[serde(with = "text")]
    pub allowed_networks: Vec<IpNet>,
    /// How long a receiver may take to be connected to and to answer.
    #[serde(with = "text")]
    pub timeout: Duration,
    /// How long a delivery is tried.
    #[serde(with = "text")]
    pub give_up_after: Duration,
}

impl Default for WebhookSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            allowed_networks: Vec::new(),
            timeout: Duration::from_secs(15),
            give_up_after: Duration::from_secs(24 * 60 * 60),
        }
    }
}

impl WebhookSettings {
    /// Where receivers may be.
    pub fn reach(&self) -> Reach {
        Reach::Public { besides: self.allowed_networks.clone().into() }
    }

    /// How deliveries are done.
    pub fn pace(&self) -> Pace {
        let backoff = Backoff {
            first: Duration::from_secs(1),
            most: Duration::from_secs(2 * 60 * 60),
            most_asked: Duration::from_secs(24 * 60 * 60),
            jitter: 0.2,
            give_up_after: self.give_up_after,
        };
        Pace { fair: true, ..Pace::new(AT_ONCE, backoff) }
    }

    /// Checks what the types alone cannot.
    ///
    /// # Errors
    /// The first key that is wrong.
    pub fn validate(&self) -> Result<(), Invalid> {
        let longest = Duration::from_secs(60);
        if self.timeout.is_zero() || self.timeout > longest {
            return Err(Invalid::new(
                "webhooks.timeout",
                "must be over zero and at most \"1m\"; use a time such as \"15s\"",
            ));
        }
        let kept = Duration::from_secs(7 * 24 * 60 * 60);
        if self.give_up_after > kept {
            return Err(Invalid::new(
                "webhooks.give_up_after",
                "is longer than events are kept; use at most \"7days\"",
            ));
        }
        Ok(())
    }
}
