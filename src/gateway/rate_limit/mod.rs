//! Rate limits: how many requests each tenant may send, and what answers tell of it
//! (draft-ietf-httpapi-ratelimit-headers).
//!
//! It counts; whom a request is for, [`super::checks`] says. In this process a limit is counted
//! without waiting; where replicas share their limits, that takes one round trip to Redis, and
//! while there is none each counts by itself.

mod local;
mod redis;
mod settings;

use std::{
    fmt,
    hash::{Hash, Hasher},
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
    time::Duration,
};

use actix_web::http::header::{HeaderName, HeaderValue};
use futures_util::future::LocalBoxFuture;

use self::redis::Redis;
pub use self::{
    local::Local,
    settings::{Rate, RateLimitSettings},
};
use super::{metrics, tenants::Rules};
use crate::{
    problem::{Kind, Problem},
    settings::Invalid,
};

/// What quotas there are.
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// What is left of the one that a request counted against.
const LEFT: HeaderName = HeaderName::from_static("ratelimit");

/// What kind of request is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// To a module, reading.
    Reads,
    /// To a module, not reading.
    Writes,
    /// To a remote service.
    Remote,
}

impl Class {
    /// All that there are.
    pub const ALL: [Self; 3] = [Self::Reads, Self::Writes, Self::Remote];

    /// What answers and settings call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reads => "reads",
            Self::Writes => "writes",
            Self::Remote => "remote",
        }
    }
}

/// Whose requests are counted together.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The tenant, or whoever acts for none.
    pub name: Option<&'a str>,
    /// The client's address, where names are not verified.
    pub client: Option<IpAddr>,
}

impl Hash for Subject<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
        self.client.map(network).hash(state);
    }
}

impl fmt::Display for Subject<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name.unwrap_or_default())?;
        match self.client {
            Some(client) => write!(f, "@{}", network(client)),
            None => Ok(()),
        }
    }
}

/// The network that an address is counted as: one household gets 2⁶⁴ addresses of IPv6.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        address => address,
    }
}

/// What counting came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// How many more may come at once.
    pub remaining: u32,
    /// In which time it may come again, if it may not pass.
    pub wait: Option<Duration>,
}

/// A request that was counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// In which time it may come again, if it may not pass.
    pub wait: Option<Duration>,
    policy: HeaderValue,
    left: HeaderValue,
}

impl Counted {
    /// What the sender of one too many is told.
    pub fn refusal(self) -> Problem {
        let problem = Problem::new(Kind::RateLimited).retry_after(self.wait.unwrap_or_default());
        let fields = self.into_fields().into_iter();
        fields.fold(problem, |problem, (name, value)| problem.field(name, value))
    }

    /// The fields that every answer to the request carries.
    pub fn into_fields(self) -> [(HeaderName, HeaderValue); 2] {
        [(POLICY, self.policy), (LEFT, self.left)]
    }
}

/// The outcome of counting a request.
pub enum Count {
    /// It is known.
    Now(Counted),
    /// Redis is asked for it.
    Later(LocalBoxFuture<'static, Counted>),
}

/// A tenant's own limits, in place of those in force for all.
#[derive(Debug, Default)]
pub struct OwnLimits {
    /// To modules, reading.
    pub reads: Option<Limit>,
    /// To modules, not reading.
    pub writes: Option<Limit>,
    /// To remote services.
    pub remote: Option<Limit>,
}

impl OwnLimits {
    fn limit(&self, class: Class) -> Option<&Limit> {
        match class {
            Class::Reads => self.reads.as_ref(),
            Class::Writes => self.writes.as_ref(),
            Class::Remote => self.remote.as_ref(),
        }
    }
}

/// The limits in force. Shared by all workers.
#[derive(Clone, Debug)]
pub struct Limits(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    reads: Limit,
    writes: Limit,
    remote: Limit,
    redis: Option<Arc<Redis>>,
}

/// One class's limit.
#[derive(Debug)]
pub struct Limit {
    name: &'static str,
    rate: Rate,
    policy: HeaderValue,
    local: Local,
}

impl Limits {
    /// The limits of these valid settings. With Redis it takes a runtime around it.
    ///
    /// # Errors
    /// The setting that is wrong.
    pub fn new(settings: &RateLimitSettings) -> Result<Self, Invalid> {
        let redis = match &settings.redis_url {
            Some(url) => Some(Redis::start(url.expose()).map_err(|_| {
                Invalid::new(
                    "rate_limits.redis_url",
                    "is no URL of a Redis; write one such as \"redis://127.0.0.1/\"",
                )
            })?),
            None => None,
        };
        Ok(Self(Arc::new(Shared {
            reads: Limit::new(Class::Reads.name(), settings.reads),
            writes: Limit::new(Class::Writes.name(), settings.writes),
            remote: Limit::new(Class::Remote.name(), settings.remote),
            redis,
        })))
    }

