//! What the binary is started with, and how it is started.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::watch;

use super::App;
use super::issuer::Issuer;
use super::minio::{Minio, minio};
use super::postgres::postgres;

/// How long the binary may take to listen, in a debug build on a busy machine.
const START: Duration = Duration::from_secs(20);
/// How long a command may take: it may have to wait until another one is taken for dead.
const RUN: Duration = Duration::from_secs(90);

/// What the binary is to be started with.
#[derive(Clone, Default)]
pub struct Builder {
    env: Vec<(String, String)>,
    file: String,
    pub(super) bucket: Option<(String, Arc<Minio>)>,
    consumers: bool,
    operations: bool,
}

impl Builder {
    /// Sets a key by its variable, `SERVER__WORKERS` for `[server] workers`.
    pub fn set(self, key: &str, value: &str) -> Self {
        self.env(&format!("GATEHOUSE__{key}"), value)
    }

    /// Sets a variable of any name.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Adds to the settings file.
    pub fn file(mut self, toml: &str) -> Self {
        self.file.push_str(toml);
        self.file.push('\n');
        self
    }

    /// Adds a remote service, with more lines for its table.
    pub fn service(self, name: &str, url: &str, more: &str) -> Self {
        self.file(&format!("[services.{name}]\nurl = \"{url}\"\n{more}"))
    }

    /// Asks for credentials: API keys are all there is.
    pub fn required(self) -> Self {
        self.set("AUTH__MODE", "required")
    }

    /// Asks for tokens, with these lines on how they are checked.
    pub fn tokens(self, jwt: &str) -> Self {
        self.file(&format!("[auth]\nmode = \"required\"\n[auth.jwt]\n{jwt}"))
    }

    /// Asks for tokens of this issuer.
    pub fn issuer(self, issuer: &Issuer) -> Self {
        let url = issuer.url();
        self.tokens(&format!(
            "jwks_url = \"{url}\"\nissuer = \"https://issuer.example/\"\naudience = \"gatehouse\""
        ))
    }

    /// Lets `/consumers/…` be served on a port of its own too.
    pub fn consumers(mut self) -> Self {
        self.consumers = true;
        self.set("CONSUMERS__LISTEN", "127.0.0.1:0")
    }

    /// Lets metrics be told, on a port of their own.
    pub fn operations(mut self) -> Self {
        self.operations = true;
        self.set("OPERATIONS__LISTEN", "127.0.0.1:0")
    }

    /// Stores into this bucket.
    pub fn s3(mut self, store: &Minio, bucket: &str) -> Self {
        self.bucket = Some((bucket.into(), Arc::new(store.handle())));
        self.env("S3_BUCKET", bucket)
            .env("AWS_ENDPOINT_URL_S3", &store.endpoint)
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", &store.access_key)
            .env("AWS_SECRET_ACCESS_KEY", &store.secret_key)
    }

    /// The store of its bucket.
    pub fn store(&self) -> &Minio {
        &self.bucket.as_ref().expect("a bucket").1
    }

    /// Stores into a fresh bucket of the MinIO that all tests share.
    pub async fn minio(self) -> Self {
        let store = minio().await;
        let bucket = store.fresh_bucket().await;
        self.s3(store, &bucket)
    }

    /// Keeps its records in a fresh database of the Postgres that all tests share.
    pub async fn postgres(self) -> Self {
        let database = postgres().await.fresh_database().await;
        self.database(&database)
    }

    /// Keeps its records at this URL.
    pub fn database(self, url: &str) -> Self {
        self.set("DATABASE__URL", url)
    }

    /// The value of a key that was set.
    pub(super) fn value(&self, key: &str) -> Option<&str> {
        let named = self.env.iter().rfind(|(name, _)| name.ends_with(key));
        named.map(|(_, value)| value.as_str())
    }

