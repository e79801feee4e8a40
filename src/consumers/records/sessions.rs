//! Uploads that take more than one request, and what they have become.
//!
//! A session stands beside an intent of the same id, which keeps its reservation and the store's
//! reference. [`super::holding`] tells who works on it.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, SystemTime},
};

use sqlx::{Row as _, any::AnyRow};
use uuid::Uuid;

use super::{
    Error, Extent, Intent, Records, Result,
    expiry::LOOK,
    image::{self, Image, signed},
    rows::Kind,
};
use crate::{
    database::{Batch, millis, of_millis},
    fault,
    storage::ObjectKey,
    tenant::TenantId,
};

/// Who holds a session that nobody holds.
pub(super) const NOBODY: &str = "";
/// How the bytes of a session come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By one signed request to the store, or one for each part.
    Direct,
    /// The same by an HTML form.
    Form,
    /// Through this process, in as many requests as it takes.
    Resumable,
}

/// An upload that takes more than one request.
#[derive(Clone, Debug)]
pub struct Session {
    /// Its id, and that of its intent and of the upload that it becomes.
    pub id: Uuid,
    /// How its bytes come.
    pub way: Way,
    /// Whose it is.
    pub tenant: TenantId,
    /// The customer's id.
    pub customer: String,
    /// Where the object will be.
    pub key: ObjectKey,
    /// The name to show.
    pub display_name: String,
    /// What the client says that the bytes are.
    pub content_type: Option<String>,
    /// Bytes; none while the client has not told.
    pub length: Option<u64>,
    /// Of the bytes, as the client says.
    pub sha256: Option<String>,
    /// Bytes that are here for good.
    pub received: u64,
    /// How it is taken up there.
    pub state: Option<String>,
    /// What the client wants to be told again.
    pub metadata: Option<String>,
    /// Where the store keeps parts of it.
    pub staged: Option<String>,
    /// Whether a request works on it.
    pub is_held: bool,
    /// Until when it can be finished.
    pub expires_at: SystemTime,
}

impl Way {
    fn as_str(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Form => "form",
            Self::Resumable => "resumable",
        }
    }

    fn parse(text: &str) -> Result<Self> {
        let found = [Self::Direct, Self::Form, Self::Resumable].into_iter();
        let found = found.into_iter().find(|way| way.as_str() == text);
        Ok(found.ok_or_else(|| image::unreadable("kind", "unknown"))?)
    }
}

impl Session {
    /// Where its bytes are until they are an image's.
    pub fn staging(&self) -> Result<ObjectKey> {
        staging(&self.tenant, self.id)
    }

    /// The SHA-256 of the bytes, as the client says.
    pub fn declared(&self) -> Option<[u8; 32]> {
        self.sha256.as_deref().and_then(unhex)
    }

    pub(super) fn of_row(row: &AnyRow) -> Result<Self> {
        let length: Option<i64> = row.try_get("length")?;
        Ok(Self {
            id: image::uuid(row, "id")?,
            way: Way::parse(row.try_get("kind")?)?,
            tenant: image::tenant(row)?,
            customer: row.try_get("customer")?,
            key: image::key(row)?,
            display_name: row.try_get("display_name")?,
            content_type: row.try_get("content_type")?,
            length: length.map(|length| u64::try_from(length).unwrap_or_default()),
            sha256: row.try_get("sha256")?,
            received: image::number(row, "received")?,
            state: row.try_get("state")?,
            metadata: row.try_get("metadata")?,
            staged: row.try_get("staged")?,
            is_held: row.try_get::<String, _>("owner")? != NOBODY,
            expires_at: of_millis(row.try_get("expires_at")?),
        })
    }
}

/// What a session has become.
pub struct Finished {
    /// The image, as it was then.
    pub image: Image,
    /// What the client wants to be told again.
    pub metadata: Option<String>,
}

/// What all staged bytes have before their tenant's id. No tenant's id begins so.
pub const STAGING: &str = "_staging";

