//! Workers: at once, each once, for long, and to the end.

use super::*;

#[tokio::test]
async fn work_starts_as_soon_as_it_is_added() {
    for subject in Subject::both().await {
        let jobs = subject.jobs();
        let worker = start(&jobs, pace(2), NEVER, |_| async { Outcome::done() });
        for id in ids(5) {
            // Never found by looking: that comes in an hour.
            subject.add([id]).await;
            jobs.wake(QUEUE);
            subject.until_none().await;
        }
        worker.stop().await;
    }
}

#[tokio::test]
async fn a_thousand_jobs_are_shared_and_each_is_run_once() {
    for subject in Subject::both().await {
        subject.add(ids(1000)).await;
        let first = subject.jobs();
        // A SQLite file is one process's.
        let postgres = subject.url.starts_with("postgres");
        let second = if postgres { subject.again().await.jobs() } else { first.clone() };
        let workers = [&first, &second].map(|jobs| {
            start(jobs, pace(16), NEVER, |_| async {
                tokio::task::yield_now().await;
                Outcome::done()
            })
        });
        subject.until_none().await;
        let [one, other] = [workers[0].begun(), workers[1].begun()];
        assert!(one.len() > 50 && other.len() > 50, "{} and {}", one.len(), other.len());
        let mut all = [one, other].concat();
        all.sort_unstable();
        assert_eq!(all, ids(1000).collect::<Vec<_>>(), "{}", subject.url);
        for worker in workers {
            worker.stop().await;
        }
    }
}

#[tokio::test]
async fn no_more_than_so_many_run_at_once() {
    let subject = Subject::sqlite().await;
    subject.add(ids(30)).await;
    let now = Arc::new(tokio::sync::Semaphore::new(4));
    let worker = start(&subject.jobs(), pace(4), NEVER, move |_| {
        let now = Arc::clone(&now);
        async move {
            let Ok(_one) = now.try_acquire() else { return Outcome::dead("too many") };
            tokio::time::sleep(Duration::from_millis(3)).await;
            Outcome::done()
        }
    });
    subject.until_none().await;
    worker.stop().await;
}

#[tokio::test]
async fn what_takes_longer_than_its_lease_is_kept() {
    for subject in Subject::both().await {
        subject.add(["long"]).await;
        let lease = Duration::from_millis(600);
        let pace = Pace { lease, look_every: Duration::from_millis(50), ..pace(1) };
        let (first, second) = (subject.jobs(), subject.again().await.jobs());
        let long = |_| async {
            tokio::time::sleep(Duration::from_millis(2000)).await;
            Outcome::done()
        };
        let first = start(&first, pace, NEVER, long);
        first.until_begun(1).await;
        // On SQLite the second would know that the first is gone, since nobody else may be.
        let others = async {
            for _ in 0..60 {
                assert_eq!(take(&second, 1, NEVER).await.len(), 0, "{}", subject.url);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        others.await;
        subject.until_none().await;
        assert_eq!(first.begun().len(), 1);
        first.stop().await;
    }
}

#[tokio::test]
async fn a_handler_that_lost_its_lease_is_dropped() {
    for subject in Subject::both().await {
        subject.add(["lost"]).await;
        let dropped = Arc::<Mutex<bool>>::default();
        struct Drops(Arc<Mutex<bool>>);
        impl Drop for Drops {
            fn drop(&mut self) {
                *self.0.lock().unwrap() = true;
            }
        }
        let seen = Arc::clone(&dropped);
        let pace = Pace { lease: Duration::from_millis(600), ..pace(1) };
        let worker = start(&subject.jobs(), pace, NEVER, move |_| {
            let drops = Drops(Arc::clone(&dropped));
            async move {
                let _drops = drops;
                std::future::pending().await
            }
        });
        worker.until_begun(1).await;
        assert!(!*seen.lock().unwrap());
        // Gone, so nobody's.
        let all = gatehouse::jobs::Which::All(Filter::default());
        assert_eq!(subject.jobs().drop(all).await.unwrap(), 1);
        let until = Instant::now() + PATIENCE;
        while !*seen.lock().unwrap() {
            assert!(Instant::now() < until, "it goes on");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        worker.stop().await;
    }
}

#[tokio::test]
async fn a_stop_waits_for_what_runs_and_gives_the_rest_back() {
    for subject in Subject::both().await {
        subject.add(["quick", "slow"]).await;
        let grace = Duration::from_millis(500);
        let worker = start(&subject.jobs(), pace(2), grace, |job| async move {
            let time = if job.id == "quick" { Duration::from_millis(100) } else { NEVER };
            tokio::time::sleep(time).await;
            Outcome::done()
        });
        worker.until_begun(2).await;
        subject.add(["new"]).await;
        worker.stop().await;
        let left = subject.listed().await;
        let left: Vec<_> = left.iter().map(|job| (&*job.id, job.state, job.attempts)).collect();
        assert_eq!(left, [("slow", State::Waiting, 0), ("new", State::Waiting, 0)]);
        // At once, not when the lease would have ended.
        assert_eq!(take(&subject.jobs(), 5, NEVER).await.len(), 2);
    }
}

#[tokio::test]
async fn on_sqlite_a_start_knows_that_what_ran_before_is_gone() {
    let subject = Subject::sqlite().await;
    subject.add(["left"]).await;
    assert_eq!(take(&subject.jobs(), 1, NEVER).await.len(), 1);
    let worker = start(&subject.jobs(), pace(1), NEVER, |_| async { Outcome::done() });
    subject.until_none().await;
    worker.stop().await;
}

#[tokio::test]
async fn a_worker_that_is_dropped_drops_what_it_runs() {
    let subject = Subject::sqlite().await;
    subject.add(["running"]).await;
    let (held, gone) = tokio::sync::oneshot::channel::<()>();
    let held = Mutex::new(Some(held));
    let worker = start(&subject.jobs(), pace(1), NEVER, move |_| {
        let held = held.lock().unwrap().take();
        async move {
            let _held = held;
            std::future::pending().await
        }
    });
    worker.until_begun(1).await;
    worker.task.abort();
    assert!(tokio::time::timeout(PATIENCE, gone).await.expect("it is dropped").is_err());
}