    /// The command with these arguments and no settings but the given ones, in this folder.
    fn command(&self, arguments: &[&str], folder: &Path) -> Command {
        std::fs::write(folder.join("settings.toml"), &self.file).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_gatehouse"));
        command.args(arguments).current_dir(folder).env_clear();
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs it to its end, which must come by itself.
    pub fn run(&self, arguments: &[&str]) -> Ended {
        self.run_in(folder().path(), arguments)
    }

    /// The same in this folder.
    pub(super) fn run_in(&self, folder: &Path, arguments: &[&str]) -> Ended {
        let mut child = self.command(arguments, folder).spawn().expect("the binary runs");
        let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let read = |mut from: Box<dyn Read + Send>| {
            std::thread::spawn(move || {
                let mut text = String::new();
                from.read_to_string(&mut text).expect("text");
                text
            })
        };
        let (out, err) = (read(Box::new(out)), read(Box::new(err)));
        let Some(status) = wait(&mut child, RUN) else {
            let _ = child.kill();
            panic!("still runs: {arguments:?} {}", out.join().unwrap());
        };
        Ended { status, stdout: out.join().unwrap(), stderr: err.join().unwrap() }
    }

    /// Starts the server in a folder of its own, and waits until it listens.
    pub async fn start(self) -> App {
        let mut app = self.prepare();
        app.start().await;
        app
    }

    /// A server that is yet to be started.
    pub fn prepare(mut self) -> App {
        let defaults = [
            ("SERVER__LISTEN", "127.0.0.1:0"),
            ("STORAGE__LOCAL__ROOT", "objects"),
            ("DATABASE__URL", "sqlite://gatehouse.db"),
        ];
        for (key, value) in defaults {
            if self.value(key).is_none() {
                self = self.set(key, value);
            }
        }
        App::new(self, folder())
    }

    /// Starts the binary in this folder; waits until it listens, and tells where, or until it
    /// has ended.
    pub(super) async fn spawn(
        &self,
        folder: &Path,
        log: &Arc<Mutex<Log>>,
    ) -> (Child, Option<Listening>) {
        let mut child = self.command(&[], folder).spawn().expect("the binary runs");
        let (events, mut seen) = watch::channel(0);
        for stream in [
            Box::new(child.stdout.take().unwrap()) as Box<dyn Read + Send>,
            Box::new(child.stderr.take().unwrap()),
        ] {
            let (log, events) = (Arc::clone(log), events.clone());
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    log.lock().unwrap().push(&line);
                    events.send_modify(|count| *count += 1);
                }
            });
        }
        drop(events);
        let listens = async {
            loop {
                let found = log.lock().unwrap().listening;
                let all = found.gateway.is_some()
                    && (found.consumers.is_some() || !self.consumers)
                    && (found.operations.is_some() || !self.operations);
                if all {
                    break Some(found);
                }
                // An end of its output is the end of the process.
                seen.changed().await.ok()?;
            }
        };
        let listening = tokio::time::timeout(START, listens).await.ok().flatten();
        (child, listening)
    }
}

/// The addresses of a server, by listener.
#[derive(Clone, Copy, Default)]
pub(super) struct Listening {
    pub(super) gateway: Option<SocketAddr>,
    pub(super) consumers: Option<SocketAddr>,
    pub(super) operations: Option<SocketAddr>,
}

/// A folder to run in.
fn folder() -> TempDir {
    tempfile::Builder::new().prefix("gatehouse-test-").tempdir().unwrap()
}

/// How a run ended.
pub struct Ended {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

/// What the binary has logged.
#[derive(Default)]
pub struct Log {
    pub text: String,
    listening: Listening,
}

impl Log {
    fn push(&mut self, line: &str) {
        writeln!(self.text, "{line}").unwrap();
        let Ok(event) = serde_json::from_str::<Value>(line) else { return };
        let field = |name: &str| {
            let found = event.get(name).or_else(|| event.get("fields")?.get(name))?;
            Some(found.as_str()?.to_owned())
        };
        if field("message").is_some_and(|message| message.starts_with("listening")) {
            let addr = field("addr").and_then(|addr| addr.parse().ok());
            match field("listener").as_deref() {
                Some("consumers") => self.listening.consumers = addr,
                Some("operations") => self.listening.operations = addr,
                _ => self.listening.gateway = addr,
            }
        }
    }
}

/// Waits for a child's end; `None` when it does not come in time.
fn wait(child: &mut Child, time: Duration) -> Option<ExitStatus> {
    let until = Instant::now() + time;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        if Instant::now() >= until {
            return None;
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
}
