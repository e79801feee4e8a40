//! What has come of steps, as rows: one for each image and step, of the content that the image had.

use std::{collections::HashSet, time::SystemTime};

use serde_json::Value;
use sqlx::{AnyConnection, Row as _, any::AnyRow};
use uuid::Uuid;

use super::{Image, Records, Result, image::unreadable};
use crate::{
    database::{Batch, millis},
    jobs,
    storage::ObjectKey,
    tenant::TenantId,
};

/// The queue of the jobs that make and remove what steps make of images.
pub const QUEUE: &str = "images";
/// The kind of a job of it that removes an object; its payload is the object's id.
pub const CLEAR: &str = "clear";

/// What has come of a step.
#[derive(Clone, Debug)]
pub struct StepResult {
    /// The step's name.
    pub step: String,
    /// The object that was made, and the store's entity tag of it.
    pub object: Option<(Uuid, String)>,
    /// What is told of it, or why nothing came of it: a sentence.
    pub output: std::result::Result<Value, String>,
    /// Whether it lets the image pass; of a gate only.
    pub passed: Option<bool>,
}

/// What all objects have before their tenant's id that were made of images. No tenant's id begins so.
pub const VARIANTS: &str = "_variants";

/// Where an object is that was made of an image.
pub fn key(tenant: &TenantId, image: Uuid, object: Uuid) -> Result<ObjectKey> {
    let segments = [VARIANTS, tenant.as_str(), &image.to_string(), &object.to_string()];
    Ok(ObjectKey::from_segments(&segments).map_err(|e| unreadable("tenant", e))?)
}

impl StepResult {
    /// The image that was made of `image`, if one was: as the record of its own that it does not have.
    pub fn as_image(&self, image: &Image) -> Option<Image> {
        let ((object, etag), output) = (self.object.clone()?, self.output.as_ref().ok()?);
        let number = |name: &str| output.get(name)?.as_u64();
        let content_type = output.get("contentType")?.as_str()?;
        let extension = content_type.strip_prefix("image/")?;
        let stem = image.display_name.rsplit_once('.').map_or(image.display_name.as_str(), |n| n.0);
        Some(Image {
            key: key(&image.tenant, image.id, object).ok()?,
            display_name: format!("{stem}.{extension}"),
            content_type: content_type.to_owned(),
            size: number("size")?,
            sha256: None,
            width: u32::try_from(number("width")?).ok()?,
            height: u32::try_from(number("height")?).ok()?,
            object_etag: etag,
            upload: object,
            ..image.clone()
        })
    }

    fn of_row(row: &AnyRow) -> Result<Self> {
        let object = match row.try_get::<Option<String>, _>("object")? {
            Some(id) => {
                let id = Uuid::try_parse(&id).map_err(|e| unreadable("object", e))?;
                Some((id, row.try_get("object_etag")?))
            }
            None => None,
        };
        let output: Option<String> = row.try_get("output")?;
        let output = match output {
            Some(text) => Ok(serde_json::from_str(&text).map_err(|e| unreadable("output", e))?),
            None => Err(row.try_get::<Option<String>, _>("error")?.unwrap_or_default()),
        };
        let passed = row.try_get::<Option<i64>, _>("passed")?.map(|passed| passed != 0);
        Ok(Self { step: row.try_get("step")?, object, output, passed })
    }
}

/// Adds what is to be done when the content of the image of this id is gone: jobs remove what was
/// made of it. What was foretold of the content that `upload` has brought in its place stays.
pub fn forget(batch: Batch, id: Uuid, upload: Option<Uuid>) -> Batch {
    const FORGET: &str = "DELETE FROM results WHERE image = $1 AND upload <> $2";
    let upload = upload.map(|upload| upload.to_string()).unwrap_or_default();
    let rows = format!(
        "SELECT results.object || ':clear' AS id, '{QUEUE}' AS queue, results.tenant AS tenant, \
         results.image AS subject, '{CLEAR}' AS kind, results.object AS payload FROM results \
         WHERE results.image = $2 AND results.object IS NOT NULL"
    );
    let batch = jobs::add_each(batch, &rows).bind(id.to_string());
    batch.statement(FORGET).bind(id.to_string()).bind(upload)
}

