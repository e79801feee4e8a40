//! What is done later, by whomever, goes on with the trace that asked for it.

use super::*;
use crate::harness::App;
use crate::harness::collector::{Collector, only};
use crate::harness::postgres::postgres;
use crate::harness::upload::put;
use crate::harness::upstream::Upstream;
use crate::steps::{
    calls::{answer, asking},
    held, picture,
};

const VARIANT: &str = "[consumers.steps.thumb]\nkind = \"variant\"\nwidth = 32\n";

#[tokio::test]
async fn another_process_goes_on_with_the_trace() {
    let collector = Collector::grpc().await;
    let database = postgres().await.fresh_database().await;
    let builder = || async { App::builder().minio().await };
    let serving = builder().await.database(&database).file(VARIANT);
    let working = serving.clone().set("CONSUMERS__WORKERS__ONLY", "true");
    let serving = serving.set("CONSUMERS__WORKERS__ENABLED", "false");
    let app = collector.of(serving).env("OTEL_SERVICE_NAME", "front").start().await;
    assert_eq!(within(put("a.png", &picture(64, 48, 255)), true).send(app.addr).await.status, 201);
    let attributes = "deployment.environment.name=test,service.name=back";
    let _worker = collector.of(working).env("OTEL_RESOURCE_ATTRIBUTES", attributes).start().await;
    let spans = collector.trace_of("/upload/42/a.png", &["process images"]).await;
    let (complete, job) = (only(&spans, "records.complete"), only(&spans, "process images"));
    assert_eq!((&job.parent, &job.trace), (&complete.id, &complete.trace));
    assert_eq!(complete.resource["service.name"], "front");
    assert_eq!(job.resource["service.name"], "back");
    assert_eq!(job.resource["deployment.environment.name"], "test");
    assert_ne!(job.resource["service.instance.id"], complete.resource["service.instance.id"]);
}

#[tokio::test]
async fn the_run_after_a_kill_goes_on_with_the_trace() {
    let collector = Collector::grpc().await;
    let builder = collector.builder().file(VARIANT);
    let mut app = builder.env("GATEHOUSE_FAULT", "steps.read:hold=held").start().await;
    let request = within(put("a.png", &picture(64, 48, 255)), true);
    assert_eq!(request.send(app.addr).await.status, 201);
    let held = held(&app).await;
    collector.trace_of("/upload/42/a.png", &["records.complete"]).await;
    app.kill();
    std::fs::remove_file(held).unwrap();
    app.set_env("GATEHOUSE_FAULT", "");
    app.start().await;
    let is_done = |span: &crate::harness::collector::Span| {
        span.name == "process images" && span.attributes["gatehouse.job.outcome"] == "done"
    };
    let spans = collector.until(|spans| spans.iter().any(is_done)).await;
    let job = spans.iter().find(|span| is_done(span)).unwrap();
    assert_eq!(job.trace, TRACE);
    assert_eq!(job.get("gatehouse.job.attempt"), "2");
}

#[tokio::test]
async fn each_try_of_a_job_is_a_span_and_a_failed_one_an_error() {
    let collector = Collector::grpc().await;
    let (service, switch) = Upstream::switched(answer("500 Broken", "")).await;
    let app = collector.of(asking(&service, "")).start().await;
    assert_eq!(within(put("a.png", &picture(64, 48, 255)), true).send(app.addr).await.status, 201);
    service.received(1).await;
    switch.send(answer("200 OK", "{}")).unwrap();
    let calls = |spans: &[crate::harness::collector::Span]| {
        spans.iter().filter(|span| span.name == "process calls").count()
    };
    let spans = collector.until(|spans| calls(spans) == 2).await;
    let of = |attempt: &str| {
        let mut runs = spans.iter().filter(|span| span.name == "process calls");
        runs.find(|span| span.get("gatehouse.job.attempt") == attempt).expect("a run")
    };
    let (first, second) = (of("1"), of("2"));
    assert_eq!((&first.trace, &first.parent), (&second.trace, &second.parent));
    assert!(first.is_error && !second.is_error);
    assert_eq!((first.get("error.type"), first.get("gatehouse.job.outcome")), ("again", "again"));
    let told = service.requests();
    assert_eq!(told.len(), 2);
    for (request, run) in told.iter().zip([first, second]) {
        let call = parts(&request.header("traceparent").unwrap());
        let call = spans.iter().find(|span| span.id == call[1]).expect("its span");
        assert_eq!(call.parent, run.id);
    }
}

#[tokio::test]
async fn what_is_not_sampled_is_told_so_in_the_end() {
    let collector = Collector::grpc().await;
    let service = Upstream::answering(answer("200 OK", "{}")).await;
    let app = collector.of(asking(&service, "")).start().await;
    let request = within(put("a.png", &picture(64, 48, 255)), false);
    assert_eq!(request.send(app.addr).await.status, 201);
    let told = service.received(1).await.pop().unwrap().header("traceparent").unwrap();
    let [trace, _, flags] = parts(&told);
    assert_eq!((trace.as_str(), flags.as_str()), (TRACE, "00"));
    assert!(collector.spans().iter().all(|span| span.trace != TRACE));
}
