//! Webhooks: where tenants want to be told of their events, and the deliveries.
//!
//! Each change of an image adds a job for each webhook that is told of it, in its own transaction
//! ([`Notify`]); a worker sends what a stream of events would tell, signed as Standard Webhooks has it,
//! again and again until the receiver has taken it or the time is over ([`Deliverer`]). What waits or
//! was given up is told from the jobs, what has ended from the table of deliveries (`deliveries`).
//! Receivers are named by tenants: `target` refuses what a URL tells, and `outbound` what a host
//! turns out to stand for.

mod deliver;
mod deliveries;
mod follow;
mod handlers;
mod message;
mod receivers;
mod rows;
mod settings;
mod target;
mod types;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use actix_web::web;
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::{join, time::sleep};
use tokio_util::sync::CancellationToken;
use utoipa::{
    OpenApi as _, PartialSchema, ToSchema,
    openapi::{AllOfBuilder, ObjectBuilder, OpenApi, Ref, RefOr, Schema, Type},
};
use uuid::Uuid;

pub use deliver::{Deliverer, IsSuspended};
pub use follow::{Notify, Subscribers};
pub use settings::WebhookSettings;

use super::{
    error::Error,
    records::{self, Records},
};
use crate::{
    database::{Database, Migration},
    jobs::Jobs,
    outbound::{Reach, SigningSecret},
    problem,
    tenant::TenantId,
};
use rows::{Rows, Webhook};
use types::Types;

/// The queue of deliveries. A job is about its webhook, its kind is the type of what is told.
pub const QUEUE: &str = "webhooks";
/// The scope of who may have them.
pub const SCOPE: &str = "webhooks:manage";
/// Below this, on the module's paths.
pub const PATH: &str = "customer-images/webhooks";

/// The migrations of this module's tables.
pub const MIGRATIONS: &[Migration] = &[Migration {
    version: 5,
    name: "webhooks",
    sqlite: include_str!("migrations/0005_webhooks.sqlite.sql"),
    postgres: include_str!("migrations/0005_webhooks.postgres.sql"),
}];

/// How often the table of subscribers is read.
const READ_EVERY: Duration = Duration::from_secs(2);
/// How often what is old is forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(60 * 60);
/// How long deliveries are told that have ended.
const KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// The longest description, in bytes.
const DESCRIPTION: usize = 500;

/// The delivery that the job of this id makes: jobs of a webhook begin with its id, and are in the order
/// of their deliveries, so that they are found as a range.
fn delivery_of(job: &str) -> &str {
    job.split_once(':').map_or(job, |(_, delivery)| delivery)
}

fn job_of(webhook: Uuid, delivery: &str) -> String {
    format!("{webhook}:{delivery}")
}

/// What tenants do with their webhooks.
pub struct Webhooks {
    rows: Rows,
    records: Records,
    jobs: Jobs,
    subscribers: Arc<Subscribers>,
    settings: WebhookSettings,
    reach: Reach,
}

/// What a client says of a webhook; what it leaves out stays as it is.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = WebhookChange)]
pub struct Asked {
    /// Where events are sent: `https://` or `http://`, without user and fragment.
    #[schema(format = "uri", max_length = 2048, example = "https://example.com/hook")]
    url: Option<String>,
    #[schema(value_type = Option<Types>)]
    events: Option<Vec<String>>,
    /// One line of at most 500 bytes; an empty one is none.
    #[schema(max_length = 500, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$", example = "the shop")]
    description: Option<String>,
    /// Whether nothing is sent.
    disabled: Option<bool>,
}

/// The same of a webhook that is to be made: it has a URL, and is not disabled.
pub struct NewWebhook;

impl PartialSchema for NewWebhook {
    fn schema() -> RefOr<Schema> {
        let needed = ObjectBuilder::new()
            .schema_type(Type::Object)
            .property("url", ObjectBuilder::new().schema_type(Type::String))
            .property("disabled", ObjectBuilder::new().enum_values(Some([false])))
            .required("url");
        AllOfBuilder::new().item(Ref::from_schema_name(Asked::name())).item(needed).into()
    }
}

impl ToSchema for NewWebhook {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((Asked::name().into_owned(), Asked::schema()));
        Asked::schemas(schemas);
    }
}

/// Adds the resources. They expect [`Webhooks`] and [`Uploads`](super::Uploads) among the app's data.
pub fn routes(config: &mut web::ServiceConfig) {
    handlers::routes(config);
}

/// Their description.
pub(super) fn openapi() -> OpenApi {
    handlers::Described::openapi()
}

impl Asked {
    /// Reads a request's body.
    ///
    /// # Errors
    /// [`Error::WebhookInvalid`].
    fn parse(json: &[u8]) -> Result<Self, Error> {
        // An array could be taken for the members' values, in their order.
        let object = serde_json::from_slice::<Map<_, _>>(json);
        object.and_then(|object| serde_json::from_value(Value::Object(object))).map_err(|_| {
            Error::WebhookInvalid(
                "Send a JSON object with url, and events, description or disabled where wanted.",
            )
        })
    }
}

impl Webhooks {
    /// Those of `database`, which tell of the events of `records` by `jobs`.
    pub fn new(
        database: Database,
        records: Records,
        jobs: Jobs,
        subscribers: Arc<Subscribers>,
        settings: WebhookSettings,
    ) -> Self {
        let (rows, reach) = (Rows(database), settings.reach());
        Self { rows, records, jobs, subscribers, settings, reach }
    }

