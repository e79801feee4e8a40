//! An intent's row and its lease, as they are written.

use std::time::SystemTime;

use sqlx::{AnyConnection, Row, any::AnyRow};
use uuid::Uuid;

use super::{
    Error, ExpectedSize, Image, NewImage, Result, Usage,
    image::{self, signed},
    quota::{self, Expected, Growth, Limits, limit_columns},
    sessions::NOBODY,
};
use crate::{
    database::{Batch, ErrorKind, millis},
    storage::ObjectKey,
    tenant::TenantId,
};

/// What an intent is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// An object is to come, and its record.
    Upload,
    /// An object that is there is to get its record.
    Adoption,
    /// An object is to go, and its record if it has one.
    Deletion,
    /// As an upload, in more than one request.
    Session,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Upload => "upload",
            Self::Adoption => "adopt",
            Self::Deletion => "delete",
            Self::Session => "session",
        }
    }

    /// The kind that is written so in a row.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let all = [Self::Upload, Self::Adoption, Self::Deletion, Self::Session];
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
    /// None: nobody's, as a session between its requests.
    pub(super) owner: Option<Uuid>,
    /// When it was begun; of an adoption, when its object was written.
    pub(super) created: SystemTime,
}

impl Note {
    /// Reserves what an upload of about this size will add, as far as the tenant's limits allow.
    ///
    /// # Errors
    /// [`Error::Quota`] when there is no room for the least of it.
    pub(super) async fn reserve(
        &self,
        connection: &mut AnyConnection,
        size: ExpectedSize,
        quotas: &Limits,
    ) -> Result<Growth> {
        let Standing { old, limits } =
            standing(connection, &self.tenant, &self.key, quotas).await?;
        let grown = |size| quota::growth(size, old.as_ref());
        let expected = Expected { least: grown(size.least), most: grown(size.most) };
        quota::reserve(connection, &self.tenant, self.id, expected, limits).await
    }

    /// Writes down that the store is about to keep parts of a session, which must be this owner's.
    pub(super) async fn open(&self, connection: &mut AnyConnection, grown: Growth) -> Result<()> {
        const SQL: &str = "\
            UPDATE intents SET target = id, reserved_bytes = $1, reserved_images = $2 \
            WHERE id = $3 AND owner = $4";
        let opened = sqlx::query(SQL)
            .bind(grown.bytes)
            .bind(grown.images)
            .bind(self.id.to_string())
            .bind(self.owner())
            .execute(connection)
            .await?;
        if opened.rows_affected() == 0 { Err(Error::Lost) } else { Ok(()) }
    }

    /// Writes the row, or what has become known of it.
    pub(super) async fn write(
        &self,
        connection: &mut AnyConnection,
        target: Option<Uuid>,
        grown: Growth,
        new: Option<&NewImage>,
    ) -> Result<()> {
        let written = self.put(Batch::new(connection), target, grown, new).run(connection).await?;
        if written.affected == 0 { Err(Error::Lost) } else { Ok(()) }
    }

    /// Adds the statement that writes the row, where it is not another's.
    pub(super) fn put(
        &self,
        batch: Batch,
        target: Option<Uuid>,
        grown: Growth,
        new: Option<&NewImage>,
    ) -> Batch {
        const SQL: &str = "\
            INSERT INTO intents (id, kind, tenant, stored_name, owner, target, customer, display_name, \
            content_type, size, sha256, width, height, reserved_bytes, reserved_images, created_at) \
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16) \
            ON CONFLICT (id) DO UPDATE SET customer = excluded.customer, \
            display_name = excluded.display_name, content_type = excluded.content_type, \
            size = excluded.size, sha256 = excluded.sha256, width = excluded.width, \
            height = excluded.height, reserved_bytes = excluded.reserved_bytes, \
            reserved_images = excluded.reserved_images WHERE intents.owner = excluded.owner";
        batch
            .statement(SQL)
            .bind(self.id.to_string())
            .bind(self.kind.as_str().to_owned())
            .bind(self.tenant.as_str().to_owned())
            .bind(self.key.as_str().to_owned())
            .bind(self.owner())
            .bind(target.map(|id| id.to_string()))
            .bind(new.map(|new| new.customer.clone()))
            .bind(new.map(|new| new.display_name.clone()))
            .bind(new.map(|new| new.content_type.clone()))
            .bind(new.map(|new| signed(new.size)))
            .bind(new.and_then(|new| new.sha256.clone()))
            .bind(new.map(|new| i64::from(new.width)))
            .bind(new.map(|new| i64::from(new.height)))
            .bind(grown.bytes)
            .bind(grown.images)
            .bind(millis(self.created))
    }

    fn owner(&self) -> String {
        self.owner.map_or_else(|| NOBODY.to_owned(), |owner| owner.to_string())
    }
}

/// Whose turn it is at a name, once it was asked for.
pub(super) enum Lease {
    /// The asker's.
    Taken(Box<Standing>),
    /// That of a change that is under way.
    Anothers,
    /// That of a change that is to be settled.
    LeftOver,
}

