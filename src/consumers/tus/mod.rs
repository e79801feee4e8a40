//! Resumable uploads by the tus protocol, 1.0.0 (<https://tus.io/protocols/resumable-upload>), with its
//! extensions creation, creation-with-upload, creation-defer-length, expiration, termination and
//! checksum.
//!
//! What a client was told to be received is durable, and known to all replicas. One request at a time
//! writes to an upload; another that comes makes it let go, since a client that comes again has given
//! up the connection before. What has come of a request that breaks off is kept.

mod described;
mod fields;
mod handlers;
mod seen;
mod terms;
mod writer;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use actix_web::web;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub use described::openapi;

use super::{
    error::Error,
    images::conditional::Conditions,
    names::{CustomerId, FileName},
    records::{self, Finished, Intent, Session, Way},
    settings::ImageSettings,
    upload::{Uploads, target},
};
use crate::tenant::TenantId;

/// How long a request waits for another to let an upload go.
const PATIENCE: Duration = Duration::from_secs(10);

/// Resumable uploads, shared by all workers.
pub struct ResumableUploads {
    uploads: Arc<Uploads>,
    expire_after: Duration,
    /// The requests of this process that write to an upload, to tell them that another has come.
    writers: Mutex<HashMap<Uuid, Arc<Notify>>>,
    /// The process is about to end.
    cut: CancellationToken,
}

/// An upload as a client asks for it.
pub struct Asked {
    /// The file's name as the client gave it.
    pub file_name: Vec<u8>,
    /// The name to show.
    pub display_name: Option<FileName>,
    /// Bytes, unless that comes later.
    pub length: Option<u64>,
    /// All metadata, to be told again.
    pub metadata: String,
}

/// Where an upload is.
pub enum Standing {
    /// There is more to come.
    Open(Session),
    /// All of it is there.
    Finished(Finished),
}

/// Nothing can be added to what is whole.
const FINISHED: Error =
    Error::UploadConflict("The upload is finished; HEAD tells which image it is.");

/// Where these are, behind the service's name and a slash.
pub const PATH: &str = "customer-images/tus/";

/// Adds the resources. They expect [`ResumableUploads`] among the app's data.
pub fn routes(config: &mut web::ServiceConfig) {
    config
        .service(
            web::resource("/customer-images/tus/{customerId}")
                .route(web::post().to(handlers::create))
                .route(web::method(actix_web::http::Method::OPTIONS).to(handlers::options))
                .default_service(web::to(handlers::only_create)),
        )
        .service(
            web::resource("/customer-images/tus/{customerId}/{id}")
                .route(web::head().to(handlers::show))
                .route(web::patch().to(handlers::append))
                .route(web::delete().to(handlers::terminate))
                .route(web::post().to(handlers::overridden))
                .route(
                    web::method(actix_web::http::Method::OPTIONS).to(handlers::options_of_upload),
                )
                .default_service(web::to(handlers::only_known)),
        );
}

impl ResumableUploads {
    /// Uploads that are kept as `uploads` are. What nothing came of for so long is ended. Once `cut`,
    /// requests keep what has come and end.
    pub fn new(uploads: Arc<Uploads>, expire_after: Duration, cut: CancellationToken) -> Self {
        Self { uploads, expire_after, writers: Mutex::default(), cut }
    }

    /// The limits that it goes by.
    pub fn settings(&self) -> &ImageSettings {
        self.uploads.settings()
    }

    /// Begins an upload, and holds it.
    ///
    /// # Errors
    /// What tells already that it could not be kept; or the database fails.
    pub async fn create(
        &self,
        tenant: &TenantId,
        customer: CustomerId,
        asked: Asked,
        conditions: &Conditions,
    ) -> Result<(Session, Arc<Intent>), Error> {
        let (name, key) = target(tenant, &customer, &asked.file_name)?;
        self.check_length(asked.length)?;
        let least = asked.length.unwrap_or(1);
        self.uploads.check_load(tenant)?;
        self.uploads.check_early(tenant, &key, least, conditions).await?;
        let session = Session {
            id: Uuid::now_v7(),
            way: Way::Resumable,
            tenant: tenant.clone(),
            customer: customer.as_str().to_owned(),
            key,
            display_name: asked.display_name.unwrap_or(name).as_str().to_owned(),
            content_type: None,
            length: asked.length,
            sha256: None,
            received: 0,
            state: None,
            metadata: Some(asked.metadata),
            staged: None,
            is_held: true,
            expires_at: self.expiry(),
        };
        let intent = self.uploads.records.open_session(&session).await?;
        Ok((session, intent))
    }

