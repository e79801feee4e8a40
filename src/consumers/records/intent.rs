//! Intents: what is about to change the store is written down first, and the note is gone once
//! the record says the same as the store.
//!
//! An upload's life: *opened* (the store keeps parts of it that a crash would leave behind), then
//! *prepared* (all is known of it, and it has the lease of its name: its object may appear from now
//! on), then *completed* into the record, or *cancelled*. Small uploads are prepared at once. What
//! ends in between is settled by [`super::Reconciler`].

use std::{
    error::Error as StdError,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::SystemTime,
};

use futures_util::future::BoxFuture;
use sqlx::AnyConnection;
use tokio::time::{Duration, Instant, sleep};
use uuid::Uuid;

use super::{
    Error, Records, Result, Usage,
    completion::Prospect,
    image::Image,
    names,
    quota::{self, Expected},
    rows::{Kind, Lease, Note, give_up, take_lease},
};
use crate::{
    concurrency::{Permit, Sort},
    fault,
    storage::{Journal, ObjectKey, Stored},
    tenant::TenantId,
};

/// How long a change waits for its turn at a name, across processes; and for its turn among all.
const TURN: Duration = Duration::from_secs(30);
/// How long it waits where the change before has failed, and is to be settled.
const LEFT_OVER: Duration = Duration::from_secs(2);

/// What has to hold of the image that has the name now, if any.
pub type Check = Arc<dyn Fn(Option<&Image>) -> Result<()> + Send + Sync>;

/// What an upload will be, once it is in the store.
#[derive(Clone, Debug)]
pub struct NewImage {
    /// The customer's id.
    pub customer: String,
    /// The name to show.
    pub display_name: String,
    /// What the bytes are.
    pub content_type: String,
    /// Bytes.
    pub size: u64,
    /// Of the bytes, in hexadecimal digits; none where nobody has computed it yet.
    pub sha256: Option<String>,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
}

/// What is known of an upload's size before its end, in bytes: for the quota.
#[derive(Clone, Copy, Debug, Default)]
pub struct ExpectedSize {
    /// It comes to no less.
    pub least: u64,
    /// As much is reserved, if there is room for it.
    pub most: u64,
}

/// An upload whose turn it is at its name, and of which all is written down.
pub struct Prepared {
    prospect: Prospect,
    /// Ends behind the record.
    turn: Turn,
}

/// A change's turn, within this process: at its name, and among all changes.
pub struct Turn {
    _name: names::Turn,
    permit: Permit,
}

/// One upload's or deletion's note, from before it begins until it is settled. When it is dropped
/// earlier, the reconciler settles it.
pub struct Intent {
    records: Records,
    id: Uuid,
    /// An upload's, or a session's.
    kind: Kind,
    tenant: TenantId,
    key: ObjectKey,
    size: ExpectedSize,
    /// Whether there may be something to settle.
    written: AtomicBool,
}

impl Records {
    /// A note of an upload to `key`, or of its deletion. Nothing is written yet.
    pub fn intent(&self, tenant: &TenantId, key: &ObjectKey, size: ExpectedSize) -> Arc<Intent> {
        self.intent_of(Uuid::now_v7(), Kind::Upload, tenant, key, size)
    }

    pub(super) fn intent_of(
        &self,
        id: Uuid,
        kind: Kind,
        tenant: &TenantId,
        key: &ObjectKey,
        size: ExpectedSize,
    ) -> Arc<Intent> {
        self.live().begin(id);
        Arc::new(Intent {
            records: self.clone(),
            id,
            kind,
            tenant: tenant.clone(),
            key: key.clone(),
            size,
            written: AtomicBool::new(false),
        })
    }
}

impl Intent {
    /// The upload's id: in the object's metadata, and the record's `upload`.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// Writes down what the upload is, once it is this upload's turn to change the object of its
    /// name and `check` holds for what is there. Nobody else changes that object until the
    /// intent is settled. `permit` is its turn among all changes, where it has it already.
    ///
    /// # Errors
    /// What `check` says; [`Error::Quota`]; [`Error::Busy`] when the turn does not come.
    pub async fn prepare(
        &self,
        new: NewImage,
        check: Check,
        permit: Option<Permit>,
    ) -> Result<Prepared> {
        let intent = self.note(self.kind, SystemTime::now());
        let new = Arc::new(new);
        let written = Arc::clone(&new);
        let (turn, old) = self
            .in_turn(permit, move |connection, old, limits| {
                check(old)?;
                let grown = Expected::exactly(quota::growth(written.size, old));
                let (intent, new) = (intent.clone(), Arc::clone(&written));
                Ok(Box::pin(async move {
                    let (tenant, id) = (&intent.tenant, intent.id);
                    let grown = quota::reserve(connection, tenant, id, grown, limits).await?;
                    intent.write(connection, None, grown, Some(&new)).await
                }))
            })
            .await?;
        Ok(self.prepared(turn, old, new, None))
    }