/// What a lease is taken on.
pub(super) struct Standing {
    /// The image that has the name.
    pub(super) old: Option<Image>,
    /// The limits of its tenant.
    pub(super) limits: Usage,
}

impl Standing {
    /// What `row` tells of the tenant and of the image that has the name, if one has.
    fn of_row(row: &AnyRow, tenant: &TenantId, quotas: &Limits) -> Result<Self> {
        let is_there = row.try_get::<Option<String>, _>("id")?.is_some();
        let old = is_there.then(|| Image::of_row(row)).transpose()?;
        Ok(Self { old, limits: quota::limits_of(row, tenant, quotas)? })
    }
}

/// The image that has the name `key` of this tenant now, and the tenant's limits.
pub(super) async fn standing(
    connection: &mut AnyConnection,
    tenant: &TenantId,
    key: &ObjectKey,
    quotas: &Limits,
) -> Result<Standing> {
    const SQL: &str = concat!(
        "SELECT ",
        limit_columns!(),
        ", images.* FROM (SELECT CAST($1 AS TEXT) AS stored_name, CAST($2 AS TEXT) AS tenant) AS asked \
         LEFT JOIN images ON images.stored_name = asked.stored_name \
         LEFT JOIN usage ON usage.tenant = asked.tenant LEFT JOIN quotas ON quotas.tenant = asked.tenant"
    );
    let query = sqlx::query(SQL).bind(key.as_str()).bind(tenant.as_str());
    Standing::of_row(&query.fetch_one(connection).await?, tenant, quotas)
}

/// Asks for the lease of `key`, a name of this tenant, for the intent `id`.
pub(super) async fn take_lease(
    connection: &mut AnyConnection,
    tenant: &TenantId,
    key: &ObjectKey,
    id: Uuid,
    quotas: &Limits,
) -> Result<Lease> {
    const TAKE: &str = "INSERT INTO leases (stored_name, intent) VALUES ($1, $2) ON CONFLICT (stored_name) DO NOTHING";
    const LOOK: &str = concat!(
        "SELECT leases.intent AS holder, intents.left_at AS left_at, ",
        limit_columns!(),
        ", images.* FROM leases LEFT JOIN intents ON intents.id = leases.intent \
         LEFT JOIN images ON images.stored_name = leases.stored_name \
         LEFT JOIN usage ON usage.tenant = $2 LEFT JOIN quotas ON quotas.tenant = $2 \
         WHERE leases.stored_name = $1"
    );
    let id = id.to_string();
    let looked = Batch::new(connection)
        .statement(TAKE)
        .bind(key.as_str().to_owned())
        .bind(id.clone())
        .statement(LOOK)
        .bind(key.as_str().to_owned())
        .bind(tenant.as_str().to_owned());
    let rows = looked.run(connection).await?.rows;
    // Given back in between.
    let Some(row) = rows.first() else { return Ok(Lease::Anothers) };
    if row.try_get::<String, _>("holder")? == id {
        return Ok(Lease::Taken(Box::new(Standing::of_row(row, tenant, quotas)?)));
    }
    let left_at: Option<i64> = row.try_get("left_at")?;
    Ok(if left_at.is_some() { Lease::LeftOver } else { Lease::Anothers })
}

/// Gives the lease back, and leaves a note only of parts that the store may have.
pub(super) async fn give_up(connection: &mut AnyConnection, id: Uuid, owner: Uuid) -> Result<()> {
    const MADE_WAY: &str = "UPDATE intents SET size = NULL WHERE id = $1 AND owner = $2";
    const NOTHING_LEFT: &str =
        "DELETE FROM intents WHERE id = $1 AND staged IS NULL AND kind <> 'session'";
    let (id, owner) = (id.to_string(), owner.to_string());
    let made_way = sqlx::query(MADE_WAY).bind(id.clone()).bind(owner).execute(&mut *connection);
    if made_way.await?.rows_affected() == 1 {
        let all = Batch::new(connection)
            .statement("DELETE FROM leases WHERE intent = $1")
            .bind(id.clone())
            .statement(NOTHING_LEFT)
            .bind(id);
        all.run(connection).await?;
    }
    Ok(())
}

/// Runs a batch, and removes this owner's intent's row and its lease.
///
/// # Errors
/// [`Error::Lost`] when the owner has no such intent; the transaction must not be kept then.
pub(super) async fn run_and_remove(
    batch: Batch,
    connection: &mut AnyConnection,
    id: Uuid,
    owner: Uuid,
) -> Result<()> {
    let all = batch
        .statement("DELETE FROM leases WHERE intent = $1")
        .bind(id.to_string())
        .statement("DELETE FROM intents WHERE id = $1 AND owner = $2")
        .bind(id.to_string())
        .bind(owner.to_string());
    match all.run(connection).await.map_err(Error::from) {
        Ok(outcome) if outcome.affected > 0 => Ok(()),
        Ok(_) => Err(Error::Lost),
        // Whoever got the lease meanwhile has made a record of this name.
        Err(Error::Database(error)) if error.kind() == ErrorKind::Taken => Err(Error::Lost),
        Err(error) => Err(error),
    }
}
