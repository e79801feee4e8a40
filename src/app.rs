//! The composition root: the only place that sees every module. Binds, wires, runs, stops.

mod described;
mod listener;
mod maintenance;
mod measured;
mod metrics;
mod served;
mod stopper;
mod sweep;

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use actix_server::Server;
use actix_web::web;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::{described::openapi, maintenance::Maintenance, stopper::Stopper};
use self::{
    listener::{bind, serve, serve_operations},
    metrics::Watched,
    served::{Background, Consumers, Ends},
    sweep::sweep,
};
use crate::{
    consumers,
    database::{self, Database, Migration, Role},
    edge::{Cors, Leaving, PublicBase},
    gateway::{
        self, AuthMode, AuthSettings, Checks, Gateway, Module, Registry, ServicesSettings,
        TrustedProxies,
    },
    jobs,
    openapi::LazyDocument,
    operations::Readiness,
    settings::{Invalid, Settings},
    storage::{self, Budget, SharedStorage},
};

/// Threads a worker may use for what blocks, the local store's files above all.
const BLOCKING_THREADS: usize = 32;

/// How long jobs that run may go on at a stop; what is not done by then is done by others, or later.
const JOBS_GRACE: Duration = Duration::from_secs(10);

/// The modules of this process.
const MODULES: &[Module] = &[Module {
    name: consumers::NAME,
    routes: consumers::routes,
    scope: consumers::scope,
    openapi: consumers::openapi,
}];

