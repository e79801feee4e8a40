//! The deliveries of a webhook as its owner sees them: those that wait or were given up are jobs, those
//! that have ended are rows. Tests and replays are deliveries, too.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::Serialize;
use utoipa::{
    IntoParams, ToSchema,
    openapi::path::{Parameter, ParameterIn},
};
use uuid::Uuid;

use super::{
    QUEUE, Webhooks, delivery_of, job_of,
    message::{Subject, TEST},
    rows::{Ended, Webhook},
};
use crate::{
    consumers::{error::Error, records},
    jobs::{self, Listed, NewJob, State},
    openapi::{self, number, parameter},
    tenant::TenantId,
};

/// The most deliveries on a page.
const MOST: usize = 200;
/// As many as there are where the client does not say.
const USUAL: usize = 50;
/// What no delivery's id is beyond.
const LAST: &str = "ffffffff-ffff-ffff-ffff-ffffffffffff";

/// A delivery, as it is told.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    #[schema(format = Uuid)]
    id: String,
    #[serde(rename = "type")]
    #[schema(example = "image.created")]
    kind: String,
    /// Null for a test.
    #[schema(required = true, format = Uuid)]
    event_id: Option<String>,
    /// `pending`, `delivered` or `failed`.
    #[schema(example = "delivered")]
    state: &'static str,
    attempts: u64,
    /// What the receiver answered at the end.
    #[schema(required = true)]
    status: Option<u16>,
    /// Why the last attempt failed.
    #[schema(required = true)]
    error: Option<String>,
    #[schema(required = true, format = DateTime)]
    next_attempt_at: Option<String>,
    #[schema(required = true, format = DateTime)]
    ended_at: Option<String>,
}

/// What a client asks of a list.
#[derive(Debug, PartialEq, Eq)]
pub struct Page {
    limit: usize,
    below: String,
}

impl IntoParams for Page {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![
            parameter("limit", number(1, Some(200), "50 unless told."), "At most so many."),
            openapi::cursor(22),
        ]
    }
}

impl Page {
    /// Reads the query as it stands in the target.
    ///
    /// # Errors
    /// [`Error::QueryInvalid`], which says what is wrong.
    pub fn parse(query: &str) -> Result<Self, Error> {
        let wrong = |what: &str| Err(Error::QueryInvalid(what.to_owned()));
        let (mut limit, mut below) = (None, None);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let again = match pair.split_once('=') {
                Some(("limit", value)) => {
                    let number = value.parse().ok().filter(|number| (1..=MOST).contains(number));
                    let Some(number) = number.filter(|_| !value.starts_with('+')) else {
                        return wrong(
                            "The parameter 'limit' must be a whole number from 1 to 200.",
                        );
                    };
                    limit.replace(number).is_some()
                }
                Some(("cursor", value)) => {
                    let Some(place) = place(value) else {
                        return wrong(
                            "The parameter 'cursor' is none; send a nextCursor as it was answered.",
                        );
                    };
                    below.replace(place).is_some()
                }
                _ => return wrong("The parameters are 'limit' and 'cursor'; there is no other."),
            };
            if again {
                return wrong("A parameter is there twice; send it once.");
            }
        }
        let below = below.unwrap_or_else(|| LAST.to_owned());
        Ok(Self { limit: limit.unwrap_or(USUAL), below })
    }
}

/// A place in a list as clients see it: not to be understood, only to be sent back.
fn cursor(delivery: &str) -> Option<String> {
    let id = Uuid::try_parse(delivery).ok()?;
    Some(BASE64_URL_SAFE_NO_PAD.encode(id.as_bytes()))
}

fn place(cursor: &str) -> Option<String> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(cursor).ok()?;
    Some(Uuid::from_slice(&bytes).ok()?.to_string())
}

impl Delivery {
    fn of_job(job: Listed) -> Self {
        let state = match job.state {
            State::Waiting | State::Running => "pending",
            State::Dead => "failed",
        };
        let next = job.due_at.filter(|_| job.state == State::Waiting);
        Self {
            id: delivery_of(&job.id).to_owned(),
            event_id: event_of(&job.payload),
            kind: job.kind,
            state,
            attempts: job.attempts,
            status: None,
            error: job.error,
            next_attempt_at: next.map(told),
            ended_at: job.died_at.map(told),
        }
    }

    fn of_ended(ended: Ended) -> Self {
        Self {
            id: ended.id,
            event_id: event_of(&ended.payload),
            kind: ended.kind,
            state: if ended.error.is_none() { "delivered" } else { "failed" },
            attempts: ended.attempts,
            status: ended.status,
            error: ended.error,
            next_attempt_at: None,
            ended_at: Some(told(ended.ended_at)),
        }
    }
}

fn event_of(payload: &str) -> Option<String> {
    Subject::parse(payload)?.event().map(|id| id.to_string())
}

