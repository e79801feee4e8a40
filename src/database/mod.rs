//! The database: connections, transactions and migrations. Knows no table; each module owns its
//! own tables, queries and [`Migration`]s.
//!
//! One set of queries serves both dialects, through sqlx's `Any` driver: parameters are `$1`,
//! integers are `BIGINT`, everything else is text. Where a statement has to differ, the module that
//! owns the table names the exception by [`Dialect`].
//!
//! Connections live on a thread of their own: requests come from many workers, and a connection
//! must be driven by one runtime. SQLite has one writer, which commits what comes together in
//! groups (one fsync each); Postgres runs each transaction on a connection of a pool.

mod batch;
mod error;
mod group;
pub mod metrics;
mod migration;
mod notices;
mod settings;
mod time;

use std::{
    fs::{self, File, TryLockError},
    future::Future,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::BoxFuture;
use secrecy::ExposeSecret;
use sqlx::{
    AnyConnection, AnyPool, Connection, Executor, any::AnyPoolOptions, migrate::MigrateError,
};
use tokio::{runtime::Handle, time::timeout};

pub use batch::Batch;
pub use error::{Error, ErrorKind};
pub use migration::Migration;
pub use notices::Notices;
pub use settings::{DatabaseUrl, Settings};
pub use time::{millis, of_millis};

use crate::{home::Home, problem, trace};
use group::Writer;
use metrics::Operation;

/// A result of this module.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// How long an operation may take in all: a server that does not answer is unavailable.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long it may take to get a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// How long the start waits for a database that does not answer, and the pause between two tries
/// after that.
const START: Duration = Duration::from_secs(3);
const RETRY: Duration = Duration::from_secs(1);
/// Connections that read a SQLite file.
const READERS: u32 = 4;

/// The dialect of SQL that is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// SQLite, in this process.
    Sqlite,
    /// PostgreSQL 12 or later.
    Postgres,
}

impl Dialect {
    /// The expression for the database's clock as its statement began, in milliseconds since 1970:
    /// one clock for all processes.
    pub fn now(self) -> &'static str {
        match self {
            Self::Sqlite => "CAST(unixepoch('subsec') * 1000 AS BIGINT)",
            Self::Postgres => "CAST(EXTRACT(EPOCH FROM statement_timestamp()) * 1000 AS BIGINT)",
        }
    }

    /// What ends a query for rows that are to be changed, so that it leaves out those that another
    /// transaction is changing. SQLite has one writer.
    pub fn skip_locked(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Postgres => " FOR UPDATE SKIP LOCKED",
        }
    }
}

/// Who opens the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A server: of a SQLite file there is one at a time.
    Server,
    /// A command that runs beside a server.
    Command,
}

/// Why the database cannot be used. Displays as the rest of a sentence that begins with the setting.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The SQLite file is another server's.
    #[error(
        "names \"{0}\", which another gatehouse is serving; stop it, or give this one a database of its own"
    )]
    InUse(String),
    /// The file or its folder cannot be used.
    #[error("names \"{0}\", which cannot be used ({1}); name a file that this user may write to")]
    Unusable(String, String),
    /// The schema was made by a later version.
    #[error(
        "names a database with the schema of a later gatehouse (it has migration {0}); run that version, or restore the backup made before the upgrade"
    )]
    Newer(i64),
    /// It does not let us in, or a migration failed.
    #[error("names a database that cannot be used ({0}); see to the cause and start again")]
    Migration(String),
}

/// A database. Cheap to clone.
#[derive(Clone)]
pub struct Database(Arc<Inner>);

struct Inner {
    dialect: Dialect,
    url: DatabaseUrl,
    pool: AnyPool,
    /// Of SQLite.
    writer: Option<Writer>,
    /// Whether the schema is as the queries expect it.
    migrated: AtomicBool,
    /// Drives all connections, and ends with the last user of the database.
    home: Home,
    /// Held as long as this process serves the SQLite file.
    _lock: Option<File>,
}

