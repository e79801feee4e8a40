//! A real Postgres: the one that `GATEHOUSE_TEST_POSTGRES_URL` names, else one that the tests start
//! from the programs of the installed one. It ends with the test process, however that ends.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::sync::OnceCell;

use super::guard::Guard;
use super::port;

/// Where Debian keeps them, in a folder a version.
const DEBIAN: &str = "/usr/lib/postgresql";

/// A server to test against.
pub struct Postgres {
    /// The URL of the database that the server comes with.
    pub url: String,
    /// The process, where these tests started it.
    guard: Option<Guard>,
}

/// The server that all tests share.
pub async fn postgres() -> &'static Postgres {
    static SHARED: OnceCell<Postgres> = OnceCell::const_new();
    SHARED
        .get_or_init(|| async {
            match std::env::var("GATEHOUSE_TEST_POSTGRES_URL") {
                Ok(url) => Postgres { url, guard: None },
                Err(_) => Postgres::start().await,
            }
        })
        .await
}

impl Postgres {
    /// A server of a test's own, on a free port.
    pub async fn start() -> Self {
        let guard = Guard::new("gatehouse-postgres-");
        let data = guard.folder().join("data");
        let account = Account::find();
        account.own(guard.folder());
        let mut initdb = account.command(&program("initdb"));
        initdb.extend(["-D", data.to_str().unwrap(), "-U", "postgres"].map(String::from));
        initdb.extend(["-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"].map(String::from));
        let made = Command::new(&initdb[0]).args(&initdb[1..]).current_dir(guard.folder()).output();
        let made = made.expect("initdb runs");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));

        let mut postgres = Self { url: String::new(), guard: Some(guard) };
        // A port that is free now may be taken before the server listens: then another.
        for _ in 0..5 {
            let free = port::free();
            postgres.url = format!("postgres://postgres@{free}/postgres");
            if postgres.answers_at(free).await {
                return postgres;
            }
            postgres.stop();
        }
        panic!("Postgres does not answer: {}", postgres.log());
    }

    /// Starts the process and waits until it answers, or has ended.
    async fn answers_at(&mut self, addr: SocketAddr) -> bool {
        let guard = self.guard.as_mut().expect("a server that these tests started");
        let mut command = Account::find().command(&program("postgres"));
        command.extend(["-D".into(), guard.folder().join("data").to_str().unwrap().into()]);
        for setting in [
            format!("listen_addresses={}", addr.ip()),
            format!("port={}", addr.port()),
            // Its path could be too long for a socket, and nobody needs it.
            "unix_socket_directories=".into(),
            "max_connections=200".into(),
            "shared_buffers=32MB".into(),
        ] {
            command.extend(["-c".into(), setting]);
        }
        // `pg_ctl -m immediate`: as a crash would end it, but with nothing left in shared memory.
        guard.run("QUIT", &command, &[]);
        for _ in 0..300 {
            if let Ok(connection) = PgConnection::connect(&self.url).await {
                let _ = connection.close().await;
                return true;
            }
            if self.log().contains("could not create any TCP/IP sockets") {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        false
    }

    fn log(&self) -> String {
        self.guard.as_ref().map(Guard::log).unwrap_or_default()
    }

    /// Ends the process at once; what was committed stays.
    pub fn stop(&mut self) {
        self.guard.as_mut().expect("a server that these tests started").stop();
    }

    /// Starts it again where it was.
    pub async fn restart(&mut self) {
        let (_, addr) = self.url.split_once('@').expect("a user");
        let addr = addr.split('/').next().unwrap().parse().expect("an address");
        assert!(self.answers_at(addr).await, "Postgres does not come back: {}", self.log());
    }

    /// Makes an empty database that no other test has; its URL.
    pub async fn fresh_database(&self) -> String {
        let name = format!("test_{}", uuid::Uuid::now_v7().simple());
        let mut connection = PgConnection::connect(&self.url).await.expect("connect to Postgres");
        let create = AssertSqlSafe(format!("CREATE DATABASE {name} TEMPLATE template0"));
        sqlx::query(create).execute(&mut connection).await.expect("create a database");
        connection.close().await.expect("close a connection");
        with_database(&self.url, &name)
    }
}

/// A server's URL with another database in it.
fn with_database(url: &str, name: &str) -> String {
    let (server, query) = url.split_once('?').map_or((url, None), |(s, q)| (s, Some(q)));
    let host = server.find("://").expect("a postgres:// URL") + "://".len();
    let end = server[host..].find('/').map_or(server.len(), |at| host + at);
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    format!("{}/{name}{query}", &server[..end])
}

/// A program of Postgres: from `PATH`, or of the newest version that Debian installed.
fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if let Some(found) = std::env::split_paths(&path).map(|f| f.join(name)).find(|p| p.is_file()) {
        return found;
    }
    let versions = std::fs::read_dir(DEBIAN).into_iter().flatten().flatten();
    let newest = versions
        .filter_map(|folder| {
            let version = folder.file_name().to_str()?.parse::<u32>().ok()?;
            Some((version, folder.path().join("bin").join(name)))
        })
        .filter(|(_, program)| program.is_file())
        .max();
    let Some((_, program)) = newest else {
        panic!(
            "the tests need Postgres: install it (Debian: apt-get install postgresql), or name \
             a running one in GATEHOUSE_TEST_POSTGRES_URL"
        );
    };
    program
}