    /// Writes down that the image `id` of the tenant is to be deleted, as [`Intent::prepare`] does.
    ///
    /// # Errors
    /// [`Error::NotFound`] when it is gone; what `check` says.
    pub async fn prepare_deletion(&self, id: Uuid, check: Check) -> Result<Turn> {
        let intent = self.note(Kind::Deletion, SystemTime::now());
        let deletion = self.in_turn(None, move |connection, old, _| {
            let old = old.filter(|old| old.id == id).ok_or(Error::NotFound)?;
            check(Some(old))?;
            let (intent, target) = (intent.clone(), Some(old.upload));
            Ok(Box::pin(async move {
                intent.write(connection, target, quota::Growth::default(), None).await
            }))
        });
        deletion.await.map(|(turn, _)| turn)
    }

    /// Writes down that the object of this name, which no record tells of, is to be deleted, as
    /// [`Intent::prepare`] does.
    ///
    /// # Errors
    /// [`Error::Taken`] when it has a record by then.
    pub async fn prepare_stray_deletion(&self) -> Result<Turn> {
        let intent = self.note(Kind::Deletion, SystemTime::now());
        let deletion = self.in_turn(None, move |connection, old, _| {
            if old.is_some() {
                return Err(Error::Taken);
            }
            let intent = intent.clone();
            Ok(Box::pin(async move {
                // No upload has this id, so no record goes with it.
                let target = Some(intent.id);
                intent.write(connection, target, quota::Growth::default(), None).await
            }))
        });
        deletion.await.map(|(turn, _)| turn)
    }

    /// Writes down what the object of this name is, which was written at this time and no record
    /// tells of, as [`Intent::prepare`] does. No quota refuses it.
    ///
    /// # Errors
    /// [`Error::Taken`] when it has a record by then.
    pub async fn prepare_adoption(&self, new: NewImage, modified: SystemTime) -> Result<Prepared> {
        let intent = self.note(Kind::Adoption, modified);
        let new = Arc::new(new);
        let written = Arc::clone(&new);
        let adoption = self.in_turn(None, move |connection, old, _| {
            if old.is_some() {
                return Err(Error::Taken);
            }
            let (intent, new) = (intent.clone(), Arc::clone(&written));
            Ok(Box::pin(async move {
                intent.write(connection, None, quota::Growth::default(), Some(&new)).await
            }))
        });
        let (turn, old) = adoption.await?;
        Ok(self.prepared(turn, old, new, Some(modified)))
    }

    fn prepared(
        &self,
        turn: Turn,
        old: Option<Image>,
        new: Arc<NewImage>,
        written_at: Option<SystemTime>,
    ) -> Prepared {
        let (tenant, key) = (self.tenant.clone(), self.key.clone());
        let kind = self.kind;
        Prepared { prospect: Prospect { kind, tenant, key, new, old, written_at }, turn }
    }

    /// Does `work`, which changes the object of this intent's name, as long as nobody can take the
    /// intent over.
    ///
    /// # Errors
    /// [`Error::Lost`] when the intent is another's, or may soon be.
    pub async fn while_held<T>(&self, work: impl Future<Output = T>) -> Result<T> {
        self.records.while_held(self.id, work).await
    }

    /// Makes the record say what the store now has. Its object is `stored`.
    ///
    /// # Errors
    /// [`Error::Lost`] when another process took this one for dead meanwhile.
    pub async fn complete(&self, prepared: Prepared, stored: Stored) -> Result<Image> {
        let Prepared { prospect, turn } = prepared;
        let sort = Sort::new(self.kind as u8, prospect.new.size);
        let image = self.records.complete(self.id, Some(prospect), stored).await?;
        self.end();
        turn.permit.done(sort);
        Ok(image)
    }

    /// Removes the record, now that the object is gone.
    ///
    /// # Errors
    /// [`Error::Lost`] as [`Intent::complete`].
    pub async fn complete_deletion(&self, turn: Turn) -> Result<()> {
        self.records.complete_deletion(self.id).await?;
        self.end();
        turn.permit.done(Sort::new(Kind::Deletion as u8, 0));
        Ok(())
    }

    /// Makes way for others: the object did not come, and will not. Parts of it that are still
    /// in the store are cleared away by the reconciler.
    ///
    /// # Errors
    /// When the database fails; the reconciler then settles it.
    pub async fn give_up(&self) -> Result<()> {
        let (id, owner) = (self.id, self.records.owner_id());
        self.records
            .write(move |connection| Box::pin(async move { give_up(connection, id, owner).await }))
            .await
    }

    pub(super) fn records(&self) -> &Records {
        &self.records
    }

    pub(super) fn size(&self) -> ExpectedSize {
        self.size
    }

    /// There may be something to settle.
    pub(super) fn begin(&self) {
        self.written.store(true, Ordering::Relaxed);
    }

    /// There is nothing to settle any more.
    pub(super) fn end(&self) {
        self.written.store(false, Ordering::Relaxed);
    }

