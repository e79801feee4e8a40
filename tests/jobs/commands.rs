//! `gatehouse jobs`, by the real binary beside a worker's database.

use gatehouse::jobs::Which;
use serde_json::Value;

use super::*;
use crate::harness::App;
use crate::harness::builder::{Builder, Ended};

/// A database, and the binary's settings for it.
async fn both() -> [(Subject, Builder); 2] {
    Subject::both().await.map(|subject| {
        let builder = App::builder().database(&subject.url);
        (subject, builder)
    })
}

fn listed(builder: &Builder, arguments: &[&str]) -> Vec<Value> {
    let ended = run(builder, &[&["list", "--json"], arguments].concat());
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    serde_json::from_str(&ended.stdout).unwrap()
}

fn run(builder: &Builder, arguments: &[&str]) -> Ended {
    builder.run(&[&["jobs"], arguments].concat())
}

fn ids_of(jobs: &[Value]) -> Vec<&str> {
    jobs.iter().map(|job| job["id"].as_str().unwrap()).collect()
}

/// Of tenant acme: `dead`, a dead letter, `running` and `waiting`; of other: `yours`. Their ids are in the order in which they are added, which may be within a millisecond.
async fn fill(subject: &Subject) -> Job {
    let jobs = subject.jobs();
    subject.add(["dead"]).await;
    let taken = take(&jobs, 1, NEVER).await;
    assert!(jobs.bury(&taken[0], "no such host").await.unwrap());
    subject.add(["running"]).await;
    let running = take(&jobs, 1, NEVER).await.remove(0);
    subject.add(["waiting"]).await;
    let others = NewJob { tenant: "other", queue: "another", ..new("yours") };
    subject.write(move |batch| jobs::add(batch, &others)).await.unwrap();
    running
}

#[tokio::test]
async fn jobs_are_listed() {
    for (subject, builder) in both().await {
        let none = run(&builder, &["list"]);
        assert_eq!(none.stdout.trim_end(), "There are no such jobs.", "{}", none.stderr);
        fill(&subject).await;
        let all = listed(&builder, &[]);
        assert_eq!(ids_of(&all), ["dead", "running", "waiting", "yours"]);
        let states: Vec<_> = all.iter().map(|job| job["state"].as_str().unwrap()).collect();
        assert_eq!(states, ["dead", "running", "waiting", "waiting"]);
        let dead = &all[0];
        for (member, value) in [
            ("queue", QUEUE),
            ("tenant", "acme"),
            ("subject", "image"),
            ("kind", "step"),
            ("error", "no such host"),
        ] {
            assert_eq!(dead[member], value, "{dead}");
        }
        assert_eq!((&dead["attempts"], &dead["dueAt"]), (&1.into(), &Value::Null));
        assert!(dead["diedAt"].is_string() && dead["createdAt"].is_string(), "{dead}");

        assert_eq!(ids_of(&listed(&builder, &["--dead"])), ["dead"]);
        assert_eq!(ids_of(&listed(&builder, &["--tenant", "other"])), ["yours"]);
        assert_eq!(ids_of(&listed(&builder, &["--queue", "another"])), ["yours"]);
        assert_eq!(ids_of(&listed(&builder, &["--limit", "2"])), ["dead", "running"]);
        let table = run(&builder, &["list", "--limit", "3"]).stdout;
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(lines.len(), 5, "{table}");
        assert!(lines[0].starts_with("ID") && lines[0].ends_with("ERROR"), "{table}");
        assert!(lines[1].starts_with("dead") && lines[1].ends_with("no such host"), "{table}");
        assert!(lines[4].contains("--limit"), "{table}");
    }
}

