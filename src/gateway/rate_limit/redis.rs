//! Limits that replicas share, in Redis: one script, one round trip a request.
//!
//! A Redis that fails or is slow is given up at once, for all requests, until one task can reach
//! it again: no request waits for a Redis that is known to be away.

use std::{fmt, sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use redis::{
    AsyncConnectionConfig, Client, RedisError, RedisResult, Script, aio::MultiplexedConnection,
};
use tokio::{sync::Notify, time::sleep};

use super::{Decision, Rate, Subject};

/// How long a request waits for Redis, at most once before it is given up.
const PATIENCE: Duration = Duration::from_millis(100);

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(2);

/// How often it is tried while it is away.
const TRY_EVERY: Duration = Duration::from_secs(1);

/// A Redis. Shared by all workers.
pub(super) struct Redis {
    client: Client,
    script: Script,
    /// None while it is away.
    connection: ArcSwapOption<MultiplexedConnection>,
    lost: Notify,
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis")
            .field("is_there", &self.connection.load().is_some())
            .finish_non_exhaustive()
    }
}

/// A connection to a Redis that is there.
pub(super) struct Connection {
    redis: Arc<Redis>,
    connection: Arc<MultiplexedConnection>,
}

impl Redis {
    /// Begins to connect, in the background.
    ///
    /// # Errors
    /// When the URL is none.
    pub(super) fn start(url: &str) -> RedisResult<Arc<Self>> {
        let redis = Arc::new(Self {
            client: Client::open(url)?,
            script: Script::new(include_str!("gcra.lua")),
            connection: ArcSwapOption::empty(),
            lost: Notify::new(),
        });
        tokio::spawn(Arc::clone(&redis).keep());
        Ok(redis)
    }

    /// The connection, if Redis is there.
    pub(super) fn connection(self: &Arc<Self>) -> Option<Connection> {
        let connection = self.connection.load_full()?;
        Some(Connection { redis: Arc::clone(self), connection })
    }

    /// Connects, and again whenever the connection is lost. Each of its absences is told once.
    async fn keep(self: Arc<Self>) {
        let mut is_told = false;
        let mut shared = "rate limits are shared in Redis";
        loop {
            match self.connect().await {
                Ok(connection) => {
                    self.connection.store(Some(Arc::new(connection)));
                    tracing::info!("{shared}");
                    shared = "Redis is back; rate limits are shared again";
                    self.lost.notified().await;
                    tracing::warn!(
                        "Redis does not answer; each process counts rate limits by itself (rate_limits.redis_url)"
                    );
                    is_told = true;
                }
                Err(error) => {
                    if !is_told {
                        tracing::warn!(
                            cause = %error,
                            "Redis cannot be reached; each process counts rate limits by itself (rate_limits.redis_url)"
                        );
                        shared = "Redis is back; rate limits are shared again";
                        is_told = true;
                    }
                    sleep(TRY_EVERY).await;
                }
            }
        }
    }

    async fn connect(&self) -> RedisResult<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(PATIENCE));
        let mut connection =
            self.client.get_multiplexed_async_connection_with_config(&config).await?;
        // Whoever answers this is a Redis that knows the script.
        self.script.load_async(&mut connection).await?;
        Ok(connection)
    }
}

impl Connection {
    /// Counts one for this subject, if it may pass; none if Redis is away.
    pub(super) async fn take(
        &mut self,
        limit: &str,
        subject: Subject<'_>,
        rate: Rate,
    ) -> Option<Decision> {
        let period = 1_000_000.0 / rate.per_second;
        let mut invocation = self.redis.script.key(format!("gatehouse:limit:{limit}:{subject}"));
        invocation.arg(period).arg(rate.burst);
        let mut connection = (*self.connection).clone();
        let answer: Result<(u8, u32, u64), RedisError> =
            invocation.invoke_async(&mut connection).await;
        match answer {
            Ok((passes, remaining, wait)) => {
                let wait = (passes == 0).then(|| Duration::from_micros(wait));
                Some(Decision { remaining, wait })
            }
            Err(_) => {
                self.lose();
                None
            }
        }
    }

    /// Gives the connection up, unless another has taken its place.
    fn lose(&self) {
        let current = self.redis.connection.load();
        if current.as_ref().is_some_and(|current| Arc::ptr_eq(current, &self.connection)) {
            self.redis.connection.store(None);
            self.redis.lost.notify_one();
        }
    }
}
