//! Settles intents that nobody works on any more: of uploads that failed or were left, and of
//! processes that are gone. What the store has decides: the record follows it, or nothing is left.

use std::time::{Duration, SystemTime};

use futures_util::StreamExt;
use tokio_util::sync::CancellationToken;

use super::{
    Error, Extent, Records, Result, expiry::unstage, image, left_over::Left, owner::BEAT,
    rows::Kind,
};
use crate::{
    problem,
    storage::{self, ErrorKind, Head, ObjectKey, SharedStorage, Stored},
};

/// How often an idle server on SQLite looks, where nothing comes from other processes but commands.
const IDLE: Duration = Duration::from_secs(60);
/// The pause before an intent is looked at again when the store could not be asked.
const RETRY: Duration = Duration::from_secs(2);
/// The pause after the database could not be asked.
const AGAIN: Duration = Duration::from_secs(1);
/// Intents that are settled at a time.
const AT_ONCE: usize = 8;

/// What settles intents.
#[derive(Clone)]
pub struct Reconciler {
    pub(super) records: Records,
    pub(super) storage: SharedStorage,
}

impl Reconciler {
    /// Settles what is left of `records`, by what `storage` has.
    pub fn new(records: Records, storage: SharedStorage) -> Self {
        Self { records, storage }
    }

