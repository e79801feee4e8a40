//! How work starts at once: who adds jobs wakes the workers of their queue, in this process
//! directly and in others by a notice of Postgres'. Workers look by themselves now and then,
//! so that a wake that is lost costs time only.

use std::{
    collections::{BTreeSet, HashMap},
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;

use super::Jobs;
use crate::{
    database::{Dialect, Notices, Result},
    problem,
};

/// Where processes tell each other. A notice is the sender, and queues.
const CHANNEL: &str = "gatehouse_jobs";
/// Between two notices of a process.
const TELL_EVERY: Duration = Duration::from_millis(20);
/// The pause before listening is tried again.
const AGAIN: Duration = Duration::from_secs(2);

/// Who waits for what queue, and what others are still to be told.
#[derive(Default)]
pub(super) struct Wakes {
    queues: Mutex<HashMap<String, watch::Sender<()>>>,
    untold: Mutex<Untold>,
}

#[derive(Default)]
struct Untold {
    queues: BTreeSet<&'static str>,
    /// Whether a task is telling.
    telling: bool,
}

impl Jobs {
    /// Wakes the workers of `queue`: jobs were added to it, and are committed. Returns at once;
    /// must be called within a tokio runtime.
    pub fn wake(&self, queue: &'static str) {
        self.wake_here(queue);
        if self.database().dialect() == Dialect::Sqlite {
            return;
        }
        let mut untold = self.wakes().untold();
        untold.queues.insert(queue);
        if !mem::replace(&mut untold.telling, true) {
            tokio::spawn(self.clone().tell());
        }
    }

    /// Wakes the workers of `queues`, and returns once those of other processes are told.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn wake_all(&self, queues: &[String]) -> Result<()> {
        queues.iter().for_each(|queue| self.wake_here(queue));
        let text = format!("{} {}", self.owner(), queues.join(" "));
        self.database().notify(CHANNEL, text).await
    }

    /// Wakes this process's workers when another says so, until `stop`. For each process that has
    /// workers; returns at once on SQLite, where there are no others.
    pub async fn listen(&self, stop: CancellationToken) {
        if self.database().dialect() == Dialect::Postgres {
            stop.run_until_cancelled(self.hear()).await;
        }
    }

    /// A receiver that sees each wake of `queue` from now on.
    pub(super) fn wakes_of(&self, queue: &'static str) -> watch::Receiver<()> {
        self.wakes().queues().entry(queue.to_owned()).or_default().subscribe()
    }

    /// Wakes this process's workers of `queue`.
    pub(super) fn wake_here(&self, queue: &str) {
        if let Some(waiting) = self.wakes().queues().get(queue) {
            waiting.send_replace(());
        }
    }

    /// Tells others of what is untold, as seldom as it may, until there is nothing.
    async fn tell(self) {
        while let Some(queues) = self.wakes().next_untold() {
            let text = format!("{} {queues}", self.owner());
            if let Err(error) = self.database().notify(CHANNEL, text).await {
                tracing::debug!(cause = problem::chain(&error), "workers elsewhere are not woken");
            }
            sleep(TELL_EVERY).await;
        }
    }

    async fn hear(&self) {
        let mut failing = false;
        loop {
            let error = match self.database().listen(CHANNEL).await {
                Ok(notices) => {
                    failing = false;
                    self.hear_on(notices).await
                }
                Err(error) => error,
            };
            if !mem::replace(&mut failing, true) {
                let cause = problem::chain(&error);
                tracing::warn!(cause, "jobs of other processes are found late; listening again");
            }
            sleep(AGAIN).await;
        }
    }

    /// Hears until it cannot; why not.
    async fn hear_on(&self, mut notices: Notices) -> crate::database::Error {
        self.wake_every_queue();
        loop {
            match notices.next().await {
                Ok(Some(notice)) => {
                    let mut words = notice.split(' ');
                    if words.next() != Some(&*self.owner()) {
                        words.for_each(|queue| self.wake_here(queue));
                    }
                }
                Ok(None) => self.wake_every_queue(),
                Err(error) => return error,
            }
        }
    }

    /// Nobody knows what was missed.
    fn wake_every_queue(&self) {
        self.wakes().queues().values().for_each(|waiting| {
            waiting.send_replace(());
        });
    }
}

impl Wakes {
    fn queues(&self) -> MutexGuard<'_, HashMap<String, watch::Sender<()>>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn untold(&self) -> MutexGuard<'_, Untold> {
        self.untold.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is to be told now; nothing ends the telling.
    fn next_untold(&self) -> Option<String> {
        let mut untold = self.untold();
        untold.telling = !untold.queues.is_empty();
        let queues: Vec<_> = mem::take(&mut untold.queues).into_iter().collect();
        untold.telling.then(|| queues.join(" "))
    }
}
