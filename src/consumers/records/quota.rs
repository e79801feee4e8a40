//! What a tenant's images come to, and the most that they may come to.
//!
//! What uploads will add is reserved in their intents: a failed one gives it back by being gone.

use std::{
    collections::HashSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};
use sqlx::{AnyConnection, Row, any::AnyRow};
use uuid::Uuid;

use super::{
    Error, Records, Result,
    image::{self, Image, signed},
};
use crate::{database::Batch, settings::text, storage::ObjectKey, tenant::TenantId};

/// `[quotas]`: the most that each tenant's images may come to.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Quotas {
    /// Bytes of all images together; none: no limit.
    #[serde(with = "text", skip_serializing_if = "Option::is_none")]
    pub bytes: Option<ByteSize>,
    /// Images; none: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub images: Option<u64>,
}

/// A limit of a tenant's own; none: without limit.
#[derive(Clone, Copy, Debug)]
pub struct OwnLimit(pub Option<u64>);

impl OwnLimit {
    /// As it is kept: a negative number is no limit.
    fn kept(self) -> i64 {
        self.0.map_or(-1, signed)
    }
}

/// Limits of a tenant's own, in place of the settings'.
#[derive(Clone, Copy, Debug, Default)]
pub struct OwnQuotas {
    /// Bytes of all images together.
    pub bytes: Option<OwnLimit>,
    /// Images.
    pub images: Option<OwnLimit>,
}

/// What a tenant's images come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of all images together.
    pub bytes: u64,
    /// Images.
    pub images: u64,
    /// The most bytes; none: no limit.
    pub max_bytes: Option<u64>,
    /// The most images; none: no limit.
    pub max_images: Option<u64>,
}

impl Usage {
    /// Whether there is any limit.
    pub fn is_limited(&self) -> bool {
        self.max_bytes.is_some() || self.max_images.is_some()
    }
}

/// By how much a tenant's images grow, or shrink.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Growth {
    pub(super) bytes: i64,
    pub(super) images: i64,
}

/// What an upload that replaces `old` reserves: never less than nothing.
pub(super) fn growth(size: u64, old: Option<&Image>) -> Growth {
    let Growth { bytes, images } = difference(size, old);
    Growth { bytes: bytes.max(0), images }
}

/// What an upload that replaces `old` changes.
pub(super) fn difference(size: u64, old: Option<&Image>) -> Growth {
    let before = old.map_or(0, |old| signed(old.size));
    Growth { bytes: signed(size) - before, images: i64::from(old.is_none()) }
}

/// What the deletion of `old` changes.
pub(super) fn removal(old: &Image) -> Growth {
    Growth { bytes: -signed(old.size), images: -1 }
}

/// Takes a change of an image into the tenant's sums; an event of it is to be told.
pub(super) fn settle(batch: Batch, tenant: &TenantId, grown: Growth) -> Batch {
    add(batch, tenant, grown, 1)
}

fn add(batch: Batch, tenant: &TenantId, grown: Growth, events: i64) -> Batch {
    const SQL: &str = "\
        INSERT INTO usage (tenant, bytes, images, events) VALUES ($1, $2, $3, $4) \
        ON CONFLICT (tenant) DO UPDATE SET bytes = usage.bytes + excluded.bytes, \
        images = usage.images + excluded.images, events = usage.events + excluded.events";
    batch
        .statement(SQL)
        .bind(tenant.as_str().to_owned())
        .bind(grown.bytes)
        .bind(grown.images)
        .bind(events)
}

/// What an upload adds, as far as it is known: at least this, and at most that.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected {
    pub(super) least: Growth,
    pub(super) most: Growth,
}

impl Expected {
    /// Exactly this.
    pub(super) fn exactly(grown: Growth) -> Self {
        Self { least: grown, most: grown }
    }
}

/// The quotas of the settings, and which tenants are known to have others.
#[derive(Debug, Default)]
pub(super) struct Limits {
    usual: Quotas,
    /// Tenants that were seen to have a limit of their own.
    own: Mutex<HashSet<TenantId>>,
}

impl Limits {
    /// As many tenants are remembered.
    const MOST: usize = 10_000;

    pub(super) fn new(usual: Quotas) -> Self {
        Self { usual, own: Mutex::default() }
    }

    /// Whether a limit may apply to the tenant, as far as this process has seen.
    fn may_apply(&self, tenant: &TenantId) -> bool {
        self.usual.bytes.is_some() || self.usual.images.is_some() || self.own().contains(tenant)
    }

