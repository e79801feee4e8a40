//! Adding jobs, and who may run them until when.

use super::*;

#[tokio::test]
async fn a_job_is_added_with_its_transaction_or_not_at_all() {
    for subject in Subject::both().await {
        let refused = subject.write(|batch| {
            let batch = jobs::add(batch, &new("lost"));
            batch.statement("INSERT INTO jobs (id) VALUES ('broken')")
        });
        assert!(refused.await.is_err());
        assert_eq!(subject.count().await, 0, "{}", subject.url);
        subject.add(["kept"]).await;
        assert_eq!(subject.count().await, 1, "{}", subject.url);
    }
}

#[tokio::test]
async fn what_is_added_twice_is_one_job() {
    for subject in Subject::both().await {
        subject.add(["one", "one"]).await;
        let rows =
            "SELECT 'to-' || tenant, queue, tenant, subject, CAST($2 AS TEXT), payload FROM jobs";
        for _ in 0..2 {
            let each = move |batch| jobs::add_each(batch, rows).bind("webhook".to_owned());
            subject.write(each).await.unwrap();
        }
        let taken = take(&subject.jobs(), 10, NEVER).await;
        assert!(taken.iter().all(|job| job.attempts == 1), "{taken:?}");
        let mut kinds: Vec<_> = taken.iter().map(|job| (&*job.id, &*job.kind)).collect();
        kinds.sort_unstable();
        assert_eq!(kinds, [("one", "step"), ("to-acme", "webhook")], "{}", subject.url);
    }
}

