//! The SDK's clients: how they are configured, and why each thread has its own.
//!
//! A worker of the server is a single-threaded runtime, and a connection is driven by the
//! runtime that opened it. One shared client would hand connections across threads: each use
//! wakes the other thread, and a worker that ends takes its connections from the others.

use std::{
    cell::RefCell,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use aws_config::{
    default_provider::region::DefaultRegionChain, environment::EnvironmentVariableRegionProvider,
    meta::region::RegionProviderChain, profile::ProfileFileRegionProvider,
};
use aws_sdk_s3::{
    Client, Config,
    config::{
        BehaviorVersion, Region, RequestChecksumCalculation, ResponseChecksumValidation,
        SharedCredentialsProvider, SharedHttpClient, StalledStreamProtectionConfig,
        retry::RetryConfig, timeout::TimeoutConfig,
    },
};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_types::service_config::ServiceConfigKey;

use super::{
    super::{BuildError, S3Settings},
    signing::Signing,
    spans::Spans,
};

/// A store that accepts no connection within this is down.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// One attempt: 8 MiB at 0.4 MiB/s.
const ATTEMPT_WITHIN: Duration = Duration::from_secs(20);
/// All attempts and the pauses between them.
const OPERATION_WITHIN: Duration = Duration::from_secs(45);
/// Shorter than what stores and balancers allow, so that few idle connections are found dead.
const IDLE_CONNECTION: Duration = Duration::from_secs(15);
const ATTEMPTS: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Reads what AWS's tools read (environment, profile), but reaches no network unless the region
/// can only come from the instance's metadata. Credentials are looked up when the first request
/// needs them.
pub(super) async fn load(settings: &S3Settings) -> Result<(Clients, Signing), BuildError> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let near = RegionProviderChain::first_try(settings.region.clone().map(Region::new))
        .or_else(EnvironmentVariableRegionProvider::new())
        .or_else(ProfileFileRegionProvider::new());
    let near = near.region().await;
    let shared = aws_config::defaults(BehaviorVersion::latest()).region(near.clone()).load().await;
    let endpoint = settings.endpoint_url.clone().or_else(|| endpoint_of(&shared));
    let region = match (near, &endpoint) {
        (Some(region), _) => region,
        (None, Some(_)) => Region::from_static("us-east-1"),
        (None, None) => DefaultRegionChain::builder().build().region().await.ok_or_else(|| {
            BuildError::new("s3.region", "must be set, or AWS_REGION in the environment")
        })?,
    };
    let secure = endpoint.as_deref().is_none_or(|url| !url.starts_with("http://"));
    let foreign = endpoint.is_some();
    let path_style = settings.force_path_style.unwrap_or(foreign);
    let retries = RetryConfig::standard()
        .with_max_attempts(ATTEMPTS)
        .with_initial_backoff(FIRST_PAUSE)
        .with_max_backoff(LONGEST_PAUSE);
    let credentials = settings.credentials.clone().map(SharedCredentialsProvider::new);
    let credentials = credentials.or_else(|| shared.credentials_provider());
    let mut config = aws_sdk_s3::config::Builder::from(&shared)
        .region(region.clone())
        .force_path_style(path_style)
        .retry_config(retries)
        .timeout_config(timeouts(ATTEMPT_WITHIN, OPERATION_WITHIN))
        .interceptor(Spans::new(settings.bucket.as_deref()))
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    config.set_endpoint_url(endpoint).set_credentials_provider(credentials.clone());
    let clients = Clients {
        config: config.build(),
        secure,
        foreign,
        id: NEXT.fetch_add(1, Ordering::Relaxed),
        alive: Arc::default(),
    };
    Ok((clients, Signing::new(&settings.presign, region, credentials)))
}

/// One client a thread, all of the same configuration.
pub(super) struct Clients {
    config: Config,
    secure: bool,
    foreign: bool,
    id: u64,
    /// Tells threads when their client's store is gone.
    alive: Arc<()>,
}

struct ThreadClient {
    store: u64,
    alive: Weak<()>,
    client: Client,
}

thread_local! {
    static CLIENTS: RefCell<Vec<ThreadClient>> = const { RefCell::new(Vec::new()) };
}

impl Clients {
    /// Whether an endpoint is configured: then it is hardly AWS.
    pub(super) fn are_foreign(&self) -> bool {
        self.foreign
    }

    /// This thread's client.
    pub(super) fn client(&self) -> Client {
        CLIENTS.with_borrow_mut(|clients| {
            if let Some(found) = clients.iter().find(|c| c.store == self.id) {
                return found.client.clone();
            }
            clients.retain(|c| c.alive.strong_count() > 0);
            let config = self.config.to_builder().http_client(http_client(self.secure)).build();
            let client = Client::from_conf(config);
            let alive = Arc::downgrade(&self.alive);
            clients.push(ThreadClient { store: self.id, alive, client: client.clone() });
            client
        })
    }
}

/// How long one try of a call may take, and all of them.
pub(super) fn timeouts(attempt: Duration, operation: Duration) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_WITHIN)
        .operation_attempt_timeout(attempt)
        .operation_timeout(operation)
        .build()
}

/// The endpoint that the environment or the profile names for S3, or for all services.
fn endpoint_of(shared: &aws_config::SdkConfig) -> Option<String> {
    let key = ServiceConfigKey::builder()
        .service_id("S3")
        .env("AWS_ENDPOINT_URL")
        .profile("endpoint_url")
        .build()
        .ok()?;
    let of_s3 = shared.service_config().and_then(|config| config.load_config(key));
    of_s3.or_else(|| shared.endpoint_url().map(str::to_owned))
}

fn http_client(secure: bool) -> SharedHttpClient {
    let builder = aws_smithy_http_client::Builder::new().pool_idle_timeout(IDLE_CONNECTION);
    if secure {
        builder.tls_provider(Provider::Rustls(CryptoMode::AwsLc)).build_https()
    } else {
        builder.build_http()
    }
}
