//! The span of a job's run, by OpenTelemetry's conventions for who takes messages from a queue. It goes on with
//! the trace that the job was added within, however much later and wherever that is.

use super::{Job, Outcome};
use crate::trace::{Span, SpanKind, parse_stored};

/// A run of `job` begins; none where traces are off.
pub(super) fn begin(job: &Job) -> Option<Span> {
    let parent = job.trace.as_deref().and_then(parse_stored);
    let span = Span::first(parent, SpanKind::Consumer, format!("process {}", job.queue))?;
    if span.is_recording() {
        span.set("messaging.system", "gatehouse");
        span.set("messaging.operation.name", "process");
        span.set("messaging.operation.type", "process");
        span.set("messaging.destination.name", job.queue.clone());
        span.set("messaging.message.id", job.id.clone());
        span.set("gatehouse.tenant", job.tenant.clone());
        span.set("gatehouse.job.kind", job.kind.clone());
        span.set("gatehouse.job.attempt", i64::try_from(job.attempts).unwrap_or(i64::MAX));
    }
    Some(span)
}

/// The run has come to this; to nothing where it was another's before its end.
pub(super) fn end(span: Option<Span>, outcome: Option<&Outcome>) {
    let Some(span) = span.filter(Span::is_recording) else { return };
    let (word, error) = match outcome {
        Some(Outcome::Done(_)) => ("done", None),
        Some(Outcome::Later { .. } | Outcome::AllLater { .. }) => ("later", None),
        Some(Outcome::Again { error, .. }) => ("again", Some(error.as_str())),
        Some(Outcome::Dead { error }) => ("dead", Some(error.as_str())),
        None => ("lost", Some("the run was cancelled")),
    };
    span.set("gatehouse.job.outcome", word);
    if let Some(error) = error {
        span.fail(word, error.to_owned());
    }
}
