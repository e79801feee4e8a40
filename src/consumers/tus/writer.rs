//! A request's bytes on their way into an upload. It is a task of its own: it outlives a client that
//! leaves, and keeps what has come.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use tokio::sync::{Notify, mpsc};
use uuid::Uuid;

use super::{FINISHED, ResumableUploads, Standing, fields::Checksum, seen::Seen, terms::Terms};
use crate::{
    consumers::{
        commit::LastStep,
        error::Error,
        image::ImageType,
        metrics::{self, Method},
        names::CustomerId,
        records::{self, Image, Intent, NewImage, Progress, Session},
    },
    storage::{self, ErrorKind, Journal, NewObject, Resumable, Suspended},
    tenant::TenantId,
};

/// How often is looked whether another replica asks for the upload.
const ASKED_EVERY: Duration = Duration::from_secs(1);
/// What is received is made durable when it is longer ago.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(1);

/// What a request's body brings.
pub enum Piece {
    /// Some bytes.
    Bytes(Bytes),
    /// That was all. Without it, the client has left.
    End,
}

/// What came of a request.
pub struct Appended {
    /// How far the upload is.
    pub offset: u64,
    /// Until when it is kept.
    pub expires_at: SystemTime,
    /// What it has become.
    pub image: Option<Image>,
}

impl ResumableUploads {
    /// Takes what `pieces` brings into the upload of this id.
    ///
    /// # Errors
    /// [`Error::Behind`], [`records::Error::NotFound`], [`Error::UploadLocked`], [`Error::UploadConflict`], [`Error::ChecksumMismatch`];
    /// what is wrong with the bytes, which ends the upload; or the store or the database fails.
    pub async fn append(
        self: Arc<Self>,
        tenant: TenantId,
        customer: CustomerId,
        id: Uuid,
        terms: Terms,
        pieces: mpsc::Receiver<Piece>,
    ) -> Result<Appended, Error> {
        self.uploads.check_load(&tenant)?;
        let uploads = Arc::clone(&self.uploads);
        let work = async move {
            match self.claim(&tenant, &customer, id).await {
                Ok((session, intent)) => self.append_held(session, intent, terms, pieces).await,
                Err(error) => match self.unless_finished(&tenant, &customer, id, error).await? {
                    // Another request was faster.
                    Standing::Finished(_) => Err(FINISHED),
                    Standing::Open(_) => Err(Error::UploadLocked),
                },
            }
        };
        uploads.carry_out(work).await
    }

    /// The same for an upload that is held already, by this intent.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub async fn append_first(
        self: Arc<Self>,
        session: Session,
        intent: Arc<Intent>,
        terms: Terms,
        pieces: mpsc::Receiver<Piece>,
    ) -> Result<Appended, Error> {
        let uploads = Arc::clone(&self.uploads);
        let work = async move { self.append_held(session, intent, terms, pieces).await };
        uploads.carry_out(work).await
    }

    async fn append_held(
        &self,
        session: Session,
        intent: Arc<Intent>,
        terms: Terms,
        pieces: mpsc::Receiver<Piece>,
    ) -> Result<Appended, Error> {
        let called = Arc::new(Notify::new());
        self.writers().insert(session.id, Arc::clone(&called));
        let id = session.id;
        let outcome = match Writer::begin(self, session, Arc::clone(&intent), &terms).await {
            Ok(writer) => writer.run(&called, terms.checksum, pieces).await,
            Err((error, session)) => settle(self, &session, &intent, error).await,
        };
        match &outcome {
            Ok(Appended { image: None, .. }) => {}
            Ok(Appended { image: Some(image), .. }) => {
                metrics::went_on(Method::Resumable, Ok(image))
            }
            Err(error) => metrics::went_on(Method::Resumable, Err(error)),
        }
        let mut writers = self.writers();
        if writers.get(&id).is_some_and(|known| Arc::ptr_eq(known, &called)) {
            writers.remove(&id);
        }
        outcome
    }
}

/// Lets an upload go that a request failed on, or ends it.
async fn settle<T>(
    resumable: &ResumableUploads,
    session: &Session,
    intent: &Intent,
    error: Error,
) -> Result<T, Error> {
    let is_gone = matches!(&error, Error::Storage(e) if e.kind() == ErrorKind::NotFound);
    let ends = is_gone || error.is_of_the_bytes();
    resumable.uploads.give_back(session, intent, &error, ends).await?;
    Err(if is_gone { records::Error::NotFound.into() } else { error })
}

/// Why no more comes.
enum End {
    /// The body has ended: at its end, or because the client has left.
    Body(bool),
    /// Another wants the upload, or the process is about to end.
    Early(Error),
}

impl End {
    /// What has a checksum is kept as a whole or not at all.
    fn early(why: Error, checksum: Option<Checksum>) -> Result<Self, Error> {
        if checksum.is_some() { Err(why) } else { Ok(Self::Early(why)) }
    }
}