    /// Makes one, with a secret of its own.
    ///
    /// # Errors
    /// [`Error::WebhookInvalid`]; [`Error::WebhookConflict`] where the tenant has as many as it may; or the
    /// database fails.
    pub async fn create(&self, tenant: &TenantId, asked: Asked) -> Result<Webhook, Error> {
        let mut webhook = Webhook {
            id: Uuid::now_v7(),
            tenant: tenant.clone(),
            url: String::new(),
            description: None,
            types: Types::all(),
            secret: secret()?,
            previous: None,
            disabled: None,
            created_at: SystemTime::now(),
        };
        if asked.url.is_none() || asked.disabled == Some(true) {
            return Err(Error::WebhookInvalid("Send the url, and make it enabled."));
        }
        self.apply(&mut webhook, asked)?;
        let (rows, made) = (self.rows.clone(), webhook.clone());
        let adding = async move { rows.add(&made).await };
        if !self.subscribers.with(tenant, adding).await? {
            return Err(Error::WebhookConflict(
                "There are 20 webhooks already, as many as a tenant may have; delete one first.",
            ));
        }
        Ok(webhook)
    }

    /// All of the tenant's, the oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list(&self, tenant: &TenantId) -> Result<Vec<Webhook>, Error> {
        Ok(self.rows.list(tenant).await?)
    }

    /// The tenant's of this id.
    ///
    /// # Errors
    /// [`records::Error::NotFound`]; or the database fails.
    pub async fn find(&self, tenant: &TenantId, id: Uuid) -> Result<Webhook, Error> {
        Ok(self.rows.find(tenant, id).await?.ok_or(records::Error::NotFound)?)
    }

    /// Changes what is asked for.
    ///
    /// # Errors
    /// As [`Webhooks::create`] and [`Webhooks::find`].
    pub async fn change(
        &self,
        tenant: &TenantId,
        id: Uuid,
        asked: Asked,
    ) -> Result<Webhook, Error> {
        let mut webhook = self.find(tenant, id).await?;
        let state = asked.disabled;
        self.apply(&mut webhook, asked)?;
        let (rows, changed) = (self.rows.clone(), webhook.clone());
        let changing = async move { rows.change(&changed, state.is_some()).await };
        there(match state {
            Some(false) => self.subscribers.with(tenant, changing).await?,
            Some(true) | None => changing.await?,
        })?;
        Ok(webhook)
    }

    /// Gives it a new secret; the one before signs as well for a day.
    ///
    /// # Errors
    /// As [`Webhooks::find`].
    pub async fn rotate(&self, tenant: &TenantId, id: Uuid) -> Result<Webhook, Error> {
        there(self.rows.rotate(tenant, id, &secret()?).await?)?;
        self.find(tenant, id).await
    }

    /// Removes it; nothing more is sent, but for what is under way.
    ///
    /// # Errors
    /// As [`Webhooks::find`].
    pub async fn delete(&self, tenant: &TenantId, id: Uuid) -> Result<(), Error> {
        there(self.rows.remove(tenant, id).await?)?;
        let dropped = self.jobs.drop_about(QUEUE, &id.to_string()).await;
        dropped.map_err(records::Error::from)?;
        Ok(())
    }

    /// Keeps what is known of subscribers up to date, and forgets what is old, until `stop`.
    pub async fn keep(&self, stop: CancellationToken) {
        if !self.settings.enabled {
            return;
        }
        let read = async {
            loop {
                self.subscribers.refresh(self.rows.tenants()).await;
                sleep(READ_EVERY).await;
            }
        };
        let forget = async {
            loop {
                if let Err(error) = self.forget().await {
                    tracing::debug!(cause = problem::chain(&error), "old deliveries are kept");
                }
                sleep(FORGET_EVERY).await;
            }
        };
        stop.run_until_cancelled(async { join!(read, forget) }).await;
    }

    async fn forget(&self) -> records::Result<()> {
        let before = SystemTime::now().checked_sub(KEPT).unwrap_or(SystemTime::UNIX_EPOCH);
        self.rows.forget(before).await?;
        Ok(self.jobs.forget_dead(QUEUE, KEPT).await?)
    }

    fn apply(&self, webhook: &mut Webhook, asked: Asked) -> Result<(), Error> {
        if let Some(url) = asked.url {
            webhook.url = target::parse(&url, &self.reach)?;
        }
        if let Some(names) = asked.events {
            webhook.types = Types::parse(&names)?;
        }
        if let Some(text) = asked.description {
            if text.len() > DESCRIPTION || text.chars().any(char::is_control) {
                return Err(Error::WebhookInvalid(
                    "The description must be one line of at most 500 bytes.",
                ));
            }
            webhook.description = (!text.is_empty()).then_some(text);
        }
        match (asked.disabled, &webhook.disabled) {
            (Some(true), None) => {
                let why = "It was disabled by its owner.".to_owned();
                webhook.disabled = Some((SystemTime::now(), why));
            }
            (Some(false), _) => webhook.disabled = None,
            _ => {}
        }
        Ok(())
    }
}

fn secret() -> Result<SigningSecret, Error> {
    SigningSecret::generate().map_err(|_| Error::CommitLost)
}

fn there(found: bool) -> Result<(), Error> {
    if found { Ok(()) } else { Err(records::Error::NotFound.into()) }
}
