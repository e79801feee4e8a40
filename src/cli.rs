//! The commands: what each prints, and the exit status it ends with.

mod adopt;
mod check;
mod descriptions;
mod erase;
mod images;
mod jobs;
mod keys;
mod progress;
mod quotas;
mod tenants;

use std::{
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    path::PathBuf,
    process::ExitCode,
    rc::Rc,
    time::Duration,
};

use actix_rt::SystemRunner;
use clap::{Parser, Subcommand};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    task::JoinHandle,
};

use crate::{
    app::{self, Application, Stopper},
    database::{Database, Role},
    edge, problem,
    reload::Reload,
    settings::{self, Settings, Sources},
    telemetry::traces::Traces,
};

/// The exit status for settings that cannot be used.
const BAD_SETTINGS: u8 = 2;

/// How long `healthcheck` waits for the server: longer than readiness waits for the store.
const HEALTHCHECK_TIMEOUT: Duration = Duration::from_secs(5);

/// An API gateway with tenant-scoped image uploads into S3, in one binary.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES)]
pub struct Arguments {
    /// A TOML file with settings [default: settings.toml, if there is one]
    #[arg(long, value_name = "FILE", global = true)]
    settings: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

const EXAMPLES: &str = "\
Examples:
  gatehouse                                  serve on 127.0.0.1:3000, keeping images in ./data
  S3_BUCKET=images gatehouse                 keep them in an S3 bucket
  gatehouse --settings prod.toml check       show the settings in effect

Every setting can also come from the environment: server.listen is GATEHOUSE__SERVER__LISTEN.";

#[derive(Clone, Debug, Subcommand)]
enum Command {
    /// Serve until SIGTERM or SIGINT (the default); SIGHUP reloads the services table
    #[command(after_help = SERVE)]
    Serve,
    /// Check the settings and print those in effect, without secrets; or try the store
    Check(check::Check),
    /// Bring the database's schema up to date, as every start does, and end
    #[command(after_help = MIGRATE)]
    Migrate,
    /// Make, list and revoke API keys
    #[command(subcommand)]
    Keys(keys::Command),
    /// Suspend, limit and erase tenants, and tell what they have
    #[command(subcommand)]
    Tenants(tenants::Command),
    /// Make records for images that are in the store without one
    Adopt(adopt::Adopt),
    /// List what is done after uploads, have it tried again, drop it
    #[command(subcommand)]
    Jobs(jobs::Command),
    /// Print the description of the HTTP API (OpenAPI 3.1), as /openapi.json answers it
    #[command(after_help = OPENAPI)]
    Openapi,
    /// Ask the running server whether it is ready: exit status 0 if so, 1 if not
    #[command(after_help = HEALTHCHECK)]
    Healthcheck,
    /// Print the script by which a shell completes commands
    Completions(descriptions::Completions),
    /// Print the manual page, or write one of each command
    Man(descriptions::Man),
}

const SERVE: &str = "\
Examples:
  gatehouse serve                               the same as gatehouse alone
  GATEHOUSE__SERVER__LISTEN=127.0.0.1:8080 gatehouse serve";

const MIGRATE: &str = "\
Examples:
  gatehouse migrate                             before the servers of a new version start
  gatehouse --settings prod.toml migrate";

const OPENAPI: &str = "\
Examples:
  gatehouse openapi                          for what makes clients of it; no server has to run";

const HEALTHCHECK: &str = "\
Examples:
  gatehouse healthcheck && echo ready           with the server's own settings: it tells where to ask";

/// Runs a command to its end.
pub fn run(arguments: Arguments) -> ExitCode {
    let sources = Sources::of_process(arguments.settings);
    match arguments.command.unwrap_or(Command::Serve) {
        Command::Serve => serve(&sources),
        Command::Check(command) => {
            with_settings(&sources, |settings| check::run(command, &settings, &sources))
        }
        Command::Migrate => with_settings(&sources, |settings| migrate(&settings, &sources)),
        Command::Keys(command) => with_database(&sources, async |database, _| {
            keys::run(command, database).await.map_err(|message| (message, 1))
        }),
        Command::Tenants(command) => with_database(&sources, async |database, settings| {
            tenants::run(command, database, settings).await
        }),
        Command::Adopt(command) => with_database(&sources, async |database, settings| {
            adopt::run(command, database, settings).await
        }),
        Command::Jobs(command) => {
            with_database(&sources, async |database, _| jobs::run(command, database).await)
        }
        Command::Openapi => print(app::openapi().trim_end()),
        Command::Healthcheck => {
            with_settings(&sources, |settings| healthcheck(settings.server.listen))
        }
        Command::Completions(command) => descriptions::complete(&command),
        Command::Man(command) => descriptions::man(&command),
    }
}

fn with_settings(sources: &Sources, run: impl FnOnce(Settings) -> ExitCode) -> ExitCode {
    match settings::load(sources) {
        Ok(settings) => run(settings),
        Err(error) => fail(&error.to_string(), BAD_SETTINGS),
    }
}

fn fail(message: &str, status: u8) -> ExitCode {
    // When standard error is closed there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "gatehouse: {message}");
    ExitCode::from(status)
}

fn migrate(settings: &Settings, sources: &Sources) -> ExitCode {
    let migrated = actix_rt::System::new().block_on(open_database(settings, sources));
    match migrated {
        Ok(_) => print(&format!("{} is up to date", settings.database.url)),
        Err((message, status)) => fail(&message, status),
    }
}

/// A sentence on what failed, and the exit status that goes with it.
type Failed = (String, u8);

/// What failed in a command that was begun: the error and its causes in one line.
fn failed(error: impl std::error::Error + 'static) -> Failed {
    (problem::chain(&error), 1)
}

/// What cannot be used as it is set up.
fn unusable(error: app::Error) -> Failed {
    (error.to_string(), BAD_SETTINGS)
}

/// The database, which can be reached and has the schema of this version.
async fn open_database(settings: &Settings, sources: &Sources) -> Result<Database, Failed> {
    let database = Database::open(&settings.database, app::migrations(), Role::Command);
    let database = database
        .await
        .map_err(|error| (cannot_start(&app::Error::Database(error), sources), BAD_SETTINGS))?;
    let url = &settings.database.url;
    match database.ready().await {
        Ok(()) => Ok(database),
        Err(error) => Err((format!("{url} cannot be used: {}", problem::chain(&error)), 1)),
    }
}

/// Runs a command that answers with what is to be printed, or a sentence on what failed. What it
/// does that bears on security is told on standard error.
fn with_database(
    sources: &Sources,
    run: impl AsyncFnOnce(Database, &Settings) -> Result<String, Failed>,
) -> ExitCode {
    with_settings(sources, |settings| {
        settings.telemetry.start_on_stderr();
        let ran = actix_rt::System::new().block_on(async {
            let database = open_database(&settings, sources).await?;
            run(database, &settings).await
        });
        match ran {
            Ok(text) => print(&text),
            Err((message, status)) => fail(&message, status),
        }
    })
}

fn print(text: &str) -> ExitCode {
    match writeln!(std::io::stdout(), "{text}") {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn serve(sources: &Sources) -> ExitCode {
    let system = actix_rt::System::new();
    match system.block_on(async { Reload::new(sources.clone()) }) {
        Ok(reload) => {
            with_settings(sources, |settings| serve_with(settings, sources, reload, &system))
        }
        Err(error) => fail(&format!("cannot handle SIGHUP: {error}"), 1),
    }
}

fn serve_with(
    settings: Settings,
    sources: &Sources,
    reload: Reload,
    system: &SystemRunner,
) -> ExitCode {
    let log = Rc::new(settings.telemetry.start());
    edge::log_panics();
    let traces = match Traces::start(&settings.telemetry) {
        Ok(traces) => traces,
        Err(invalid) => return fail(&cannot_start(&invalid.into(), sources), BAD_SETTINGS),
    };
    let served = system.block_on(async {
        // Before anybody is told that the server listens: from then on it is to stop gracefully.
        let signals = StopSignals::new().map_err(failed_to_serve)?;
        let application = Application::build(settings.clone())
            .await
            .map_err(|error| (cannot_start(&error, sources), BAD_SETTINGS))?;
        log.flush();
        let stopped = stop_on_signal(signals, application.stopper(), {
            let log = Rc::clone(&log);
            move || log.flush()
        });
        actix_rt::spawn(reload.run(settings, application.registry()));
        application.run().await.map_err(failed_to_serve)?;
        // The server only ends when it was stopped: let that be told, too.
        stopped.await.map_err(|error| failed_to_serve(error.into()))
    });
    // The last spans, and then the last lines.
    drop(traces);
    log.flush();
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err((message, status)) => fail(&message, status),
    }
}

/// The error, and where the setting at fault comes from.
fn cannot_start(error: &app::Error, sources: &Sources) -> String {
    let key = match error {
        app::Error::Bind { key, .. } => (*key).to_owned(),
        app::Error::Setting { key, .. } => key.clone(),
        app::Error::Storage(error) => format!("storage.{}", error.setting()),
        app::Error::Database(_) => "database.url".to_owned(),
        app::Error::Server(_) | app::Error::Diagnosis(_) => return error.to_string(),
    };
    format!("{error} ({key} is from {})", sources.origin(&key))
}

/// Stops the application on the first signal, and the process at once on the second, after
/// `last_words`; the handle ends once the application has stopped.
fn stop_on_signal(
    mut signals: StopSignals,
    stopper: Stopper,
    last_words: impl Fn() + 'static,
) -> JoinHandle<()> {
    actix_rt::spawn(async move {
        signals.next().await;
        tokio::select! {
            () = stopper.stop() => {}
            () = signals.next() => {
                last_words();
                fail("stopped at once by a second signal; requests were cut", 1);
                std::process::exit(1);
            }
        }
    })
}

/// SIGTERM and SIGINT.
struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

fn failed_to_serve(error: std::io::Error) -> (String, u8) {
    (format!("the server failed: {error}"), 1)
}

/// Asks over the loopback interface where the server listens on all addresses.
fn healthcheck(listen: SocketAddr) -> ExitCode {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    let address = SocketAddr::new(ip, listen.port());
    match ask_readiness(address) {
        Ok(status) if status == "200" => ExitCode::SUCCESS,
        Ok(status) => {
            fail(&format!("the server at {address} is not ready: it answered {status}"), 1)
        }
        Err(error) => fail(&format!("the server at {address} does not answer: {error}"), 1),
    }
}

fn ask_readiness(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, HEALTHCHECK_TIMEOUT)?;
    stream.set_read_timeout(Some(HEALTHCHECK_TIMEOUT))?;
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.take(4096).read_to_string(&mut answer)?;
    Ok(answer.split(' ').nth(1).unwrap_or("nothing").to_owned())
}