/// An upload that a request writes to.
struct Writer<'a> {
    resumable: &'a ResumableUploads,
    session: Session,
    intent: Arc<Intent>,
    seen: Seen,
    /// The first bytes, until the type is known and the store may have them.
    head: Vec<u8>,
    upload: Option<Box<dyn Resumable>>,
    checkpoint_at: Instant,
}

impl<'a> Writer<'a> {
    async fn begin(
        resumable: &'a ResumableUploads,
        mut session: Session,
        intent: Arc<Intent>,
        terms: &Terms,
    ) -> Result<Self, (Error, Session)> {
        let begun = async {
            terms.check(resumable, &mut session)?;
            let (seen, head, store) = match &session.state {
                Some(kept) => Seen::again(kept)?,
                None => (Seen::new(), Vec::new(), None),
            };
            Ok((seen, head, store))
        };
        let (seen, head, store) = match begun.await {
            Ok(begun) => begun,
            Err(error) => return Err((error, session)),
        };
        let checkpoint_at = Instant::now() + CHECKPOINT_EVERY;
        let upload = None;
        let mut writer = Self { resumable, session, intent, seen, head, upload, checkpoint_at };
        if let Err(error) = writer.end_unknown(store.as_ref()).await {
            return Err((error, writer.session));
        }
        match (writer.seen.inspector.image_type(), store) {
            (Some(image_type), Some(store)) => match writer.open(image_type, Some(&store)).await {
                Ok(()) => Ok(writer),
                Err(error) => Err((error, writer.session)),
            },
            _ => Ok(writer),
        }
    }

    /// Ends what the store keeps of this upload and nothing was saved of: a request died, or the
    /// database failed, right after it was begun.
    async fn end_unknown(&mut self, saved: Option<&Suspended>) -> Result<(), Error> {
        let Some(reference) = self.session.staged.take() else { return Ok(()) };
        if saved.is_some_and(|saved| saved.state.contains(&reference)) {
            self.session.staged = Some(reference);
            return Ok(());
        }
        self.resumable.uploads.storage.abort(&self.session.key, &reference).await?;
        Ok(self.intent.unstaged().await?)
    }

    async fn open(&mut self, image_type: ImageType, from: Option<&Suspended>) -> Result<(), Error> {
        let uploads = &self.resumable.uploads;
        let new = NewObject {
            key: self.session.key.clone(),
            content_type: image_type.content_type(),
            size_hint: self.session.length,
            share: uploads.budget.share(self.session.tenant.as_str()),
            upload: self.session.id,
            journal: Some(Arc::clone(&self.intent) as Arc<dyn Journal>),
        };
        self.upload = Some(uploads.storage.resume(new, &self.session.staging()?, from).await?);
        Ok(())
    }

    async fn run(
        mut self,
        called: &Notify,
        checksum: Option<Checksum>,
        pieces: mpsc::Receiver<Piece>,
    ) -> Result<Appended, Error> {
        match self.take_all(called, checksum, pieces).await {
            Ok(End::Body(is_whole)) => self.end(is_whole).await,
            Ok(End::Early(why)) => {
                self.suspend().await?;
                Err(why)
            }
            Err(error) => {
                drop(self.upload.take());
                settle(self.resumable, &self.session, &self.intent, error).await
            }
        }
    }

    /// Takes what comes.
    async fn take_all(
        &mut self,
        called: &Notify,
        mut checksum: Option<Checksum>,
        mut pieces: mpsc::Receiver<Piece>,
    ) -> Result<End, Error> {
        let cut = self.resumable.cut.clone();
        let mut refused = None;
        let mut asked = tokio::time::interval(ASKED_EVERY);
        asked.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        asked.tick().await;
        let is_whole = loop {
            let piece = tokio::select! {
                piece = pieces.recv() => piece,
                () = called.notified() => return End::early(Error::UploadLocked, checksum),
                () = cut.cancelled() => return End::early(Error::Stopping, checksum),
                _ = asked.tick() => {
                    let records = &self.resumable.uploads.records;
                    // Those of this process have called.
                    if !records.has_replicas() {
                        continue;
                    }
                    if records.is_asked_for(self.session.id).await.unwrap_or(false) {
                        return End::early(Error::UploadLocked, checksum);
                    }
                    continue;
                }
            };
            match piece {
                Some(Piece::Bytes(bytes)) => {
                    if let Some(checksum) = &mut checksum {
                        checksum.update(&bytes);
                    }
                    if refused.is_some() {
                        continue;
                    }
                    // Where they may have been damaged on their way, that is to be told.
                    match self.take(bytes, checksum.is_none()).await {
                        Err(error) if error.is_of_the_bytes() && checksum.is_some() => {
                            refused = Some(error);
                        }
                        taken => taken?,
                    }
                }
                Some(Piece::End) => break true,
                None => break false,
            }
        };
        let holds = checksum.is_none_or(|checksum| is_whole && checksum.holds());
        match (holds, refused) {
            (true, None) => Ok(End::Body(is_whole)),
            (true, Some(error)) => Err(error),
            (false, _) => {
                // Parts that are on their way must not land behind those that will be sent again.
                if let Some(upload) = &mut self.upload {
                    let _ = upload.checkpoint().await;
                }
                Err(Error::ChecksumMismatch)
            }
        }
    }

