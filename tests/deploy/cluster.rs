//! Three replicas on one Postgres, Redis and MinIO behind nginx, with the settings and the
//! configuration of docs/deploy/compose.

use std::net::SocketAddr;

use crate::harness::App;
use crate::harness::builder::Builder;
use crate::harness::nginx::Nginx;
use crate::harness::redis::Redis;

/// The replicas' settings.
const SETTINGS: &str = include_str!("../../docs/deploy/compose/settings.toml");

/// All of it; it ends with the test.
pub struct Cluster {
    pub replicas: [App; 3],
    pub nginx: Nginx,
    _redis: Redis,
}

impl Cluster {
    /// Starts it.
    pub async fn start() -> Self {
        Self::with(|builder| builder).await
    }

    /// The same with other settings.
    pub async fn with(change: impl Fn(Builder) -> Builder) -> Self {
        let redis = Redis::start().await;
        let builder = App::builder().file(SETTINGS).minio().await.postgres().await;
        let endpoint = builder.store().endpoint.clone();
        let builder = builder
            .set("STORAGE__S3__ENDPOINT_URL", &endpoint)
            .set("STORAGE__S3__PRESIGN__ENDPOINT_URL", &endpoint)
            .set("RATE_LIMITS__REDIS_URL", &redis.url())
            .set("SERVER__TRUSTED_PROXIES", "127.0.0.1/32")
            .set("SERVER__DRAIN_DELAY", "2s")
            // The three are on one machine here.
            .operations();
        let builder = change(builder);
        // Addresses that nobody else takes while a replica is away.
        let network = format!("127.{}.{}", fastrand::u8(1..), fastrand::u8(..));
        let start = async |number: u8| {
            let listen = format!("{network}.{number}:0");
            let mut app = builder.clone().set("SERVER__LISTEN", &listen).start().await;
            let addr = app.addr.to_string();
            app.set_env("GATEHOUSE__SERVER__LISTEN", &addr);
            app
        };
        let replicas = [start(11).await, start(12).await, start(13).await];
        let nginx = Nginx::in_front_of(replicas.each_ref().map(|app| app.addr)).await;
        Self { replicas, nginx, _redis: redis }
    }

    /// Where clients send their requests.
    pub fn addr(&self) -> SocketAddr {
        self.nginx.addr
    }

    /// Makes an API key for a tenant.
    pub fn key(&self, tenant: &str) -> String {
        self.replicas[0].key(&["--tenant", tenant])
    }
}
