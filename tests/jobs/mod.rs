//! Jobs: asked of both databases in the same steps, by the crate's own library, as the modules of
//! a server use it; and what commands do to them, by the real binary.

mod commands;
mod ends;
mod leases;
mod load;
mod replicas;
mod shares;
mod workers;

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use gatehouse::database::{Batch, Database, DatabaseUrl, Error, Role, Settings};
use gatehouse::jobs::{
    self, Backoff, Filter, Handler, Job, Jobs, Listed, NewJob, Outcome, Pace, State, Worker,
};
use sqlx::{AnyConnection, Connection};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::harness::postgres::postgres;

const QUEUE: &str = "testing";
/// So long that nothing is found by looking, and no lease ends.
const NEVER: Duration = Duration::from_secs(3600);
/// What comes at all comes by then.
const PATIENCE: Duration = Duration::from_secs(20);

const BACKOFF: Backoff = Backoff {
    first: Duration::from_millis(20),
    most: Duration::from_millis(200),
    most_asked: Duration::from_millis(200),
    jitter: 0.2,
    give_up_after: NEVER,
};

/// A database under test.
struct Subject {
    url: String,
    database: Database,
    /// Where it is, if it is a file.
    _folder: Option<TempDir>,
}

impl Subject {
    async fn open(url: String) -> Self {
        let settings = Settings { url: DatabaseUrl::parse(&url).unwrap(), ..Settings::default() };
        let database = Database::open(&settings, gatehouse::app::migrations(), Role::Command).await;
        Self { url, database: database.unwrap(), _folder: None }
    }

    /// One of each kind, empty.
    async fn both() -> [Self; 2] {
        [Self::sqlite().await, Self::postgres().await]
    }

    async fn sqlite() -> Self {
        let folder = tempfile::Builder::new().prefix("gatehouse-jobs-").tempdir().unwrap();
        let subject = Self::open(format!("sqlite://{}/jobs.db", folder.path().display())).await;
        Self { _folder: Some(folder), ..subject }
    }

    async fn postgres() -> Self {
        Self::open(postgres().await.fresh_database().await).await
    }

    /// The same, as another process would use it.
    async fn again(&self) -> Self {
        Self::open(self.url.clone()).await
    }

    fn jobs(&self) -> Jobs {
        Jobs::new(self.database.clone())
    }

    async fn add(&self, ids: impl IntoIterator<Item = impl Into<String>>) {
        for id in ids {
            let id = id.into();
            self.write(move |batch| jobs::add(batch, &new(&id))).await.unwrap();
        }
    }

    /// Runs what `fill` adds to a batch, in a transaction.
    async fn write(&self, fill: impl FnOnce(Batch) -> Batch + Send + 'static) -> Result<(), Error> {
        self.database
            .write(|connection: &mut AnyConnection| -> BoxFuture<'_, Result<(), Error>> {
                Box::pin(async move {
                    fill(Batch::new(connection)).run(connection).await?;
                    Ok(())
                })
            })
            .await
    }

    /// Asks the database itself for a number.
    async fn number(&self, sql: &'static str) -> i64 {
        sqlx::any::install_default_drivers();
        let mut connection = AnyConnection::connect(&self.url).await.unwrap();
        sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap()
    }

    async fn count(&self) -> i64 {
        self.number("SELECT COUNT(*) FROM jobs").await
    }

    async fn listed(&self) -> Vec<Listed> {
        self.jobs().list(Filter::default(), None, 1000).await.unwrap()
    }

    /// Waits until all jobs there are satisfy this.
    async fn until(&self, what: impl Fn(&[Listed]) -> bool) -> Vec<Listed> {
        let until = Instant::now() + PATIENCE;
        loop {
            let listed = self.listed().await;
            if what(&listed) {
                return listed;
            }
            assert!(Instant::now() < until, "still: {listed:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn until_none(&self) {
        self.until(<[_]>::is_empty).await;
    }
}

fn new(id: &str) -> NewJob<'_> {
    let (tenant, subject) = ("acme", "image");
    NewJob { id, queue: QUEUE, tenant, subject, kind: "step", payload: "{}", after: Duration::ZERO }
}

/// Takes jobs with a lease.
async fn take(jobs: &Jobs, most: usize, lease: Duration) -> Vec<Job> {
    jobs.take(QUEUE, most, lease, BACKOFF).await.unwrap()
}

/// What a test has the jobs do, and the runs that were begun.
struct Script<F> {
    run: F,
    begun: Arc<Mutex<Vec<String>>>,
}

impl<F, R> Handler for Script<F>
where
    F: Fn(Job) -> R + Send + Sync + 'static,
    R: Future<Output = Outcome> + Send,
{
    async fn run(&self, job: &Job) -> Outcome {
        self.begun.lock().unwrap().push(job.id.clone());
        (self.run)(job.clone()).await
    }
}

/// A worker that runs beside the test.
struct Running {
    begun: Arc<Mutex<Vec<String>>>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// A worker that looks for itself never again, with leases that do not end.
fn pace(at_once: usize) -> Pace {
    Pace { at_once, lease: NEVER, look_every: NEVER, backoff: BACKOFF, fair: false }
}

fn start<F, R>(jobs: &Jobs, pace: Pace, grace: Duration, run: F) -> Running
where
    F: Fn(Job) -> R + Send + Sync + 'static,
    R: Future<Output = Outcome> + Send + 'static,
{
    start_on(QUEUE, jobs, pace, grace, run)
}

fn start_on<F, R>(queue: &'static str, jobs: &Jobs, pace: Pace, grace: Duration, run: F) -> Running
where
    F: Fn(Job) -> R + Send + Sync + 'static,
    R: Future<Output = Outcome> + Send + 'static,
{
    let (begun, stop) = (Arc::<Mutex<Vec<String>>>::default(), CancellationToken::new());
    let handler = Script { run, begun: Arc::clone(&begun) };
    let worker = Worker::new(jobs.clone(), queue, handler, pace);
    let task = tokio::spawn(worker.run(stop.clone(), grace));
    Running { begun, stop, task }
}

impl Running {
    fn begun(&self) -> Vec<String> {
        self.begun.lock().unwrap().clone()
    }

    async fn until_begun(&self, count: usize) {
        let until = Instant::now() + PATIENCE;
        while self.begun().len() < count {
            assert!(Instant::now() < until, "begun: {:?}", self.begun());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn stop(self) {
        self.stop.cancel();
        tokio::time::timeout(PATIENCE, self.task).await.expect("it stops").unwrap();
    }
}

/// Ids that are counted.
fn ids(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|number| format!("job-{number:04}"))
}