/// Who the server runs as: it refuses to run as root, so then another account.
struct Account(Option<(u32, u32)>);

impl Account {
    fn find() -> Self {
        let id = |arguments: &[&str]| -> Option<u32> {
            let output = Command::new("id").args(arguments).output().expect("id runs");
            String::from_utf8(output.stdout).ok()?.trim().parse().ok()
        };
        if id(&["-u"]) != Some(0) {
            return Self(None);
        }
        let other = ["postgres", "nobody"]
            .iter()
            .find_map(|name| Some((id(&["-u", name])?, id(&["-g", name])?)));
        Self(Some(other.expect("an account named postgres or nobody")))
    }

    /// Gives it a folder.
    fn own(&self, folder: &Path) {
        if let Self(Some((user, group))) = self {
            std::os::unix::fs::chown(folder, Some(*user), Some(*group)).expect("chown");
        }
    }

    /// The command that runs a program as this account.
    fn command(&self, program: &Path) -> Vec<String> {
        let mut command = Vec::new();
        if let Self(Some((user, group))) = self {
            command.push("setpriv".to_owned());
            command.extend([format!("--reuid={user}"), format!("--regid={group}")]);
            command.push("--clear-groups".to_owned());
        }
        command.push(program.to_str().expect("UTF-8").to_owned());
        command
    }
}

#[tokio::test]
async fn what_postgres_has_committed_survives_an_outage() {
    let mut postgres = Postgres::start().await;
    let url = postgres.fresh_database().await;
    let mut connection = PgConnection::connect(&url).await.unwrap();
    sqlx::query("CREATE TABLE kept (id BIGINT)").execute(&mut connection).await.unwrap();
    sqlx::query("INSERT INTO kept VALUES (7)").execute(&mut connection).await.unwrap();
    postgres.stop();
    assert!(sqlx::query("SELECT 1").execute(&mut connection).await.is_err());
    assert!(PgConnection::connect(&url).await.is_err());

    postgres.restart().await;
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let kept = sqlx::query_scalar::<_, i64>("SELECT id FROM kept");
    assert_eq!(kept.fetch_all(&mut connection).await.unwrap(), [7]);
}

#[tokio::test]
async fn a_fresh_database_is_a_tests_own() {
    for _ in 0..2 {
        let url = postgres().await.fresh_database().await;
        let mut connection = PgConnection::connect(&url).await.unwrap();
        sqlx::query("CREATE TABLE own (id BIGINT)").execute(&mut connection).await.unwrap();
    }
}

#[test]
fn a_database_replaces_the_one_in_a_url() {
    let cases = [
        ("postgres://u:p@h:1/db", "postgres://u:p@h:1/new"),
        ("postgres://h", "postgres://h/new"),
        ("postgres://h/db?host=/run/a", "postgres://h/new?host=/run/a"),
    ];
    for (url, wanted) in cases {
        assert_eq!(with_database(url, "new"), wanted);
    }
}
