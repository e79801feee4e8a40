//! Direct uploads: the client sends the bytes to the store by itself, with a request that was signed
//! for exactly this, to a staging key. They become an image only when the client says that they are
//! there and they have been looked at.
//!
//! Where the store takes no requests of clients (local files), this process signs links of its own and
//! takes the bytes itself: the client sees no difference.

mod answer;
mod check;
mod handlers;
mod receive;
mod request;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use actix_web::{http::Method, web};
use utoipa::OpenApi;
use uuid::Uuid;

pub use answer::Answer;
pub use request::Asked;

use super::{
    commit::LastStep,
    error::Error,
    image::ImageType,
    images::conditional::Conditions,
    metrics,
    names::CustomerId,
    records::{self, Image, Intent, NewImage, Session, Way},
    settings::ImageSettings,
    signed::Signer,
    upload::{Uploads, target},
};
use crate::{
    storage::{Commit, ErrorKind, NewObject, Reading, Staged},
    tenant::TenantId,
};

/// How long a completion waits for another one.
const PATIENCE: Duration = Duration::from_secs(20);
/// S3's largest object that is copied in one request.
const MOST: u64 = 5 << 30;

/// Direct uploads, shared by all workers.
pub struct DirectUploads {
    uploads: Arc<Uploads>,
    signer: Arc<Signer>,
    valid_for: Duration,
}

/// Adds the resources. They expect [`DirectUploads`] among the app's data.
pub fn routes(config: &mut web::ServiceConfig) {
    config
        .service(
            web::resource("/customer-images/direct-uploads/{id}")
                .route(web::post().to(handlers::open))
                .route(web::get().to(handlers::show))
                .route(web::head().to(handlers::show))
                .route(web::delete().to(handlers::cancel))
                .default_service(web::to(handlers::only_known)),
        )
        .service(
            web::resource("/customer-images/direct-uploads/{id}/complete")
                .route(web::post().to(handlers::complete))
                .default_service(web::to(crate::consumers::handlers::only_post)),
        );
}

/// Adds the resource that takes what has a link of this process's own.
pub fn signed_routes(config: &mut web::ServiceConfig) {
    config.service(
        web::resource("/signed/{tenant}/uploads/{id}")
            .route(web::put().to(handlers::put))
            .route(web::method(Method::OPTIONS).to(crate::consumers::handlers::preflight_to_put))
            .default_service(web::to(crate::consumers::handlers::only_put)),
    );
}

/// The resources' description.
#[derive(OpenApi)]
#[openapi(paths(handlers::open, handlers::show, handlers::complete, handlers::cancel))]
pub(super) struct Described;

/// The description of what has a link of this process's own.
#[derive(OpenApi)]
#[openapi(paths(handlers::put))]
pub(super) struct Signed;

impl DirectUploads {
    /// Direct uploads that are kept as `uploads` are. Each has to be finished within `valid_for`.
    pub fn new(uploads: Arc<Uploads>, signer: Arc<Signer>, valid_for: Duration) -> Self {
        Self { uploads, signer, valid_for }
    }

    /// The limits that it goes by.
    pub fn settings(&self) -> &ImageSettings {
        self.uploads.settings()
    }

    /// Begins an upload.
    ///
    /// # Errors
    /// What tells already that it could not be kept; or the store or the database fails.
    pub async fn open(
        &self,
        tenant: &TenantId,
        customer: CustomerId,
        asked: Asked,
        conditions: &Conditions,
        base: &str,
    ) -> Result<Answer, Error> {
        let (name, key) = target(tenant, &customer, &asked.file_name)?;
        let presigner = self.uploads.storage.presigner();
        if asked.form && presigner.is_none() {
            return Err(Error::UploadInvalid("This store takes no forms; leave 'form' out."));
        }
        let limit = self.uploads.settings().max_file_size.as_u64().min(MOST);
        if asked.size > limit {
            return Err(Error::TooLarge(limit));
        }
        let declared = ImageType::from_content_type(&asked.content_type);
        self.uploads.check_image(declared.ok_or(Error::ImageUnsupported)?, None)?;
        self.uploads.check_load(tenant)?;
        self.uploads.check_early(tenant, &key, asked.size, conditions).await?;
        let way = if asked.form { Way::Form } else { Way::Direct };
        let in_parts =
            presigner.filter(|presigner| way == Way::Direct && asked.size > presigner.part_size());
        let mut session = Session {
            id: Uuid::now_v7(),
            way,
            tenant: tenant.clone(),
            customer: customer.as_str().to_owned(),
            key,
            display_name: asked.display_name.unwrap_or(name).as_str().to_owned(),
            content_type: Some(asked.content_type),
            length: Some(asked.size),
            sha256: asked.sha256,
            received: 0,
            state: None,
            metadata: None,
            staged: None,
            is_held: in_parts.is_some(),
            expires_at: SystemTime::now() + self.valid_for,
        };
        let intent = self.uploads.records.open_session(&session).await?;
        if let Some(presigner) = in_parts {
            let content_type = session.content_type.as_deref().unwrap_or_default();
            let reference =
                presigner.begin_parts(&session.staging()?, content_type, session.id).await?;
            intent.staged(&reference).await?;
            session.staged = Some(reference);
            intent.release().await?;
        }
        self.describe(&session, base).await
    }

