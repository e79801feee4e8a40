//! Who works on a session: the owner of its intent, one request at a time, on whatever replica. Nobody
//! owns it in between.
//!
//! What a process held when it died is taken over like any intent, and [`super::Reconciler`] hands it
//! back, or finishes what had been begun.
//!
//! | by | the owner becomes | the lease, and what was prepared |
//! |---|---|---|
//! | `claim` | the asker, if it was nobody | |
//! | `release`, `save` | nobody, unless it is prepared | stay |
//! | [`Intent::give_up`], where the object will not come | | go |
//! | `hand_back`, by the reconciler | nobody | go |

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use sqlx::AnyConnection;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::{
    Error, ExpectedSize, Intent, Records, Result, Session,
    image::signed,
    rows::{Kind, run_and_remove},
    sessions::SESSION,
};
use crate::{
    database::{Batch, millis},
    fault,
    tenant::TenantId,
};

/// How often a session that others hold is asked for.
const ASK: Duration = Duration::from_millis(50);

impl Records {
    /// Takes the tenant's session of this id to work on it, if it `fits`. Who works on it is asked to let go.
    ///
    /// # Errors
    /// [`Error::NotFound`], also of one that does not fit; [`Error::Busy`] when it is not let go within
    /// `patience`.
    pub async fn claim(
        &self,
        tenant: &TenantId,
        id: Uuid,
        patience: Duration,
        fits: fn(&Session) -> bool,
    ) -> Result<(Session, Arc<Intent>)> {
        let until = Instant::now() + patience;
        let mut asked = false;
        loop {
            if let Some(taken) = self.take(tenant.clone(), id, fits).await? {
                return Ok(taken);
            }
            if !asked {
                self.ask_for(id).await?;
                // It may be left over of a request that was broken off.
                self.wake_reconciler();
                asked = true;
            }
            if Instant::now() > until {
                return Err(Error::Busy);
            }
            sleep(ASK).await;
        }
    }

    /// Makes this process the owner, where nobody is.
    async fn take(
        &self,
        tenant: TenantId,
        id: Uuid,
        fits: fn(&Session) -> bool,
    ) -> Result<Option<(Session, Arc<Intent>)>> {
        const TAKE: &str = "\
            UPDATE intents SET owner = $1, left_at = NULL, settle_at = NULL \
            WHERE id = $2 AND owner = '' AND kind = 'session'";
        const HEARD: &str =
            "UPDATE sessions SET wanted_at = NULL WHERE id = $1 AND wanted_at IS NOT NULL";
        self.keep_alive().await?;
        let (owner, records) = (self.owner_id(), self.clone());
        self.write(move |connection| {
            Box::pin(async move {
                let take = sqlx::query(TAKE).bind(owner.to_string()).bind(id.to_string());
                let taken = take.execute(&mut *connection).await?.rows_affected() == 1;
                let mut look = Batch::new(connection);
                if taken {
                    look = look.statement(HEARD).bind(id.to_string());
                }
                let looked = look.statement(SESSION).bind(id.to_string()).run(connection).await?;
                let session = looked.rows.first().map(Session::of_row).transpose()?;
                let session = session.filter(|session| session.tenant == tenant && fits(session));
                // Then nothing is taken either.
                let session = session.ok_or(Error::NotFound)?;
                Ok(taken.then(|| {
                    // Before others see it taken. What is left over of a request of this process does not
                    // seem to be worked on by who waits for it.
                    let intent = records.held(&session);
                    intent.begin();
                    (session, intent)
                }))
            })
        })
        .await
    }

    async fn ask_for(&self, id: Uuid) -> Result<()> {
        const SQL: &str = "UPDATE sessions SET wanted_at = $1 WHERE id = $2";
        self.write(move |connection| {
            Box::pin(async move {
                let query = sqlx::query(SQL).bind(millis(SystemTime::now())).bind(id.to_string());
                query.execute(connection).await?;
                Ok(())
            })
        })
        .await
    }

    /// Whether another request asks for this session.
    pub async fn is_asked_for(&self, id: Uuid) -> Result<bool> {
        const SQL: &str = "SELECT 1 FROM sessions WHERE id = $1 AND wanted_at IS NOT NULL";
        self.read(move |connection| {
            Box::pin(async move {
                let row = sqlx::query(SQL).bind(id.to_string()).fetch_optional(connection);
                Ok(row.await?.is_some())
            })
        })
        .await
    }