    fn remember(&self, tenant: &TenantId, limited: bool) {
        let mut own = self.own();
        if !limited {
            own.remove(tenant);
        } else if !own.contains(tenant) {
            if own.len() >= Self::MOST {
                own.clear();
            }
            own.insert(tenant.clone());
        }
    }

    fn own(&self) -> MutexGuard<'_, HashSet<TenantId>> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an upload may reserve within the tenant's `limits`: as much of what is expected of it as there
/// is room for, all other uploads' reservations counted. Until the transaction ends, no other of the
/// tenant's can reserve anything.
///
/// # Errors
/// [`Error::Quota`] when there is no room for the least that is expected.
pub(super) async fn reserve(
    connection: &mut AnyConnection,
    tenant: &TenantId,
    intent: Uuid,
    expected: Expected,
    limits: Usage,
) -> Result<Growth> {
    if !limits.is_limited() {
        return Ok(expected.most);
    }
    // Changing nothing locks the row, in either dialect.
    add(Batch::new(connection), tenant, Growth::default(), 0).run(connection).await?;
    room(connection, tenant, intent, limits).await?.share(expected)
}

/// What the tenant's images may still grow by, what others than `intent` have reserved taken off;
/// none: without limit.
async fn room(
    connection: &mut AnyConnection,
    tenant: &TenantId,
    intent: Uuid,
    limits: Usage,
) -> Result<Room> {
    const SQL: &str = "\
        SELECT CAST(COALESCE(usage.bytes, 0) AS BIGINT) AS bytes, \
        CAST(COALESCE(usage.images, 0) AS BIGINT) AS images, \
        CAST(COALESCE(SUM(intents.reserved_bytes), 0) AS BIGINT) AS reserved_bytes, \
        CAST(COALESCE(SUM(intents.reserved_images), 0) AS BIGINT) AS reserved_images \
        FROM (SELECT CAST($1 AS TEXT) AS tenant) AS asked \
        LEFT JOIN usage ON usage.tenant = asked.tenant \
        LEFT JOIN intents ON intents.tenant = asked.tenant AND intents.id <> $2 \
        GROUP BY usage.bytes, usage.images";
    let row = sqlx::query(SQL).bind(tenant.as_str()).bind(intent.to_string());
    let row = row.fetch_one(connection).await?;
    let left = |used: &str, reserved: &str, most: Option<u64>| -> Result<Option<i64>> {
        let (used, reserved): (i64, i64) = (row.try_get(used)?, row.try_get(reserved)?);
        Ok(most.map(|most| signed(most).saturating_sub(used).saturating_sub(reserved)))
    };
    Ok(Room {
        bytes: left("bytes", "reserved_bytes", limits.max_bytes)?,
        images: left("images", "reserved_images", limits.max_images)?,
    })
}

/// By how much a tenant's images may still grow; none: without limit.
struct Room {
    bytes: Option<i64>,
    images: Option<i64>,
}

impl Room {
    fn share(&self, Expected { least, most }: Expected) -> Result<Growth> {
        let lacks = |grown: i64, left: Option<i64>| grown > 0 && left.is_some_and(|l| grown > l);
        if lacks(least.bytes, self.bytes) || lacks(most.images, self.images) {
            return Err(Error::Quota);
        }
        let bytes = self.bytes.map_or(most.bytes, |left| most.bytes.min(left.max(least.bytes)));
        Ok(Growth { bytes, images: most.images })
    }
}

/// The columns that [`limits_of`] reads, of `usage` and `quotas`.
macro_rules! limit_columns {
    () => {
        "CAST(COALESCE(usage.bytes, 0) AS BIGINT) AS bytes, \
         CAST(COALESCE(usage.images, 0) AS BIGINT) AS images, quotas.tenant AS own, \
         quotas.bytes AS max_bytes, quotas.images AS max_images"
    };
}
pub(super) use limit_columns;

/// The tenant's sums and limits: its own, else those of the settings.
pub(super) async fn limits(
    connection: &mut AnyConnection,
    tenant: &TenantId,
    quotas: &Limits,
) -> Result<Usage> {
    const SQL: &str = concat!(
        "SELECT ",
        limit_columns!(),
        " FROM (SELECT CAST($1 AS TEXT) AS tenant) AS asked \
         LEFT JOIN usage ON usage.tenant = asked.tenant LEFT JOIN quotas ON quotas.tenant = asked.tenant"
    );
    let row = sqlx::query(SQL).bind(tenant.as_str()).fetch_one(connection).await?;
    limits_of(&row, tenant, quotas)
}

/// The tenant's sums and limits, as a row tells them.
pub(super) fn limits_of(row: &AnyRow, tenant: &TenantId, quotas: &Limits) -> Result<Usage> {
    let usage = usage_of(row, quotas)?;
    let own = row.try_get::<Option<String>, _>("own")?.is_some();
    quotas.remember(tenant, own && usage.is_limited());
    Ok(usage)
}

/// Sums and limits, as a row tells them.
fn usage_of(row: &AnyRow, quotas: &Limits) -> Result<Usage> {
    let unsigned = |n: i64| u64::try_from(n).unwrap_or_default();
    let max = |column, usual| -> Result<Option<u64>> {
        let own = row.try_get::<Option<i64>, _>(column)?;
        Ok(own.map_or(usual, |own| u64::try_from(own).ok()))
    };
    let max_bytes = max("max_bytes", quotas.usual.bytes.map(|bytes| bytes.as_u64()))?;
    let max_images = max("max_images", quotas.usual.images)?;
    let (bytes, images) = (row.try_get("bytes")?, row.try_get("images")?);
    Ok(Usage { bytes: unsigned(bytes), images: unsigned(images), max_bytes, max_images })
}

impl Records {
    /// What the tenant's images come to, and the most that they may.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn usage(&self, tenant: &TenantId) -> Result<Usage> {
        let (tenant, quotas) = (tenant.clone(), self.quotas());
        self.read(move |connection| {
            Box::pin(async move { limits(connection, &tenant, &quotas).await })
        })
        .await
    }

