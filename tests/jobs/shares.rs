//! Jobs of many subjects, each of which has a share only.

use super::*;

/// Does what the script says, with so many of each subject at a time.
struct Fair<H>(H, usize);

impl<H: Handler> Handler for Fair<H> {
    async fn run(&self, job: &Job) -> Outcome {
        self.0.run(job).await
    }

    fn share(&self, _: &str) -> usize {
        self.1
    }
}

fn fair<F, R>(jobs: &Jobs, at_once: usize, share: usize, run: F) -> Running
where
    F: Fn(Job) -> R + Send + Sync + 'static,
    R: Future<Output = Outcome> + Send + 'static,
{
    let (begun, stop) = (Arc::<Mutex<Vec<String>>>::default(), CancellationToken::new());
    let handler = Fair(Script { run, begun: Arc::clone(&begun) }, share);
    let pace = Pace { fair: true, ..pace(at_once) };
    let worker = Worker::new(jobs.clone(), QUEUE, handler, pace);
    let task = tokio::spawn(worker.run(stop.clone(), Duration::ZERO));
    Running { begun, stop, task }
}

impl Subject {
    /// Adds so many jobs about this, whose ids begin with it.
    async fn add_about(&self, about: &'static str, count: usize) {
        let all: Vec<_> = (0..count).collect();
        for some in all.chunks(1000) {
            let some = some.to_vec();
            self.write(move |batch| {
                some.iter().fold(batch, |batch, number| {
                    let id = format!("{about}-{number:05}");
                    jobs::add(batch, &NewJob { subject: about, ..new(&id) })
                })
            })
            .await
            .unwrap();
        }
    }
}

fn of(running: &Running, about: &str) -> usize {
    running.begun().iter().filter(|id| id.starts_with(about)).count()
}

#[tokio::test]
async fn a_backlog_keeps_nobody_else_waiting() {
    for subject in Subject::both().await {
        subject.add_about("stuck", 20_000).await;
        let jobs = subject.jobs();
        let worker = fair(&jobs, 32, 4, |job| async move {
            if job.subject == "stuck" {
                std::future::pending::<()>().await;
            }
            Outcome::done()
        });
        worker.until_begun(4).await;
        let begun = Instant::now();
        for _ in 0..20 {
            subject.add_about("other", 50).await;
            jobs.wake(QUEUE);
            let until = Instant::now() + PATIENCE;
            while subject.number("SELECT COUNT(*) FROM jobs WHERE subject = 'other'").await > 0 {
                assert!(Instant::now() < until, "others wait");
            }
        }
        // A thousand jobs, each found beside twenty thousand that are due before it.
        assert!(begun.elapsed() < PATIENCE / 2, "{:?} on {}", begun.elapsed(), subject.url);
        assert_eq!((of(&worker, "stuck"), of(&worker, "other")), (4, 1000), "{}", subject.url);
        worker.stop().await;
    }
}

#[tokio::test]
async fn a_share_is_used_up_again_and_again() {
    for subject in Subject::both().await {
        subject.add_about("one", 100).await;
        subject.add_about("two", 100).await;
        let most = Arc::new(Mutex::new((0, 0)));
        let counts = Arc::clone(&most);
        let worker = fair(&subject.jobs(), 32, 3, move |_| {
            let counts = Arc::clone(&counts);
            async move {
                let now = {
                    let mut counts = counts.lock().unwrap();
                    counts.0 += 1;
                    counts.1 = counts.1.max(counts.0);
                    counts.0
                };
                tokio::time::sleep(Duration::from_millis(3)).await;
                counts.lock().unwrap().0 -= 1;
                assert!(now <= 6, "{now} at once");
                Outcome::done()
            }
        });
        subject.until_none().await;
        assert_eq!(worker.begun().len(), 200);
        assert_eq!(most.lock().unwrap().1, 6, "{}", subject.url);
        worker.stop().await;
    }
}

#[tokio::test]
async fn what_fails_and_what_comes_later_is_found() {
    for subject in Subject::both().await {
        let jobs = subject.jobs();
        let worker = fair(&jobs, 8, 2, |job| async move {
            if job.attempts < 3 { Outcome::again("not yet") } else { Outcome::done() }
        });
        subject.add_about("failing", 5).await;
        jobs.wake(QUEUE);
        subject.until_none().await;
        assert_eq!(worker.begun().len(), 15);
        worker.stop().await;
    }
}

#[tokio::test]
async fn what_is_put_off_has_not_been_tried() {
    for subject in Subject::both().await {
        subject.add(["late"]).await;
        let put_off = Arc::new(Mutex::new(0));
        let count = Arc::clone(&put_off);
        let backoff = Backoff { give_up_after: Duration::from_millis(2500), ..BACKOFF };
        let pace = Pace { backoff, ..pace(1) };
        let worker = start(&subject.jobs(), pace, NEVER, move |job| {
            assert_eq!(job.attempts, 1);
            let mut count = count.lock().unwrap();
            *count += 1;
            // Longer than it would be tried for, if it were.
            let outcome = match *count {
                1..=3 => Outcome::Later { after: Duration::from_secs(1) },
                _ if job.tried_for() < Duration::from_secs(2) => Outcome::done(),
                _ => Outcome::dead("the waits were counted"),
            };
            async move { outcome }
        });
        subject.until_none().await;
        assert_eq!(*put_off.lock().unwrap(), 4);
        worker.stop().await;
    }
}

#[tokio::test]
async fn what_is_put_off_for_one_subject_is_put_off_together() {
    for subject in Subject::both().await {
        subject.add_about("stuck", 5000).await;
        subject.add_about("other", 50).await;
        let worker = fair(&subject.jobs(), 32, 4, |job| async move {
            match &*job.subject {
                "stuck" => Outcome::AllLater { after: NEVER },
                _ => Outcome::done(),
            }
        });
        const DUE: &str = "\
            SELECT COUNT(*) FROM jobs WHERE due_at < created_at + 1000000 OR owner IS NOT NULL";
        let until = Instant::now() + PATIENCE;
        while subject.number(DUE).await > 0 {
            assert!(Instant::now() < until, "{} are due", subject.number(DUE).await);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // Not one by one: with 500 each time, beside up to 128 that have run by then.
        assert!(of(&worker, "stuck") <= 1500, "{} on {}", of(&worker, "stuck"), subject.url);
        assert_eq!(of(&worker, "other"), 50);
        worker.stop().await;
        let waits = "SELECT COUNT(*) FROM jobs WHERE attempts = 0 AND owner IS NULL \
             AND tried_since >= created_at + 3600000";
        assert_eq!(subject.number(waits).await, 5000, "{}", subject.url);
    }
}

#[tokio::test]
async fn all_about_a_subject_is_dropped_and_old_dead_letters_are_forgotten() {
    for subject in Subject::both().await {
        let jobs = subject.jobs();
        for about in ["gone", "kept"] {
            subject.add_about(about, 1300).await;
        }
        subject
            .write(|batch| {
                let dead = "UPDATE jobs SET due_at = NULL, died_at = 1000 WHERE id LIKE '%-00___'";
                batch.statement(dead)
            })
            .await
            .unwrap();
        jobs.drop_about(QUEUE, "gone").await.unwrap();
        assert_eq!(subject.number("SELECT COUNT(*) FROM jobs WHERE subject = 'gone'").await, 0);
        assert_eq!(subject.count().await, 1300);
        jobs.forget_dead(QUEUE, NEVER).await.unwrap();
        assert_eq!(subject.count().await, 300, "{}", subject.url);
    }
}
