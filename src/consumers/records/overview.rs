//! What there is of everything, for metrics.

use std::time::SystemTime;

use sqlx::Row as _;

use super::{Records, Result, image::number};
use crate::database::of_millis;

/// What the database has, of all tenants and all processes.
#[derive(Clone, Copy, Debug)]
pub struct Overview {
    /// Images.
    pub images: u64,
    /// Bytes of all images together.
    pub bytes: u64,
    /// Events that were ever told.
    pub events: u64,
    /// When the oldest event that is kept took place.
    pub oldest_event: Option<SystemTime>,
    /// When the newest did.
    pub newest_event: Option<SystemTime>,
    /// Changes that are not finished.
    pub intents: u64,
    /// Those of them that nobody works on any more.
    pub abandoned: u64,
}

impl Records {
    /// What there is. It takes a look at a row of each tenant's.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn overview(&self) -> Result<Overview> {
        const SUMS: &str = "\
            SELECT CAST(COALESCE(SUM(images), 0) AS BIGINT) AS images, \
            CAST(COALESCE(SUM(bytes), 0) AS BIGINT) AS bytes, \
            CAST(COALESCE(SUM(events), 0) AS BIGINT) AS events, \
            (SELECT MIN(occurred_at) FROM events) AS oldest, \
            (SELECT MAX(occurred_at) FROM events) AS newest, \
            (SELECT COUNT(*) FROM intents) AS intents, \
            (SELECT COUNT(left_at) FROM intents) AS abandoned FROM usage";
        self.read(|connection| {
            Box::pin(async move {
                let row = sqlx::query(SUMS).fetch_one(connection).await?;
                let time = |column| row.try_get::<Option<i64>, _>(column);
                Ok(Overview {
                    images: number(&row, "images")?,
                    bytes: number(&row, "bytes")?,
                    events: number(&row, "events")?,
                    oldest_event: time("oldest")?.map(of_millis),
                    newest_event: time("newest")?.map(of_millis),
                    intents: number(&row, "intents")?,
                    abandoned: number(&row, "abandoned")?,
                })
            })
        })
        .await
    }
}
