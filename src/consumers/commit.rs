//! The last step of every upload, however its bytes came: whether it may take place, its object, its
//! record; and what becomes of a session whose request failed.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use super::{
    error::Error,
    image::ImageType,
    images::{check_writing, conditional::Conditions},
    records::{self, Check, ExpectedSize, Image, Intent, NewImage, Session, Settling, StepResult},
    settings::OnConflict,
    upload::Uploads,
};
use crate::{
    concurrency::Permit,
    fault,
    storage::{self, Commit, Journal, NewObject, ObjectKey, Upload},
    tenant::TenantId,
    trace,
};

/// What an upload's last step goes by.
#[derive(Default)]
pub(super) struct LastStep {
    /// The request's.
    pub(super) conditions: Conditions,
    /// Of all its bytes, where they passed through here.
    pub(super) sha256: Option<[u8; 32]>,
    /// Its turn, where it has it already.
    pub(super) permit: Option<Permit>,
}

/// A change of the store and of the record.
struct Change {
    new: NewImage,
    check: Check,
    commit: Commit,
    permit: Option<Permit>,
}

impl Uploads {
    /// Refuses, before its bytes come, what would only wait: an upload of a tenant whose earlier ones do.
    ///
    /// # Errors
    /// [`Error::Behind`].
    pub(super) fn check_load(&self, tenant: &TenantId) -> Result<(), Error> {
        if self.records.is_behind(tenant) { Err(Error::Behind) } else { Ok(()) }
    }

    /// Waits for the turn of an upload of the tenant's, before its bytes come.
    ///
    /// # Errors
    /// [`Error::Behind`].
    pub(super) async fn turn(&self, tenant: &TenantId) -> Result<Permit, Error> {
        self.check_load(tenant)?;
        match self.records.permit(tenant).await {
            Err(records::Error::Overloaded) => Err(Error::Behind),
            permit => Ok(permit?),
        }
    }

    /// Looks early whether an upload of at least `least` bytes could be kept under `key`: by the
    /// quota, by what has the name, and by the request's conditions. The commit looks again.
    pub(super) async fn check_early(
        &self,
        tenant: &TenantId,
        key: &ObjectKey,
        least: u64,
        conditions: &Conditions,
    ) -> Result<(), Error> {
        self.records.check_room(tenant, key, least).await?;
        if !conditions.is_empty() || self.settings.on_conflict == OnConflict::Reject {
            let old = self.records.named(key).await?;
            check_target(conditions, self.settings.on_conflict, old.as_ref())?;
        }
        Ok(())
    }

    /// The last step of an upload, of which all bytes are there and checked. Once its object is in
    /// its place, nothing of it needs to be staged.
    pub(super) fn commit(
        &self,
        intent: Arc<Intent>,
        upload: Box<dyn Upload>,
        new: NewImage,
        last: LastStep,
        staged: Option<&Session>,
    ) -> impl Future<Output = Result<Image, Error>> + Send + use<> {
        let LastStep { conditions, sha256, permit } = last;
        let on_conflict = self.settings.on_conflict;
        let check: Check = Arc::new(move |old| check_target(&conditions, on_conflict, old));
        let commit = Commit { sha256, if_absent: on_conflict == OnConflict::Reject };
        let (storage, staged) = (Arc::clone(&self.storage), staged.cloned());
        let unstage = async move {
            match staged {
                Some(session) => records::unstage(&storage, &session).await,
                None => Ok(()),
            }
        };
        let change = Change { new, check, commit, permit };
        commit_recorded(intent, upload, change, async { Ok(()) }, unstage)
    }

    /// Puts `bytes`, the same image in other words, in the place of what `image` has, if that is still its
    /// content. `results` is what is to be told of steps then.
    ///
    /// # Errors
    /// [`records::Error::Condition`] where it has other content by now, or is gone; or the store or the
    /// database fails.
    pub(super) async fn rewrite(
        &self,
        image: &Image,
        bytes: Bytes,
        results: Vec<StepResult>,
    ) -> Result<Image, Error> {
        let image_type = ImageType::from_content_type(&image.content_type);
        let image_type = image_type.ok_or(Error::ImageUnsupported)?;
        let size = bytes.len() as u64;
        let expected = ExpectedSize { least: size, most: size };
        let intent = self.records.intent(&image.tenant, &image.key, expected);
        let sha256 = storage::sha256(&bytes);
        let mut upload = self
            .storage
            .begin(NewObject {
                key: image.key.clone(),
                content_type: image_type.content_type(),
                size_hint: Some(size),
                share: self.budget.share(image.tenant.as_str()),
                upload: intent.id(),
                journal: Some(Arc::clone(&intent) as Arc<dyn Journal>),
            })
            .await?;
        upload.write(bytes).await?;
        let new = NewImage {
            customer: image.customer.clone(),
            display_name: image.display_name.clone(),
            content_type: image.content_type.clone(),
            size,
            sha256: Some(storage::hex(&sha256)),
            width: image.width,
            height: image.height,
        };
        let old = image.upload;
        let check: Check = Arc::new(move |image| match image {
            Some(image) if image.upload == old => Ok(()),
            _ => Err(records::Error::Condition),
        });
        let commit = Commit { sha256: Some(sha256), if_absent: false };
        let (records, image, id) = (self.records.clone(), image.clone(), intent.id());
        let foretell = async move {
            records.foretell(&image, id, results).await?;
            fault::point("rewrite.foretold");
            Ok(())
        };
        let nothing = async { Ok(()) };
        let change = Change { new, check, commit, permit: None };
        self.carry_out(commit_recorded(intent, upload, change, foretell, nothing)).await
    }