/// Where the bytes of this session are until they are an image's.
pub fn staging(tenant: &TenantId, id: Uuid) -> Result<ObjectKey> {
    let key = ObjectKey::from_segments(&[STAGING, tenant.as_str(), &id.to_string()]);
    Ok(key.map_err(|e| image::unreadable("tenant", e))?)
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT sessions.*, intents.staged AS staged, intents.owner AS owner FROM sessions \
             JOIN intents ON intents.id = sessions.id WHERE ",
            $rest
        )
    };
}

/// The session of an id.
pub(super) const SESSION: &str = select!("sessions.id = $1");

impl Records {
    /// Writes a session down. Its intent holds it, if [`Session::is_held`].
    ///
    /// # Errors
    /// [`Error::Quota`] when there is no room for it.
    pub async fn open_session(&self, session: &Session) -> Result<Arc<Intent>> {
        const SQL: &str = "\
            INSERT INTO sessions (id, kind, tenant, customer, stored_name, display_name, content_type, length, \
            sha256, received, metadata, created_at, expires_at) \
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0, $10, $11, $12)";
        self.keep_alive().await?;
        let intent = self.held(session);
        let (mut note, quotas) = (intent.note(Kind::Session, SystemTime::now()), self.quotas());
        if !session.is_held {
            note.owner = None;
        }
        let (size, opened) = (intent.size(), session.clone());
        let opened = self.write(move |connection| {
            Box::pin(async move {
                let grown = note.reserve(connection, size, &quotas).await?;
                let rows = note
                    .put(Batch::new(connection), None, grown, None)
                    .statement(SQL)
                    .bind(opened.id.to_string())
                    .bind(opened.way.as_str().to_owned())
                    .bind(opened.tenant.as_str().to_owned())
                    .bind(opened.customer)
                    .bind(opened.key.as_str().to_owned())
                    .bind(opened.display_name)
                    .bind(opened.content_type)
                    .bind(opened.length.map(signed))
                    .bind(opened.sha256)
                    .bind(opened.metadata)
                    .bind(millis(SystemTime::now()))
                    .bind(millis(opened.expires_at));
                rows.run(connection).await?;
                Ok(())
            })
        });
        opened.await?;
        if !session.is_held {
            intent.end();
        }
        if session.expires_at <= SystemTime::now() + LOOK {
            self.wake_reconciler();
        }
        fault::point("session.opened");
        Ok(intent)
    }