    /// Looks early whether an upload of at least `least` bytes could be kept under `key`, where a
    /// limit may apply. That it can is not settled by this.
    ///
    /// # Errors
    /// [`Error::Quota`] when it could not.
    pub async fn check_room(&self, tenant: &TenantId, key: &ObjectKey, least: u64) -> Result<()> {
        let (tenant, key, quotas) = (tenant.clone(), key.clone(), self.quotas());
        if !quotas.may_apply(&tenant) {
            return Ok(());
        }
        self.read(move |connection| {
            Box::pin(async move {
                let limits = limits(connection, &tenant, &quotas).await?;
                if limits.is_limited() {
                    let old = image::named(connection, key.as_str()).await?;
                    let room = room(connection, &tenant, Uuid::nil(), limits).await?;
                    room.share(Expected::exactly(growth(least, old.as_ref())))?;
                }
                Ok(())
            })
        })
        .await
    }

    /// The usage of at most `limit` tenants that have images or quotas of their own, in the order of
    /// their ids, behind the tenant `after`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn usage_of_all(
        &self,
        after: Option<&TenantId>,
        limit: u64,
    ) -> Result<Vec<(TenantId, Usage)>> {
        const SQL: &str = concat!(
            "SELECT known.tenant, ",
            limit_columns!(),
            " FROM (SELECT tenant FROM usage WHERE bytes <> 0 OR images <> 0 \
             UNION SELECT tenant FROM quotas) AS known \
             LEFT JOIN usage ON usage.tenant = known.tenant \
             LEFT JOIN quotas ON quotas.tenant = known.tenant \
             WHERE known.tenant > $1 ORDER BY known.tenant LIMIT $2"
        );
        let after = after.map(|tenant| tenant.as_str().to_owned()).unwrap_or_default();
        let quotas = self.quotas();
        self.read(move |connection| {
            Box::pin(async move {
                let query = sqlx::query(SQL).bind(after).bind(signed(limit));
                let rows = query.fetch_all(connection).await?;
                rows.iter().map(|row| Ok((image::tenant(row)?, usage_of(row, &quotas)?))).collect()
            })
        })
        .await
    }

    /// Gives the tenant quotas of its own: what is none in `own` stays as it is. None at all takes them
    /// away again.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn set_quotas(&self, tenant: &TenantId, own: Option<OwnQuotas>) -> Result<()> {
        const SET: &str = "\
            INSERT INTO quotas (tenant, bytes, images) VALUES ($1, $2, $3) ON CONFLICT (tenant) DO UPDATE \
            SET bytes = COALESCE(excluded.bytes, quotas.bytes), \
            images = COALESCE(excluded.images, quotas.images)";
        let tenant = tenant.clone();
        self.write(move |connection| {
            Box::pin(async move {
                let query = match own {
                    Some(own) => sqlx::query(SET)
                        .bind(tenant.as_str())
                        .bind(own.bytes.map(OwnLimit::kept))
                        .bind(own.images.map(OwnLimit::kept)),
                    None => {
                        sqlx::query("DELETE FROM quotas WHERE tenant = $1").bind(tenant.as_str())
                    }
                };
                query.execute(connection).await?;
                Ok(())
            })
        })
        .await
    }
}
