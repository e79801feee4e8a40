//! Webhooks and their ended deliveries, as rows.

use std::time::{Duration, SystemTime};

use sqlx::{AnyConnection, Row as _, any::AnyRow};
use uuid::Uuid;

use super::types::Types;
use crate::{
    consumers::records::{Error, Result},
    database::{self, Batch, Database, Dialect, ErrorKind, millis, of_millis},
    outbound::SigningSecret,
    tenant::TenantId,
};

/// The most webhooks of a tenant.
const MOST: i64 = 20;
/// Rows that are forgotten at once.
const PAGE: i64 = 500;
/// How long the secret before a rotation still signs.
const BOTH_SIGN: Duration = Duration::from_secs(24 * 60 * 60);

/// Where a tenant wants to be told of its events.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// What it is known by.
    pub id: Uuid,
    /// Whose it is.
    pub tenant: TenantId,
    /// Where its receiver is.
    pub url: String,
    /// What its owner says of it.
    pub description: Option<String>,
    /// What it is told of.
    pub types: Types,
    /// What signs.
    pub secret: SigningSecret,
    /// What signed before, and until when it still does.
    pub previous: Option<(SigningSecret, SystemTime)>,
    /// Since when nothing is sent, and why.
    pub disabled: Option<(SystemTime, String)>,
    /// When it was made.
    pub created_at: SystemTime,
}

/// A delivery that has ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// What it is known by among those of its webhook.
    pub id: String,
    /// The type of what is told.
    pub kind: String,
    /// What its job had to know.
    pub payload: String,
    /// Requests that were begun.
    pub attempts: u64,
    /// What the receiver answered, if it did.
    pub status: Option<u16>,
    /// Why it failed; none: it is delivered.
    pub error: Option<String>,
    /// When.
    pub ended_at: SystemTime,
}

/// The tables. Cheap to clone.
#[derive(Clone)]
pub(super) struct Rows(pub(super) Database);

impl Webhook {
    /// What signs at this time.
    pub fn secrets(&self, now: SystemTime) -> Vec<&SigningSecret> {
        let previous = self.previous.iter().filter(|(_, until)| *until > now);
        std::iter::once(&self.secret).chain(previous.map(|(secret, _)| secret)).collect()
    }

    fn of_row(row: &AnyRow) -> Result<Self> {
        let time_of =
            |column| -> Result<_> { Ok(row.try_get::<Option<i64>, _>(column)?.map(of_millis)) };
        let secret = |text: String| {
            SigningSecret::parse(&text).ok_or_else(|| unreadable("a webhook's secret"))
        };
        let previous: Option<String> = row.try_get("previous_secret")?;
        let previous = previous.map(secret).transpose()?.zip(time_of("previous_until")?);
        let why: Option<String> = row.try_get("disabled_why")?;
        let (id, tenant): (String, String) = (row.try_get("id")?, row.try_get("tenant")?);
        Ok(Self {
            id: Uuid::try_parse(&id).map_err(|_| unreadable("a webhook's id"))?,
            tenant: TenantId::parse(&tenant).map_err(|_| unreadable("a webhook's tenant"))?,
            url: row.try_get("url")?,
            description: row.try_get("description")?,
            types: Types::of_column(row.try_get("types")?),
            secret: secret(row.try_get("secret")?)?,
            previous,
            disabled: time_of("disabled_at")?.map(|at| (at, why.unwrap_or_default())),
            created_at: of_millis(row.try_get("created_at")?),
        })
    }
}

impl Ended {
    fn of_row(row: &AnyRow) -> Result<Self> {
        let number = |column| -> Result<Option<i64>> { Ok(row.try_get(column)?) };
        Ok(Self {
            id: row.try_get("id")?,
            kind: row.try_get("type")?,
            payload: row.try_get("payload")?,
            attempts: number("attempts")?.and_then(|n| n.try_into().ok()).unwrap_or_default(),
            status: number("status")?.and_then(|n| n.try_into().ok()),
            error: row.try_get("error")?,
            ended_at: of_millis(row.try_get("ended_at")?),
        })
    }

    /// Adds the delivery's row, unless its webhook is gone.
    pub(super) fn put(&self, batch: Batch, webhook: &str) -> Batch {
        const SQL: &str = "\
            INSERT INTO deliveries (webhook, id, type, payload, attempts, status, error, ended_at) \
            SELECT webhooks.id, $2, $3, $4, CAST($5 AS BIGINT), CAST($6 AS BIGINT), $7, CAST($8 AS BIGINT) \
            FROM webhooks WHERE webhooks.id = $1{lock} ON CONFLICT (webhook, id) DO UPDATE SET \
            attempts = excluded.attempts, status = excluded.status, error = excluded.error, \
            ended_at = excluded.ended_at";
        // Who deletes the webhook is waited for, so that it is there or not for the foreign key, too.
        let lock = match batch.dialect() {
            Dialect::Sqlite => "",
            Dialect::Postgres => " FOR KEY SHARE",
        };
        batch
            .statement(&SQL.replace("{lock}", lock))
            .bind(webhook.to_owned())
            .bind(self.id.clone())
            .bind(self.kind.clone())
            .bind(self.payload.clone())
            .bind(i64::try_from(self.attempts).unwrap_or(i64::MAX))
            .bind(self.status.map(i64::from))
            .bind(self.error.clone())
            .bind(millis(self.ended_at))
    }
}

