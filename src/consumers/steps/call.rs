//! Steps of services outside: a request tells a service of an image, with a link to its bytes, and the
//! answer is kept. A service that needs longer answers 202, and later by a request of its own
//! ([`super::Steps::answer`]).

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::StatusCode;
use serde::Serialize;
use serde_json::Value;
use tokio::time::timeout;
use uuid::Uuid;

use super::settings::Call;
use crate::{
    consumers::{
        error::Error,
        records::{Change, Image, Records, StepResult},
        signed::{Link, Permit, Signer},
        told::Told,
    },
    jobs::{Backoff, Done, Handler, Job, Outcome, Pace},
    outbound::{self, Client, Reach, signed_post},
    problem,
    tenant::TenantId,
};

/// The queue of the jobs that ask services.
pub const CALLS: &str = "calls";
/// The largest answer, in bytes.
pub(super) const LARGEST: usize = 64 * 1024;
/// Requests to one step's service that are under way at once.
const AT_ONCE: usize = 8;
/// When a request that failed is sent again.
const BACKOFF: Backoff = Backoff {
    first: Duration::from_secs(2),
    most: Duration::from_secs(60 * 60),
    most_asked: Duration::from_secs(60 * 60),
    jitter: 0.2,
    give_up_after: Duration::from_secs(24 * 60 * 60),
};

/// Asks the services of steps.
pub struct Caller {
    records: Records,
    calls: Arc<[Call]>,
    client: Client,
    signer: Arc<Signer>,
    /// Where services reach this process.
    base: String,
}

/// What a service is told.
#[derive(Serialize)]
struct Asked<'a> {
    #[serde(flatten)]
    event: Told<'a>,
    step: &'a str,
    content: Link,
    callback: Link,
}