/// Why the application cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A listener's address cannot be had.
    #[error(
        "setting {key}: cannot listen on {address} ({source}); free the port or choose another address"
    )]
    Bind {
        /// The setting that names the address.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
    /// Something cannot be done as set up.
    #[error("setting {key} {message}")]
    Setting {
        /// The setting.
        key: String,
        /// What is wrong with it, and what would be right.
        message: String,
    },
    /// The store cannot be used as set up.
    #[error(transparent)]
    Storage(#[from] storage::BuildError),
    /// The store cannot be tried.
    #[error("the store cannot be tried: {0}")]
    Diagnosis(storage::Error),
    /// The database cannot be used as set up.
    #[error("setting database.url {0}")]
    Database(#[from] database::BuildError),
    /// The server cannot be started.
    #[error("cannot start the server: {0}")]
    Server(#[from] io::Error),
}

impl From<Invalid> for Error {
    fn from(Invalid { key, message }: Invalid) -> Self {
        Self::Setting { key, message }
    }
}

/// What all workers of a listener share.
#[derive(Clone)]
struct Shared {
    /// None where the module is not served.
    consumers: Option<Consumers>,
    readiness: web::Data<Readiness>,
    /// What this listener serves.
    document: LazyDocument,
    gateway: Gateway,
    cors: Option<Arc<Cors>>,
    /// Connections that are open.
    connections: TaskTracker,
    ends: Ends,
}

/// The application, bound and wired, not yet serving.
pub struct Application {
    server: Server,
    /// A server of its own, so that it answers while the workers are busy, and to the very end.
    operations: Option<Server>,
    storage: SharedStorage,
    background: Option<Background>,
    registry: Arc<Registry>,
    stopper: Stopper,
}

impl Application {
    /// Binds the listeners and wires the modules.
    ///
    /// # Errors
    /// When an address cannot be had or the store cannot be used as set up. A store that is
    /// merely down does not stop the start.
    pub async fn build(settings: Settings) -> Result<Self, Error> {
        announce_mode(&settings.auth);
        metrics::register(&settings);
        let listener = bind("server.listen", settings.server.listen)?;
        let consumers_listener = settings
            .consumers
            .listen
            .map(|address| bind("consumers.listen", address))
            .transpose()?;
        let operations_listener = settings
            .operations
            .listen
            .map(|address| bind("operations.listen", address))
            .transpose()?;
        let address = listener.local_addr()?;
        let consumers_address =
            consumers_listener.as_ref().map(TcpListener::local_addr).transpose()?;

        let database = if settings.need_database() {
            Some(Database::open(&settings.database, migrations(), Role::Server).await?)
        } else {
            None
        };
        let memory = settings.consumers.images.upload_memory.as_u64();
        let budget = Budget::new(usize::try_from(memory).unwrap_or(usize::MAX));
        let storage = settings.storage.build(Arc::clone(&budget)).await?;
        let storage = measured::where_told(storage);
        let ends = Ends {
            work: TaskTracker::new(),
            leaving: Leaving::default(),
            draining: CancellationToken::new(),
            cut: CancellationToken::new(),
        };
        let base = settings.server.base(address);
        let public = settings.server.public_url.as_ref().map(|_| PublicBase(base.clone()));
        let trusted = TrustedProxies(settings.server.trusted_proxies.clone().into());
        let registry = Arc::new(Registry::new(&settings.services));
        let cors = Cors::new(&settings.server.cors);
        let (auth, limits) = (&settings.auth, &settings.rate_limits);
        let checks = Checks::new(auth, limits, trusted.clone(), database.clone(), MODULES).await?;
        let served = database.clone().filter(|_| settings.have_consumers()).map(|database| {
            Consumers::new(&settings, database, &storage, &budget, &checks, &ends, base)
        });
        let (consumers, background) = served.transpose()?.unzip();
        let consumers = consumers.filter(|_| settings.serve_consumers());
        let head_check = consumers.as_ref().map(|c| (consumers::NAME, c.head_check()));
        let shared = Shared {
            consumers,
            readiness: web::Data::new(Readiness::new(Arc::clone(&storage), database.clone())),
            document: &described::GATEWAY,
            gateway: Gateway::new(
                gateway::PREFIX,
                Arc::clone(&registry),
                checks.clone(),
                trusted.clone(),
                public.clone(),
                cors.clone(),
                ends.draining.clone(),
            )
            .checking_heads(head_check.clone()),
            cors,
            connections: TaskTracker::new(),
            ends: ends.clone(),
        };

        let timeout = settings.server.shutdown_timeout;
        let mut server = Server::build()
            .workers(settings.server.worker_count())
            .max_concurrent_connections(settings.server.connections_a_worker())
            .worker_max_blocking_threads(BLOCKING_THREADS)
            // `Stopper` waits for the connections; there is nothing left to wait for then.
            .shutdown_timeout(2)
            .disable_signals();
        let mut listeners = vec![listener.try_clone()?];
        server = serve(server, "gateway", listener, &settings.server, shared.clone())?;
        if let Some(listener) = consumers_listener {
            // The same module behind a table that has nothing else, without the gateway's path.
            let own = Arc::new(Registry::new(&ServicesSettings::of_modules(&[consumers::NAME])));
            listeners.push(listener.try_clone()?);
            let gateway = Gateway::new("", own, checks, trusted, public, None, ends.draining);
            let gateway = gateway.checking_heads(head_check);
            let document = &described::CONSUMERS;
            let direct = Shared { document, gateway, cors: None, ..shared.clone() };
            server = serve(server, "consumers", listener, &settings.server, direct)?;
        }
        let server = server.run();
        let operations_address =
            operations_listener.as_ref().map(TcpListener::local_addr).transpose()?;
        let operations = operations_listener.map(|listener| {
            let watched = Watched {
                connections: shared.connections.clone(),
                budget: Arc::clone(&budget),
                registry: Arc::clone(&registry),
                database,
                records: background.as_ref().map(|background| background.asked().0),
            };
            let look = web::Data::new(watched.look());
            let server = Server::build().workers(1).shutdown_timeout(1).disable_signals();
            let server = serve_operations(server, listener, shared.readiness.clone(), look)?;
            Ok::<_, io::Error>(server.run())
        });
        let operations = operations.transpose()?;
        let stopper = Stopper {
            server: server.handle(),
            operations: operations.as_ref().map(Server::handle),
            listeners: listeners.into(),
            storage: Arc::clone(&storage),
            reconciler: background.as_ref().map(|background| background.reconciler.clone()),
            settled: CancellationToken::new(),
            shared,
            drain_delay: settings.server.drain_delay,
            timeout,
        };
        announce(&[
            ("gateway", Some(address)),
            ("consumers", consumers_address),
            ("operations", operations_address),
        ]);
        Ok(Self { server, operations, storage, background, registry, stopper })
    }

    /// The services table that requests are routed by.
    pub fn registry(&self) -> Arc<Registry> {
        Arc::clone(&self.registry)
    }

    /// What stops the application, gracefully.
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Serves until it is stopped.
    ///
    /// # Errors
    /// When the server fails.
    pub async fn run(self) -> io::Result<()> {
        let reconciler = self.background.as_ref().map(|background| background.reconciler.clone());
        actix_rt::spawn(sweep(self.storage, reconciler));
        if let Some(operations) = self.operations {
            if let Some((records, jobs)) = self.background.as_ref().map(Background::asked) {
                actix_rt::spawn(metrics::ask(records, jobs, self.stopper.settled.clone()));
            }
            actix_rt::spawn(operations);
        }
        if let Some(background) = self.background {
            let Stopper { shared, settled, timeout, .. } = &self.stopper;
            background.start(&shared.ends, settled, JOBS_GRACE.min(*timeout / 2));
        }
        self.server.await
    }
}

/// The migrations of all modules' tables.
pub fn migrations() -> Vec<Migration> {
    let consumers = [consumers::records::MIGRATIONS, consumers::webhooks::MIGRATIONS].concat();
    [&*consumers, jobs::MIGRATIONS, gateway::MIGRATIONS].concat()
}

/// Says what a person starting the server wants to know first.
fn announce_mode(auth: &AuthSettings) {
    let version = env!("CARGO_PKG_VERSION");
    match auth.mode {
        AuthMode::Open => tracing::info!(version, "open mode: any x-tenant-id header is believed"),
        AuthMode::Required => {
            tracing::info!(version, "required mode: every request needs a credential");
        }
    }
    if auth.jwt.as_ref().is_some_and(|jwt| jwt.jwks_url.is_some() && jwt.audience.is_none()) {
        tracing::warn!(
            "auth.jwt.audience is not set: tokens that the issuer made for others are accepted too"
        );
    }
}

/// Says where the server listens.
fn announce(listeners: &[(&'static str, Option<SocketAddr>)]) {
    for (listener, address) in listeners {
        if let Some(address) = address {
            tracing::info!(listener, addr = %address, "listening");
        }
    }
}