#[tokio::test]
async fn a_page_is_no_end() {
    let [(subject, builder), _] = both().await;
    let all: Vec<_> = ids(1203).collect();
    let some = all.clone();
    let add = move |batch: Batch| some.iter().fold(batch, |b, id| jobs::add(b, &new(id)));
    subject.write(add).await.unwrap();
    assert_eq!(ids_of(&listed(&builder, &["--limit", "5000"])), all);
    assert_eq!(listed(&builder, &["--limit", "1000"]).len(), 1000);
    assert_eq!(run(&builder, &["drop", "--all"]).stdout.trim_end(), "1203 jobs are dropped");
    assert_eq!(subject.count().await, 0);
}

#[tokio::test]
async fn jobs_are_tried_again() {
    for (subject, builder) in both().await {
        let running = fill(&subject).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        let asked = Instant::now();
        let ended = run(&builder, &["retry", "dead"]);
        assert_eq!(ended.stdout.trim_end(), "1 job is due now", "{}", ended.stderr);
        let dead = &listed(&builder, &[])[0];
        assert_eq!((&dead["state"], &dead["attempts"]), (&"waiting".into(), &0.into()));
        assert_eq!((&dead["diedAt"], &dead["error"]), (&Value::Null, &"no such host".into()));
        let taken = take(&subject.jobs(), 5, NEVER).await;
        assert_eq!(taken.len(), 2);
        for job in taken {
            let since_asked = job.tried_for() <= asked.elapsed() + Duration::from_millis(5);
            assert!(job.attempts == 1 && (since_asked || job.id != "dead"), "{job:?}");
        }
        for id in ["running", "unknown"] {
            let refused = run(&builder, &["retry", id]);
            assert_eq!(refused.status.code(), Some(1), "{}", refused.stdout);
            assert!(refused.stderr.contains("1 job is gone, or running"), "{}", refused.stderr);
        }
        let all = run(&builder, &["retry", "--all", "--tenant", "other"]);
        assert_eq!(all.stdout.trim_end(), "1 job is due now");
        let none = run(&builder, &["retry", "--all", "--dead"]);
        assert_eq!(none.stdout.trim_end(), "0 jobs are due now");
        assert_eq!(running.attempts, 1);
    }
}

#[tokio::test]
async fn jobs_are_dropped() {
    for (subject, builder) in both().await {
        fill(&subject).await;
        let ended = run(&builder, &["drop", "running", "waiting"]);
        assert_eq!(ended.stdout.trim_end(), "2 jobs are dropped", "{}", ended.stderr);
        assert_eq!(ids_of(&listed(&builder, &[])), ["dead", "yours"]);
        let again = run(&builder, &["drop", "running", "dead"]);
        assert_eq!(again.status.code(), Some(1));
        assert!(again.stderr.contains("1 job is gone already"), "{}", again.stderr);
        assert_eq!(subject.jobs().drop(Which::All(Filter::default())).await.unwrap(), 1);
    }
}

#[tokio::test]
async fn jobs_are_counted() {
    for subject in Subject::both().await {
        fill(&subject).await;
        let counts = subject.jobs().counts().await.unwrap();
        let counts: Vec<_> = counts.iter().map(|c| (&*c.queue, c.state.as_str(), c.jobs)).collect();
        let of_queue = ["dead", "running", "waiting"].map(|state| (QUEUE, state, 1));
        assert_eq!(counts, [&[("another", "waiting", 1)][..], &of_queue].concat());
    }
}

#[test]
fn what_is_not_said_is_asked_for() {
    let builder = App::builder();
    for (arguments, said) in [
        (&["retry"][..], "ID"),
        (&["drop"], "ID"),
        (&["drop", "id", "--all"], "--all"),
        (&["drop", "--dead"], "ID"),
        (&["drop", "id", "--dead"], "--all"),
        (&["list", "--tenant", "../x"], "--tenant"),
    ] {
        let refused = run(&builder, arguments);
        assert_eq!(refused.status.code(), Some(2), "{arguments:?}: {}", refused.stdout);
        assert!(refused.stderr.contains(said), "{arguments:?}: {}", refused.stderr);
    }
}