impl Database {
    /// Opens the database of `settings`, which are valid, and migrates it. One that cannot be
    /// reached does not fail this: operations are `Unavailable` until it can be.
    ///
    /// # Errors
    /// When the file cannot be used, is served by another process, or the schema cannot be what it
    /// has to be.
    pub async fn open(
        settings: &Settings,
        migrations: Vec<Migration>,
        role: Role,
    ) -> Result<Self, BuildError> {
        sqlx::any::install_default_drivers();
        let dialect = settings.url.dialect();
        let lock = match &settings.url {
            DatabaseUrl::Sqlite(file) => prepare_file(file, role)?,
            DatabaseUrl::Postgres(_) => None,
        };
        let home = Home::start("database")
            .map_err(|e| BuildError::Unusable(settings.url.to_string(), e.to_string()))?;
        let url = settings.url.for_sqlx();
        let max_connections = match dialect {
            Dialect::Sqlite => READERS,
            Dialect::Postgres => settings.max_connections,
        };
        let connected = home.handle.spawn(async move {
            let options = AnyPoolOptions::new()
                .max_connections(max_connections)
                .acquire_timeout(CONNECT)
                .after_connect(move |connection, _| Box::pin(prepare(connection, dialect)));
            let pool = options.connect_lazy(url.expose_secret())?;
            let writer = match dialect {
                Dialect::Sqlite => {
                    Some(Writer::start(pool.acquire().await?.detach(), Handle::current())?)
                }
                Dialect::Postgres => None,
            };
            Ok::<_, sqlx::Error>((pool, writer))
        });
        let unusable = |cause: String| BuildError::Unusable(settings.url.to_string(), cause);
        let (pool, writer) = match connected.await {
            Ok(Ok(connected)) => connected,
            Ok(Err(error)) => return Err(unusable(error.to_string())),
            Err(error) => return Err(unusable(error.to_string())),
        };
        let migrated = AtomicBool::new(false);
        let url = settings.url.clone();
        let inner = Inner { dialect, url, pool, writer, migrated, home, _lock: lock };
        let database = Self(Arc::new(inner));
        database.migrate_or_wait(migrations).await?;
        Ok(database)
    }

    /// What is spoken there.
    pub fn dialect(&self) -> Dialect {
        self.0.dialect
    }

    /// Runs `job` in a transaction, which is committed and durable if it succeeds, and rolled back
    /// if it fails. It runs to its end even if its caller is dropped.
    ///
    /// # Errors
    /// The job's own; [`ErrorKind::Unavailable`] when the database fails, and then it is not known
    /// whether the transaction took place.
    pub async fn write<T, E, F>(&self, job: F) -> Result<T, E>
    where
        F: for<'c> FnOnce(&'c mut AnyConnection) -> BoxFuture<'c, Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        self.check_migrated()?;
        let began = Instant::now();
        let done = match &self.0.writer {
            Some(writer) => writer.write(job).await,
            None => self.write_at_home(job).await,
        };
        metrics::took(Operation::Write, began);
        done
    }

    async fn write_at_home<T, E, F>(&self, job: F) -> Result<T, E>
    where
        F: for<'c> FnOnce(&'c mut AnyConnection) -> BoxFuture<'c, Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let pool = self.0.pool.clone();
        self.at_home(async move {
            let mut connection = pool.acquire().await.map_err(Error::from)?;
            let mut transaction = connection.begin().await.map_err(Error::from)?;
            let done = job(&mut transaction).await?;
            transaction.commit().await.map_err(Error::from)?;
            Ok(done)
        })
        .await
    }

    /// Runs `job` on a connection that only reads, without a transaction.
    ///
    /// # Errors
    /// The job's own; [`ErrorKind::Unavailable`] when the database fails.
    pub async fn read<T, E, F>(&self, job: F) -> Result<T, E>
    where
        F: for<'c> FnOnce(&'c mut AnyConnection) -> BoxFuture<'c, Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        self.check_migrated()?;
        let (pool, began) = (self.0.pool.clone(), Instant::now());
        let done = self.at_home(async move {
            let mut connection = pool.acquire().await.map_err(Error::from)?;
            job(&mut connection).await
        });
        let done = done.await;
        metrics::took(Operation::Read, began);
        done
    }

    /// Whether the database can be reached and used right now; for readiness.
    ///
    /// # Errors
    /// Why not.
    pub async fn ready(&self) -> Result<()> {
        self.read(|connection| Box::pin(async move { Ok(connection.ping().await?) })).await
    }

    /// Sets the metrics of its connections to how they are now.
    pub fn tell_connections(&self) {
        let pool = &self.0.pool;
        metrics::tell_connections(pool.size() as usize, pool.num_idle());
    }

    /// Runs `work` on the database's own thread, within [`PATIENCE`].
    async fn at_home<T, E>(
        &self,
        work: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let work = trace::carried(timeout(PATIENCE, work));
        let done = self.0.home.handle.spawn(work).await;
        match done {
            Ok(Ok(done)) => done,
            Ok(Err(elapsed)) => Err(Error::new(ErrorKind::Unavailable, elapsed).into()),
            Err(lost) => Err(Error::new(ErrorKind::Internal, lost).into()),
        }
    }

    fn check_migrated(&self) -> Result<()> {
        if self.0.migrated.load(Ordering::Acquire) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Unavailable, "it could not be reached since the start"))
    }

    /// Migrates now, or as soon as the database can be reached.
    async fn migrate_or_wait(&self, migrations: Vec<Migration>) -> Result<(), BuildError> {
        let first = timeout(START, self.migrate(migrations.clone())).await;
        let error = match first {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(Failed::ForGood(error))) => return Err(error),
            Ok(Err(Failed::ForNow(error))) => error,
            Err(elapsed) => Error::new(ErrorKind::Unavailable, elapsed),
        };
        tracing::warn!(
            cause = problem::chain(&error),
            "the database cannot be reached; trying again"
        );
        let (inner, home) = (Arc::downgrade(&self.0), self.0.home.handle.clone());
        home.spawn(async move {
            loop {
                tokio::time::sleep(RETRY).await;
                let Some(database) = inner.upgrade().map(Self) else { return };
                match database.migrate(migrations.clone()).await {
                    Ok(()) => return tracing::info!("the database can be reached"),
                    Err(Failed::ForGood(error)) => {
                        return tracing::error!("setting database.url {error}");
                    }
                    Err(Failed::ForNow(_)) => {}
                }
            }
        });
        Ok(())
    }

    async fn migrate(&self, migrations: Vec<Migration>) -> Result<(), Failed> {
        let (pool, dialect) = (self.0.pool.clone(), self.0.dialect);
        let migrated = self.0.home.handle.spawn(async move {
            let mut connection = pool.acquire().await?;
            migration::run(&mut connection, dialect, &migrations).await
        });
        let count = migrated.await.map_err(|lost| MigrateError::Source(lost.into()))??;
        if count > 0 {
            tracing::info!(count, "the database was migrated");
        }
        self.0.migrated.store(true, Ordering::Release);
        Ok(())
    }
}

