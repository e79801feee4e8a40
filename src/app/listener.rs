//! A listener: its socket, its connections and the app that each worker serves on it.

use std::{
    future::ready,
    io,
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use actix_http::{
    HttpMessage as _, HttpService, Request, Response, body::BoxBody, error::DispatchError,
};
use actix_server::ServerBuilder;
use actix_service::{IntoServiceFactory, ServiceFactoryExt, apply, fn_service, map_config};
use actix_web::{App, HttpResponse, dev::AppConfig, web};
use tokio::net::TcpSocket;
use tokio_util::task::TaskTracker;

use super::{Error, MODULES, Shared};
use crate::{
    connection::{ClientStream, Exchange, Limits},
    edge::{self, Edge, Labels, Leaving},
    gateway::Admission,
    operations::{self, Look, Readiness},
    settings::ServerSettings,
};

/// How long an idle connection of a client is kept. Longer than the idle times of usual
/// balancers (AWS: 60 s), so that they never send into a connection that is being closed.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// How long a client that was answered early may go on sending before the connection is cut:
/// while it sends, it can still read the answer.
const LINGER: Duration = Duration::from_secs(10);

/// How long a client may take no byte of a module's answer. Remote services set their own time.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a request's head may take on the listener of operations.
const OPERATIONS_HEAD: Duration = Duration::from_secs(10);

/// How much longer than actix our own limits wait, since it closes more gently where it does.
const GRACE: Duration = Duration::from_secs(1);

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;

/// Binds an address, so that a failure names its setting.
pub(super) fn bind(key: &'static str, address: SocketAddr) -> Result<TcpListener, Error> {
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
pub(super) fn serve(
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
        let edge =
            Edge::new(shared.ends.work.clone(), shared.cors.clone(), shared.ends.leaving.clone());
        let admission = Admission::new(shared.gateway.clone());
        let app = map_config(app(shared.clone()).into_factory(), |_| AppConfig::default());
        // One a worker: each connection asks it often, and asking takes its lock.
        let draining = shared.ends.draining.child_token();
        let (gateway, cors) = (shared.gateway.clone(), shared.cors.clone());
        let expect = fn_service(move |request: Request| {
            let (gateway, cors) = (gateway.clone(), cors.clone());
            async move {
                let labels = Labels::of(request.headers(), cors.as_ref());
                match gateway.expect(&request, &labels).await {
                    Ok(()) => Ok(request),
                    Err(problem) => {
                        let refusal: Response<BoxBody> =
                            edge::refuse(request.head(), labels, problem).into();
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
            .h1(apply(edge, apply(admission, app)));
        accepted.and_then(http)
    })
}

/// Adds the listener of operations. It is asked on the inside only, and needs none of what keeps hostile
/// clients away.
pub(super) fn serve_operations(
    server: ServerBuilder,
    listener: TcpListener,
    readiness: web::Data<Readiness>,
    look: web::Data<Look>,
) -> io::Result<ServerBuilder> {
    server.listen("operations", listener, move || {
        let app = App::new()
            .app_data(readiness.clone())
            .app_data(look.clone())
            .configure(operations::routes)
            .configure(operations::metrics_routes)
            .default_service(web::to(operations::not_found));
        let app = map_config(app.into_factory(), |_| AppConfig::default()).map(HttpResponse::from);
        let edge = Edge::new(TaskTracker::new(), None, Leaving::default()).unmeasured();
        HttpService::build()
            .keep_alive(KEEP_ALIVE)
            .client_request_timeout(OPERATIONS_HEAD)
            .h1(apply(edge, app))
            .tcp()
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
    if let Some(cors) = shared.cors {
        app = app.app_data(web::Data::from(cors));
    }
    if let Some(consumers) = shared.consumers {
        app = app.configure(|config| consumers.configure(config));
    }
    app.app_data(shared.readiness)
        .app_data(web::Data::new(shared.document))
        .configure(operations::routes)
        .configure(operations::description_routes)
        .service(shared.gateway.scope(MODULES))
        .default_service(web::to(operations::not_found))
}