impl Rows {
    /// Adds a webhook, unless the tenant has as many as it may; whether it was added.
    pub(super) async fn add(&self, webhook: &Webhook) -> Result<bool> {
        const SQL: &str = "\
            INSERT INTO webhooks (id, tenant, url, description, types, secret, created_at) \
            SELECT $1, $2, $3, $4, $5, $6, CAST($7 AS BIGINT) \
            WHERE (SELECT COUNT(*) FROM webhooks WHERE tenant = $2) < $8 RETURNING id";
        let (webhook, dialect) = (webhook.clone(), self.0.dialect());
        self.run(move |batch| {
            // Who counts must not miss one that another adds. It is seldom, and reading goes on.
            let batch = match dialect {
                Dialect::Sqlite => batch,
                Dialect::Postgres => {
                    batch.statement("LOCK TABLE webhooks IN SHARE ROW EXCLUSIVE MODE")
                }
            };
            batch
                .statement(SQL)
                .bind(webhook.id.to_string())
                .bind(webhook.tenant.as_str().to_owned())
                .bind(webhook.url)
                .bind(webhook.description)
                .bind(webhook.types.column())
                .bind(webhook.secret.expose())
                .bind(millis(webhook.created_at))
                .bind(MOST)
        })
        .await
    }

    /// Writes what of a webhook its owner may change, and that it is disabled or not only where the owner
    /// said so: its receiver may have said something meanwhile. Whether it is there still.
    pub(super) async fn change(&self, webhook: &Webhook, also_state: bool) -> Result<bool> {
        const SQL: &str = "\
            UPDATE webhooks SET url = $3, description = $4, types = $5, \
            disabled_at = CASE WHEN $8 = 1 THEN CAST($6 AS BIGINT) ELSE disabled_at END, \
            disabled_why = CASE WHEN $8 = 1 THEN $7 ELSE disabled_why END \
            WHERE id = $1 AND tenant = $2 RETURNING id";
        let (at, why) = webhook.disabled.clone().unzip();
        let webhook = webhook.clone();
        self.run(move |batch| {
            of(batch.statement(SQL), &webhook.tenant, webhook.id)
                .bind(webhook.url)
                .bind(webhook.description)
                .bind(webhook.types.column())
                .bind(at.map(millis))
                .bind(why)
                .bind(i64::from(also_state))
        })
        .await
    }

    /// Has this secret sign from now on, and the one before it for a while; whether the webhook is there.
    pub(super) async fn rotate(
        &self,
        tenant: &TenantId,
        id: Uuid,
        secret: &SigningSecret,
    ) -> Result<bool> {
        const SQL: &str = "\
            UPDATE webhooks SET previous_secret = secret, previous_until = $3, secret = $4 \
            WHERE id = $1 AND tenant = $2 RETURNING id";
        let (tenant, secret) = (tenant.clone(), secret.expose());
        let until = millis(SystemTime::now() + BOTH_SIGN);
        self.run(move |batch| of(batch.statement(SQL), &tenant, id).bind(until).bind(secret)).await
    }

    /// Removes a webhook, and what has come of its deliveries; whether it was there.
    pub(super) async fn remove(&self, tenant: &TenantId, id: Uuid) -> Result<bool> {
        const SQL: &str = "DELETE FROM webhooks WHERE id = $1 AND tenant = $2 RETURNING id";
        let tenant = tenant.clone();
        self.run(move |batch| of(batch.statement(SQL), &tenant, id)).await
    }

    /// The tenant's webhook of this id.
    pub(super) async fn find(&self, tenant: &TenantId, id: Uuid) -> Result<Option<Webhook>> {
        const SQL: &str = "SELECT * FROM webhooks WHERE id = $1 AND tenant = $2";
        let tenant = tenant.clone();
        let fill = move |batch: Batch| of(batch.statement(SQL), &tenant, id);
        Ok(self.look_up(fill, Webhook::of_row).await?.pop())
    }

    /// All of the tenant's webhooks, the oldest first.
    pub(super) async fn list(&self, tenant: &TenantId) -> Result<Vec<Webhook>> {
        const SQL: &str = "SELECT * FROM webhooks WHERE tenant = $1 ORDER BY created_at, id";
        let tenant = tenant.as_str().to_owned();
        self.look_up(move |batch| batch.statement(SQL).bind(tenant), Webhook::of_row).await
    }

