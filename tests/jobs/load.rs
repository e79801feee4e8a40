//! How fast jobs that do nothing are done. It is told, not judged: machines differ.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_jobs_are_done_in_no_time() {
    for subject in Subject::both().await {
        let count = 10_000;
        let all: Vec<_> = ids(count).collect();
        for some in all.chunks(500) {
            let some = some.to_vec();
            let add = |batch, id: &String| jobs::add(batch, &new(id));
            subject.write(move |batch| some.iter().fold(batch, add)).await.unwrap();
        }
        let began = Instant::now();
        let worker = start(&subject.jobs(), pace(128), NEVER, |_| async { Outcome::done() });
        while subject.count().await > 0 {
            assert!(began.elapsed() < 3 * PATIENCE, "{} are left", subject.count().await);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let rate = count as f64 / began.elapsed().as_secs_f64();
        eprintln!("{rate:.0} jobs a second on {}", subject.url);
        assert_eq!(worker.begun().len(), count);
        worker.stop().await;
    }
}
