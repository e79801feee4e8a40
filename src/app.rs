//! The composition root: the only file that sees every module. Binds, wires, runs, stops.

use std::{
    future::ready,
    io,
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    os::fd::OwnedFd,
    sync::Arc,
    time::Duration,
};

use actix_http::{
    HttpMessage as _, HttpService, Request, Response, body::BoxBody, error::DispatchError,
};
use actix_server::{Server, ServerBuilder, ServerHandle};
use actix_service::{IntoServiceFactory, ServiceFactoryExt, fn_service, map_config};
use actix_web::{App, dev::AppConfig, web};
use tokio::{
    net::TcpSocket,
    time::{Instant, timeout, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing_actix_web::TracingLogger;

use crate::{
    connection::{ClientStream, Exchange, Limits},
    consumers::{
        self,
        records::{Reconciler, Records},
    },
    database::{self, Database, Migration, Role},
    edge::{self, Cors, Edge, Labels, RequestSpan},
    gateway::{
        self, AuthMode, AuthSettings, Checks, Gateway, Module, Registry, ServicesSettings,
        TrustedProxies,
    },
    operations::{self, Readiness},
    problem,
    settings::{Invalid, ServerSettings, Settings},
    storage::{self, Budget, SharedStorage},
};

/// How long an idle connection of a client is kept. Longer than the idle times of usual
/// balancers (AWS: 60 s), so that they never send into a connection that is being closed.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// How long a client that was answered early may go on sending before the connection is cut:
/// while it sends, it can still read the answer.
const LINGER: Duration = Duration::from_secs(10);

/// How long a client may take no byte of a module's answer. Remote services set their own time.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// How much longer than actix our own limits wait, since it closes more gently where it does.
const GRACE: Duration = Duration::from_secs(1);

/// How long a cut request's uploads may take to clear away what they left in the store.
const CLEAR_WITHIN: Duration = Duration::from_secs(5);

/// How often the store is swept, and how soon again where that failed: twice as late each time.
const SWEEP_EVERY: Duration = Duration::from_secs(60 * 60);
const SWEEP_AGAIN: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(30)];

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;

/// Threads a worker may use for what blocks, the local store's files above all.
const BLOCKING_THREADS: usize = 32;

/// The modules of this process.
const MODULES: &[Module] = &[Module { name: consumers::NAME, routes: consumers::routes }];

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
    /// Credentials cannot be checked as set up.
    #[error("setting {key} {message}")]
    Checks {
        /// The setting.
        key: String,
        /// What is wrong with it, and what would be right.
        message: String,
    },
    /// The store cannot be used as set up.
    #[error(transparent)]
    Storage(#[from] storage::BuildError),
    /// The database cannot be used as set up.
    #[error("setting database.url {0}")]
    Database(#[from] database::BuildError),
    /// The server cannot be started.
    #[error("cannot start the server: {0}")]
    Server(#[from] io::Error),
}

impl From<Invalid> for Error {
    fn from(Invalid { key, message }: Invalid) -> Self {
        Self::Checks { key, message }
    }
}

/// What all workers of a listener share.
#[derive(Clone)]
struct Shared {
    /// None where the consumers module is not served.
    uploads: Option<web::Data<consumers::Uploads>>,
    images: Option<web::Data<consumers::Images>>,
    readiness: web::Data<Readiness>,
    gateway: Gateway,
    cors: Option<Arc<Cors>>,
    /// Requests and commits under way.
    work: TaskTracker,
    /// Connections that are open.
    connections: TaskTracker,
    /// Tells every connection to close after its current response.
    draining: CancellationToken,
}

/// The application, bound and wired, not yet serving.
pub struct Application {
    server: Server,
    storage: SharedStorage,
    reconciler: Option<Reconciler>,
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
        let listener = bind("server.listen", settings.server.listen)?;
        let consumers_listener = settings
            .consumers
            .listen
            .map(|address| bind("consumers.listen", address))
            .transpose()?;
        let address = listener.local_addr()?;
        let consumers_address =
            consumers_listener.as_ref().map(TcpListener::local_addr).transpose()?;

        let database = if settings.need_database() {
            Some(Database::open(&settings.database, migrations(), Role::Server).await?)
        } else {
            None
        };
        let images = settings.consumers.images.clone();
        let memory = usize::try_from(images.upload_memory.as_u64()).unwrap_or(usize::MAX);
        let budget = Budget::new(memory);
        let storage = settings.storage.build(Arc::clone(&budget)).await?;
        let work = TaskTracker::new();
        let records = database
            .clone()
            .filter(|_| settings.serve_consumers())
            .map(|database| Records::new(database, Role::Server, settings.quotas));
        let reconciler =
            records.clone().map(|records| Reconciler::new(records, Arc::clone(&storage)));
        let images_read = records.clone().zip(reconciler.clone()).map(|(records, reconciler)| {
            let (storage, commits) = (Arc::clone(&storage), work.clone());
            web::Data::new(consumers::Images::new(storage, records, reconciler, commits))
        });
        let uploads = records.map(|records| {
            let storage = Arc::clone(&storage);
            web::Data::new(consumers::Uploads::new(storage, records, budget, work.clone(), images))
        });
        let trusted = TrustedProxies(settings.server.trusted_proxies.clone().into());
        let registry = Arc::new(Registry::new(&settings.services));
        let draining = CancellationToken::new();
        let cors = Cors::new(&settings.server.cors);
        let (auth, limits) = (&settings.auth, &settings.rate_limits);
        let checks = Checks::new(auth, limits, trusted.clone(), database.clone()).await?;
        let shared = Shared {
            uploads,
            images: images_read,
            readiness: web::Data::new(Readiness::new(Arc::clone(&storage), database)),
            gateway: Gateway::new(
                gateway::PREFIX,
                Arc::clone(&registry),
                checks.clone(),
                trusted.clone(),
                cors.clone(),
                draining.clone(),
            ),
            cors,
            work,
            connections: TaskTracker::new(),
            draining: draining.clone(),
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
            let gateway = Gateway::new("", own, checks, trusted, None, draining);
            let direct = Shared { gateway, cors: None, ..shared.clone() };
            server = serve(server, "consumers", listener, &settings.server, direct)?;
        }
        let server = server.run();
        let stopper = Stopper {
            server: server.handle(),
            listeners: listeners.into(),
            storage: Arc::clone(&storage),
            reconciler: reconciler.clone(),
            settled: CancellationToken::new(),
            shared,
            drain_delay: settings.server.drain_delay,
            timeout,
        };
        announce(address, consumers_address);
        Ok(Self { server, storage, reconciler, registry, stopper })
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
        actix_rt::spawn(sweep(self.storage));
        if let Some(reconciler) = self.reconciler {
            actix_rt::spawn(reconciler.run(self.stopper.settled.clone()));
        }
        self.server.await
    }
}

/// Stops the application.
#[derive(Clone)]
pub struct Stopper {
    server: ServerHandle,
    listeners: Arc<[TcpListener]>,
    storage: SharedStorage,
    reconciler: Option<Reconciler>,
    /// Ends the reconciler's work.
    settled: CancellationToken,
    shared: Shared,
    drain_delay: Duration,
    timeout: Duration,
}

impl Stopper {
    /// Turns readiness red, serves on for the drain delay, stops accepting, lets what runs
    /// finish within the shutdown timeout, and ends the server. What is cut then clears away
    /// what it left in the store.
    pub async fn stop(self) {
        tracing::info!("stopping");
        self.shared.readiness.stop();
        tokio::time::sleep(self.drain_delay).await;
        let deadline = Instant::now() + self.timeout;
        self.stop_accepting().await;
        self.shared.draining.cancel();
        self.shared.work.close();
        self.shared.connections.close();
        // A commit whose client has left is nobody's connection: wait for it while the workers live.
        let worked = timeout_at(deadline, self.work_done()).await.is_ok();
        // Answers may still be on their way to slow clients.
        let closed = timeout_at(deadline, self.shared.connections.wait()).await.is_ok();
        self.server.stop(closed).await;
        if !worked {
            tracing::warn!("requests were cut: they did not finish within server.shutdown_timeout");
            if timeout(CLEAR_WITHIN, self.work_done()).await.is_err() {
                tracing::warn!("unfinished uploads may be left in the store");
            }
        }
        self.settled.cancel();
        if let Some(reconciler) = self.reconciler
            && timeout(CLEAR_WITHIN, reconciler.leave()).await.is_err()
        {
            tracing::warn!("unfinished changes are left to be settled after the next start");
        }
        tracing::info!("stopped");
    }

    /// Ends when no request runs and the store has nothing left to do.
    async fn work_done(&self) {
        self.shared.work.wait().await;
        self.storage.drain().await;
    }

    /// Closes the listeners: paused alone, they would let clients connect and wait.
    async fn stop_accepting(&self) {
        self.server.pause().await;
        // Asked for, the pause takes a moment; until then a closed listener is an error to log.
        tokio::time::sleep(Duration::from_millis(20)).await;
        for listener in &*self.listeners {
            if let Ok(listener) = listener.try_clone() {
                // The standard library can shut down streams only; the system does not mind. Where
                // it does, clients wait for the end of the process.
                let _ = TcpStream::from(OwnedFd::from(listener)).shutdown(Shutdown::Both);
            }
        }
    }
}

/// The migrations of all modules' tables.
pub fn migrations() -> Vec<Migration> {
    [consumers::records::MIGRATIONS, gateway::MIGRATIONS].concat()
}

/// Binds an address, so that a failure names its setting.
fn bind(key: &'static str, address: SocketAddr) -> Result<TcpListener, Error> {
    let bound = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)?.into_std()
    };
    bound().map_err(|source| Error::Bind { key, address, source })
}