    /// The tenant's session of this id, unless it is finished, ended or expired.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn session(&self, tenant: &TenantId, id: Uuid) -> Result<Session> {
        self.session_of(id)
            .await?
            .filter(|session| session.tenant == *tenant)
            .ok_or(Error::NotFound)
    }

    pub(super) async fn session_of(&self, id: Uuid) -> Result<Option<Session>> {
        self.read(move |connection| {
            Box::pin(async move {
                let query = sqlx::query(SESSION).bind(id.to_string());
                query.fetch_optional(connection).await?.as_ref().map(Session::of_row).transpose()
            })
        })
        .await
    }

    /// What the tenant's session of this id has become, for as long as it is remembered.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn finished(&self, tenant: &TenantId, id: Uuid) -> Result<Option<Finished>> {
        const SQL: &str = concat!(
            "SELECT ",
            image::columns!(),
            ", metadata FROM finished WHERE upload = $1 AND tenant = $2"
        );
        let tenant = tenant.clone();
        self.read(move |connection| {
            Box::pin(async move {
                let query = sqlx::query(SQL).bind(id.to_string()).bind(tenant.as_str());
                let Some(row) = query.fetch_optional(connection).await? else { return Ok(None) };
                let image = Image::of_row(&row)?;
                Ok(Some(Finished { image, metadata: row.try_get("metadata")? }))
            })
        })
        .await
    }

    /// The store's references of what sessions have begun there.
    pub(super) async fn references(&self) -> Result<HashSet<String>> {
        const SQL: &str =
            "SELECT staged FROM intents WHERE kind = 'session' AND staged IS NOT NULL";
        self.read(move |connection| {
            Box::pin(async move {
                let rows = sqlx::query(SQL).fetch_all(connection).await?;
                rows.iter().map(|row| Ok(row.try_get("staged")?)).collect()
            })
        })
        .await
    }

    /// Those of these ids that are sessions'.
    pub(super) async fn are_sessions(&self, ids: &[String]) -> Result<HashSet<String>> {
        const SQL: &str = "SELECT id FROM sessions WHERE id IN ({})";
        self.among(SQL, ids).await
    }

    /// Sessions whose time is over and that nobody works on.
    pub(super) async fn expired(&self, most: u64) -> Result<Vec<Session>> {
        const SQL: &str =
            select!("sessions.expires_at <= $1 ORDER BY sessions.expires_at LIMIT $2");
        let now = millis(SystemTime::now());
        let mut expired =
            self.sessions(SQL, move |query| query.bind(now).bind(signed(most))).await?;
        expired.retain(|session| !session.is_held);
        Ok(expired)
    }

    /// How long until the next session expires, or what one has become is forgotten.
    pub(super) async fn next_expiry(&self) -> Result<Option<Duration>> {
        const SQL: &str = "\
            SELECT MIN(expires_at) AS next FROM (SELECT MIN(expires_at) AS expires_at FROM sessions \
            UNION ALL SELECT MIN(expires_at) AS expires_at FROM finished) AS either";
        let next = self.read(move |connection| {
            Box::pin(async move {
                let row = sqlx::query(SQL).fetch_one(connection).await?;
                Ok(row.try_get::<Option<i64>, _>("next")?)
            })
        });
        let next = next.await?.map(of_millis);
        Ok(next.map(|at| at.duration_since(SystemTime::now()).unwrap_or_default()))
    }

    /// All sessions of these images, some at a time: those behind the id `after`.
    pub(super) async fn sessions_of(&self, extent: &Extent, after: Uuid) -> Result<Vec<Session>> {
        let Extent { tenant, customer } = extent.clone();
        self.sessions(
            select!(
                "sessions.tenant = $1 AND (CAST($2 AS TEXT) IS NULL OR sessions.customer = $2) \
                 AND sessions.id > $3 ORDER BY sessions.id LIMIT 200"
            ),
            move |query| {
                query.bind(tenant.as_str().to_owned()).bind(customer).bind(after.to_string())
            },
        )
        .await
    }

    async fn sessions(
        &self,
        sql: &'static str,
        bind: impl for<'q> FnOnce(AnyQuery<'q>) -> AnyQuery<'q> + Send + 'static,
    ) -> Result<Vec<Session>> {
        self.read(move |connection| {
            Box::pin(async move {
                let rows = bind(sqlx::query(sql)).fetch_all(connection).await?;
                rows.iter().map(Session::of_row).collect()
            })
        })
        .await
    }

    /// Forgets what sessions have become: all that was remembered until now, or that of these images.
    pub(super) async fn forget_finished(&self, extent: Option<&Extent>) -> Result<()> {
        let extent = extent.cloned();
        self.write(move |connection| {
            Box::pin(async move {
                let query = match extent {
                    None => sqlx::query("DELETE FROM finished WHERE expires_at <= $1")
                        .bind(millis(SystemTime::now())),
                    Some(Extent { tenant, customer }) => sqlx::query(
                        "DELETE FROM finished WHERE tenant = $1 \
                         AND (CAST($2 AS TEXT) IS NULL OR customer = $2)",
                    )
                    .bind(tenant.as_str().to_owned())
                    .bind(customer),
                };
                query.execute(connection).await?;
                Ok(())
            })
        })
        .await
    }
}

type AnyQuery<'q> = sqlx::query::Query<'q, sqlx::Any, sqlx::any::AnyArguments>;

/// Keeps what the session of this upload has become, if it is one's, for as long as the session could
/// have lasted; in the transaction that writes the record.
pub(super) fn finish(batch: Batch, upload: Uuid) -> Batch {
    const KEEP: &str = concat!(
        "INSERT INTO finished (",
        image::columns!(),
        ", metadata, expires_at) SELECT ",
        image::columns_of_images!(),
        ", sessions.metadata, sessions.expires_at FROM sessions \
         JOIN images ON images.stored_name = sessions.stored_name WHERE sessions.id = $1"
    );
    batch
        .statement(KEEP)
        .bind(upload.to_string())
        .statement("DELETE FROM sessions WHERE id = $1")
        .bind(upload.to_string())
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(bytes)
}
