//! Notices between the processes that use one Postgres: `NOTIFY` and `LISTEN`. They wake somebody
//! up sooner; nobody may rely on them, since one that is sent while nobody listens is lost.

use sqlx::postgres::PgListener;
use tokio::time::timeout;

use super::{CONNECT, Database, DatabaseUrl, Dialect, Error, ErrorKind, Result};
use secrecy::ExposeSecret;

/// What is heard on a channel, over a connection of its own.
pub struct Notices(PgListener);

impl Database {
    /// Listens on `channel`.
    ///
    /// # Errors
    /// When the database cannot be reached, or is a SQLite file, which has no notices.
    pub async fn listen(&self, channel: &'static str) -> Result<Notices> {
        let DatabaseUrl::Postgres(url) = &self.0.url else {
            return Err(Error::new(ErrorKind::Internal, "SQLite has no notices"));
        };
        let listening = async {
            let mut listener = PgListener::connect(url.expose_secret()).await?;
            listener.listen(channel).await?;
            Ok::<_, sqlx::Error>(Notices(listener))
        };
        match timeout(CONNECT, listening).await {
            Ok(listening) => Ok(listening?),
            Err(elapsed) => Err(Error::new(ErrorKind::Unavailable, elapsed)),
        }
    }

    /// Sends `text`, of less than 8,000 bytes, to all that listen on `channel` now; on SQLite to
    /// nobody.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn notify(&self, channel: &'static str, text: String) -> Result<()> {
        if self.dialect() == Dialect::Sqlite {
            return Ok(());
        }
        // Apart from any transaction: a commit with a notice waits for all others with one.
        self.read(move |connection| {
            Box::pin(async move {
                let notify = sqlx::query("SELECT CAST(pg_notify($1, $2) AS TEXT)");
                notify.bind(channel).bind(text).execute(connection).await?;
                Ok(())
            })
        })
        .await
    }
}

impl Notices {
    /// The next notice's text; none where the connection was lost and made again, so that
    /// notices may have been missed.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn next(&mut self) -> Result<Option<String>> {
        Ok(self.0.try_recv().await?.map(|notice| notice.payload().to_owned()))
    }
}