/// Adds one listener with its app to the server. It is built on `HttpService`, since
/// `HttpServer` sends `100 Continue` before any check could refuse the request.
fn serve(
    server: ServerBuilder,
    name: &'static str,
    listener: TcpListener,
    settings: &ServerSettings,
    shared: Shared,
) -> io::Result<ServerBuilder> {
    let header_timeout = settings.header_timeout;
    let limits = Limits {
        head: header_timeout,
        idle: KEEP_ALIVE + GRACE,
        rest: LINGER + GRACE,
        write: WRITE_TIMEOUT,
    };
    let address = listener.local_addr()?;
    server.listen(name, listener, move || {
        let app = app(shared.clone()).into_factory().map_err(|error| error.error_response());
        // One a worker: each connection asks it often, and asking takes its lock.
        let draining = shared.draining.child_token();
        let (gateway, cors) = (shared.gateway.clone(), shared.cors.clone());
        let expect = fn_service(move |request: Request| {
            let (gateway, cors) = (gateway.clone(), cors.clone());
            async move {
                let labels = Labels::of(request.headers());
                match gateway.expect(&request, &labels).await {
                    Ok(()) => Ok(request),
                    Err(problem) => {
                        let refusal: Response<BoxBody> =
                            edge::refuse(request.head(), labels, problem, cors.as_ref()).into();
                        Err(Exchange::refuse(request, refusal))
                    }
                }
            }
        });
        let connections = shared.connections.clone();
        let accepted = fn_service(move |socket: tokio::net::TcpStream| {
            // Where it fails, answers are late, not wrong.
            let _ = socket.set_nodelay(true);
            let peer = socket.peer_addr().ok();
            let stream = ClientStream::new(socket, limits, connections.token());
            ready(Ok::<_, DispatchError>((stream, peer)))
        });
        let http = HttpService::build()
            .graceful_shutdown_signal(move || draining.clone().cancelled_owned())
            .keep_alive(KEEP_ALIVE)
            .client_request_timeout(header_timeout)
            .client_disconnect_timeout(LINGER)
            .h1_allow_half_closed(false)
            .local_addr(address)
            .expect(expect)
            .on_connect_ext(|stream: &ClientStream, data| {
                data.insert(stream.clock());
            })
            .h1(map_config(app, |_| AppConfig::default()));
        accepted.and_then(http)
    })
}