    /// How the upload of this id goes on.
    ///
    /// # Errors
    /// [`records::Error::NotFound`]; or the store or the database fails.
    pub async fn show(&self, tenant: &TenantId, id: Uuid, base: &str) -> Result<Answer, Error> {
        match self.uploads.records.session(tenant, id).await {
            Ok(session) if is_open(&session) => self.describe(&session, base).await,
            Ok(_) | Err(records::Error::NotFound) => {
                let finished = self.uploads.records.finished(tenant, id).await?;
                Ok(Answer::finished(id, &finished.ok_or(records::Error::NotFound)?.image))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Makes what the client has sent an image. Doing so again answers the same.
    ///
    /// # Errors
    /// [`Error::UploadConflict`] while bytes are missing. What is wrong with the bytes; then the
    /// upload is ended. [`Error::Behind`], or the store or the database fails; then it can be completed later.
    pub async fn complete(
        self: Arc<Self>,
        tenant: TenantId,
        id: Uuid,
        conditions: Conditions,
    ) -> Result<Image, Error> {
        if let Err(behind) = self.uploads.check_load(&tenant) {
            let finished = self.uploads.records.finished(&tenant, id).await?;
            return finished.map(|finished| finished.image).ok_or(behind);
        }
        let uploads = Arc::clone(&self.uploads);
        let completion = async move {
            match self.uploads.records.claim(&tenant, id, PATIENCE, is_open).await {
                Ok((session, intent)) => self.complete_held(session, intent, conditions).await,
                Err(records::Error::NotFound) => {
                    let finished = self.uploads.records.finished(&tenant, id).await?;
                    let image = finished.ok_or(records::Error::NotFound)?.image;
                    // It may be there again, or still.
                    self.uploads.storage.delete(&records::staging(&tenant, id)?).await?;
                    Ok(image)
                }
                Err(error) => Err(error.into()),
            }
        };
        uploads.carry_out(completion).await
    }

    /// Ends an upload that is not finished.
    ///
    /// # Errors
    /// [`records::Error::NotFound`]; or the store or the database fails.
    pub async fn cancel(&self, tenant: &TenantId, id: Uuid) -> Result<(), Error> {
        let (uploads, tenant) = (Arc::clone(&self.uploads), tenant.clone());
        let cancellation = async move {
            let (session, intent) = uploads.records.claim(&tenant, id, PATIENCE, is_open).await?;
            Ok(records::discard(&uploads.storage, &session, &intent).await?)
        };
        self.uploads.carry_out(cancellation).await
    }

    async fn complete_held(
        &self,
        session: Session,
        intent: Arc<Intent>,
        conditions: Conditions,
    ) -> Result<Image, Error> {
        let completed = self.make_image(&session, &intent, conditions).await;
        metrics::went_on(metrics::Method::Direct, completed.as_ref());
        match &completed {
            Ok(image) if image.sha256.is_none() => self.uploads.records.wake_hasher(),
            Ok(_) => {}
            Err(error) => {
                let ends = error.is_of_the_bytes();
                self.uploads.give_back(&session, &intent, error, ends).await?;
            }
        }
        completed
    }

    async fn make_image(
        &self,
        session: &Session,
        intent: &Arc<Intent>,
        conditions: Conditions,
    ) -> Result<Image, Error> {
        let storage = &self.uploads.storage;
        let (staged, first) = self.staged(session).await?;
        let (image_type, dimensions) =
            check::inspect(storage, &staged, first).await.map_err(changed_meanwhile)?;
        self.uploads.check_image(image_type, Some(dimensions))?;
        let sha256 = match storage.presigner() {
            // The store tells, or it is computed later.
            Some(_) => None,
            // The local store's journal goes by it.
            None => {
                let sha256 = storage.sha256(&staged.key, &staged.etag).await;
                Some(sha256.map_err(|e| changed_meanwhile(e.into()))?)
            }
        };
        let new = NewImage {
            customer: session.customer.clone(),
            display_name: session.display_name.clone(),
            content_type: image_type.content_type().to_owned(),
            size: staged.size,
            sha256: sha256.as_ref().map(crate::storage::hex),
            width: dimensions.width,
            height: dimensions.height,
        };
        let object = NewObject {
            key: session.key.clone(),
            content_type: image_type.content_type(),
            size_hint: Some(staged.size),
            share: self.uploads.budget.share(session.tenant.as_str()),
            upload: session.id,
            journal: None,
        };
        let upload = storage.begin_from(staged, object).await?;
        let (intent, staged) = (Arc::clone(intent), Some(session));
        let last = LastStep { conditions, sha256, permit: None };
        let commit = self.uploads.commit(intent, upload, new, last, staged);
        commit.await.map_err(changed_meanwhile)
    }

    /// The staged object, once all of it is there, and its beginning.
    async fn staged(&self, session: &Session) -> Result<(Staged, Reading), Error> {
        const MISSING: Error = Error::UploadConflict(
            "The bytes are not there yet; send them as the upload's answer says.",
        );
        let (storage, key) = (&self.uploads.storage, session.staging()?);
        let length = session.length.unwrap_or_default();
        if let (Some(reference), Some(presigner)) = (&session.staged, storage.presigner()) {
            match presigner.parts(&key, reference).await {
                Ok(parts) if parts.iter().map(|part| part.size).sum::<u64>() < length => {
                    return Err(MISSING);
                }
                Ok(parts) => presigner.join_parts(&key, reference, &parts).await?,
                // They were joined before.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
        let first = match check::open(storage, &key, length, None).await {
            Ok(first) => first,
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(MISSING),
            Err(error) if error.kind() == ErrorKind::Changed => return Err(Error::UploadForeign),
            Err(error) => return Err(error.into()),
        };
        // What has another size or another origin was not sent with what was signed for this upload.
        let is_foreign = storage.presigner().is_some() && first.head.upload != Some(session.id);
        if first.head.size != length || is_foreign {
            return Err(Error::UploadForeign);
        }
        let staged = Staged { key, etag: first.head.etag.clone(), size: length };
        match session.declared() {
            Some(declared) if session.staged.is_some() => {
                let staged = self.with_declared_bytes(session, staged, declared).await?;
                let first = check::open(storage, &staged.key, length, Some(&staged.etag)).await;
                Ok((staged, first.map_err(|e| changed_meanwhile(e.into()))?))
            }
            // What came by one request has the declared bytes: the store has looked.
            _ => Ok((staged, first)),
        }
    }

    /// The staged object that was joined of parts, if it has the bytes that were declared: the store
    /// tells the hash when it copies them.
    async fn with_declared_bytes(
        &self,
        session: &Session,
        staged: Staged,
        declared: [u8; 32],
    ) -> Result<Staged, Error> {
        let storage = &self.uploads.storage;
        let (key, size) = (staged.key.clone(), staged.size);
        let again = NewObject {
            key: key.clone(),
            content_type: "application/octet-stream",
            size_hint: Some(size),
            share: self.uploads.budget.share(session.tenant.as_str()),
            upload: session.id,
            journal: None,
        };
        let copy = storage.begin_from(staged, again).await?;
        let copied = copy.finish(Commit { sha256: None, if_absent: false }).await;
        let copied = copied.map_err(|e| changed_meanwhile(e.into()))?;
        let sha256 = match copied.sha256 {
            Some(sha256) => sha256,
            None => storage.sha256(&key, &copied.etag).await?,
        };
        if sha256 != declared {
            return Err(Error::UploadForeign);
        }
        Ok(Staged { key, etag: copied.etag, size })
    }
}

/// Whether it is a direct upload that can still be finished.
fn is_open(session: &Session) -> bool {
    matches!(session.way, Way::Direct | Way::Form) && session.expires_at > SystemTime::now()
}

/// What a client changes while it has the bytes looked at is not the store's failure.
fn changed_meanwhile(error: Error) -> Error {
    match &error {
        Error::Storage(e) if matches!(e.kind(), ErrorKind::Changed | ErrorKind::NotFound) => {
            Error::UploadConflict("The bytes changed while they were looked at; ask again.")
        }
        _ => error,
    }
}
