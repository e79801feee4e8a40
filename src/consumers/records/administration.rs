//! What the administration of tenants asks of the records: which names are recorded, what there
//! is in all, what is unsettled, and a tenant's last rows.

use std::collections::HashSet;

use sqlx::{AssertSqlSafe, Row, any::AnyRow};

use super::{Records, Result, image, image::number};
use crate::{database::Batch, tenant::TenantId};

/// Names that are asked for at once: both databases take as many parameters.
const AT_ONCE: usize = 500;

/// Whose images: a tenant's, or those of one of its customers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Whose.
    pub tenant: TenantId,
    /// Of this customer only, whose id is one.
    pub customer: Option<String>,
}

/// Images, and what they come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Images.
    pub images: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Extent {
    /// What the keys of all its objects begin with.
    pub fn prefix(&self) -> String {
        match &self.customer {
            Some(customer) => format!("{}/customer/{customer}/", self.tenant),
            None => format!("{}/", self.tenant),
        }
    }
}

impl Records {
    /// Those of these names that have a record.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn recorded(&self, names: &[String]) -> Result<HashSet<String>> {
        const SQL: &str = "SELECT stored_name FROM images WHERE stored_name IN ({})";
        self.among(SQL, names).await
    }

    /// Those of these names that a change is under way of, or left over.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn intended(&self, names: &[String]) -> Result<HashSet<String>> {
        const SQL: &str = "\
            SELECT stored_name FROM intents WHERE owner <> '' AND stored_name IN ({})";
        self.among(SQL, names).await
    }

    /// What this query of one column finds, with the names in place of its `{}`.
    pub(super) async fn among(
        &self,
        sql: &'static str,
        names: &[String],
    ) -> Result<HashSet<String>> {
        let found = self.rows_among(sql, names, |row| Ok(row.try_get(0)?)).await?;
        Ok(found.into_iter().collect())
    }

    /// What `read` makes of the rows that this query finds, with the names in place of its `{}`.
    pub(super) async fn rows_among<T: Send + 'static>(
        &self,
        sql: &'static str,
        names: &[String],
        read: fn(&AnyRow) -> Result<T>,
    ) -> Result<Vec<T>> {
        let mut found = Vec::new();
        for names in names.chunks(AT_ONCE) {
            let names = names.to_vec();
            let numbers: Vec<_> = (1..=names.len()).map(|number| format!("${number}")).collect();
            // The text is made of constants and numbers; the names are bound.
            let sql = AssertSqlSafe(sql.replace("{}", &numbers.join(", ")));
            let rows = self.read(move |connection| {
                Box::pin(async move {
                    let mut query = sqlx::query(sql);
                    for name in names {
                        query = query.bind(name);
                    }
                    let rows = query.fetch_all(connection).await?;
                    rows.iter().map(read).collect::<Result<Vec<T>>>()
                })
            });
            found.extend(rows.await?);
        }
        Ok(found)
    }

    /// What there is in all, by the records.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn sums(&self, extent: &Extent) -> Result<Sums> {
        const SQL: &str = "\
            SELECT COUNT(*) AS images, CAST(COALESCE(SUM(size), 0) AS BIGINT) AS bytes FROM images \
            WHERE tenant = $1";
        let Extent { tenant, customer } = extent.clone();
        let sql = if customer.is_some() { format!("{SQL} AND customer = $2") } else { SQL.into() };
        self.read(move |connection| {
            Box::pin(async move {
                // Made of constants.
                let query = sqlx::query(AssertSqlSafe(sql)).bind(tenant.as_str().to_owned());
                let query = match customer {
                    Some(customer) => query.bind(customer),
                    None => query,
                };
                let row = query.fetch_one(connection).await?;
                Ok(Sums { images: number(&row, "images")?, bytes: number(&row, "bytes")? })
            })
        })
        .await
    }

    /// How many changes of these images nobody works on, as far as can be told here.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn left_over(&self, extent: &Extent) -> Result<usize> {
        const SQL: &str = "\
            SELECT id, stored_name, owner, \
            CASE WHEN left_at IS NOT NULL OR (owner <> '' AND owner NOT IN (SELECT id FROM owners)) THEN CAST(1 AS BIGINT) ELSE CAST(0 AS BIGINT) END AS left_over \
            FROM intents WHERE tenant = $1";
        let (tenant, prefix, own) =
            (extent.tenant.clone(), extent.prefix(), self.owner_id().to_string());
        // Those that end while the rows are read, and those that begin, are not left over.
        let mut live = self.live().clone();
        let rows = self.read(move |connection| {
            Box::pin(async move {
                let query = sqlx::query(SQL).bind(tenant.as_str());
                Ok(query.fetch_all(connection).await?)
            })
        });
        let rows = rows.await?;
        live.extend(&self.live());
        let mut count = 0;
        for row in &rows {
            let name: String = row.try_get("stored_name")?;
            let is_left = image::number::<u8>(row, "left_over")? == 1;
            let is_ours = row.try_get::<String, _>("owner")? == own;
            let is_dropped = is_ours && !live.contains(image::uuid(row, "id")?);
            count += usize::from(name.starts_with(&prefix) && (is_left || is_dropped));
        }
        Ok(count)
    }

    /// The references of the multipart uploads that intents of the tenant know, by name; none for
    /// one that is not named yet.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn staged(
        &self,
        tenant: &TenantId,
    ) -> Result<HashSet<(String, Option<String>)>> {
        const SQL: &str = "\
            SELECT stored_name, staged FROM intents WHERE tenant = $1 \
            AND (staged IS NOT NULL OR (kind IN ('upload', 'session') AND owner <> '' AND size IS NULL))";
        let tenant = tenant.clone();
        self.read(move |connection| {
            Box::pin(async move {
                let rows = sqlx::query(SQL).bind(tenant.as_str()).fetch_all(connection).await?;
                let row = |row: &AnyRow| Ok((row.try_get("stored_name")?, row.try_get("staged")?));
                rows.iter().map(row).collect()
            })
        })
        .await
    }

    /// Removes what is kept of a tenant beside its images: its quotas, what follows its changes, and the
    /// events of images that are gone. The number of its last event stays, so that no other event ever has it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget(&self, tenant: &TenantId) -> Result<()> {
        // The first waits for the changes under way, and the others see what those have done.
        const SQL: [&str; 3] = [
            "UPDATE usage SET bytes = bytes WHERE tenant = $1",
            "DELETE FROM events WHERE tenant = $1 \
             AND NOT EXISTS (SELECT 1 FROM images WHERE images.id = events.id)",
            "DELETE FROM quotas WHERE tenant = $1",
        ];
        let (tenant, records) = (tenant.clone(), self.clone());
        self.write(move |connection| {
            Box::pin(async move {
                for sql in SQL {
                    sqlx::query(sql).bind(tenant.as_str()).execute(&mut *connection).await?;
                }
                let batch = records.forget_following(Batch::new(connection), &tenant);
                batch.run(connection).await?;
                Ok(())
            })
        })
        .await
    }
}