    /// Writes down the store's name for what it keeps of this upload.
    ///
    /// # Errors
    /// [`Error::Lost`] when the intent is gone, or another's.
    pub async fn staged(&self, reference: &str) -> Result<()> {
        self.refer(Some(reference.to_owned())).await
    }

    /// Writes down that the store keeps nothing of this upload any more.
    ///
    /// # Errors
    /// As [`Intent::staged`].
    pub async fn unstaged(&self) -> Result<()> {
        self.refer(None).await
    }

    async fn refer(&self, reference: Option<String>) -> Result<()> {
        const SQL: &str = "UPDATE intents SET staged = $1 WHERE id = $2 AND owner = $3";
        let (id, owner) = (self.id.to_string(), self.records.owner_id().to_string());
        let written = self.records.write(move |connection| {
            Box::pin(async move {
                let updated = sqlx::query(SQL).bind(reference).bind(id).bind(owner);
                let updated = updated.execute(connection).await?.rows_affected();
                if updated == 0 { Err(Error::Lost) } else { Ok(()) }
            })
        });
        written.await
    }

    /// What is about to be written.
    pub(super) fn note(&self, kind: Kind, created: SystemTime) -> Note {
        self.written.store(true, Ordering::Relaxed);
        Note {
            id: self.id,
            kind,
            tenant: self.tenant.clone(),
            key: self.key.clone(),
            owner: Some(self.records.owner_id()),
            created,
        }
    }

    /// Waits for this intent's turn, and runs `work` in the transaction that takes it, on the image
    /// that has the name by then and the tenant's limits. Returns that image, too.
    async fn in_turn<W>(&self, mut permit: Option<Permit>, work: W) -> Result<(Turn, Option<Image>)>
    where
        W: for<'c> Fn(
                &'c mut AnyConnection,
                Option<&Image>,
                Usage,
            ) -> Result<BoxFuture<'c, Result<()>>>
            + Send
            + Sync
            + 'static,
    {
        let name = self.records.names().turn(&self.key, Instant::now() + TURN);
        let name = match permit.take() {
            // Of what is waited for here the others are no reason.
            Some(held) => {
                let (held, name) = held.lend(name).await;
                permit = held;
                name
            }
            None => name.await,
        };
        let name = name.ok_or(Error::Busy)?;
        let work = Arc::new(work);
        let (mut began, mut pause) = (None, Duration::from_millis(5));
        loop {
            // For each try anew, since what is waited for in between is another's change.
            let mut permit = match permit.take() {
                Some(permit) => permit,
                None => self.records.permit_within(TURN, &self.tenant, true).await?,
            };
            permit.begins();
            let began: Instant = *began.get_or_insert_with(Instant::now);
            self.records.keep_alive().await?;
            let (id, tenant, key) = (self.id, self.tenant.clone(), self.key.clone());
            let (quotas, work) = (self.records.quotas(), Arc::clone(&work));
            let lease = self.records.write(move |connection| {
                Box::pin(async move {
                    // First of all statements, so that no two transactions wait for one another.
                    let lease = take_lease(connection, &tenant, &key, id, &quotas).await?;
                    if let Lease::Taken(standing) = &lease {
                        work(connection, standing.old.as_ref(), standing.limits)?.await?;
                    }
                    Ok(lease)
                })
            });
            let patience = match lease.await? {
                Lease::Taken(standing) => {
                    return Ok((Turn { _name: name, permit }, standing.old));
                }
                Lease::Anothers => TURN,
                Lease::LeftOver => LEFT_OVER,
            };
            drop(permit);
            if began.elapsed() > patience {
                return Err(Error::Busy);
            }
            sleep(pause + Duration::from_millis(fastrand::u64(0..5))).await;
            pause = (pause * 2).min(Duration::from_millis(100));
        }
    }
}

impl Journal for Intent {
    fn opening(&self) -> BoxFuture<'_, std::result::Result<(), Box<dyn StdError + Send + Sync>>> {
        Box::pin(async move {
            let (row, size, quotas) =
                (self.note(self.kind, SystemTime::now()), self.size, self.records.quotas());
            let written = self.records.write(move |connection| {
                Box::pin(async move {
                    let grown = row.reserve(connection, size, &quotas).await?;
                    if row.kind == Kind::Session {
                        return row.open(connection, grown).await;
                    }
                    row.write(connection, None, grown, None).await
                })
            });
            written.await?;
            fault::point("upload.opening");
            Ok(())
        })
    }

    fn opened<'a>(
        &'a self,
        reference: &'a str,
    ) -> BoxFuture<'a, std::result::Result<(), Box<dyn StdError + Send + Sync>>> {
        Box::pin(async move {
            fault::point("upload.created");
            self.staged(reference).await?;
            fault::point("upload.opened");
            Ok(())
        })
    }
}

impl Drop for Intent {
    fn drop(&mut self) {
        self.records.live().end(self.id);
        if self.written.load(Ordering::Relaxed) {
            self.records.wake_reconciler();
        }
    }
}
