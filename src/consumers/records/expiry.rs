//! Ends sessions whose time is over, or that are erased, and what they left staged in the store.

use std::{
    collections::HashSet,
    time::{Duration, SystemTime},
};

use futures_util::{StreamExt, TryStreamExt, stream};
use uuid::Uuid;

use super::{Error, Extent, Intent, Reconciler, Result, STAGING, Session, Settling, VARIANTS, Way};
use crate::{
    problem,
    storage::{Listed, ObjectKey, SharedStorage},
    tenant::TenantId,
};

/// Sessions that are ended in one pass.
const PASS: u64 = 1000;
/// How many of them at a time.
const AT_ONCE: usize = 8;
/// The pause before sessions are ended that could not be.
const AGAIN: Duration = Duration::from_secs(30);
/// The longest without a look.
pub(super) const LOOK: Duration = Duration::from_secs(60);
/// How long an erasure waits for a request that works on a session.
const PATIENCE: Duration = Duration::from_secs(15);
/// What is staged without a session is removed when it is older: a signed request that was begun
/// in time may end that late.
const STRAY_AFTER: Duration = Duration::from_secs(60 * 60);
/// How long events can be asked for.
const EVENTS_FOR: Duration = Duration::from_secs(7 * 24 * 60 * 60);

impl Reconciler {
    /// Ends sessions that have expired; how long until the next is to be.
    pub(super) async fn expire(&self) -> Result<Duration> {
        if !self.records.is_server() {
            return Ok(Duration::MAX);
        }
        let next = self.records.next_expiry().await?.unwrap_or(LOOK);
        if !next.is_zero() {
            return Ok(next.min(LOOK));
        }
        let expired = self.records.expired(PASS).await?;
        let more = expired.len() as u64 == PASS;
        let ended = stream::iter(expired).map(|session| async move {
            let ended = self.end_session(&session, Duration::ZERO).await;
            if let Err(error) = &ended {
                let cause = problem::chain(error);
                tracing::debug!(cause, id = %session.id, "an expired upload is not ended yet");
            }
            ended.is_ok()
        });
        // One that cannot be ended must not keep the others.
        let ended: Vec<_> = ended.buffer_unordered(AT_ONCE).collect().await;
        let all = ended.iter().all(|ended| *ended);
        self.records.forget_finished(None).await?;
        match (all, more) {
            (false, _) => Ok(AGAIN),
            (true, true) => Ok(Duration::ZERO),
            (true, false) => Ok(self.records.next_expiry().await?.unwrap_or(LOOK).min(LOOK)),
        }
    }

    /// Ends all sessions of these images.
    ///
    /// # Errors
    /// [`Error::Busy`] when a request does not let one go; or the store or the database fails.
    pub async fn end_sessions(&self, extent: &Extent) -> std::result::Result<(), Settling> {
        let mut after = Uuid::nil();
        loop {
            let sessions = self.records.sessions_of(extent, after).await?;
            let Some(last) = sessions.last() else { break };
            after = last.id;
            let ended = stream::iter(&sessions).map(|session| self.end_session(session, PATIENCE));
            ended.buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        }
        Ok(())
    }

