//! Looking records up: by id, by name, and newest first in pages.

use std::time::SystemTime;

use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::{
    Records, Result,
    image::{self, Image, columns, signed},
};
use crate::{database::millis, storage::ObjectKey, tenant::TenantId};

/// Which of a tenant's images, newest first.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only this customer's.
    pub customer: Option<String>,
    /// Only the one of this stored name.
    pub stored_name: Option<String>,
    /// Only those behind this place.
    pub after: Option<Position>,
    /// At most so many.
    pub limit: u64,
}

/// A place in the order of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// When the image was made, to the millisecond.
    pub created_at: SystemTime,
    /// Which of those made then.
    pub id: Uuid,
}

impl Records {
    /// The tenant's image of this id.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find(&self, tenant: &TenantId, id: Uuid) -> Result<Option<Image>> {
        const SQL: &str =
            concat!("SELECT ", columns!(), " FROM images WHERE id = $1 AND tenant = $2");
        let tenant = tenant.clone();
        self.read(move |connection| {
            Box::pin(async move {
                let query = sqlx::query(SQL).bind(id.to_string()).bind(tenant.as_str());
                let row = query.fetch_optional(connection).await?;
                row.as_ref().map(Image::of_row).transpose()
            })
        })
        .await
    }

    /// The image that is kept under this key.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn named(&self, key: &ObjectKey) -> Result<Option<Image>> {
        let key = key.clone();
        self.read(move |connection| {
            Box::pin(async move { image::named(connection, key.as_str()).await })
        })
        .await
    }

    /// The tenant's images, newest first by the time they were made, then by id.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list(&self, tenant: &TenantId, filter: Filter) -> Result<Vec<Image>> {
        let tenant = tenant.clone();
        self.read(move |connection| {
            Box::pin(async move {
                // The text is made of constants; what the client chose is bound.
                let mut query = sqlx::query(AssertSqlSafe(statement(&filter)))
                    .bind(tenant.as_str().to_owned())
                    .bind(signed(filter.limit));
                if let Some(after) = filter.after {
                    query = query.bind(millis(after.created_at)).bind(after.id.to_string());
                }
                for value in [filter.customer, filter.stored_name].into_iter().flatten() {
                    query = query.bind(value);
                }
                let rows = query.fetch_all(connection).await?;
                rows.iter().map(Image::of_row).collect()
            })
        })
        .await
    }
}

fn statement(filter: &Filter) -> String {
    let mut sql = concat!("SELECT ", columns!(), " FROM images WHERE tenant = $1").to_owned();
    let mut next = 3;
    if filter.after.is_some() {
        sql.push_str(" AND (created_at, id) < ($3, $4)");
        next = 5;
    }
    let wanted = [("customer", &filter.customer), ("stored_name", &filter.stored_name)];
    for (column, _) in wanted.iter().filter(|(_, value)| value.is_some()) {
        sql.push_str(&format!(" AND {column} = ${next}"));
        next += 1;
    }
    sql.push_str(" ORDER BY created_at DESC, id DESC LIMIT $2");
    sql
}
