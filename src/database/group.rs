//! SQLite's one writer: what comes together is committed together, so that many transactions
//! share one fsync. Each is undone alone when it fails.

use std::{io, marker::PhantomData, panic::AssertUnwindSafe, thread};

use futures_util::{FutureExt as _, future::BoxFuture};
use opentelemetry::{Context, context::FutureExt as _};
use sqlx::{AnyConnection, Executor};
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot},
};

use super::{Error, ErrorKind, Result};

/// The most transactions that are committed at once.
const GROUP: usize = 128;
/// Those that may wait; more wait to be let in.
const QUEUE: usize = 1024;

/// Hands transactions to the writer.
pub(super) struct Writer(mpsc::Sender<Box<dyn Job>>);

impl Writer {
    /// Starts the writer on `connection`; it ends when all have let go of it.
    ///
    /// It has a thread of its own: to wait for SQLite's answers by a futex is cheaper than by the
    /// runtime's poll.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(super) fn start(connection: AnyConnection, runtime: Handle) -> io::Result<Self> {
        let (sender, jobs) = mpsc::channel(QUEUE);
        let write = move || runtime.block_on(write_all(connection, jobs));
        thread::Builder::new().name("database-writer".into()).spawn(write)?;
        Ok(Self(sender))
    }

    /// Runs `job` in a transaction.
    pub(super) async fn write<T, E, F>(&self, job: F) -> Result<T, E>
    where
        F: for<'c> FnOnce(&'c mut AnyConnection) -> BoxFuture<'c, Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let lost = || Error::new(ErrorKind::Internal, "the writer is gone");
        let (answer, answered) = oneshot::channel();
        let trace = Context::current();
        let job = Transaction { job, answer, trace, result: PhantomData };
        self.0.send(Box::new(job)).await.map_err(|_| lost())?;
        answered.await.map_err(|_| lost())?
    }
}

/// A transaction whose result is known to itself only.
trait Job: Send {
    /// Runs it; whether it is to be kept, and what is left to do when its group has ended. Why it
    /// failed is told no sooner, since it may be what others of the group have done.
    fn run(self: Box<Self>, connection: &mut AnyConnection) -> BoxFuture<'_, (bool, Answer)>;
    /// Tells its caller that nothing of it was done.
    fn fail(self: Box<Self>, error: Error);
}

/// Tells a transaction's caller how the commit went.
type Answer = Box<dyn FnOnce(Result<()>) + Send>;

struct Transaction<T, E, F> {
    job: F,
    answer: oneshot::Sender<Result<T, E>>,
    /// What it is done for.
    trace: Context,
    result: PhantomData<fn() -> (T, E)>,
}

impl<T, E, F> Job for Transaction<T, E, F>
where
    F: for<'c> FnOnce(&'c mut AnyConnection) -> BoxFuture<'c, Result<T, E>> + Send + 'static,
    T: Send + 'static,
    E: From<Error> + Send + 'static,
{
    fn run(self: Box<Self>, connection: &mut AnyConnection) -> BoxFuture<'_, (bool, Answer)> {
        Box::pin(async move {
            let Self { job, answer, trace, .. } = *self;
            let done = async move { job(connection).await }.with_context(trace);
            let done = AssertUnwindSafe(done).catch_unwind().await;
            let done = done.unwrap_or_else(|_| {
                Err(Error::new(ErrorKind::Internal, "a transaction panicked").into())
            });
            let kept = done.is_ok();
            let tell = move |committed: Result<()>| {
                let told = match done {
                    Ok(done) => committed.map(|()| done).map_err(E::from),
                    Err(error) => Err(error),
                };
                // The caller may be gone; what was done stays done.
                let _ = answer.send(told);
            };
            (kept, Box::new(tell) as Answer)
        })
    }

    fn fail(self: Box<Self>, error: Error) {
        let _ = self.answer.send(Err(error.into()));
    }
}

async fn write_all(mut connection: AnyConnection, mut jobs: mpsc::Receiver<Box<dyn Job>>) {
    while let Some(first) = jobs.recv().await {
        write_group(&mut connection, first, &mut jobs).await;
    }
}

/// Runs `first`, and what waits by then, in one transaction; each in a savepoint, which is all that
/// is undone when it fails. As few statements as can be: each is a visit to SQLite's thread.
async fn write_group(
    connection: &mut AnyConnection,
    first: Box<dyn Job>,
    jobs: &mut mpsc::Receiver<Box<dyn Job>>,
) {
    // Immediate: a transaction that turns from reading to writing could find the file changed by
    // a command, and waiting would not help it.
    if let Err(error) = connection.execute("BEGIN IMMEDIATE; SAVEPOINT job").await {
        return first.fail(error.into());
    }
    let (mut answers, mut ended, mut jobs_run) = (Vec::new(), Ok(()), 0);
    let mut next = Some(first);
    while let Some(job) = next.take() {
        jobs_run += 1;
        let (kept, answer) = job.run(connection).await;
        answers.push(answer);
        if jobs_run < GROUP {
            next = jobs.try_recv().ok();
        }
        let end = match (kept, next.is_some()) {
            (true, true) => "RELEASE job; SAVEPOINT job",
            (true, false) => "COMMIT",
            (false, true) => "ROLLBACK TO job",
            (false, false) => "ROLLBACK TO job; COMMIT",
        };
        if let Err(error) = connection.execute(end).await {
            // What the savepoint held is neither kept nor undone for sure: nothing of the group is.
            let _ = connection.execute("ROLLBACK").await;
            if let Some(job) = next.take() {
                job.fail(Error::new(ErrorKind::Unavailable, error.to_string()));
            }
            ended = Err(error);
        }
    }
    tell(answers, ended);
}

fn tell(answers: Vec<Answer>, committed: sqlx::Result<()>) {
    let error = committed.err().map(|error| error.to_string());
    for answer in answers {
        answer(match &error {
            None => Ok(()),
            Some(error) => Err(Error::new(ErrorKind::Unavailable, error.clone())),
        });
    }
}