    /// Counts a request, by the tenant's own rules if there are any.
    pub fn count(&self, class: Class, subject: Subject<'_>, rules: Option<Arc<Rules>>) -> Count {
        let shared = &self.0;
        match shared.redis.as_ref().and_then(Redis::connection) {
            None => Count::Now(shared.count_here(class, subject, rules.as_deref())),
            Some(mut connection) => {
                let (limits, name) = (self.clone(), subject.name.map(str::to_owned));
                let client = subject.client;
                Count::Later(Box::pin(async move {
                    let (shared, rules) = (&limits.0, rules.as_deref());
                    let limit = shared.limit(class, rules);
                    let subject = Subject { name: name.as_deref(), client };
                    match connection.take(limit.name, subject, limit.rate).await {
                        Some(decision) => limit.counted(decision),
                        None => shared.count_here(class, subject, rules),
                    }
                }))
            }
        }
    }
}

impl Shared {
    /// Counts a request within this process, for want of Redis if there should be one.
    fn count_here(&self, class: Class, subject: Subject<'_>, rules: Option<&Rules>) -> Counted {
        if self.redis.is_some() {
            metrics::counted_alone();
        }
        self.limit(class, rules).count_here(subject)
    }

    fn limit<'a>(&'a self, class: Class, rules: Option<&'a Rules>) -> &'a Limit {
        if let Some(own) = rules.and_then(|rules| rules.limits.limit(class)) {
            return own;
        }
        match class {
            Class::Reads => &self.reads,
            Class::Writes => &self.writes,
            Class::Remote => &self.remote,
        }
    }
}

impl Limit {
    /// A limit of this valid rate, by which name answers tell of it.
    pub fn new(name: &'static str, rate: Rate) -> Self {
        let policy = format!("\"{name}\";q={};w={}", rate.burst, whole_seconds(rate.refill()));
        Self { name, rate, policy: value(policy), local: Local::new(rate) }
    }

    /// What is told to whom has to wait so long.
    pub fn exceeded(&self, wait: Duration) -> Counted {
        self.counted(Decision { remaining: 0, wait: Some(wait) })
    }

    /// Counts a request within this process.
    pub fn count_here(&self, subject: Subject<'_>) -> Counted {
        self.counted(self.local.take(subject))
    }

    fn counted(&self, decision: Decision) -> Counted {
        let used = self.rate.burst.saturating_sub(decision.remaining);
        let refill = Rate { burst: used, ..self.rate }.refill();
        let (mut digits, mut more_digits) = (itoa::Buffer::new(), itoa::Buffer::new());
        let (left, time) = (digits.format(decision.remaining), whole_seconds(refill));
        // In one piece: it is done for every request, and `format!` takes many times as long.
        let left = ["\"", self.name, "\";r=", left, ";t=", more_digits.format(time)].concat();
        Counted { wait: decision.wait, policy: self.policy.clone(), left: value(left) }
    }
}

/// Rounded up, so that nobody comes too early.
fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

fn value(text: String) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(counted: Counted) -> [String; 2] {
        counted.into_fields().map(|(_, value)| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn fields_tell_the_burst_the_time_to_refill_it_and_what_is_left() {
        let limit = Limit::new("reads", Rate { per_second: 0.4, burst: 3 });
        let counted = |remaining| limit.counted(Decision { remaining, wait: None });
        let policy = "\"reads\";q=3;w=8".to_owned();
        assert_eq!(text(counted(2)), [policy.clone(), "\"reads\";r=2;t=3".to_owned()]);
        assert_eq!(text(counted(0)), [policy, "\"reads\";r=0;t=8".to_owned()]);
    }

    #[test]
    fn addresses_count_by_household() {
        let same = |a: &str, b: &str| network(a.parse().unwrap()) == network(b.parse().unwrap());
        assert!(same("2001:db8:1:2::1", "2001:db8:1:2:ffff::9"));
        assert!(!same("2001:db8:1:2::1", "2001:db8:1:3::1"));
        assert!(!same("192.0.2.1", "192.0.2.2"));
        assert!(same("192.0.2.1", "::ffff:192.0.2.1"));
    }
}
