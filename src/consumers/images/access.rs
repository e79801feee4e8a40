//! Looking up, reading and deleting a tenant's images: the records and the store together.
//!
//! A reader gets one whole version, with the record of that version: the object is asked for by the
//! record's entity tag. Where the two differ, a change is under way or was cut off between them;
//! it is settled, and the record read again.

use std::{ops::Range, sync::Arc, time::Duration};

use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::{
    conditional::{Access, Conditions, Outcome, Validators},
    query::Query,
    range::{self, Wanted},
};
use crate::{
    consumers::{
        commit::carry_out,
        error::Error,
        records::{
            self, Check, ExpectedSize, Filter, Image, Intent, Position, Reconciler, Records,
            Settling, Turn, Usage,
        },
    },
    fault,
    storage::{self, ErrorKind, ObjectKey, Read, Reading, SharedStorage},
    tenant::TenantId,
};

/// How often an image may be replaced between the look at its record and the look at its object.
const TRIES: usize = 20;
/// How long a reader waits for a change of the image that is under way.
const PATIENCE: Duration = Duration::from_secs(10);

/// The images of all tenants, shared by all workers.
pub struct Images {
    storage: SharedStorage,
    records: Records,
    reconciler: Reconciler,
    commits: TaskTracker,
}

/// A part of a listing.
pub struct Listing {
    /// The images, newest first.
    pub images: Vec<Image>,
    /// Where the next part begins, if there is one.
    pub next: Option<Position>,
}

/// What a reader asks for.
pub struct Wish<'a> {
    /// The request's conditions.
    pub conditions: Conditions,
    /// The value of its `Range` field.
    pub range: Option<&'a [u8]>,
    /// Whether the bytes are wanted, or only what a GET would tell of them.
    pub with_body: bool,
    /// Nothing but the content that this upload brought is wanted, held back or not.
    pub upload: Option<Uuid>,
}

/// What a reader gets.
pub enum Content {
    /// The client has this version.
    NotModified(Image),
    /// All bytes; no reading where none are wanted.
    Whole(Image, Option<Reading>),
    /// These bytes.
    Part(Image, Range<u64>, Reading),
}

/// What of an object is wanted, by its record.
enum Part {
    NotModified,
    Whole,
    Range(Range<u64>),
}

impl Images {
    /// The images that `records` and `storage` have, and `reconciler` keeps in step. Deletions
    /// run as tasks of `commits`, for the shutdown to wait for.
    pub fn new(
        storage: SharedStorage,
        records: Records,
        reconciler: Reconciler,
        commits: TaskTracker,
    ) -> Self {
        Self { storage, records, reconciler, commits }
    }

    /// The tenant's image of this id.
    ///
    /// # Errors
    /// [`records::Error::NotFound`]; or the database fails.
    pub async fn find(&self, tenant: &TenantId, id: Uuid) -> Result<Image, Error> {
        Ok(self.records.find(tenant, id).await?.ok_or(records::Error::NotFound)?)
    }

    /// The tenant's image of this id, if its content is not held back.
    ///
    /// # Errors
    /// [`records::Error::NotFound`], [`Error::Quarantined`]; or the database fails.
    pub async fn passed(&self, tenant: &TenantId, id: Uuid) -> Result<Image, Error> {
        let image = self.find(tenant, id).await?;
        if image.quarantined { Err(Error::Quarantined) } else { Ok(image) }
    }

    async fn wanted(&self, tenant: &TenantId, id: Uuid, wish: &Wish<'_>) -> Result<Image, Error> {
        let Some(upload) = wish.upload else { return self.passed(tenant, id).await };
        let image = self.find(tenant, id).await?;
        if image.upload == upload { Ok(image) } else { Err(records::Error::NotFound.into()) }
    }

