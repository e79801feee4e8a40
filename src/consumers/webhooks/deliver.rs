//! The delivery: one signed request, and what its answer comes to.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use http::StatusCode;
use hyper::body::Incoming;
use tokio::time::timeout;
use uuid::Uuid;

use super::{
    delivery_of,
    message::{Message, Subject},
    receivers::Receivers,
    rows::{self, Ended, Rows, Webhook},
};
use crate::{
    consumers::records::{self, Records},
    database::Database,
    jobs::{Done, Handler, Job, Outcome},
    outbound::{self, Client, signed_post},
    problem,
    tenant::TenantId,
};

/// The most of an answer that is read, so that its connection can be used again.
const READ: usize = 4096;
/// How long that may take: what the status says holds.
const READ_WITHIN: Duration = Duration::from_secs(1);
/// When a delivery is looked at again that could not be tried.
const SOON: Duration = Duration::from_secs(5);
/// The same where its tenant is suspended.
const LATER: Duration = Duration::from_secs(10 * 60);

/// Tells whether nobody may act for a tenant; none while that is not known.
pub type IsSuspended = Arc<dyn Fn(&TenantId) -> Option<bool> + Send + Sync>;

/// Makes deliveries.
pub struct Deliverer {
    rows: Rows,
    records: Records,
    client: Client,
    timeout: Duration,
    receivers: Receivers,
    is_suspended: IsSuspended,
}

/// What an attempt came to.
enum Attempt {
    Delivered(StatusCode),
    /// The receiver is gone for good.
    Gone,
    /// Why not, for the webhook's owner; and how long the receiver asks to be left alone.
    Failed(String, Option<Duration>),
}

impl Deliverer {
    /// Delivers the events of `records` to the webhooks of `database` by `client`, each within `timeout`.
    pub fn new(
        database: Database,
        records: Records,
        client: Client,
        timeout: Duration,
        is_suspended: IsSuspended,
    ) -> Self {
        let (rows, receivers) = (Rows(database), Receivers::default());
        Self { rows, records, client, timeout, receivers, is_suspended }
    }

    /// What is to be sent; or how the job ends without.
    async fn prepare(&self, job: &Job, tenant: &TenantId) -> Result<(Webhook, Message), Outcome> {
        let again = |error: records::Error| {
            tracing::debug!(cause = problem::chain(&error), "a delivery has to wait");
            put_off(SOON)
        };
        let (Ok(id), Some(subject)) = (Uuid::try_parse(&job.subject), Subject::parse(&job.payload))
        else {
            return Err(Outcome::dead("it cannot be read"));
        };
        let Some(webhook) = self.rows.find(tenant, id).await.map_err(again)? else {
            return Err(Outcome::done());
        };
        if webhook.disabled.is_some() {
            return Err(ended(job, None, Some("The webhook is disabled.")).into());
        }
        let message = subject.message(&self.records, tenant, &job.subject, delivery_of(&job.id));
        match message.await.map_err(again)? {
            Some(message) => Ok((webhook, message)),
            None => Err(ended(job, None, Some("The event is not kept any more.")).into()),
        }
    }

    async fn attempt(&self, webhook: &Webhook, message: Message) -> Attempt {
        let secrets = webhook.secrets(SystemTime::now());
        let request = signed_post(&*webhook.url, &message.id, message.body, &secrets);
        let Ok(request) = request else {
            return Attempt::Failed("The url cannot be sent to.".to_owned(), None);
        };
        match timeout(self.timeout, self.client.send(request)).await {
            Ok(Ok(answer)) => judge(answer).await,
            Ok(Err(error)) => {
                // What the host stands for is not its owner's to know.
                let (cause, webhook) = (problem::chain(&error), webhook.id);
                tracing::debug!(cause, %webhook, "a receiver cannot be reached");
                let told = "The host cannot be reached, or is none that webhooks may be sent to.";
                Attempt::Failed(told.to_owned(), None)
            }
            Err(_) => {
                let within = humantime::format_duration(self.timeout);
                Attempt::Failed(format!("The receiver did not answer within {within}."), None)
            }
        }
    }
}

impl Handler for Deliverer {
    async fn run(&self, job: &Job) -> Outcome {
        let Ok(tenant) = TenantId::parse(&job.tenant) else {
            return Outcome::dead("it is no tenant's");
        };
        match (self.is_suspended)(&tenant) {
            Some(false) => {}
            Some(true) => return Outcome::AllLater { after: about(LATER) },
            None => return Outcome::AllLater { after: about(SOON) },
        }
        let Some(turn) = self.receivers.turn(&job.subject).await else {
            return put_off(SOON);
        };
        let (webhook, message) = match self.prepare(job, &tenant).await {
            Ok(prepared) => prepared,
            Err(outcome) => return outcome,
        };
        let begun = Instant::now();
        let attempt = self.attempt(&webhook, message).await;
        turn.end(matches!(attempt, Attempt::Delivered(_)), begun.elapsed());
        match attempt {
            Attempt::Delivered(status) => ended(job, Some(status), None).into(),
            Attempt::Gone => gone(job, webhook.url).into(),
            Attempt::Failed(error, after) => Outcome::Again { after, error },
        }
    }

    fn share(&self, webhook: &str) -> usize {
        self.receivers.share(webhook)
    }
}

/// What an answer says. Of its body nothing matters.
async fn judge(answer: http::Response<Incoming>) -> Attempt {
    let (head, body) = answer.into_parts();
    let status = head.status;
    // A connection whose answer is longer, or does not end, is closed.
    let _ = timeout(READ_WITHIN, outbound::collect(body, READ)).await;
    match status {
        StatusCode::GONE => Attempt::Gone,
        status if status.is_success() => Attempt::Delivered(status),
        status => {
            let code = status.as_u16();
            let followed =
                if status.is_redirection() { "; redirects are not followed" } else { "" };
            let asks =
                matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
            let after = asks.then(|| outbound::retry_after(&head.headers)).flatten();
            Attempt::Failed(format!("The receiver answered {code}{followed}."), after)
        }
    }
}

fn put_off(time: Duration) -> Outcome {
    Outcome::Later { after: about(time) }
}

/// About this time, so that what was put off does not all come back at once.
fn about(time: Duration) -> Duration {
    time.mul_f64(0.5 + fastrand::f64())
}

/// The delivery has ended, with this answer or for this reason.
fn ended(job: &Job, status: Option<StatusCode>, error: Option<&str>) -> Done {
    let (ended, webhook) = (ending(job, status, error), job.subject.clone());
    Done::with(move |batch| ended.put(batch, &webhook))
}

/// The receiver at `url` wants nothing more. What else waits for it ends when its time comes.
fn gone(job: &Job, url: String) -> Done {
    const WHY: &str = "The receiver answered 410: it is gone.";
    let (ended, webhook) = (ending(job, Some(StatusCode::GONE), Some(WHY)), job.subject.clone());
    let told = webhook.clone();
    Done::with(move |batch| rows::disable(ended.put(batch, &webhook), &webhook, &url, WHY))
        .then(move || tracing::info!(webhook = told, "a webhook's receiver is gone"))
}

fn ending(job: &Job, status: Option<StatusCode>, error: Option<&str>) -> Ended {
    Ended {
        id: delivery_of(&job.id).to_owned(),
        kind: job.kind.clone(),
        payload: job.payload.clone(),
        // Where there is no answer, this run has sent nothing.
        attempts: if status.is_some() { job.attempts } else { job.attempts - 1 },
        status: status.map(|status| status.as_u16()),
        error: error.map(str::to_owned),
        ended_at: SystemTime::now(),
    }
}