/// Adds what has come of all steps for the content that `image` has. If it has other content by then, or is
/// gone, nothing is kept, and jobs remove what was made. What is known already of this content stays.
fn keep(batch: Batch, image: &Image, results: &[StepResult]) -> Batch {
    const KEEP: &str = "\
        INSERT INTO results (image, step, tenant, upload, object, object_etag, output, error, finished_at, \
        passed) SELECT images.id, $3, images.tenant, images.upload, $4, $5, $6, $7, CAST($8 AS BIGINT), \
        CAST($9 AS BIGINT) FROM images \
        WHERE images.id = $1 AND images.upload = $2 ON CONFLICT (image, step) DO UPDATE SET \
        upload = excluded.upload, object = excluded.object, object_etag = excluded.object_etag, \
        output = excluded.output, error = excluded.error, finished_at = excluded.finished_at, \
        passed = excluded.passed WHERE results.upload <> excluded.upload OR results.finished_at = 0";
    const RELEASE: &str = "\
        UPDATE images SET quarantined = 0 WHERE id = $1 AND upload = $2 AND NOT EXISTS \
        (SELECT 1 FROM results WHERE image = $1 AND upload = $2 AND passed = 0)";
    let (tenant, id) = (image.tenant.as_str().to_owned(), image.id.to_string());
    let upload = image.upload.to_string();
    let mut batch = hold(batch, image);
    for result in results {
        let (object, etag) = result.object.clone().unzip();
        let object = object.map(|object: Uuid| object.to_string());
        batch = batch
            .statement(KEEP)
            .bind(id.clone())
            .bind(upload.clone())
            .bind(result.step.clone())
            .bind(object.clone())
            .bind(etag)
            .bind(result.output.as_ref().ok().map(Value::to_string))
            .bind(result.output.as_ref().err().cloned())
            .bind(millis(SystemTime::now()))
            .bind(result.passed.map(i64::from));
        if let Some(object) = object {
            let rows = format!(
                "SELECT CAST($2 AS TEXT) || ':clear' AS id, '{QUEUE}' AS queue, CAST($3 AS TEXT) AS tenant, \
                 CAST($4 AS TEXT) AS subject, '{CLEAR}' AS kind, CAST($2 AS TEXT) AS payload \
                 WHERE NOT EXISTS (SELECT 1 FROM images WHERE images.id = $4 AND images.upload = $5)"
            );
            batch = jobs::add_each(batch, &rows)
                .bind(object)
                .bind(tenant.clone())
                .bind(id.clone())
                .bind(upload.clone());
        }
    }
    if results.iter().any(|result| result.passed == Some(true)) {
        batch = batch.statement(RELEASE).bind(id).bind(upload);
    }
    batch
}

/// Adds that nobody else changes an image of the tenant's until the transaction ends: who does has this row
/// before all others.
fn hold(batch: Batch, image: &Image) -> Batch {
    const HOLD: &str = "UPDATE usage SET events = events WHERE tenant = $1";
    batch.statement(HOLD).bind(image.tenant.as_str().to_owned())
}

/// Whether it is known what has come of this step for the content that `image` has.
async fn is_known(connection: &mut AnyConnection, image: &Image, step: &str) -> Result<bool> {
    const SQL: &str = "\
        SELECT step FROM results WHERE image = $1 AND step = $2 AND upload = $3 AND finished_at > 0";
    let query = sqlx::query(SQL).bind(image.id.to_string()).bind(step.to_owned());
    Ok(query.bind(image.upload.to_string()).fetch_optional(connection).await?.is_some())
}

/// Adds that the content that `image` has is held back until these gates have let it pass.
pub fn await_gates<'a>(batch: Batch, image: &Image, gates: impl Iterator<Item = &'a str>) -> Batch {
    const AWAIT: &str = "\
        INSERT INTO results (image, step, tenant, upload, finished_at, passed) \
        VALUES ($1, $2, $3, $4, 0, 0)";
    gates.fold(batch, |batch, gate| {
        batch
            .statement(AWAIT)
            .bind(image.id.to_string())
            .bind(gate.to_owned())
            .bind(image.tenant.as_str().to_owned())
            .bind(image.upload.to_string())
    })
}