fn told(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(time).to_string()
}

impl Webhooks {
    /// A page of the webhook's deliveries, the newest first, and where the next one begins.
    ///
    /// # Errors
    /// [`records::Error::NotFound`]; or the database fails.
    pub async fn deliveries(
        &self,
        tenant: &TenantId,
        webhook: Uuid,
        page: Page,
    ) -> Result<(Vec<Delivery>, Option<String>), Error> {
        self.find(tenant, webhook).await?;
        let most = page.limit as u64 + 1;
        let (after, before) = (job_of(webhook, ""), job_of(webhook, &page.below));
        // The jobs first: what ends in between is found twice, and not missed.
        let waiting = self.jobs.list_between(after, before, most).await;
        let waiting = waiting.map_err(records::Error::from)?.into_iter().map(Delivery::of_job);
        let mut all: HashMap<_, _> = waiting.map(|found| (found.id.clone(), found)).collect();
        let ended = self.rows.ended(webhook, &page.below, most).await?;
        let ended = ended.into_iter().map(Delivery::of_ended);
        all.extend(ended.map(|found| (found.id.clone(), found)));
        let mut all: Vec<_> = all.into_values().collect();
        all.sort_unstable_by(|one, other| other.id.cmp(&one.id));
        let next = match all.len() > page.limit {
            true => cursor(&all[page.limit - 1].id),
            false => None,
        };
        all.truncate(page.limit);
        Ok((all, next))
    }

    /// Sends a test; the delivery's id.
    ///
    /// # Errors
    /// As [`Webhooks::replay`].
    pub async fn test(&self, tenant: &TenantId, webhook: Uuid) -> Result<Uuid, Error> {
        let webhook = self.active(tenant, webhook).await?;
        self.send(webhook, TEST.to_owned(), Subject::Test(SystemTime::now())).await
    }

    /// Sends what a delivery tells once more, in one of its own; that one's id. An event's first delivery has the
    /// event's id.
    ///
    /// # Errors
    /// [`records::Error::NotFound`]; [`Error::WebhookConflict`] where the webhook is disabled; or the database
    /// fails.
    pub async fn replay(
        &self,
        tenant: &TenantId,
        webhook: Uuid,
        delivery: Uuid,
    ) -> Result<Uuid, Error> {
        let webhook = self.active(tenant, webhook).await?;
        let job = self.jobs.find(&job_of(webhook.id, &delivery.to_string())).await;
        let (kind, payload) = match job.map_err(records::Error::from)? {
            Some(job) => (job.kind, job.payload),
            None => {
                let ended = self.rows.one_ended(webhook.id, delivery).await?;
                let Ended { kind, payload, .. } = ended.ok_or(records::Error::NotFound)?;
                (kind, payload)
            }
        };
        let subject = Subject::parse(&payload).ok_or(records::Error::NotFound)?;
        if let Subject::Event(..) = subject
            && subject.message(&self.records, tenant, "", "").await?.is_none()
        {
            return Err(Error::WebhookConflict("The event is not kept any more."));
        }
        self.send(webhook, kind, subject).await
    }

    async fn active(&self, tenant: &TenantId, webhook: Uuid) -> Result<Webhook, Error> {
        let webhook = self.find(tenant, webhook).await?;
        if webhook.disabled.is_some() || !self.settings.enabled {
            return Err(Error::WebhookConflict("The webhook is disabled; enable it first."));
        }
        Ok(webhook)
    }

    /// Adds the job of a delivery of its own.
    async fn send(&self, webhook: Webhook, kind: String, subject: Subject) -> Result<Uuid, Error> {
        let delivery = Uuid::now_v7();
        self.rows
            .run(move |batch| {
                let id = job_of(webhook.id, &delivery.to_string());
                let job = NewJob {
                    id: &id,
                    queue: QUEUE,
                    tenant: webhook.tenant.as_str(),
                    subject: &webhook.id.to_string(),
                    kind: &kind,
                    payload: &subject.payload(),
                    after: Duration::ZERO,
                };
                jobs::add(batch, &job)
            })
            .await?;
        self.jobs.wake(QUEUE);
        Ok(delivery)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_goes_on_where_the_last_one_ended() {
        let id = Uuid::now_v7().to_string();
        let query = format!("limit=7&cursor={}", cursor(&id).unwrap());
        assert_eq!(Page::parse(&query).unwrap(), Page { limit: 7, below: id });
        assert_eq!(Page::parse("").unwrap(), Page { limit: 50, below: LAST.to_owned() });
        for wrong in [
            "limit=0",
            "limit=201",
            "limit=+1",
            "limit=",
            "limit",
            "cursor=",
            "cursor=x",
            "page=1",
            "limit=1&limit=1",
        ] {
            assert!(matches!(Page::parse(wrong), Err(Error::QueryInvalid(_))), "{wrong}");
        }
    }
}