#[tokio::test]
async fn the_oldest_that_are_due_are_taken_first() {
    for subject in Subject::both().await {
        let jobs = subject.jobs();
        subject
            .write(|batch| {
                let all = [("later", 60_000), ("third", 400), ("second", 200), ("first", 0)];
                all.into_iter().fold(batch, |batch, (id, after)| {
                    let after = Duration::from_millis(after);
                    jobs::add(batch, &NewJob { after, ..new(id) })
                })
            })
            .await
            .unwrap();
        let other = NewJob { queue: "another", ..new("elsewhere") };
        subject.write(move |batch| jobs::add(batch, &other)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
        let names = |jobs: &[Job]| jobs.iter().map(|job| job.id.clone()).collect::<Vec<_>>();
        assert_eq!(names(&take(&jobs, 2, NEVER).await), ["first", "second"]);
        assert_eq!(names(&take(&jobs, 2, NEVER).await), ["third"]);
        assert_eq!(names(&take(&jobs, 2, NEVER).await), [""; 0]);
        let next = jobs.next_due(QUEUE).await.unwrap().unwrap();
        assert!((50..=60).contains(&next.as_secs()), "{next:?}");
    }
}

#[tokio::test]
async fn who_lost_the_lease_can_end_nothing_and_write_nothing() {
    for subject in Subject::both().await {
        let (dead, other) = (subject.jobs(), subject.again().await.jobs());
        subject.add(["a", "b", "c"]).await;
        // Long enough to be looked at on a busy machine.
        let lease = Duration::from_secs(2);
        let taken = take(&dead, 10, lease).await;
        assert_eq!(taken.len(), 3);
        assert_eq!(take(&other, 10, NEVER).await.len(), 0, "they are leased");
        tokio::time::sleep(lease + Duration::from_millis(100)).await;
        // That they were left is a failure, which is waited after.
        assert_eq!(take(&other, 10, NEVER).await.len(), 0);
        let listed = subject.until(|all| all.iter().all(|job| job.state == State::Waiting)).await;
        assert!(listed[0].error.as_deref().unwrap().contains("ended"), "{listed:?}");
        tokio::time::sleep(Duration::from_millis(60)).await;
        let again = take(&other, 10, NEVER).await;
        assert_eq!(again.iter().map(|job| job.attempts).collect::<Vec<_>>(), [2, 2, 2]);

        let writes = |batch| jobs::add(batch, &new("written"));
        let ended = [
            dead.finish(&taken[0], writes).await,
            dead.retry_after(&taken[1], Duration::ZERO, "no").await,
            dead.bury(&taken[2], "no").await,
        ];
        for ended in ended {
            assert!(!ended.unwrap(), "{}", subject.url);
        }
        let listed = subject.listed().await;
        assert!(listed.iter().all(|job| job.state == State::Running), "{listed:?}");
        assert_eq!(listed.len(), 3);

        assert!(other.finish(&again[0], writes).await.unwrap());
        assert!(!other.finish(&again[0], writes).await.unwrap(), "it is gone");
        assert_eq!(subject.listed().await.len(), 3, "two, and the written one");
    }
}

/// Lets the leases of all that are taken run out, and takes them again.
async fn lapse(jobs: &Jobs) -> Vec<Job> {
    tokio::time::sleep(Duration::from_millis(60)).await;
    assert_eq!(take(jobs, 10, NEVER).await.len(), 0);
    tokio::time::sleep(Duration::from_millis(60)).await;
    take(jobs, 10, NEVER).await
}

#[tokio::test]
async fn an_earlier_run_of_the_same_process_can_end_nothing() {
    for subject in Subject::both().await {
        let jobs = subject.jobs();
        subject.add(["a", "b", "c"]).await;
        let first = take(&jobs, 10, Duration::from_millis(30)).await;
        assert_eq!(lapse(&jobs).await.len(), 3);
        assert!(!jobs.finish(&first[0], |batch| batch).await.unwrap());
        assert!(!jobs.retry_after(&first[1], Duration::ZERO, "no").await.unwrap());
        assert!(!jobs.bury(&first[2], "no").await.unwrap());
        let listed = subject.listed().await;
        assert_eq!(listed.len(), 3);
        assert!(listed.iter().all(|job| job.state == State::Running), "{listed:?}");
    }
}

#[tokio::test]
async fn a_run_of_the_same_number_is_told_apart_by_its_owner() {
    for subject in Subject::both().await {
        let (dead, other) = (subject.jobs(), subject.again().await.jobs());
        subject.add(["a", "b", "c"]).await;
        let lost = take(&dead, 10, Duration::from_millis(30)).await;
        tokio::time::sleep(Duration::from_millis(60)).await;
        assert_eq!(take(&other, 10, NEVER).await.len(), 0);
        // An operator has them begin anew.
        let all = gatehouse::jobs::Which::All(Filter::default());
        assert_eq!(other.retry(all).await.unwrap(), 3);
        let again = take(&other, 10, NEVER).await;
        assert!(again.iter().all(|job| job.attempts == lost[0].attempts), "{again:?}");
        assert!(!dead.finish(&lost[0], |batch| batch).await.unwrap());
        assert!(!dead.retry_after(&lost[1], Duration::ZERO, "no").await.unwrap());
        assert!(!dead.bury(&lost[2], "no").await.unwrap());
        let listed = subject.listed().await;
        assert_eq!(listed.len(), 3);
        assert!(listed.iter().all(|job| job.state == State::Running), "{listed:?}");
    }
}

#[tokio::test]
async fn a_job_that_kills_its_process_again_and_again_becomes_a_dead_letter() {
    for subject in Subject::both().await {
        let jobs = subject.jobs();
        let backoff = Backoff { give_up_after: Duration::from_millis(500), ..BACKOFF };
        subject.add(["poison"]).await;
        let mut runs = 0;
        let until = Instant::now() + PATIENCE;
        while subject.listed().await[0].state != State::Dead {
            runs += jobs.take(QUEUE, 1, Duration::from_millis(5), backoff).await.unwrap().len();
            assert!(Instant::now() < until);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        // Waits double: the lease alone would have let it run a hundred times.
        assert!((2..30).contains(&runs), "{runs}");
        assert!(jobs.next_due(QUEUE).await.unwrap().is_none());
    }
}