    async fn take(&mut self, mut bytes: Bytes, may_keep: bool) -> Result<(), Error> {
        let uploads = &self.resumable.uploads;
        let limit = self.session.length.unwrap_or(uploads.settings().max_file_size.as_u64());
        if self.session.received + bytes.len() as u64 > limit {
            return Err(Error::TooLarge(limit));
        }
        while !bytes.is_empty() {
            let Some(upload) = &mut self.upload else {
                self.take_head(bytes).await?;
                return Ok(());
            };
            let step = upload.step();
            let rest = step - self.session.received % step;
            let piece =
                bytes.split_to(usize::try_from(rest).unwrap_or(usize::MAX).min(bytes.len()));
            let size = piece.len() as u64;
            let seen = self.seen.push(&piece);
            uploads.judge(&self.seen.inspector, seen)?;
            upload.write(piece).await?;
            self.session.received += size;
            if size == rest && may_keep && Instant::now() > self.checkpoint_at {
                self.save(false).await?;
                self.checkpoint_at = Instant::now() + CHECKPOINT_EVERY;
            }
        }
        Ok(())
    }

    /// Takes bytes before the store may have any: until it is known which type they are of.
    async fn take_head(&mut self, bytes: Bytes) -> Result<(), Error> {
        let seen = self.seen.push(&bytes);
        self.resumable.uploads.judge(&self.seen.inspector, seen)?;
        self.session.received += bytes.len() as u64;
        let Some(image_type) = self.seen.inspector.image_type() else {
            self.head.extend_from_slice(&bytes);
            return Ok(());
        };
        self.open(image_type, None).await?;
        if let Some(upload) = &mut self.upload {
            if !self.head.is_empty() {
                upload.write(std::mem::take(&mut self.head).into()).await?;
            }
            upload.write(bytes).await?;
        }
        Ok(())
    }

    /// A request's end: the upload's own, if all of it is there.
    async fn end(mut self, is_whole: bool) -> Result<Appended, Error> {
        if self.session.length == Some(self.session.received) {
            return self.finish().await;
        }
        let expires_at = self.suspend().await?;
        if !is_whole {
            tracing::debug!(id = %self.session.id, "a client left in the middle of an upload");
        }
        Ok(Appended { offset: self.session.received, expires_at, image: None })
    }

    async fn finish(mut self) -> Result<Appended, Error> {
        let uploads = &self.resumable.uploads;
        let finished = async {
            let (image_type, dimensions) = self.seen.inspector.finish()?;
            uploads.check_image(image_type, Some(dimensions))?;
            let upload = self.upload.take().ok_or(Error::ImageUnsupported)?;
            let sha256 = self.seen.sha256();
            let new = NewImage {
                customer: self.session.customer.clone(),
                display_name: self.session.display_name.clone(),
                content_type: image_type.content_type().to_owned(),
                size: self.session.received,
                sha256: Some(storage::hex(&sha256)),
                width: dimensions.width,
                height: dimensions.height,
            };
            let intent = Arc::clone(&self.intent);
            let last = LastStep { sha256: Some(sha256), ..LastStep::default() };
            // What came in one request was never staged.
            let staged = self.session.state.is_some().then_some(&self.session);
            uploads.commit(intent, upload, new, last, staged).await
        };
        match finished.await {
            Ok(image) => {
                let (offset, expires_at) = (self.session.received, self.session.expires_at);
                Ok(Appended { offset, expires_at, image: Some(image) })
            }
            Err(error) => {
                drop(self.upload.take());
                settle(self.resumable, &self.session, &self.intent, error).await
            }
        }
    }

    /// Keeps all that has come, and lets the upload go.
    async fn suspend(&mut self) -> Result<SystemTime, Error> {
        match self.save(true).await {
            Ok(expires_at) => Ok(expires_at),
            Err(error) => {
                drop(self.upload.take());
                settle(self.resumable, &self.session, &self.intent, error).await
            }
        }
    }

    async fn save(&mut self, release: bool) -> Result<SystemTime, Error> {
        let store = match &mut self.upload {
            Some(upload) => Some(upload.checkpoint().await?),
            None => None,
        };
        let expires_at = self.resumable.expiry();
        self.session.state = Some(self.seen.keep(&self.head, store.as_ref())?);
        let progress = Progress {
            length: self.session.length,
            received: self.session.received,
            state: self.session.state.clone(),
            expires_at,
        };
        self.intent.save(progress, release).await?;
        Ok(expires_at)
    }
}
