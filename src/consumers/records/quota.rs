//! What a tenant's images come to, and the most that they may come to.
//!
//! What uploads will add is reserved in their intents: a failed one gives it back by being gone.

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};
use sqlx::{AnyConnection, Row};
use uuid::Uuid;

use super::{
    Error, Records, Result,
    image::{Image, signed},
};
use crate::{settings::text, tenant::TenantId};

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

/// Takes what has changed into the tenant's sums.
pub(super) async fn settle(
    connection: &mut AnyConnection,
    tenant: &TenantId,
    grown: Growth,
) -> Result<()> {
    const SQL: &str = "\
        INSERT INTO usage (tenant, bytes, images) VALUES ($1, $2, $3) ON CONFLICT (tenant) DO UPDATE \
        SET bytes = usage.bytes + excluded.bytes, images = usage.images + excluded.images";
    sqlx::query(SQL)
        .bind(tenant.as_str())
        .bind(grown.bytes)
        .bind(grown.images)
        .execute(connection)
        .await?;
    Ok(())
}

/// Refuses what would pass the tenant's quota, all other uploads' reservations counted. Until
/// the transaction ends, no other of the tenant's can pass this.
///
/// # Errors
/// [`Error::Quota`].
pub(super) async fn check(
    connection: &mut AnyConnection,
    tenant: &TenantId,
    intent: Uuid,
    grown: Growth,
    quotas: Quotas,
) -> Result<()> {
    let limits = limits(connection, tenant, quotas).await?;
    if limits.max_bytes.is_none() && limits.max_images.is_none() {
        return Ok(());
    }
    // Changing nothing locks the row, in either dialect.
    settle(connection, tenant, Growth::default()).await?;
    const SQL: &str = "\
        SELECT usage.bytes, usage.images, \
        CAST(COALESCE(SUM(intents.reserved_bytes), 0) AS BIGINT) AS reserved_bytes, \
        CAST(COALESCE(SUM(intents.reserved_images), 0) AS BIGINT) AS reserved_images \
        FROM usage LEFT JOIN intents ON intents.tenant = usage.tenant AND intents.id <> $2 \
        WHERE usage.tenant = $1 GROUP BY usage.bytes, usage.images";
    let row = sqlx::query(SQL).bind(tenant.as_str()).bind(intent.to_string());
    let row = row.fetch_one(connection).await?;
    let sum = |used: &str, reserved: &str, grown: i64| -> Result<i64> {
        let (used, reserved): (i64, i64) = (row.try_get(used)?, row.try_get(reserved)?);
        Ok(used.saturating_add(reserved).saturating_add(grown))
    };
    let bytes = sum("bytes", "reserved_bytes", grown.bytes)?;
    let images = sum("images", "reserved_images", grown.images)?;
    let passes = |grown: i64, sum: i64, most: Option<u64>| {
        grown > 0 && most.is_some_and(|most| sum > signed(most))
    };
    if passes(grown.bytes, bytes, limits.max_bytes)
        || passes(grown.images, images, limits.max_images)
    {
        return Err(Error::Quota);
    }
    Ok(())
}

/// The tenant's sums and limits: its own, else those of the settings.
async fn limits(
    connection: &mut AnyConnection,
    tenant: &TenantId,
    quotas: Quotas,
) -> Result<Usage> {
    const SQL: &str = "\
        SELECT CAST(COALESCE(usage.bytes, 0) AS BIGINT) AS bytes, \
        CAST(COALESCE(usage.images, 0) AS BIGINT) AS images, quotas.tenant AS own, \
        quotas.bytes AS max_bytes, quotas.images AS max_images \
        FROM (SELECT CAST($1 AS TEXT) AS tenant) AS asked \
        LEFT JOIN usage ON usage.tenant = asked.tenant LEFT JOIN quotas ON quotas.tenant = asked.tenant";
    let row = sqlx::query(SQL).bind(tenant.as_str()).fetch_one(connection).await?;
    let unsigned = |n: i64| u64::try_from(n).unwrap_or_default();
    let usage = |max_bytes, max_images| -> Result<Usage> {
        let (bytes, images) = (row.try_get("bytes")?, row.try_get("images")?);
        Ok(Usage { bytes: unsigned(bytes), images: unsigned(images), max_bytes, max_images })
    };
    if row.try_get::<Option<String>, _>("own")?.is_none() {
        return usage(quotas.bytes.map(|bytes| bytes.as_u64()), quotas.images);
    }
    let own = |column| -> Result<Option<u64>> {
        Ok(row.try_get::<Option<i64>, _>(column)?.map(unsigned))
    };
    usage(own("max_bytes")?, own("max_images")?)
}

impl Records {
    /// What the tenant's images come to, and the most that they may.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn usage(&self, tenant: &TenantId) -> Result<Usage> {
        let (tenant, quotas) = (tenant.clone(), self.quotas());
        self.read(move |connection| {
            Box::pin(async move { limits(connection, &tenant, quotas).await })
        })
        .await
    }

    /// Gives the tenant quotas of its own, `None` in `own` takes them away again.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn set_quotas(&self, tenant: &TenantId, own: Option<Quotas>) -> Result<()> {
        const SET: &str = "\
            INSERT INTO quotas (tenant, bytes, images) VALUES ($1, $2, $3) ON CONFLICT (tenant) DO UPDATE \
            SET bytes = excluded.bytes, images = excluded.images";
        let tenant = tenant.clone();
        self.write(move |connection| {
            Box::pin(async move {
                let query = match own {
                    Some(own) => sqlx::query(SET)
                        .bind(tenant.as_str())
                        .bind(own.bytes.map(|bytes| signed(bytes.as_u64())))
                        .bind(own.images.map(signed)),
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
