//! Settling what runs come to: what has ended by the time that the one before is settled, at once.

use std::{collections::HashSet, sync::Arc};

use tokio::{sync::mpsc, time::sleep};

use super::{AGAIN, Ended, Inner, Trouble};
use crate::{
    database::{Error, ErrorKind},
    jobs::{Job, Outcome, job::Run, settle::End},
    problem,
};

/// The most runs that are settled in a transaction.
const GROUP: usize = 128;

/// Where it is settled among others.
fn place(job: &Job) -> [&str; 3] {
    [&job.tenant, &job.subject, &job.id]
}

impl<H> Inner<H> {
    /// Settles what ends, until nothing runs any more.
    pub(super) async fn settle_on(&self, mut ending: mpsc::Receiver<Ended>) {
        let mut trouble = Trouble::new("what jobs came to cannot be written");
        let mut group = Vec::new();
        while ending.recv_many(&mut group, GROUP).await > 0 {
            let mut ends: Vec<_> = group.drain(..).map(|ended| self.end_of(ended)).collect();
            // What comes with them may lock what is a tenant's or a subject's: in the same order everywhere.
            ends.sort_by(|(one, _), (other, _)| place(one).cmp(&place(other)));
            self.settle_group(ends, &mut trouble).await;
        }
    }

    /// How the run of a job ends that came to this.
    fn end_of(&self, Ended { job, outcome }: Ended) -> (Job, End) {
        let end = match outcome {
            Outcome::Done(done) => End::Done(Arc::new(done)),
            Outcome::Dead { error } => End::Dead(error),
            Outcome::Later { after } => End::Later(after, None),
            Outcome::AllLater { after } => End::Later(after, Some(job.subject.clone())),
            Outcome::Again { after, error } => {
                match self.pace.backoff.after(job.attempts, job.tried_for(), after) {
                    Some(wait) => End::Again(wait, error),
                    None => End::Dead(error),
                }
            }
        };
        (job, end)
    }

    /// Settles them together; one by one where what one of them writes is refused.
    async fn settle_group(&self, ends: Vec<(Job, End)>, trouble: &mut Trouble) {
        let Err(error) = self.settle(&ends, trouble).await else { return };
        if let [(job, _)] = &*ends {
            return self.refuse(job, &error, trouble).await;
        }
        for (job, end) in ends {
            if let Err(error) = self.settle(&[(job.clone(), end)], trouble).await {
                self.refuse(&job, &error, trouble).await;
            }
        }
    }

    /// What the job came to cannot be written: the run has failed.
    async fn refuse(&self, job: &Job, error: &Error, trouble: &mut Trouble) {
        let (id, queue, cause) = (&job.id, &job.queue, problem::chain(error));
        tracing::error!(id, queue, cause, "what a job came to is refused by the database");
        let outcome = Outcome::again("what it came to was refused by the database");
        let end = self.end_of(Ended { job: job.clone(), outcome });
        if let Err(error) = self.settle(&[end], trouble).await {
            // Its lease runs out.
            trouble.met(&error);
            self.held.end(&job.run());
        }
    }

    /// Settles those that are held still; tries for as long as they are.
    ///
    /// # Errors
    /// When what they write is refused. Nothing is settled then.
    async fn settle(&self, ends: &[(Job, End)], trouble: &mut Trouble) -> Result<(), Error> {
        loop {
            let held = ends.iter().map(|(job, end)| (job.run(), end.clone()));
            let held: Vec<_> = held.filter(|(run, _)| self.held.settle(run)).collect();
            if held.is_empty() {
                return Ok(());
            }
            match self.jobs.settle(self.queue, held.clone()).await {
                Ok(own) => {
                    trouble.is_over();
                    self.settled(&held, &own);
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Unavailable => trouble.met(&error),
                Err(error) => return Err(error),
            }
            sleep(AGAIN).await;
        }
    }

    fn settled(&self, ends: &[(Run, End)], own: &HashSet<Run>) {
        let mut wakes = HashSet::new();
        for (run, end) in ends {
            self.held.end(run);
            if !own.contains(run) {
                tracing::warn!(id = run.id, queue = self.queue, "a job was lost while it ran");
                continue;
            }
            match end {
                End::Done(done) => {
                    wakes.extend(&done.wakes);
                    done.then.iter().for_each(|then| then());
                }
                // When that is due, the others will find by themselves.
                End::Again(..) | End::Later(..) => self.jobs.wake_here(self.queue),
                End::Dead(error) => {
                    let (id, queue) = (&run.id, self.queue);
                    tracing::warn!(id, queue, error, "a job is a dead letter");
                }
            }
        }
        wakes.into_iter().for_each(|queue| self.jobs.wake(queue));
    }
}