    /// Lets a session go that a request failed on; with `ends`, ends it, since nothing but other
    /// bytes would do.
    ///
    /// # Errors
    /// When the store or the database fails.
    pub(super) async fn give_back(
        &self,
        session: &Session,
        intent: &Intent,
        error: &Error,
        ends: bool,
    ) -> Result<(), Error> {
        if ends {
            // The store's reference may have been written down since the session was read.
            let session = self.records.session(&session.tenant, session.id).await?;
            records::discard(&self.storage, &session, intent).await?;
        } else if !matches!(error, Error::Storage(error) if error.may_take_effect()) {
            intent.release().await?;
        }
        // Otherwise what came of a commit has to be found out first.
        Ok(())
    }

    /// Runs `work` as a task of its own, which a shutdown waits for, whoever leaves.
    pub(super) fn carry_out<T: Send + 'static, W>(
        &self,
        work: W,
    ) -> impl Future<Output = Result<T, Error>> + use<T, W>
    where
        W: Future<Output = Result<T, Error>> + Send + 'static,
    {
        carry_out(&self.commits, work)
    }
}

/// Runs `work` as a task of its own, one of `commits`; what is returned waits for what comes of it.
///
/// # Errors
/// What `work` says; [`Error::CommitLost`] where it ended without saying anything.
pub(super) fn carry_out<T: Send + 'static, W>(
    commits: &TaskTracker,
    work: W,
) -> impl Future<Output = Result<T, Error>> + use<T, W>
where
    W: Future<Output = Result<T, Error>> + Send + 'static,
{
    let (done, outcome) = oneshot::channel();
    // In a box, since a task is moved a few times.
    let work = Box::pin(trace::carried(work));
    commits.spawn(async move {
        // The client may be gone; then nobody waits for the outcome.
        let _ = done.send(work.await);
    });
    async { outcome.await.map_err(|_| Error::CommitLost)? }
}

/// Whether an upload may take the place of what has its name.
fn check_target(
    conditions: &Conditions,
    on_conflict: OnConflict,
    old: Option<&Image>,
) -> records::Result<()> {
    check_writing(conditions, old)?;
    match (on_conflict, old) {
        (OnConflict::Reject, Some(_)) => Err(records::Error::Taken),
        _ => Ok(()),
    }
}

/// The last step of an upload: its intent, its object, its record. `first` is done once it is settled that
/// nobody else changes what has the name, `unstage` once the object is in its place.
async fn commit_recorded(
    intent: Arc<Intent>,
    upload: Box<dyn Upload>,
    change: Change,
    first: impl Future<Output = records::Result<()>>,
    unstage: impl Future<Output = Result<(), Settling>>,
) -> Result<Image, Error> {
    let Change { new, check, commit, permit } = change;
    let prepared = trace::within("records.prepare", intent.prepare(new, check, permit)).await?;
    fault::point("commit.prepared");
    if let Err(error) = first.await {
        intent.give_up().await?;
        return Err(error.into());
    }
    let finish = trace::within("storage.finish", upload.finish(commit));
    let stored = match intent.while_held(finish).await? {
        Ok(stored) => stored,
        Err(error) => {
            // Else it has to be found out what came of it.
            if !error.may_take_effect() {
                intent.give_up().await?;
            }
            return Err(error.into());
        }
    };
    fault::point("commit.stored");
    // Before the record: what dies in between is settled, and nothing of it left.
    unstage.await.map_err(|error| match error {
        Settling::Storage(error) => error.with_possible_effect(true).into(),
        Settling::Records(error) => Error::from(error),
    })?;
    let image = trace::within("records.complete", intent.complete(prepared, stored)).await?;
    fault::point("commit.recorded");
    Ok(image)
}