    /// Where an upload is. A request that writes to it lets go first.
    ///
    /// # Errors
    /// [`records::Error::NotFound`]; [`Error::UploadLocked`]; or the database fails.
    pub async fn find(
        &self,
        tenant: &TenantId,
        customer: &CustomerId,
        id: Uuid,
    ) -> Result<Standing, Error> {
        match self.resumable(tenant, customer, id).await {
            Ok(session) if !session.is_held => Ok(Standing::Open(session)),
            Ok(_) => {
                self.call_writer(id);
                let (uploads, its) = (Arc::clone(&self.uploads), tenant.clone());
                // Of its own, since nobody would let it go for a client that leaves.
                let look = async move {
                    let (session, intent) = claimed(&uploads, &its, id).await?;
                    intent.release().await?;
                    Ok(session)
                };
                match self.uploads.carry_out(look).await {
                    Ok(session) => Ok(Standing::Open(session)),
                    Err(error) => self.unless_finished(tenant, customer, id, error).await,
                }
            }
            Err(error) => self.unless_finished(tenant, customer, id, error).await,
        }
    }

    /// Where an upload is, as far as it is known while a request may write to it.
    ///
    /// # Errors
    /// [`records::Error::NotFound`]; or the database fails.
    pub async fn find_idle(
        &self,
        tenant: &TenantId,
        customer: &CustomerId,
        id: Uuid,
    ) -> Result<Standing, Error> {
        match self.resumable(tenant, customer, id).await {
            Ok(session) => Ok(Standing::Open(session)),
            Err(error) => self.unless_finished(tenant, customer, id, error).await,
        }
    }

    /// Ends an upload that is not finished.
    ///
    /// # Errors
    /// [`records::Error::NotFound`]; [`Error::UploadLocked`]; or the store or the database fails.
    pub async fn terminate(
        &self,
        tenant: &TenantId,
        customer: &CustomerId,
        id: Uuid,
    ) -> Result<(), Error> {
        self.resumable(tenant, customer, id).await?;
        self.call_writer(id);
        let (uploads, tenant) = (Arc::clone(&self.uploads), tenant.clone());
        let termination = async move {
            let (session, intent) = claimed(&uploads, &tenant, id).await?;
            Ok(records::discard(&uploads.storage, &session, &intent).await?)
        };
        self.uploads.carry_out(termination).await
    }

    async fn unless_finished(
        &self,
        tenant: &TenantId,
        customer: &CustomerId,
        id: Uuid,
        error: Error,
    ) -> Result<Standing, Error> {
        if let Error::Records(records::Error::NotFound) = error
            && let Some(finished) = self.uploads.records.finished(tenant, id).await?
            && finished.image.customer == customer.as_str()
        {
            return Ok(Standing::Finished(finished));
        }
        Err(error)
    }

    async fn resumable(
        &self,
        tenant: &TenantId,
        customer: &CustomerId,
        id: Uuid,
    ) -> Result<Session, Error> {
        let session = self.uploads.records.session(tenant, id).await?;
        let is_it = session.way == Way::Resumable
            && session.customer == customer.as_str()
            && session.expires_at > SystemTime::now();
        if is_it { Ok(session) } else { Err(records::Error::NotFound.into()) }
    }

    /// Takes an upload, from a request that writes to it if there is one.
    async fn claim(
        &self,
        tenant: &TenantId,
        customer: &CustomerId,
        id: Uuid,
    ) -> Result<(Session, Arc<Intent>), Error> {
        self.resumable(tenant, customer, id).await?;
        self.call_writer(id);
        claimed(&self.uploads, tenant, id).await
    }

    /// Tells a request of this process that writes to the upload that another has come.
    fn call_writer(&self, id: Uuid) {
        if let Some(writer) = self.writers().get(&id) {
            writer.notify_one();
        }
    }

    fn check_length(&self, length: Option<u64>) -> Result<(), Error> {
        let limit = self.settings().max_file_size.as_u64();
        match length {
            Some(0) => Err(Error::FileMissing),
            Some(length) if length > limit => Err(Error::TooLarge(limit)),
            _ => Ok(()),
        }
    }

    /// Until when an upload is kept of which something comes now.
    fn expiry(&self) -> SystemTime {
        SystemTime::now() + self.expire_after
    }

    fn writers(&self) -> std::sync::MutexGuard<'_, HashMap<Uuid, Arc<Notify>>> {
        self.writers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn claimed(
    uploads: &Uploads,
    tenant: &TenantId,
    id: Uuid,
) -> Result<(Session, Arc<Intent>), Error> {
    match uploads.records.claim(tenant, id, PATIENCE, |_| true).await {
        Err(records::Error::Busy) => Err(Error::UploadLocked),
        claimed => Ok(claimed?),
    }
}