/// What a service has answered.
enum Answer {
    /// This.
    Now(Value),
    /// That it will.
    Later,
    /// That it cannot do anything with the image; the status.
    Refused(StatusCode),
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum NoAnswer {
    #[error("its service did not answer in time")]
    Timeout,
    #[error("its service cannot be asked")]
    Outbound(#[from] outbound::Error),
    #[error("its service answered {0}")]
    Status(StatusCode, Option<Duration>),
    #[error("its service's answer is no JSON")]
    NoJson(#[source] serde_json::Error),
    #[error(
        "its service's answer does not say whether the image passes: \"pass\" must be true or false"
    )]
    NoPass,
    #[error("the request cannot be made")]
    Request(#[from] http::Error),
}

impl Caller {
    /// Asks the services of `calls` about the images of `records`. They reach this process at `base`.
    ///
    /// # Errors
    /// When there is nobody to trust, as half a sentence about what is wrong.
    pub fn new(
        records: Records,
        calls: Vec<Call>,
        signer: Arc<Signer>,
        base: String,
    ) -> Result<Self, String> {
        for call in &calls {
            outbound::check_trust(&call.url)?;
        }
        let client = Client::new(Reach::Anywhere, AT_ONCE)?;
        Ok(Self { records, calls: calls.into(), client, signer, base })
    }

    /// How its jobs are done: so many of each step's at once that no service waits for another.
    pub fn pace(&self) -> Pace {
        Pace { fair: true, ..Pace::new(AT_ONCE * self.calls.len(), BACKOFF) }
    }

    async fn call(&self, job: &Job) -> Result<Outcome, Error> {
        let (tenant, content) = (TenantId::parse(&job.tenant), content(&job.payload));
        let (Ok(tenant), Some((id, upload))) = (tenant, content) else {
            return Ok(Outcome::dead("the job tells of no image"));
        };
        let Some(call) = self.calls.iter().find(|call| call.name == job.subject) else {
            // Another process may have it; a gate must never open for want of it.
            return Ok(Outcome::again("there is no http step of this name in the settings here"));
        };
        let image = self.records.find(&tenant, id).await?;
        let Some(image) = image.filter(|image| image.upload == upload) else {
            return Ok(Outcome::done());
        };
        let body = self.asked(call, &image).await?;
        let answer = match timeout(call.timeout, self.ask(call, upload, body)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Ok(again(&error)),
            Err(_) => return Ok(again(&NoAnswer::Timeout)),
        };
        let output = match answer {
            Answer::Later => {
                let error = "its service has answered 202, and not called back in time".to_owned();
                return Ok(Outcome::Again { after: Some(call.answer_within), error });
            }
            Answer::Now(value) => Ok(value),
            Answer::Refused(status) => Err(refused(status)),
        };
        let result = result(call, output);
        let (records, event) = (self.records.clone(), Uuid::now_v7());
        let tell = self.records.clone();
        let done = Done::with(move |batch| {
            records.keep_results(batch, event, &image, std::slice::from_ref(&result))
        });
        Ok(done.then(move || tell.told(&tenant)).into())
    }

    /// What the service of `call` is told of `image`.
    async fn asked(&self, call: &Call, image: &Image) -> Result<Bytes, Error> {
        let expires_at = SystemTime::now() + call.answer_within;
        let link = async |permit| {
            let link = self.signer.link(permit, &image.tenant, image.id, expires_at).await?;
            Ok::<_, Error>(Link { url: format!("{}{link}", self.base), expires_at })
        };
        let change = if image.version == 1 { Change::Created } else { Change::Replaced };
        let asked = Asked {
            // The event of a content has its upload's id.
            event: Told::new(image.upload, change, image.updated_at, image),
            step: &call.name,
            content: link(Permit::Inspect(image.upload)).await?,
            callback: link(Permit::Answer(&call.name, image.upload)).await?,
        };
        Ok(serde_json::to_vec(&asked).unwrap_or_default().into())
    }

    async fn ask(&self, call: &Call, upload: Uuid, body: Bytes) -> Result<Answer, NoAnswer> {
        let id = format!("{upload}:{}", call.name);
        let request = signed_post(call.url.clone(), &id, body, &[&call.secret])?;
        let response = self.client.send(request).await?;
        match response.status() {
            StatusCode::ACCEPTED => Ok(Answer::Later),
            status if status.is_success() => {
                let body = outbound::collect(response.into_body(), LARGEST).await?;
                let value = answered(&body).map_err(NoAnswer::NoJson)?;
                if passes(call, &value) { Ok(Answer::Now(value)) } else { Err(NoAnswer::NoPass) }
            }
            status if is_of_the_image(status) => Ok(Answer::Refused(status)),
            status => Err(NoAnswer::Status(status, outbound::retry_after(response.headers()))),
        }
    }
}

impl Handler for Caller {
    async fn run(&self, job: &Job) -> Outcome {
        self.call(job).await.unwrap_or_else(|error| Outcome::again(problem::chain(&error)))
    }

    fn share(&self, _step: &str) -> usize {
        AT_ONCE
    }
}

/// What a job says that its service is asked about: the image, and the upload that brought its content.
pub(super) fn payload(image: &Image) -> String {
    format!("{} {}", image.id, image.upload)
}

fn content(payload: &str) -> Option<(Uuid, Uuid)> {
    let (image, upload) = payload.split_once(' ')?;
    Some((Uuid::try_parse(image).ok()?, Uuid::try_parse(upload).ok()?))
}

/// What a body says; null where there is none.
///
/// # Errors
/// When it is no JSON.
pub(super) fn answered(body: &[u8]) -> Result<Value, serde_json::Error> {
    if body.is_empty() { Ok(Value::Null) } else { serde_json::from_slice(body) }
}

/// Whether an answer says what it has to: a gate's, whether the image passes.
pub(super) fn passes(call: &Call, answer: &Value) -> bool {
    !call.gate || answer["pass"].is_boolean()
}

/// What has come of the step.
pub(super) fn result(call: &Call, output: Result<Value, String>) -> StepResult {
    let passed = output.as_ref().is_ok_and(|answer| answer["pass"] == true);
    StepResult {
        step: call.name.clone(),
        object: None,
        output,
        passed: call.gate.then_some(passed),
    }
}

/// Whether a status says that the service can do nothing with the image, however often it is asked.
fn is_of_the_image(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::BAD_REQUEST
            | StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::UNSUPPORTED_MEDIA_TYPE
            | StatusCode::UNPROCESSABLE_ENTITY
    )
}

fn refused(status: StatusCode) -> String {
    format!("The step's service has refused the image: it answered {}.", status.as_u16())
}

fn again(error: &NoAnswer) -> Outcome {
    let after = match error {
        NoAnswer::Status(_, after) => *after,
        _ => None,
    };
    Outcome::Again { after, error: problem::chain(error) }
}
