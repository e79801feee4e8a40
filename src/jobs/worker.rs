//! A worker: takes a queue's jobs as it gets free, runs them side by side, keeps their leases and
//! settles what they come to.

mod settling;
mod trouble;

use std::{
    future::Future,
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::FutureExt as _;
use opentelemetry::context::FutureExt as _;
use tokio::{
    join, select,
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Backoff, Job, Jobs, Outcome,
    held::{CancelOnDrop, Held},
    metrics::{self, Running},
    share::Shares,
    traced,
};
use crate::database::Error;
use trouble::Trouble;

/// The pause after the database could not be asked.
const AGAIN: Duration = Duration::from_secs(1);
/// The shortest pause between two looks: what is due may be another's for a moment.
const SHORTEST: Duration = Duration::from_millis(20);
/// The pause where what was due had been left by a process that is gone, or others were faster.
const RACED: Duration = Duration::from_millis(100);
/// How long the end of a worker may take beyond its grace, where the database is slow.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Does a queue's jobs.
pub trait Handler: Send + Sync + 'static {
    /// Runs a job. It may be run again, so what it does elsewhere must bear that. The future is
    /// dropped where the job is lost to another or the worker ends; a panic fails this run only.
    fn run(&self, job: &Job) -> impl Future<Output = Outcome> + Send;

    /// How many of the jobs about this may be held at once, where [`Pace::fair`] asks for that.
    fn share(&self, _subject: &str) -> usize {
        usize::MAX
    }
}

/// How a worker works.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Jobs that are run at once.
    pub at_once: usize,
    /// How long a run is the worker's unless it says that it goes on, which it does every third of
    /// that. A job is run by another so long after its process was killed.
    pub lease: Duration,
    /// How often it looks for jobs that nobody woke it for.
    pub look_every: Duration,
    /// When what failed is tried again.
    pub backoff: Backoff,
    /// Whether each subject has a share only ([`Handler::share`]), so that many jobs of one do not keep
    /// those of others waiting. Otherwise the oldest are run first.
    pub fair: bool,
}

impl Pace {
    /// So many jobs at once, with the usual lease of 30 s, looking every 5 s.
    pub fn new(at_once: usize, backoff: Backoff) -> Self {
        Self {
            at_once,
            lease: Duration::from_secs(30),
            look_every: Duration::from_secs(5),
            backoff,
            fair: false,
        }
    }
}

/// What does a queue's jobs in this process.
pub struct Worker<H>(Arc<Inner<H>>);

struct Inner<H> {
    jobs: Jobs,
    queue: &'static str,
    handler: H,
    pace: Pace,
    held: Held,
    shares: Arc<Shares>,
    slots: Arc<Semaphore>,
    tasks: TaskTracker,
}

/// A run that has ended, and what it came to.
struct Ended {
    job: Job,
    outcome: Outcome,
}

impl<H: Handler> Worker<H> {
    /// A worker that has `handler` do the jobs of `queue`.
    pub fn new(jobs: Jobs, queue: &'static str, handler: H, pace: Pace) -> Self {
        metrics::know(queue);
        let (held, slots) = (Held::default(), Arc::new(Semaphore::new(pace.at_once.max(1))));
        let (shares, tasks) = (Arc::new(Shares::default()), TaskTracker::new());
        Self(Arc::new(Inner { jobs, queue, handler, pace, held, shares, slots, tasks }))
    }

    /// Works until `stop`; then it begins nothing, lets what runs go on for `grace`, and gives
    /// back what is not done by then. Must be called within a tokio runtime, on which the jobs run.
    pub async fn run(self, stop: CancellationToken, grace: Duration) {
        let _cut = CancelOnDrop(&self.0.held);
        let (ended, ending) = mpsc::channel(self.0.pace.at_once.max(1));
        let work = async {
            self.take_on(&stop, ended).await;
            self.0.tasks.close();
            if timeout(grace, self.0.tasks.wait()).await.is_err() {
                self.0.held.cancel_all();
                self.0.tasks.wait().await;
            }
        };
        let too_long = async {
            stop.cancelled().await;
            sleep(grace + LAST_WORDS).await;
        };
        select! {
            // The latter ends with the last task.
            ((), ()) = async { join!(work, self.0.settle_on(ending)) } => {}
            () = self.0.keep_leases() => {}
            () = too_long => self.0.held.cancel_all(),
        }
        self.0.give_back().await;
    }

    /// Takes what is due, as slots get free.
    async fn take_on(&self, stop: &CancellationToken, ended: mpsc::Sender<Ended>) {
        let Inner { jobs, queue, pace, held, .. } = &*self.0;
        let mut woken = jobs.wakes_of(queue);
        let mut trouble = Trouble::new("jobs cannot be taken");
        while jobs.end_leases_of_the_gone(queue).await.inspect_err(|e| trouble.met(e)).is_err() {
            if stop.run_until_cancelled(sleep(AGAIN)).await.is_none() {
                return;
            }
        }
        while let Some(mut slots) = stop.run_until_cancelled(self.0.free_slots()).await {
            woken.mark_unchanged();
            let (free, until) = (slots.num_permits(), Instant::now() + pace.lease);
            // Never given up while it is under way: what it takes would be nobody's.
            let pause = match self.0.take(free).await {
                Ok((taken, next)) => {
                    trouble.is_over();
                    // Of a plan, what else is due is seen by the next one.
                    let all = taken.len() == free || (pace.fair && !taken.is_empty());
                    for job in taken {
                        let cancel = held.begin(job.run(), until);
                        if let (false, Some(slot)) = (stop.is_cancelled(), slots.split(1)) {
                            self.start(job, cancel, slot, ended.clone());
                        }
                    }
                    if all {
                        continue;
                    }
                    drop(slots);
                    next.unwrap_or(pace.look_every).clamp(SHORTEST, pace.look_every.max(SHORTEST))
                }
                Err(error) => {
                    trouble.met(&error);
                    drop(slots);
                    AGAIN
                }
            };
            stop.run_until_cancelled(self.0.pause_or_wake(pause, &mut woken)).await;
        }
    }