    /// The tenant's images, newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list(&self, tenant: &TenantId, query: Query) -> Result<Listing, Error> {
        let filter = Filter {
            customer: query.customer.map(|customer| customer.as_str().to_owned()),
            stored_name: query.stored_name.map(|name| name.as_str().to_owned()),
            after: query.after,
            // One more than is shown tells whether there are more.
            limit: query.limit as u64 + 1,
        };
        let mut images = self.records.list(tenant, filter).await?;
        let more = images.len() > query.limit;
        images.truncate(query.limit);
        let last = images.last().filter(|_| more);
        let next = last.map(|last| Position { created_at: last.created_at, id: last.id });
        Ok(Listing { images, next })
    }

    /// What the tenant's images come to, and the most that they may.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn usage(&self, tenant: &TenantId) -> Result<Usage, Error> {
        Ok(self.records.usage(tenant).await?)
    }

    /// Opens the content of the tenant's image of this id.
    ///
    /// # Errors
    /// [`records::Error::NotFound`], [`records::Error::Condition`], [`Error::Range`]; or the store or the database
    /// fails.
    pub async fn content(
        &self,
        tenant: &TenantId,
        id: Uuid,
        wish: &Wish<'_>,
    ) -> Result<Content, Error> {
        let mut failed_with: Option<Uuid> = None;
        for _ in 0..TRIES {
            let image = self.wanted(tenant, id, wish).await?;
            let range = match part(&image, wish)? {
                Part::NotModified => return Ok(Content::NotModified(image)),
                Part::Whole => None,
                Part::Range(range) => Some(range),
            };
            let error = match self.open(&image, range.clone(), wish.with_body).await {
                Ok(reading) => return Ok(Content::of(image, range, reading)),
                Err(error) => error,
            };
            if !matches!(error.kind(), ErrorKind::Changed | ErrorKind::NotFound) {
                return Err(error.into());
            }
            // The record still says what it said before all changes of the object were settled.
            if failed_with == Some(image.upload) && !self.reconciler.heal(&image).await? {
                return Err(Error::ObjectLost(error));
            }
            failed_with = Some(image.upload);
            self.reconciler.settle_name(&image.key, PATIENCE).await?;
        }
        Err(records::Error::Busy.into())
    }

    /// Opens what this step has made of the tenant's image of this id.
    ///
    /// # Errors
    /// [`Error::VariantMissing`] as long as it has made nothing; and as [`Images::content`].
    pub async fn variant(
        &self,
        tenant: &TenantId,
        id: Uuid,
        step: &str,
        wish: &Wish<'_>,
    ) -> Result<Content, Error> {
        for _ in 0..TRIES {
            let image = self.wanted(tenant, id, wish).await?;
            let result = self.records.result(&image, step).await?;
            let variant = result.and_then(|result| result.as_image(&image));
            let variant = variant.ok_or(Error::VariantMissing)?;
            let range = match part(&variant, wish)? {
                Part::NotModified => return Ok(Content::NotModified(variant)),
                Part::Whole => None,
                Part::Range(range) => Some(range),
            };
            match self.open(&variant, range.clone(), wish.with_body).await {
                Ok(reading) => return Ok(Content::of(variant, range, reading)),
                // It was made anew, and this one removed.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::VariantMissing)
    }

    async fn open(
        &self,
        image: &Image,
        range: Option<Range<u64>>,
        with_body: bool,
    ) -> storage::Result<Option<Reading>> {
        if with_body {
            let how = Read { range, if_match: Some(image.object_etag.clone()) };
            return self.storage.read(&image.key, how).await.map(Some);
        }
        let head = self.storage.head(&image.key).await?;
        if head.etag != image.object_etag {
            return Err(storage::Error::new(ErrorKind::Changed, "head"));
        }
        Ok(None)
    }

    /// Deletes the tenant's image of this id: its object, then its record. Once it is settled
    /// that it will be, it goes on even if the client leaves.
    ///
    /// # Errors
    /// [`records::Error::NotFound`], [`records::Error::Condition`]; or the store or the database fails: then it is
    /// deleted later.
    pub async fn delete(
        &self,
        tenant: &TenantId,
        id: Uuid,
        conditions: Conditions,
    ) -> Result<(), Error> {
        let image = self.find(tenant, id).await?;
        check_writing(&conditions, Some(&image))?;
        self.remove(image, Arc::new(move |image| check_writing(&conditions, image))).await
    }

    /// Deletes this image, if `check` holds for what it is by then. Once begun, it goes on whoever
    /// leaves.
    ///
    /// # Errors
    /// As [`Images::delete`].
    pub(super) async fn remove(&self, image: Image, check: Check) -> Result<(), Error> {
        let intent = self.records.intent(&image.tenant, &image.key, ExpectedSize::default());
        let deletion = delete_recorded(intent, Arc::clone(&self.storage), image, check);
        carry_out(&self.commits, deletion).await
    }

    /// Deletes the object of this name of the tenant's, which no record tells of. Once begun, it
    /// goes on whoever leaves.
    ///
    /// # Errors
    /// [`records::Error::Taken`] when it has a record by then; or the store or the database fails:
    /// then it is deleted later.
    pub(super) async fn remove_stray(
        &self,
        tenant: &TenantId,
        key: ObjectKey,
    ) -> Result<(), Error> {
        let intent = self.records.intent(tenant, &key, ExpectedSize::default());
        let deletion = delete_stray(intent, Arc::clone(&self.storage), key);
        carry_out(&self.commits, deletion).await
    }

    pub(super) fn storage(&self) -> &SharedStorage {
        &self.storage
    }

    pub(super) fn records(&self) -> &Records {
        &self.records
    }

    pub(super) fn reconciler(&self) -> &Reconciler {
        &self.reconciler
    }
}

/// A deletion: its intent, then the object, then the record.
async fn delete_recorded(
    intent: Arc<Intent>,
    storage: SharedStorage,
    image: Image,
    check: Check,
) -> Result<(), Error> {
    let turn = intent.prepare_deletion(image.id, check).await?;
    delete_prepared(&intent, turn, &storage, &image.key).await
}

/// The same for an object without a record.
async fn delete_stray(
    intent: Arc<Intent>,
    storage: SharedStorage,
    key: ObjectKey,
) -> Result<(), Error> {
    let turn = intent.prepare_stray_deletion().await?;
    delete_prepared(&intent, turn, &storage, &key).await
}

async fn delete_prepared(
    intent: &Intent,
    turn: Turn,
    storage: &SharedStorage,
    key: &ObjectKey,
) -> Result<(), Error> {
    fault::point("delete.prepared");
    intent.while_held(storage.delete(key)).await??;
    fault::point("delete.removed");
    intent.complete_deletion(turn).await?;
    fault::point("delete.recorded");
    Ok(())
}

/// Whether a request with these conditions may change what is there.
pub fn check_writing(conditions: &Conditions, image: Option<&Image>) -> records::Result<()> {
    let current = image.map(validators);
    match conditions.evaluate(Access::Write, current.as_ref()) {
        Outcome::Proceed => Ok(()),
        Outcome::NotModified | Outcome::Failed => Err(records::Error::Condition),
    }
}

/// What of the image is wanted, as it is now.
fn part(image: &Image, wish: &Wish<'_>) -> Result<Part, Error> {
    let current = validators(image);
    match wish.conditions.evaluate(Access::Read, Some(&current)) {
        Outcome::Proceed => {}
        Outcome::NotModified => return Ok(Part::NotModified),
        Outcome::Failed => return Err(records::Error::Condition.into()),
    }
    let field = wish.range.filter(|_| wish.with_body && wish.conditions.range_holds(&current));
    Ok(match field.map(|field| range::wanted(field, image.size)) {
        None | Some(Wanted::Whole) => Part::Whole,
        Some(Wanted::Part(range)) => Part::Range(range),
        Some(Wanted::Unsatisfiable) => return Err(Error::Range(image.size)),
    })
}

/// What tells this version of the image from others.
pub fn validators(image: &Image) -> Validators {
    Validators {
        etag: image.etag(),
        modified: image.updated_at,
        only_one_that_second: image.version == 1,
    }
}

impl Content {
    fn of(image: Image, range: Option<Range<u64>>, reading: Option<Reading>) -> Self {
        match (range, reading) {
            (Some(range), Some(reading)) => Self::Part(image, range, reading),
            (_, reading) => Self::Whole(image, reading),
        }
    }
}

impl From<Settling> for Error {
    fn from(error: Settling) -> Self {
        match error {
            Settling::Storage(error) => error.into(),
            Settling::Records(error) => error.into(),
        }
    }
}