    /// Forgets which of these images sessions have become.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_sessions(&self, extent: &Extent) -> Result<()> {
        self.records.forget_finished(Some(extent)).await
    }

    async fn end_session(
        &self,
        session: &Session,
        patience: Duration,
    ) -> std::result::Result<(), Settling> {
        match self.records.claim(&session.tenant, session.id, patience, |_| true).await {
            Ok((session, intent)) => discard(&self.storage, &session, &intent).await,
            // It is finished, or another was faster.
            Err(Error::NotFound) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Clears the store of what processes that are gone left unfinished, and of what was sent in
    /// time for a session and is there too late. How much. Forgets events that are old.
    ///
    /// # Errors
    /// When the store or the database fails.
    pub async fn sweep(&self) -> std::result::Result<usize, Settling> {
        self.records.forget_events(EVENTS_FOR).await?;
        // Asked before the store: what is begun later is young.
        let kept = self.records.references().await?;
        let unfinished = self.storage.sweep(&kept).await?;
        let old = |object: &Listed| is_old(object).then(|| id_at(object, 2))?;
        let known = async |ids: Vec<String>| self.records.are_sessions(&ids).await;
        Ok(unfinished + self.remove_below(&format!("{STAGING}/"), old, known).await?)
    }

    /// Clears the store of what was made of images, and no image has. How much.
    ///
    /// # Errors
    /// When the store or the database fails.
    pub async fn sweep_made(&self) -> std::result::Result<usize, Settling> {
        let old = |object: &Listed| is_old(object).then(|| id_at(object, 3))?;
        self.remove_unmade(&format!("{VARIANTS}/"), old).await
    }

    /// Removes what was made of a tenant's images, and no image has.
    ///
    /// # Errors
    /// When the store or the database fails.
    pub async fn clear_made(&self, tenant: &TenantId) -> std::result::Result<(), Settling> {
        let prefix = format!("{VARIANTS}/{tenant}/");
        let any = |object: &Listed| object.key.rsplit('/').next().map(str::to_owned);
        self.remove_unmade(&prefix, any).await?;
        Ok(self.storage.prune(&prefix).await?)
    }

    async fn remove_unmade(
        &self,
        prefix: &str,
        id_of: impl Fn(&Listed) -> Option<String>,
    ) -> std::result::Result<usize, Settling> {
        let known = async |ids: Vec<String>| self.records.are_made(&ids).await;
        self.remove_below(prefix, id_of, known).await
    }

    /// Removes the objects below `prefix` that have an id which is not `known`. How many.
    async fn remove_below(
        &self,
        prefix: &str,
        id_of: impl Fn(&Listed) -> Option<String>,
        known: impl AsyncFn(Vec<String>) -> Result<HashSet<String>>,
    ) -> std::result::Result<usize, Settling> {
        let (mut after, mut removed) = (None, 0);
        loop {
            let page = self.storage.list(prefix, after.as_deref()).await?;
            let objects = page.objects.iter();
            let found: Vec<_> =
                objects.filter_map(|object| Some((id_of(object)?, object))).collect();
            let known = known(found.iter().map(|(id, _)| id.clone()).collect()).await?;
            for (_, stray) in found.iter().filter(|(id, _)| !known.contains(id)) {
                if let Ok(key) = ObjectKey::parse(&stray.key) {
                    self.storage.delete(&key).await?;
                    removed += 1;
                }
            }
            after = page.next;
            if after.is_none() {
                return Ok(removed);
            }
        }
    }
}

fn is_old(object: &Listed) -> bool {
    SystemTime::now().duration_since(object.modified).is_ok_and(|age| age > STRAY_AFTER)
}

/// The id of what an object belongs to, which is this segment of its key.
fn id_at(object: &Listed, place: usize) -> Option<String> {
    let id = Uuid::try_parse(object.key.split('/').nth(place)?).ok()?;
    Some(id.to_string())
}

/// Removes what the store has of a session, and then the session, which `intent` holds.
///
/// # Errors
/// When the store or the database fails; the session stays, and can be ended later.
pub async fn discard(
    storage: &SharedStorage,
    session: &Session,
    intent: &Intent,
) -> std::result::Result<(), Settling> {
    let staging = session.staging()?;
    // Parts of a direct upload are at the staging key, those of a resumable one at its own.
    let parts_at = if session.way == Way::Resumable { &session.key } else { &staging };
    if let Some(reference) = &session.staged {
        storage.abort(parts_at, reference).await?;
    } else if session.way == Way::Direct {
        // Begun, and not written down.
        for reference in storage.unfinished(&staging).await? {
            storage.abort(&staging, &reference).await?;
        }
    }
    unstage(storage, session).await?;
    Ok(intent.end_session().await?)
}

/// Removes the staged bytes of a session.
///
/// # Errors
/// When the store fails.
pub async fn unstage(
    storage: &SharedStorage,
    session: &Session,
) -> std::result::Result<(), Settling> {
    let staging = session.staging()?;
    storage.delete(&staging).await?;
    if session.way == Way::Resumable {
        let mut after = None;
        loop {
            let page = storage.list(&format!("{staging}/"), after.as_deref()).await?;
            for object in &page.objects {
                if let Ok(key) = ObjectKey::parse(&object.key) {
                    storage.delete(&key).await?;
                }
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
    }
    Ok(())
}