    /// All tenants that have one which is not disabled.
    pub(super) async fn tenants(&self) -> Result<Vec<String>> {
        const SQL: &str = "SELECT DISTINCT tenant FROM webhooks WHERE disabled_at IS NULL";
        self.look_up(|batch| batch.statement(SQL), |row| Ok(row.try_get("tenant")?)).await
    }

    /// The webhook's ended deliveries below this id, the greatest first.
    pub(super) async fn ended(&self, webhook: Uuid, below: &str, most: u64) -> Result<Vec<Ended>> {
        const SQL: &str = "\
            SELECT * FROM deliveries WHERE webhook = $1 AND id < $2 ORDER BY id DESC LIMIT $3";
        let below = below.to_owned();
        let fill = move |batch: Batch| {
            let batch = batch.statement(SQL).bind(webhook.to_string()).bind(below);
            batch.bind(i64::try_from(most).unwrap_or(i64::MAX))
        };
        self.look_up(fill, Ended::of_row).await
    }

    /// The webhook's ended delivery of this id.
    pub(super) async fn one_ended(&self, webhook: Uuid, id: Uuid) -> Result<Option<Ended>> {
        const SQL: &str = "SELECT * FROM deliveries WHERE webhook = $1 AND id = $2";
        let fill =
            move |batch: Batch| batch.statement(SQL).bind(webhook.to_string()).bind(id.to_string());
        Ok(self.look_up(fill, Ended::of_row).await?.pop())
    }

    /// Forgets deliveries that ended before this, and secrets that sign no more: a page at a time, each in
    /// a transaction of its own, so that others need not wait.
    pub(super) async fn forget(&self, before: SystemTime) -> Result<()> {
        const OLD: &str = "\
            DELETE FROM deliveries WHERE (webhook, id) IN (\
            SELECT webhook, id FROM deliveries WHERE ended_at <= $1 LIMIT $2{lock}) RETURNING id";
        const SECRETS: &str = "\
            UPDATE webhooks SET previous_secret = NULL, previous_until = NULL WHERE id IN (\
            SELECT id FROM webhooks WHERE previous_until <= $1 LIMIT $2{lock}) RETURNING id";
        for (sql, before) in [(OLD, before), (SECRETS, SystemTime::now())] {
            let sql = sql.replace("{lock}", self.0.dialect().skip_locked());
            let page = || {
                let sql = sql.clone();
                self.run(move |batch| batch.statement(&sql).bind(millis(before)).bind(PAGE))
            };
            while page().await? {}
        }
        Ok(())
    }

    /// Runs what `fill` adds in a transaction; whether it returned a row.
    pub(super) async fn run(
        &self,
        fill: impl FnOnce(Batch) -> Batch + Send + 'static,
    ) -> Result<bool> {
        let rows = self.0.write(move |connection: &mut AnyConnection| {
            Box::pin(async move {
                let outcome = fill(Batch::new(connection)).run(connection).await?;
                Ok::<_, Error>(!outcome.rows.is_empty())
            })
        });
        rows.await
    }

    async fn look_up<T: Send + 'static>(
        &self,
        fill: impl FnOnce(Batch) -> Batch + Send + 'static,
        read: fn(&AnyRow) -> Result<T>,
    ) -> Result<Vec<T>> {
        self.0
            .read(move |connection: &mut AnyConnection| {
                Box::pin(async move {
                    let outcome = fill(Batch::new(connection)).run(connection).await?;
                    outcome.rows.iter().map(read).collect()
                })
            })
            .await
    }
}

/// Adds that nothing is sent to a webhook any more, and why; unless it has another url by now.
pub(super) fn disable(batch: Batch, webhook: &str, url: &str, why: &str) -> Batch {
    const SQL: &str = "\
        UPDATE webhooks SET disabled_at = $3, disabled_why = $4 \
        WHERE id = $1 AND url = $2 AND disabled_at IS NULL";
    let batch = batch.statement(SQL).bind(webhook.to_owned()).bind(url.to_owned());
    batch.bind(millis(SystemTime::now())).bind(why.to_owned())
}

/// Adds the removal of all that is a tenant's.
pub(super) fn forget_tenant(batch: Batch, tenant: &TenantId) -> Batch {
    const SQL: &str = "DELETE FROM webhooks WHERE tenant = $1";
    batch.statement(SQL).bind(tenant.as_str().to_owned())
}

fn of(batch: Batch, tenant: &TenantId, id: Uuid) -> Batch {
    batch.bind(id.to_string()).bind(tenant.as_str().to_owned())
}

fn unreadable(what: &'static str) -> Error {
    database::Error::new(ErrorKind::Internal, format!("{what} cannot be read")).into()
}