    /// Gives a session back that was left over since then: its object did not come, and will not.
    pub(super) async fn hand_back(&self, id: Uuid, left_at: SystemTime) -> Result<()> {
        const FREE: &str = "\
            UPDATE intents SET owner = '', size = NULL, target = NULL, left_at = NULL, settle_at = NULL \
            WHERE id = $1 AND owner = $2 AND left_at = $3";
        const GIVE_BACK: &str = "DELETE FROM leases WHERE intent = $1";
        let owner = self.owner_id();
        self.write(move |connection| {
            Box::pin(async move {
                let free = sqlx::query(FREE)
                    .bind(id.to_string())
                    .bind(owner.to_string())
                    .bind(millis(left_at));
                // Somebody may have taken it meanwhile.
                if free.execute(&mut *connection).await?.rows_affected() == 1 {
                    sqlx::query(GIVE_BACK).bind(id.to_string()).execute(connection).await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// An intent that holds this session.
    pub(super) fn held(&self, session: &Session) -> Arc<Intent> {
        let size = ExpectedSize {
            least: session.length.unwrap_or(1),
            most: session.length.unwrap_or_default(),
        };
        self.intent_of(session.id, Kind::Session, &session.tenant, &session.key, size)
    }
}

/// How far a session has come.
#[derive(Clone, Debug)]
pub struct Progress {
    /// Bytes, once the client has told.
    pub length: Option<u64>,
    /// Bytes that are here for good.
    pub received: u64,
    /// How it is taken up there.
    pub state: Option<String>,
    /// Until when it can be finished.
    pub expires_at: SystemTime,
}

impl Intent {
    /// Writes down how far the session of this intent has come; with `release`, nobody works on it
    /// from then on.
    ///
    /// # Errors
    /// [`Error::Lost`] when it is another's.
    pub async fn save(&self, progress: Progress, release: bool) -> Result<()> {
        const SAVE: &str = "\
            UPDATE sessions SET length = $1, received = $2, state = $3, expires_at = $4 WHERE id = $5 \
            AND EXISTS (SELECT 1 FROM intents WHERE intents.id = sessions.id AND intents.owner = $6)";
        let (id, owner) = (self.id(), self.records().owner_id());
        let saved = self.records().write(move |connection| {
            Box::pin(async move {
                let query = sqlx::query(SAVE)
                    .bind(progress.length.map(signed))
                    .bind(signed(progress.received))
                    .bind(progress.state)
                    .bind(millis(progress.expires_at))
                    .bind(id.to_string())
                    .bind(owner.to_string());
                if query.execute(&mut *connection).await?.rows_affected() == 0 {
                    return Err(Error::Lost);
                }
                Ok(release && let_go(connection, id, owner).await?)
            })
        });
        let freed = saved.await?;
        fault::point("session.saved");
        if freed {
            self.end();
        }
        Ok(())
    }

    /// Works on the session no more. Where its object may have come, the reconciler finds out.
    ///
    /// # Errors
    /// When the database fails; the reconciler then hands it back.
    pub async fn release(&self) -> Result<()> {
        let (id, owner) = (self.id(), self.records().owner_id());
        let released = self
            .records()
            .write(move |connection| Box::pin(async move { let_go(connection, id, owner).await }));
        if released.await? {
            self.end();
        }
        Ok(())
    }

    /// Ends the session: what the store had of it is gone.
    ///
    /// # Errors
    /// [`Error::Lost`] when it is another's.
    pub async fn end_session(&self) -> Result<()> {
        let (id, owner) = (self.id(), self.records().owner_id());
        let ended = self.records().write(move |connection| {
            Box::pin(async move {
                let batch = Batch::new(connection)
                    .statement("DELETE FROM sessions WHERE id = $1")
                    .bind(id.to_string());
                run_and_remove(batch, connection, id, owner).await
            })
        });
        ended.await?;
        self.end();
        Ok(())
    }
}

/// Makes nobody the owner, unless the session is prepared: its object may have come. Whether it did.
async fn let_go(connection: &mut AnyConnection, id: Uuid, owner: Uuid) -> Result<bool> {
    const SQL: &str = "\
        UPDATE intents SET owner = '', target = NULL, left_at = NULL, settle_at = NULL \
        WHERE id = $1 AND owner = $2 AND size IS NULL";
    let freed = sqlx::query(SQL).bind(id.to_string()).bind(owner.to_string());
    Ok(freed.execute(connection).await?.rows_affected() == 1)
}