    fn start(
        &self,
        job: Job,
        cancel: CancellationToken,
        slot: OwnedSemaphorePermit,
        ended: mpsc::Sender<Ended>,
    ) {
        let inner = Arc::clone(&self.0);
        let share = inner.shares.hold(&job.subject);
        self.0.tasks.spawn(async move {
            let span = traced::begin(&job);
            let trace = span.as_ref().map(|span| span.context().clone()).unwrap_or_default();
            // The call may panic as well as the future that it makes.
            let run = AssertUnwindSafe(async { inner.handler.run(&job).await }.with_context(trace));
            let running = Running::begin(inner.queue);
            let Some(outcome) = cancel.run_until_cancelled(run.catch_unwind()).await else {
                return traced::end(span, None);
            };
            let outcome = outcome.unwrap_or_else(|_| {
                tracing::error!(id = job.id, queue = job.queue, "a job's handler panicked");
                Outcome::again("the work panicked; the log tells where")
            });
            running.ended(&outcome);
            traced::end(span, Some(&outcome));
            // The receiver is gone once the worker gave up waiting: then the job is given back.
            let _ = ended.send(Ended { job, outcome }).await;
            drop((slot, share));
        });
    }
}

impl<H: Handler> Inner<H> {
    /// Begins runs of up to `free` jobs that are due; and when the next one is, if these are not all.
    async fn take(&self, free: usize) -> Result<(Vec<Job>, Option<Duration>), Error> {
        let Pace { lease, backoff, fair, .. } = self.pace;
        if !fair {
            let taken = self.jobs.take(self.queue, free, lease, backoff).await?;
            let next =
                if taken.len() == free { None } else { self.jobs.next_due(self.queue).await? };
            return Ok((taken, next));
        }
        let waiting = self.jobs.waiting(self.queue).await?;
        let plan = self.shares.plan(waiting, free, |subject| self.handler.share(subject));
        if plan.of.is_empty() {
            return Ok((Vec::new(), plan.next));
        }
        let taken = self.jobs.take_of(self.queue, plan.of, lease, backoff).await?;
        let next = if taken.is_empty() { Some(RACED) } else { plan.next };
        Ok((taken, next))
    }
}

impl<H> Inner<H> {
    async fn pause_or_wake(&self, pause: Duration, woken: &mut watch::Receiver<()>) {
        // Jobs end one after the other: what they leave room for is looked for together.
        let freed = async {
            sleep(SHORTEST).await;
            self.shares.freed.notified().await;
        };
        select! {
            () = sleep(pause) => {}
            _ = woken.changed() => {}
            () = freed, if self.pace.fair => {}
        }
    }

    /// All slots that are free, once one is.
    async fn free_slots(&self) -> OwnedSemaphorePermit {
        let slots = || Arc::clone(&self.slots);
        let Ok(mut free) = slots().acquire_owned().await else {
            // It is never closed.
            return std::future::pending().await;
        };
        let more = u32::try_from(self.slots.available_permits()).unwrap_or(u32::MAX);
        if let Ok(more) = slots().try_acquire_many_owned(more) {
            free.merge(more);
        }
        free
    }

    /// Renews the leases of what runs, and cancels what is lost or may be. Does not end.
    async fn keep_leases(&self) {
        let lease = self.pace.lease;
        let mut trouble = Trouble::new("leases of jobs cannot be renewed");
        let mut pause = lease / 3;
        loop {
            sleep(pause).await;
            let (runs, now) = (self.held.all(), Instant::now());
            let mut lost = 0;
            if !runs.is_empty() {
                match timeout(lease / 6, self.jobs.renew(&runs, lease)).await {
                    Ok(Ok(kept)) => {
                        trouble.is_over();
                        pause = lease / 3;
                        lost += self.held.renew(&runs, &kept, now + lease);
                    }
                    Ok(Err(error)) => {
                        trouble.met(&error);
                        pause = AGAIN.min(lease / 6);
                    }
                    Err(late) => {
                        trouble.met(&late);
                        pause = AGAIN.min(lease / 6);
                    }
                }
            }
            lost += self.held.cancel_lapsed();
            if lost > 0 {
                let queue = self.queue;
                tracing::warn!(queue, jobs = lost, "jobs were lost while they ran");
            }
        }
    }

    /// Gives back what is held still.
    async fn give_back(&self) {
        let runs = self.held.all();
        if runs.is_empty() {
            return;
        }
        let (queue, jobs) = (self.queue, runs.len());
        match timeout(LAST_WORDS, self.jobs.give_back(runs)).await {
            Ok(Ok(())) => {
                tracing::info!(queue, jobs, "jobs that were not done are given back");
                self.jobs.wake(queue);
            }
            Ok(Err(_)) | Err(_) => {
                tracing::warn!(
                    queue,
                    jobs,
                    "jobs that were not done wait for the end of their lease"
                );
            }
        }
    }
}