/// One worker's app.
fn app(
    shared: Shared,
) -> App<
    impl actix_service::ServiceFactory<
        actix_web::dev::ServiceRequest,
        Config = (),
        Response = actix_web::dev::ServiceResponse<impl actix_web::body::MessageBody>,
        Error = actix_web::Error,
        InitError = (),
    >,
> {
    let mut app = App::new();
    if let Some(uploads) = shared.uploads {
        app = app.app_data(uploads);
    }
    if let Some(images) = shared.images {
        app = app.app_data(images);
    }
    app.app_data(shared.readiness)
        .configure(operations::routes)
        .service(shared.gateway.scope(MODULES))
        .default_service(web::to(operations::not_found))
        .wrap(TracingLogger::<RequestSpan>::new())
        .wrap(Edge::new(shared.work, shared.cors))
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
fn announce(address: SocketAddr, consumers_address: Option<SocketAddr>) {
    tracing::info!(listener = "gateway", addr = %address, "listening");
    if let Some(address) = consumers_address {
        tracing::info!(listener = "consumers", addr = %address, "listening");
    }
}

/// Clears what processes that are gone left unfinished: at the start, or as soon as the store can
/// be reached, and now and then.
async fn sweep(storage: SharedStorage) {
    let [soonest, latest] = SWEEP_AGAIN;
    let mut failing: Option<Duration> = None;
    loop {
        let pause = match storage.sweep().await {
            Ok(cleared) => {
                if cleared > 0 {
                    tracing::info!(
                        cleared,
                        "unfinished uploads of an earlier process were removed"
                    );
                }
                failing = None;
                SWEEP_EVERY
            }
            Err(error) => {
                if failing.is_none() {
                    let cause = problem::chain(&error);
                    tracing::warn!(cause, "unfinished uploads may be left; trying again");
                }
                *failing.insert(failing.map_or(soonest, |pause| latest.min(pause * 2)))
            }
        };
        tokio::time::sleep(pause).await;
    }
}