impl Records {
    /// Adds what has come of steps for the content that `image` has, if it still has that, and the event
    /// `id` that they have run. Once that is committed, [`Records::told`].
    pub fn keep_results(
        &self,
        batch: Batch,
        id: Uuid,
        image: &Image,
        results: &[StepResult],
    ) -> Batch {
        self.tell_processed(keep(batch, image, results), id, image)
    }

    /// Writes down what has come of a step for the content that `image` has, and tells of it, if that is
    /// still its content and nothing is known yet; does what `also` adds before, in any case.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn process(
        &self,
        image: Image,
        result: StepResult,
        also: impl Fn(Batch) -> Batch + Send + Sync + 'static,
    ) -> Result<()> {
        let (records, event, tenant) = (self.clone(), Uuid::now_v7(), image.tenant.clone());
        let written = self.write(move |connection| {
            Box::pin(async move {
                hold(also(Batch::new(connection)), &image).run(connection).await?;
                if is_known(connection, &image, &result.step).await? {
                    return Ok(());
                }
                let (batch, results) = (Batch::new(connection), std::slice::from_ref(&result));
                records.keep_results(batch, event, &image, results).run(connection).await?;
                Ok(())
            })
        });
        written.await?;
        self.told(&tenant);
        Ok(())
    }

    /// Writes down what is to be told of steps once the image has the content that `upload` is about to bring
    /// in the place of what it has now. They have made no objects.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn foretell(
        &self,
        image: &Image,
        upload: Uuid,
        results: Vec<StepResult>,
    ) -> Result<()> {
        const FORETELL: &str = "\
            INSERT INTO results (image, step, tenant, upload, output, error, finished_at) \
            SELECT images.id, $2, images.tenant, $3, $4, $5, CAST($6 AS BIGINT) FROM images \
            WHERE images.id = $1 AND images.upload = $7 ON CONFLICT (image, step) DO UPDATE SET \
            upload = excluded.upload, output = excluded.output, error = excluded.error, \
            finished_at = excluded.finished_at";
        let (id, old) = (image.id.to_string(), image.upload.to_string());
        self.write(move |connection| {
            Box::pin(async move {
                let batch = results.into_iter().fold(Batch::new(connection), |batch, result| {
                    let (output, error) =
                        (result.output.as_ref().ok(), result.output.as_ref().err());
                    batch
                        .statement(FORETELL)
                        .bind(id.clone())
                        .bind(result.step.clone())
                        .bind(upload.to_string())
                        .bind(output.map(Value::to_string))
                        .bind(error.cloned())
                        .bind(millis(SystemTime::now()))
                        .bind(old.clone())
                });
                batch.run(connection).await?;
                Ok(())
            })
        })
        .await
    }

    /// What has come of the steps for the content that this image has.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn results(&self, image: &Image) -> Result<Vec<StepResult>> {
        const SQL: &str = "SELECT * FROM results WHERE image = $1 AND upload = $2 \
            AND finished_at > 0 ORDER BY step";
        let (id, upload) = (image.id.to_string(), image.upload.to_string());
        self.read(move |connection| {
            Box::pin(async move {
                let rows = sqlx::query(SQL).bind(id).bind(upload).fetch_all(connection).await?;
                rows.iter().map(StepResult::of_row).collect()
            })
        })
        .await
    }

    /// What this step has made of the content that this image has.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn result(&self, image: &Image, step: &str) -> Result<Option<StepResult>> {
        const SQL: &str = "SELECT * FROM results WHERE image = $1 AND step = $2 AND upload = $3 \
            AND finished_at > 0";
        let (id, upload, step) = (image.id.to_string(), image.upload.to_string(), step.to_owned());
        self.read(move |connection| {
            Box::pin(async move {
                let query = sqlx::query(SQL).bind(id).bind(step).bind(upload);
                let row = query.fetch_optional(connection).await?;
                row.as_ref().map(StepResult::of_row).transpose()
            })
        })
        .await
    }

    /// Those of these objects that were made of an image that is there.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn are_made(&self, objects: &[String]) -> Result<HashSet<String>> {
        const SQL: &str = "\
            SELECT results.object FROM results JOIN images ON images.id = results.image \
            WHERE results.object IN ({})";
        self.among(SQL, objects).await
    }
}
