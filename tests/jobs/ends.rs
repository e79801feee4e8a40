//! What runs come to: done with what they write, tried again later, dead letters.

use super::*;
use gatehouse::jobs::Done;

#[tokio::test]
async fn what_a_run_writes_is_written_with_its_end() {
    for subject in Subject::both().await {
        let jobs = subject.jobs();
        subject.add(ids(20)).await;
        let worker = start(&jobs, pace(8), NEVER, |job| async move {
            let id = format!("{}-then", job.id);
            match job.id.ends_with("-then") {
                true => Outcome::dead("for the test"),
                false => Done::with(move |batch| jobs::add(batch, &new(&id))).wake(QUEUE).into(),
            }
        });
        let all_dead = |all: &[Listed]| all.iter().all(|job| job.state == State::Dead);
        let dead = subject.until(|all| all.len() == 20 && all_dead(all)).await;
        assert!(dead.iter().all(|job| job.id.ends_with("-then") && job.attempts == 1));
        assert_eq!(dead[0].error.as_deref(), Some("for the test"));
        assert!(dead[0].died_at.is_some() && dead[0].due_at.is_none());
        worker.stop().await;
    }
}

#[tokio::test]
async fn who_adds_jobs_to_another_queue_wakes_it() {
    for subject in Subject::both().await {
        let jobs = subject.jobs();
        let other = start_on("another", &jobs, pace(1), NEVER, |_| async { Outcome::done() });
        // It has looked, and would look again in an hour.
        tokio::time::sleep(Duration::from_millis(200)).await;
        let worker = start(&jobs, pace(1), NEVER, |_| async {
            let then = NewJob { queue: "another", ..new("then") };
            Done::with(move |batch| jobs::add(batch, &then)).wake("another").into()
        });
        subject.add(["first"]).await;
        jobs.wake(QUEUE);
        subject.until_none().await;
        assert_eq!(other.begun(), ["then"]);
        worker.stop().await;
        other.stop().await;
    }
}

#[tokio::test]
async fn what_the_database_refuses_fails_that_run_only() {
    for subject in Subject::both().await {
        subject.add(ids(10)).await;
        let worker = start(&subject.jobs(), pace(10), NEVER, |job| async move {
            match (&*job.id, job.attempts) {
                ("job-0003", 1) => Done::with(|batch| {
                    let batch = jobs::add(batch, &new("never"));
                    batch.statement("INSERT INTO jobs (id) VALUES ('broken')")
                })
                .into(),
                _ => Outcome::done(),
            }
        });
        subject.until_none().await;
        let again = worker.begun().iter().filter(|id| *id == "job-0003").count();
        assert_eq!((worker.begun().len(), again), (11, 2), "{}", subject.url);
        worker.stop().await;
    }
}

#[tokio::test]
async fn waits_grow_within_jitter_and_end_with_a_dead_letter() {
    for subject in Subject::both().await {
        subject.add(["failing"]).await;
        let ms = Duration::from_millis;
        let backoff = Backoff {
            first: ms(40),
            most: ms(320),
            most_asked: ms(320),
            jitter: 0.25,
            give_up_after: Duration::from_secs(1),
        };
        let times = Arc::<Mutex<Vec<Instant>>>::default();
        let noted = Arc::clone(&times);
        let worker = start(&subject.jobs(), Pace { backoff, ..pace(1) }, NEVER, move |_| {
            noted.lock().unwrap().push(Instant::now());
            async { Outcome::again("not\nnow") }
        });
        let all = subject.until(|all| all[0].state == State::Dead).await;
        assert_eq!(all[0].error.as_deref(), Some("not now"));
        let times = times.lock().unwrap().clone();
        let waits: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        // 40 + 80 + 160 + 320 + 320 ms come to almost a second.
        assert!((3..=8).contains(&waits.len()), "{waits:?}");
        for (wait, exact) in waits.iter().zip([40, 80, 160, 320, 320, 320, 320, 320]) {
            assert!(*wait >= ms(exact).mul_f64(0.75), "{waits:?}");
        }
        assert_eq!(all[0].attempts as usize, times.len());
        worker.stop().await;
    }
}

#[tokio::test]
async fn who_asks_for_time_gets_it() {
    for subject in Subject::both().await {
        subject.add(["asked"]).await;
        let second = Duration::from_secs(1);
        let backoff = Backoff { most_asked: second, ..BACKOFF };
        let began = Instant::now();
        let worker = start(&subject.jobs(), Pace { backoff, ..pace(1) }, NEVER, |job| async move {
            match job.attempts {
                1 => Outcome::Again { after: Some(NEVER), error: "Retry-After".into() },
                _ => Outcome::done(),
            }
        });
        subject.until_none().await;
        assert!(began.elapsed() >= second, "{:?}", began.elapsed());
        worker.stop().await;
    }
}

#[tokio::test]
async fn a_panic_fails_that_run_only() {
    for subject in Subject::both().await {
        subject.add(ids(5)).await;
        let worker = start(&subject.jobs(), pace(5), NEVER, |job| async move {
            assert!(job.id != "job-0002" || job.attempts > 1, "a panic that the test asks for");
            match &*job.id {
                "job-0002" => Outcome::dead(format!("run {}", job.attempts)),
                _ => Outcome::done(),
            }
        });
        let left = subject.until(|all| all.iter().all(|job| job.state == State::Dead)).await;
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].error.as_deref(), Some("run 2"));
        worker.stop().await;
    }
}

/// Panics before there is a future, once.
struct Panics;

impl Handler for Panics {
    fn run(&self, job: &Job) -> impl Future<Output = Outcome> + Send {
        assert!(job.attempts > 1, "a panic that the test asks for");
        std::future::ready(Outcome::done())
    }
}

#[tokio::test]
async fn a_panic_before_the_work_begins_is_one_too() {
    let subject = Subject::sqlite().await;
    subject.add(["once"]).await;
    let stop = CancellationToken::new();
    let worker = Worker::new(subject.jobs(), QUEUE, Panics, pace(1));
    let worker = tokio::spawn(worker.run(stop.clone(), NEVER));
    subject.until_none().await;
    stop.cancel();
    worker.await.unwrap();
}
