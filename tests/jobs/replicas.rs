//! Several processes on one Postgres: they wake each other, and outlive its restarts.

use super::*;
use crate::harness::postgres::Postgres;

#[tokio::test]
async fn a_notice_wakes_another_process() {
    let subject = Subject::postgres().await;
    let (adds, works) = (subject.jobs(), subject.again().await.jobs());
    // It looks for itself once an hour.
    let worker = start(&works, pace(4), NEVER, |_| async { Outcome::done() });
    let listening = CancellationToken::new();
    let listener = tokio::spawn({
        let (works, listening) = (works.clone(), listening.clone());
        async move { works.listen(listening).await }
    });
    until_listened(&subject).await;
    for id in ids(10) {
        subject.add([id]).await;
        let began = Instant::now();
        adds.wake(QUEUE);
        subject.until_none().await;
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    }
    // A command's.
    subject.add(["by-command"]).await;
    let named = gatehouse::jobs::Which::Ids(vec!["by-command".into()]);
    assert_eq!(adds.retry(named).await.unwrap(), 1);
    subject.until_none().await;

    listening.cancel();
    listener.await.unwrap();
    subject.add(["unheard"]).await;
    adds.wake(QUEUE);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(subject.count().await, 1, "it was the notice that woke");
    worker.stop().await;
}

/// Waits until somebody listens.
async fn until_listened(subject: &Subject) {
    const SQL: &str = "\
        SELECT COUNT(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND datname = current_database()";
    let until = Instant::now() + PATIENCE;
    while subject.number(SQL).await == 0 {
        assert!(Instant::now() < until, "nobody listens");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_restart_of_the_database_is_outlived() {
    let mut postgres = Postgres::start().await;
    let subject = Subject::open(postgres.fresh_database().await).await;
    let jobs = subject.jobs();
    let stop = CancellationToken::new();
    let listener = tokio::spawn({
        let (jobs, stop) = (jobs.clone(), stop.clone());
        async move { jobs.listen(stop).await }
    });
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let opened = Arc::clone(&gate);
    subject.add(ids(4)).await;
    let worker = start(&jobs, pace(2), NEVER, move |_| {
        let gate = Arc::clone(&gate);
        async move {
            gate.acquire().await.unwrap().forget();
            Outcome::done()
        }
    });
    worker.until_begun(2).await;
    postgres.stop();
    // Two end while there is nobody to tell.
    opened.add_permits(2);
    // Longer than anybody waits for a connection.
    tokio::time::sleep(Duration::from_secs(7)).await;
    postgres.restart().await;
    opened.add_permits(2);
    let until = Instant::now() + PATIENCE;
    while worker.begun().len() < 4 || subject.count().await > 0 {
        assert!(Instant::now() < until, "{:?}", worker.begun());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut begun = worker.begun();
    begun.sort_unstable();
    assert_eq!(begun, ids(4).collect::<Vec<_>>(), "what had ended is not run again");
    // And it is heard again.
    until_listened(&subject).await;
    worker.stop().await;
    stop.cancel();
    listener.await.unwrap();
}