    /// Works until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            // Apart: a store that hangs must not have this process taken for dead.
            ((), ()) = async { tokio::join!(self.show_life(), self.settle_on()) } => {}
        }
    }

    /// Shows again and again that this process lives.
    async fn show_life(&self) {
        let mut failing = false;
        loop {
            let beaten = self.records.beat().await;
            if let (Err(error), false) = (&beaten, failing) {
                let cause = problem::chain(error);
                tracing::warn!(cause, "the records cannot be reached; trying again");
            }
            failing = beaten.is_err();
            tokio::time::sleep(if failing { AGAIN } else { self.longest() }).await;
        }
    }

    /// Settles what is left over, as it comes.
    async fn settle_on(&self) {
        loop {
            let pause = match self.pass().await {
                Ok(next) => next,
                Err(error) => {
                    tracing::debug!(cause = problem::chain(&error), "nothing can be settled yet");
                    AGAIN
                }
            };
            tokio::select! {
                () = self.records.woken() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// How long this process may neither show that it lives nor look for what others left.
    fn longest(&self) -> Duration {
        if self.records.beats() { BEAT } else { IDLE }
    }

    /// Settles what can be settled, and takes this process off the list: it ends.
    pub async fn leave(&self) {
        let left = async {
            self.pass().await?;
            self.records.leave().await
        };
        if let Err(error) = left.await {
            tracing::debug!(cause = problem::chain(&error), "others will settle what is left");
        }
    }

    /// One look at all that is left; how long until the next.
    async fn pass(&self) -> Result<Duration> {
        let next_expiry = match self.expire().await {
            Ok(next) => next,
            Err(error) => {
                tracing::debug!(cause = problem::chain(&error), "no upload can be ended yet");
                AGAIN
            }
        };
        let due = self.records.due().await?;
        let mut settled = futures_util::stream::iter(due)
            .map(|left| async move {
                if let Err(error) = self.settle(&left).await {
                    let (cause, name) = (problem::chain(&error), left.key.as_str());
                    tracing::debug!(cause, name, "a change is not settled yet");
                    let _ = self.records.look_again(left.id, SystemTime::now() + RETRY).await;
                }
            })
            .buffer_unordered(AT_ONCE);
        while settled.next().await.is_some() {}
        let next = self.records.next_look().await?;
        let next = next.unwrap_or(Duration::MAX).min(next_expiry);
        Ok(next.clamp(Duration::from_millis(50), self.longest()))
    }

    async fn settle(&self, left: &Left) -> std::result::Result<(), Settling> {
        if left.kind == Kind::Deletion {
            if self.is_meant(left).await? {
                self.records.while_held(left.id, self.storage.delete(&left.key)).await??;
            }
            self.records.complete_deletion(left.id).await?;
            return Ok(());
        }
        if let Some((size, sha256)) = &left.prepared
            && let Some(head) = self.head(&left.key).await?
            && self.is_from(&head, left, *size, sha256.as_deref()).await?
        {
            let stored = Stored { etag: head.etag, size: head.size, sha256: None };
            self.storage.secure(&left.key).await?;
            let session = match left.kind {
                Kind::Session => self.records.session_of(left.id).await?,
                _ => None,
            };
            if let Some(session) = &session {
                unstage(&self.storage, session).await?;
            }
            self.records.complete(left.id, None, stored).await?;
            if session.is_some() {
                self.records.wake_hasher();
            }
            return Ok(());
        }
        if left.kind == Kind::Session {
            return self.settle_session(left).await;
        }
        match (&left.staged, &left.prepared) {
            (Some(reference), _) => self.storage.abort(&left.key, reference).await?,
            // It fitted one request.
            (None, Some(_)) => {}
            (None, None) => self.abort_unnamed(left).await?,
        }
        // What was sent before its sender was gone may still arrive: an object, or a multipart
        // upload's beginning.
        let settled_at = left.left_at + self.storage.settles_within();
        let may_come = left.prepared.is_some() || left.staged.is_none();
        if left.kind == Kind::Upload && may_come && SystemTime::now() < settled_at {
            self.records.look_again(left.id, settled_at).await?;
        } else {
            self.records.cancel(left.id).await?;
        }
        Ok(())
    }

    /// Gives a session back whose object has not come, once it will not: it can be gone on with.
    async fn settle_session(&self, left: &Left) -> std::result::Result<(), Settling> {
        // A multipart upload that was about to be begun.
        let is_opening = left.target.is_some() && left.staged.is_none();
        if is_opening && left.prepared.is_none() {
            self.abort_unnamed(left).await?;
        }
        let settled_at = left.left_at + self.storage.settles_within();
        let may_come = left.prepared.is_some() || is_opening;
        if may_come && SystemTime::now() < settled_at {
            self.records.look_again(left.id, settled_at).await?;
        } else {
            self.records.hand_back(left.id, left.left_at).await?;
        }
        Ok(())
    }

    /// Aborts what the store lists under the intent's key and no intent names: its process was
    /// gone before it could write the reference down.
    async fn abort_unnamed(&self, left: &Left) -> std::result::Result<(), Settling> {
        let found = self.storage.unfinished(&left.key).await?;
        if found.is_empty() {
            return Ok(());
        }
        // Asked after the store: whatever had been begun by then has its intent.
        let others = self.records.others(&left.key, left.id).await?;
        if others.contains(&None) {
            // What is found may be that one's, which is about to name it.
            return Err(Error::Busy.into());
        }
        for reference in found.into_iter().filter(|found| !others.contains(&Some(found.clone()))) {
            self.storage.abort(&left.key, &reference).await?;
        }
        Ok(())
    }

    async fn head(&self, key: &ObjectKey) -> storage::Result<Option<Head>> {
        match self.storage.head(key).await {
            Ok(head) => Ok(Some(head)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether what has the name is what a deletion was written down for: in a database that was
    /// restored, it may be older than the object.
    async fn is_meant(&self, left: &Left) -> std::result::Result<bool, Settling> {
        let Some(target) = left.target.filter(|target| *target != left.id) else {
            // An object without a record, whatever it is.
            return Ok(true);
        };
        let image = self.records.named(&left.key).await?.filter(|image| image.upload == target);
        let Some(image) = image else { return Ok(false) };
        match self.head(&left.key).await? {
            Some(head) => {
                Ok(head.etag == image.object_etag || self.has_bytes_of(&head, &image).await?)
            }
            // To delete it once more makes sure that it stays so.
            None => Ok(true),
        }
    }

    /// Whether the object has these bytes.
    async fn has_bytes(
        &self,
        key: &ObjectKey,
        head: &Head,
        size: u64,
        sha256: &str,
    ) -> storage::Result<bool> {
        if head.size != size {
            return Ok(false);
        }
        match self.storage.sha256(key, &head.etag).await {
            Ok(found) => Ok(storage::hex(&found) == sha256),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether the object has the bytes that its record tells of.
    async fn has_bytes_of(&self, head: &Head, image: &image::Image) -> storage::Result<bool> {
        match &image.sha256 {
            Some(sha256) => self.has_bytes(&image.key, head, image.size, sha256).await,
            None => Ok(false),
        }
    }

    /// Whether the object is what this upload brought.
    async fn is_from(
        &self,
        head: &Head,
        left: &Left,
        size: u64,
        sha256: Option<&str>,
    ) -> storage::Result<bool> {
        match (head.upload, sha256) {
            (Some(upload), _) if left.kind != Kind::Adoption => Ok(upload == left.id),
            // The store keeps no such note, or the object is older than that: its bytes tell.
            (_, Some(sha256)) => self.has_bytes(&left.key, head, size, sha256).await,
            (_, None) => Ok(false),
        }
    }

    /// Waits until no change of this name is under way, and settles what is left of one, so that
    /// the record says what the store has. For a reader that found them to differ.
    ///
    /// # Errors
    /// [`Error::Busy`] when it takes too long.
    pub async fn settle_name(&self, key: &ObjectKey, patience: Duration) -> Result<()> {
        let until = tokio::time::Instant::now() + patience;
        while self.records.is_leased(key).await? {
            if tokio::time::Instant::now() > until {
                return Err(Error::Busy);
            }
            self.records.wake_reconciler();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Waits until what is left over of changes of these images is settled.
    ///
    /// # Errors
    /// [`Error::Busy`] when it takes too long.
    pub async fn settle_all(&self, extent: &Extent, patience: Duration) -> Result<()> {
        // Those of processes that are gone are known from the first beat on.
        self.records.keep_alive().await?;
        let until = tokio::time::Instant::now() + patience;
        while self.records.left_over(extent).await? > 0 {
            if tokio::time::Instant::now() > until {
                return Err(Error::Busy);
            }
            self.records.wake_reconciler();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// Aborts the multipart uploads of these images' names that no intent knows: of another
    /// program, or of a database that is gone. How many.
    ///
    /// # Errors
    /// When the store or the database fails.
    pub async fn abort_unknown(&self, extent: &Extent) -> std::result::Result<u64, Settling> {
        let found = self.storage.unfinished_below(&extent.prefix()).await?;
        if found.is_empty() {
            return Ok(0);
        }
        // Asked after the store: whatever had been begun by then has its intent.
        let known = self.records.staged(&extent.tenant).await?;
        let mut aborted = 0;
        for (key, reference) in found {
            let name = key.as_str().to_owned();
            // That of an intent which is about to name it could be any of its name.
            let may_be_alive = known.contains(&(name.clone(), None));
            if !may_be_alive && !known.contains(&(name, Some(reference.clone()))) {
                self.storage.abort(&key, &reference).await?;
                aborted += 1;
            }
        }
        Ok(aborted)
    }

    /// Takes the object's present entity tag into a record whose bytes it has: after a restore
    /// from a backup they are the same, and their tags are not. Whether they were.
    ///
    /// # Errors
    /// When the store or the database fails.
    pub async fn heal(&self, image: &image::Image) -> std::result::Result<bool, Settling> {
        let Some(head) = self.head(&image.key).await? else { return Ok(false) };
        if !self.has_bytes_of(&head, image).await.unwrap_or_default() {
            return Ok(false);
        }
        let healed = self.records.retag(image, &head.etag).await?;
        if healed {
            let (name, etag) = (image.key.as_str(), head.etag);
            tracing::warn!(name, etag, "an object's entity tag had changed and its bytes had not");
        }
        Ok(healed)
    }
}

/// Why an intent could not be settled now.
#[derive(Debug, thiserror::Error)]
pub enum Settling {
    /// The store could not be asked.
    #[error("the store failed")]
    Storage(#[from] storage::Error),
    /// The database could not be asked.
    #[error("the records failed")]
    Records(#[from] Error),
}
