//! An intent's row and its lease, as they are written.

use std::time::SystemTime;

use sqlx::AnyConnection;
use uuid::Uuid;

use super::{
    Error, NewImage, Result,
    image::{self, millis, signed},
    quota::Growth,
};
use crate::{storage::ObjectKey, tenant::TenantId};

/// What an intent is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// An object is to come, and its record.
    Upload,
    /// An object that is there is to get its record.
    Adoption,
    /// An object is to go, and its record if it has one.
    Deletion,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Upload => "upload",
            Self::Adoption => "adopt",
            Self::Deletion => "delete",
        }
    }

    /// The kind that is written so in a row.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let all = [Self::Upload, Self::Adoption, Self::Deletion];
        let found = all.into_iter().find(|kind| kind.as_str() == text);
        Ok(found.ok_or_else(|| image::unreadable("kind", "unknown"))?)
    }
}

/// What is the same in all of an intent's rows.
#[derive(Clone)]
pub(super) struct Note {
    pub(super) id: Uuid,
    pub(super) kind: Kind,
    pub(super) tenant: TenantId,
    pub(super) key: ObjectKey,
    pub(super) owner: Uuid,
    /// When it was begun; of an adoption, when its object was written.
    pub(super) created: SystemTime,
}

impl Note {
    /// Writes the row, or what has become known of it.
    pub(super) async fn write(
        &self,
        connection: &mut AnyConnection,
        target: Option<Uuid>,
        grown: Growth,
        new: Option<&NewImage>,
    ) -> Result<()> {
        const SQL: &str = "\
            INSERT INTO intents (id, kind, tenant, stored_name, owner, target, customer, display_name, \
            content_type, size, sha256, width, height, reserved_bytes, reserved_images, created_at) \
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16) \
            ON CONFLICT (id) DO UPDATE SET customer = excluded.customer, \
            display_name = excluded.display_name, content_type = excluded.content_type, \
            size = excluded.size, sha256 = excluded.sha256, width = excluded.width, \
            height = excluded.height, reserved_bytes = excluded.reserved_bytes, \
            reserved_images = excluded.reserved_images WHERE intents.owner = excluded.owner";
        let written = sqlx::query(SQL)
            .bind(self.id.to_string())
            .bind(self.kind.as_str())
            .bind(self.tenant.as_str())
            .bind(self.key.as_str())
            .bind(self.owner.to_string())
            .bind(target.map(|id| id.to_string()))
            .bind(new.map(|new| new.customer.as_str()))
            .bind(new.map(|new| new.display_name.as_str()))
            .bind(new.map(|new| new.content_type.as_str()))
            .bind(new.map(|new| signed(new.size)))
            .bind(new.map(|new| new.sha256.as_str()))
            .bind(new.map(|new| i64::from(new.width)))
            .bind(new.map(|new| i64::from(new.height)))
            .bind(grown.bytes)
            .bind(grown.images)
            .bind(millis(self.created))
            .execute(connection)
            .await?;
        if written.rows_affected() == 0 { Err(Error::Lost) } else { Ok(()) }
    }
}

/// Whose turn it is at a name, once it was asked for.
#[derive(PartialEq)]
pub(super) enum Lease {
    /// The asker's.
    Taken,
    /// That of a change that is under way.
    Anothers,
    /// That of a change that is to be settled.
    LeftOver,
}

pub(super) async fn take_lease(
    connection: &mut AnyConnection,
    key: &ObjectKey,
    id: Uuid,
) -> Result<Lease> {
    const TAKE: &str = "INSERT INTO leases (stored_name, intent) VALUES ($1, $2) ON CONFLICT (stored_name) DO NOTHING";
    const LEFT: &str = "\
        SELECT 1 FROM leases JOIN intents ON intents.id = leases.intent \
        WHERE leases.stored_name = $1 AND intents.left_at IS NOT NULL";
    let take = sqlx::query(TAKE).bind(key.as_str()).bind(id.to_string());
    if take.execute(&mut *connection).await?.rows_affected() == 1 {
        return Ok(Lease::Taken);
    }
    let left = sqlx::query(LEFT).bind(key.as_str()).fetch_optional(connection).await?;
    Ok(if left.is_some() { Lease::LeftOver } else { Lease::Anothers })
}

/// Gives the lease back, and leaves a note only of parts that the store may have.
pub(super) async fn give_up(connection: &mut AnyConnection, id: Uuid) -> Result<()> {
    for sql in [
        "DELETE FROM leases WHERE intent = $1",
        "DELETE FROM intents WHERE id = $1 AND staged IS NULL",
        "UPDATE intents SET size = NULL WHERE id = $1",
    ] {
        sqlx::query(sql).bind(id.to_string()).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Removes this owner's intent's row and its lease.
///
/// # Errors
/// [`Error::Lost`] when there is none; the transaction must not be kept then.
pub(super) async fn remove(connection: &mut AnyConnection, id: Uuid, owner: Uuid) -> Result<()> {
    const LEASE: &str = "DELETE FROM leases WHERE intent = $1";
    const INTENT: &str = "DELETE FROM intents WHERE id = $1 AND owner = $2";
    let id = id.to_string();
    sqlx::query(LEASE).bind(&id).execute(&mut *connection).await?;
    let removed = sqlx::query(INTENT).bind(&id).bind(owner.to_string()).execute(connection).await?;
    if removed.rows_affected() == 0 { Err(Error::Lost) } else { Ok(()) }
}
