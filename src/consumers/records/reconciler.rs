//! Settles intents that nobody works on any more: of uploads that failed or were left, and of
//! processes that are gone. What the store has decides: the record follows it, or nothing is left.

use std::time::{Duration, SystemTime};

use aws_lc_rs::digest;
use bytes::Bytes;
use futures_util::StreamExt;
use sqlx::Row as _;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Error, Extent, Records, Result, image, image::millis, owner::BEAT, rows::Kind};
use crate::{
    problem,
    storage::{self, ErrorKind, Head, ObjectKey, Read, SharedStorage, Stored},
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
    records: Records,
    storage: SharedStorage,
}

/// An intent to settle.
#[derive(Clone)]
struct Left {
    id: Uuid,
    key: ObjectKey,
    kind: Kind,
    /// Where the store keeps parts of it.
    staged: Option<String>,
    /// The size and the SHA-256, once it was prepared: its object may be there.
    prepared: Option<(u64, String)>,
    /// Nobody has worked on it since then.
    left_at: SystemTime,
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
        Ok(next.unwrap_or(Duration::MAX).clamp(Duration::from_millis(50), self.longest()))
    }

    async fn settle(&self, left: &Left) -> std::result::Result<(), Settling> {
        if left.kind == Kind::Deletion {
            self.records.while_held(left.id, self.storage.delete(&left.key)).await??;
            self.records.complete_deletion(left.id).await?;
            return Ok(());
        }
        if let Some((size, sha256)) = &left.prepared
            && let Some(head) = self.head(&left.key).await?
            && self.is_from(&head, left, *size, sha256).await?
        {
            let stored = Stored { etag: head.etag, size: head.size };
            self.records.complete(left.id, None, stored).await?;
            return Ok(());
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

    /// Whether the object is what this upload brought.
    async fn is_from(
        &self,
        head: &Head,
        left: &Left,
        size: u64,
        sha256: &str,
    ) -> storage::Result<bool> {
        match head.upload {
            Some(upload) if left.kind == Kind::Upload => Ok(upload == left.id),
            // The store keeps no such note, or the object is older than that: its bytes tell.
            _ if head.size != size => Ok(false),
            _ => match self.sha256(&left.key, &head.etag).await {
                Ok(found) => Ok(found == sha256),
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
                Err(error) => Err(error),
            },
        }
    }

    async fn sha256(&self, key: &ObjectKey, etag: &str) -> storage::Result<String> {
        let how = Read { range: None, if_match: Some(etag.to_owned()) };
        let mut reading = self.storage.read(key, how).await?;
        let mut hash = digest::Context::new(&digest::SHA256);
        while let Some(chunk) = reading.body.next().await {
            let chunk: Bytes = chunk?;
            hash.update(&chunk);
        }
        let mut sha256 = [0; 32];
        sha256.copy_from_slice(hash.finish().as_ref());
        Ok(storage::hex(&sha256))
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
        if head.size != image.size || image.sha256.is_none() {
            return Ok(false);
        }
        if self.sha256(&image.key, &head.etag).await.ok() != image.sha256 {
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

impl Records {
    /// This process's intents that nobody works on and whose time has come.
    async fn due(&self) -> Result<Vec<Left>> {
        const SQL: &str = "\
            SELECT id, kind, stored_name, staged, size, sha256, left_at FROM intents \
            WHERE owner = $1 AND (settle_at IS NULL OR settle_at <= $2) ORDER BY settle_at";
        let owner = self.owner_id();
        let rows = self.read(move |connection| {
            Box::pin(async move {
                let now = millis(SystemTime::now());
                let query = sqlx::query(SQL).bind(owner.to_string()).bind(now);
                query.fetch_all(connection).await.map_err(Error::from)
            })
        });
        let mut left = Vec::new();
        // Those that end while the rows are read, and those that begin, are not left over.
        let mut live = self.live().clone();
        let rows = rows.await?;
        live.extend(&*self.live());
        for row in &rows {
            let id = image::uuid(row, "id")?;
            if live.contains(&id) {
                continue;
            }
            let size: Option<i64> = row.try_get("size")?;
            let sha256: Option<String> = row.try_get("sha256")?;
            left.push(Left {
                id,
                key: image::key(row)?,
                kind: Kind::parse(row.try_get("kind")?)?,
                staged: row.try_get("staged")?,
                prepared: size.map(|size| u64::try_from(size).unwrap_or_default()).zip(sha256),
                left_at: self.left_at(id, row.try_get("left_at")?).await?,
            });
        }
        Ok(left)
    }

    /// Since when nobody works on an intent: since now, where nobody has seen it left over before.
    async fn left_at(&self, id: Uuid, seen: Option<i64>) -> Result<SystemTime> {
        const SQL: &str = "UPDATE intents SET left_at = $1, settle_at = $1 WHERE id = $2";
        if let Some(seen) = seen {
            return Ok(image::time(seen));
        }
        let now = millis(SystemTime::now());
        self.write(move |connection| {
            Box::pin(async move {
                sqlx::query(SQL).bind(now).bind(id.to_string()).execute(connection).await?;
                Ok(image::time(now))
            })
        })
        .await
    }

    /// How long until the next of this process's intents is to be looked at.
    async fn next_look(&self) -> Result<Option<Duration>> {
        const SQL: &str =
            "SELECT MIN(settle_at) AS next FROM intents WHERE owner = $1 AND settle_at > 0";
        let owner = self.owner_id();
        let next = self.read(move |connection| {
            Box::pin(async move {
                let row = sqlx::query(SQL).bind(owner.to_string()).fetch_one(connection).await?;
                Ok(row.try_get::<Option<i64>, _>("next")?)
            })
        });
        let now = millis(SystemTime::now());
        Ok(next.await?.map(|at| Duration::from_millis(u64::try_from(at - now).unwrap_or_default())))
    }

    /// Leaves an intent for later.
    async fn look_again(&self, id: Uuid, at: SystemTime) -> Result<()> {
        const SQL: &str = "UPDATE intents SET settle_at = $1 WHERE id = $2 AND owner = $3";
        let (at, owner) = (millis(at), self.owner_id());
        self.write(move |connection| {
            Box::pin(async move {
                let query = sqlx::query(SQL).bind(at).bind(id.to_string()).bind(owner.to_string());
                query.execute(connection).await?;
                Ok(())
            })
        })
        .await
    }

    /// The references of other multipart uploads to this key; none for one that is about to be
    /// named. One that was left before it was named is not: several of those would wait for
    /// one another for ever.
    async fn others(&self, key: &ObjectKey, but: Uuid) -> Result<Vec<Option<String>>> {
        const SQL: &str = "\
            SELECT staged FROM intents WHERE stored_name = $1 AND id <> $2 \
            AND (staged IS NOT NULL OR (kind = 'upload' AND size IS NULL AND left_at IS NULL))";
        let key = key.clone();
        self.read(move |connection| {
            Box::pin(async move {
                let query = sqlx::query(SQL).bind(key.as_str().to_owned()).bind(but.to_string());
                let rows = query.fetch_all(connection).await?;
                rows.iter().map(|row| Ok(row.try_get("staged")?)).collect()
            })
        })
        .await
    }

    async fn is_leased(&self, key: &ObjectKey) -> Result<bool> {
        const SQL: &str = "SELECT 1 FROM leases WHERE stored_name = $1";
        let key = key.clone();
        self.read(move |connection| {
            Box::pin(async move {
                let lease = sqlx::query(SQL).bind(key.as_str()).fetch_optional(connection);
                Ok(lease.await?.is_some())
            })
        })
        .await
    }

    async fn retag(&self, image: &image::Image, etag: &str) -> Result<bool> {
        const SQL: &str = "UPDATE images SET object_etag = $1 WHERE id = $2 AND upload = $3";
        let (etag, id, upload) = (etag.to_owned(), image.id.to_string(), image.upload.to_string());
        self.write(move |connection| {
            Box::pin(async move {
                let query = sqlx::query(SQL).bind(etag).bind(id).bind(upload);
                Ok(query.execute(connection).await?.rows_affected() == 1)
            })
        })
        .await
    }
}