/// Why a database was not migrated.
enum Failed {
    /// It may pass by itself.
    ForNow(Error),
    /// Not even a restart would help.
    ForGood(BuildError),
}

impl From<MigrateError> for Failed {
    fn from(error: MigrateError) -> Self {
        let message = error.to_string();
        match error {
            MigrateError::VersionMissing(version) => Self::ForGood(BuildError::Newer(version)),
            MigrateError::Execute(error) => match Error::from(error) {
                error if error.kind() == ErrorKind::Unavailable => Self::ForNow(error),
                _ => Self::ForGood(BuildError::Migration(message)),
            },
            _ => Self::ForGood(BuildError::Migration(message)),
        }
    }
}

/// Sets up a fresh connection.
async fn prepare(connection: &mut AnyConnection, dialect: Dialect) -> sqlx::Result<()> {
    connection
        .execute(match dialect {
            // An acknowledged commit survives the loss of power, not only of the process. The log is
            // taken over into the file every 16 MiB: a page that many commits change is then written once.
            Dialect::Sqlite => {
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 5000; \
                 PRAGMA wal_autocheckpoint = 4096;"
            }
            // A statement that waits for ever holds a connection and its locks.
            Dialect::Postgres => {
                // Each statement sees what was committed before it, whatever the database's default is:
                // who waited for a row looks at what became of it.
                "SET statement_timeout = '10s'; SET idle_in_transaction_session_timeout = '30s'; \
                 SET client_min_messages = warning; \
                 SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED"
            }
        })
        .await?;
    Ok(())
}

/// Makes the file's folder, and the file itself so that its name is on the disk; takes the
/// server's lock beside it.
fn prepare_file(file: &Path, role: Role) -> Result<Option<File>, BuildError> {
    let shown = || file.display().to_string();
    let unusable = |e: std::io::Error| BuildError::Unusable(shown(), e.to_string());
    let folder = file.parent().filter(|f| !f.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(unusable)?;
    let mut lock = None;
    if role == Role::Server {
        let mut name = file.as_os_str().to_owned();
        name.push(".lock");
        let taken = File::create(Path::new(&name)).map_err(unusable)?;
        match taken.try_lock() {
            Ok(()) => lock = Some(taken),
            Err(TryLockError::WouldBlock) => return Err(BuildError::InUse(shown())),
            Err(TryLockError::Error(e)) => return Err(unusable(e)),
        }
    }
    File::options().append(true).create(true).open(file).map_err(unusable)?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(unusable)?;
    Ok(lock)
}
