//! What has become of images: an event a change, written in the transaction of the change itself.
//!
//! They are numbered from 1 for each tenant, without gaps, in the order in which the changes took place:
//! who counts on holds the row of the tenant's sums until its transaction ends.

use std::time::{Duration, SystemTime};

use sqlx::{Row as _, any::AnyRow};
use uuid::Uuid;

use super::{
    Extent, Records, Result,
    image::{self, Image, signed},
};
use crate::{
    database::{Batch, millis, of_millis},
    tenant::TenantId,
};

/// What has become of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is new.
    Created,
    /// It has other content.
    Replaced,
    /// It is gone.
    Deleted,
    /// The steps behind its upload have run.
    Processed,
}

impl Change {
    /// All that there are.
    pub const ALL: [Self; 4] = [Self::Created, Self::Replaced, Self::Deleted, Self::Processed];

    /// The event's type, as clients see it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "image.created",
            Self::Replaced => "image.replaced",
            Self::Deleted => "image.deleted",
            Self::Processed => "image.processed",
        }
    }
}

/// One change of an image.
#[derive(Clone, Debug)]
pub struct Event {
    /// Names it, of all that there will ever be.
    pub id: Uuid,
    /// Its place among its tenant's events; the first is 1.
    pub sequence: u64,
    /// What has become of the image.
    pub change: Change,
    /// When.
    pub occurred_at: SystemTime,
    /// The image as it was then; where it is gone, as it was before.
    pub image: Image,
}

impl Event {
    fn of_row(row: &AnyRow) -> Result<Self> {
        let change: String = row.try_get("type")?;
        let change = Change::ALL.into_iter().find(|known| known.as_str() == change);
        Ok(Self {
            id: image::uuid(row, "event")?,
            sequence: image::number(row, "sequence")?,
            change: change.ok_or_else(|| image::unreadable("type", "unknown"))?,
            occurred_at: of_millis(row.try_get("occurred_at")?),
            image: Image::of_row(row)?,
        })
    }
}

/// What is to be done because of an event.
pub trait Follower: Send + Sync {
    /// Adds to the transaction of the change what makes sure of it. The event is among `events` by then,
    /// as the last one of its tenant, unless nothing has changed after all; and `images` has the image
    /// still.
    fn follow(&self, batch: Batch, event: Uuid, change: Change, image: &Image) -> Batch;

    /// The transaction of a change of this tenant's has taken place.
    fn wake(&self, tenant: &TenantId);

    /// Adds the removal of what is kept of a tenant, all of whose images were erased.
    fn forget(&self, batch: Batch, _tenant: &TenantId) -> Batch {
        batch
    }

    /// Whether what is uploaded is to be held back until it lets that pass.
    fn holds_back(&self) -> bool {
        false
    }
}

/// Adds the event `id` of a change of `image`, whose tenant's sums know of one event more already.
fn tell(batch: Batch, id: Uuid, change: Change, image: &Image) -> Batch {
    const SQL: &str = concat!(
        "INSERT INTO events (event, type, occurred_at, sequence, ",
        image::columns!(),
        ") SELECT $1, $2, $3, usage.events, ",
        image::columns_of_images!(),
        " FROM images JOIN usage ON usage.tenant = images.tenant \
         WHERE images.id = $4 AND images.upload = $5"
    );
    batch
        .statement(SQL)
        .bind(id.to_string())
        .bind(change.as_str().to_owned())
        .bind(millis(SystemTime::now()))
        .bind(image.id.to_string())
        .bind(image.upload.to_string())
}

impl Records {
    /// Adds the event `id` of that the steps behind the upload of `image` have run, if that is still its
    /// content.
    pub(super) fn tell_processed(&self, batch: Batch, id: Uuid, image: &Image) -> Batch {
        const COUNT: &str = "\
            UPDATE usage SET events = events + 1 WHERE tenant = $1 \
            AND EXISTS (SELECT 1 FROM images WHERE images.id = $2 AND images.upload = $3)";
        let batch = batch
            .statement(COUNT)
            .bind(image.tenant.as_str().to_owned())
            .bind(image.id.to_string())
            .bind(image.upload.to_string());
        self.tell(batch, id, Change::Processed, image)
    }

    /// Adds the event of a change and what is to follow it, see [`tell`].
    pub(super) fn tell(&self, batch: Batch, id: Uuid, change: Change, image: &Image) -> Batch {
        let batch = tell(batch, id, change, image);
        let followers = self.0.followers.iter();
        followers.fold(batch, |batch, follower| follower.follow(batch, id, change, image))
    }

    /// A change of an image of this tenant has taken place.
    pub fn told(&self, tenant: &TenantId) {
        self.listeners().tell(tenant);
        self.0.followers.iter().for_each(|follower| follower.wake(tenant));
    }

    /// Adds the removal of what follows a tenant's changes.
    pub(super) fn forget_following(&self, batch: Batch, tenant: &TenantId) -> Batch {
        let followers = self.0.followers.iter();
        followers.fold(batch, |batch, follower| follower.forget(batch, tenant))
    }

    /// The tenant's events behind the one of this number, in their order, `most` at once.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn events(&self, tenant: &TenantId, after: u64, most: u64) -> Result<Vec<Event>> {
        const SQL: &str =
            "SELECT * FROM events WHERE tenant = $1 AND sequence > $2 ORDER BY sequence LIMIT $3";
        let tenant = tenant.clone();
        self.read(move |connection| {
            Box::pin(async move {
                let query = sqlx::query(SQL).bind(tenant.as_str()).bind(signed(after));
                let rows = query.bind(signed(most)).fetch_all(connection).await?;
                rows.iter().map(Event::of_row).collect()
            })
        })
        .await
    }

    /// The number of each of these tenants' last event; none of one that never had any.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn last_events(&self, tenants: &[String]) -> Result<Vec<(TenantId, u64)>> {
        const SQL: &str = "SELECT tenant, events FROM usage WHERE tenant IN ({})";
        self.rows_among(SQL, tenants, |row| {
            Ok((image::tenant(row)?, image::number(row, "events")?))
        })
        .await
    }

    /// Forgets events that are older than this.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn forget_events(&self, older_than: Duration) -> Result<()> {
        const SQL: &str = "DELETE FROM events WHERE occurred_at <= $1";
        let before = SystemTime::now().checked_sub(older_than).unwrap_or(SystemTime::UNIX_EPOCH);
        self.write(move |connection| {
            Box::pin(async move {
                sqlx::query(SQL).bind(millis(before)).execute(connection).await?;
                Ok(())
            })
        })
        .await
    }

    /// Forgets what events tell of those of these images that are gone, but that they are.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_events_of(&self, extent: &Extent) -> Result<()> {
        const BLANK: &str = "\
            UPDATE events SET display_name = '', sha256 = NULL WHERE tenant = $1 \
            AND type = 'image.deleted' AND (CAST($2 AS TEXT) IS NULL OR customer = $2)";
        const FORGET: &str = "\
            DELETE FROM events WHERE tenant = $1 AND type <> 'image.deleted' \
            AND (CAST($2 AS TEXT) IS NULL OR customer = $2) \
            AND NOT EXISTS (SELECT 1 FROM images WHERE images.id = events.id)";
        let Extent { tenant, customer } = extent.clone();
        self.write(move |connection| {
            Box::pin(async move {
                for sql in [BLANK, FORGET] {
                    let query = sqlx::query(sql).bind(tenant.as_str().to_owned());
                    query.bind(customer.clone()).execute(&mut *connection).await?;
                }
                Ok(())
            })
        })
        .await
    }
}
