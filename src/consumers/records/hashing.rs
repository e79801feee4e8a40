//! Computes the SHA-256 of images whose bytes did not pass through here, after they were stored.

use std::time::{Duration, SystemTime};

use tokio_util::sync::CancellationToken;

use super::{
    Records, Result,
    image::{self, Image, signed},
};
use crate::{
    database::{Batch, millis},
    problem,
    storage::{self, SharedStorage},
};

/// How often is looked for what other processes have left.
const LOOK: Duration = Duration::from_secs(60);
/// Younger images of other processes are left to those.
const OTHERS_AFTER: Duration = Duration::from_secs(120);
/// Images that are looked up at once.
const PAGE: usize = 20;

impl Records {
    /// Lets the hasher look for images without a SHA-256.
    pub fn wake_hasher(&self) {
        self.0.unhashed.notify_one();
    }

    /// The oldest of them, `most` at once.
    async fn unhashed(&self, older_than: Duration, most: usize) -> Result<Vec<Image>> {
        const SQL: &str = concat!(
            "SELECT ",
            image::columns!(),
            " FROM images WHERE sha256 IS NULL AND updated_at <= $1 ORDER BY updated_at LIMIT $2"
        );
        let before = SystemTime::now().checked_sub(older_than).unwrap_or(SystemTime::UNIX_EPOCH);
        let most = signed(most as u64);
        self.read(move |connection| {
            Box::pin(async move {
                let query = sqlx::query(SQL).bind(millis(before)).bind(most);
                query.fetch_all(connection).await?.iter().map(Image::of_row).collect()
            })
        })
        .await
    }

    async fn set_sha256(&self, image: &Image, sha256: String) -> Result<()> {
        const IMAGE: &str =
            "UPDATE images SET sha256 = $1 WHERE id = $2 AND upload = $3 AND sha256 IS NULL";
        const FINISHED: &str =
            "UPDATE finished SET sha256 = $1 WHERE upload = $2 AND sha256 IS NULL";
        let (id, upload) = (image.id.to_string(), image.upload.to_string());
        self.write(move |connection| {
            Box::pin(async move {
                let batch = Batch::new(connection)
                    .statement(IMAGE)
                    .bind(sha256.clone())
                    .bind(id)
                    .bind(upload.clone())
                    .statement(FINISHED)
                    .bind(sha256)
                    .bind(upload);
                batch.run(connection).await?;
                Ok(())
            })
        })
        .await
    }
}

/// What computes it.
#[derive(Clone)]
pub struct Hasher {
    records: Records,
    storage: SharedStorage,
}

impl Hasher {
    /// Reads the images of `records` from `storage`.
    pub fn new(records: Records, storage: SharedStorage) -> Self {
        Self { records, storage }
    }

    /// Works until `stop`, one image at a time.
    pub async fn run(self, stop: CancellationToken) {
        // A process that died may have left some, and nobody else may be there to wait for.
        self.records.wake_hasher();
        let work = async {
            loop {
                let older_than = tokio::select! {
                    () = self.records.0.unhashed.notified() => Duration::ZERO,
                    () = tokio::time::sleep(LOOK) => OTHERS_AFTER,
                };
                if let Err(error) = self.pass(older_than).await {
                    let cause = problem::chain(&error);
                    tracing::debug!(cause, "no image can be hashed yet");
                }
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = work => {}
        }
    }

    async fn pass(&self, older_than: Duration) -> Result<()> {
        // Those that cannot be read now are left for another time.
        let mut failed: Vec<String> = Vec::new();
        loop {
            let images = self.records.unhashed(older_than, PAGE + failed.len()).await?;
            let is_new = |image: &&Image| !failed.contains(&image.upload.to_string());
            let images: Vec<_> = images.iter().filter(is_new).cloned().collect();
            if images.is_empty() || failed.len() > 1000 {
                return Ok(());
            }
            for image in images {
                match self.storage.sha256(&image.key, &image.object_etag).await {
                    Ok(sha256) => self.records.set_sha256(&image, storage::hex(&sha256)).await?,
                    Err(error) => {
                        let cause = problem::chain(&error);
                        tracing::debug!(cause, id = %image.id, "an image is not hashed yet");
                        failed.push(image.upload.to_string());
                    }
                }
            }
        }
    }
}
