//! One image on its way from the client into the store.
//!
//! The bytes decide what the image is, before any of them reaches the store; nothing is decoded.
//! Knows the store's trait and the parsed names; knows no HTTP beyond the body's stream.

use std::sync::Arc;

use aws_lc_rs::digest;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tokio_util::task::TaskTracker;

use super::{
    commit::LastStep,
    error::Error,
    image::{self, Dimensions, ImageType, Inspector},
    images::conditional::Conditions,
    multipart::{self, Limits, Multipart},
    names::{CustomerId, FileName, image_key},
    records::{ExpectedSize, Image, Intent, NewImage, Records},
    settings::ImageSettings,
};
use crate::{
    concurrency::Permit,
    storage::{self, Budget, Journal, NewObject, ObjectKey, SharedStorage, Upload},
    tenant::TenantId,
};

/// The rules of the settings and the store, shared by all workers.
pub struct Uploads {
    pub(super) storage: SharedStorage,
    pub(super) records: Records,
    pub(super) budget: Arc<Budget>,
    pub(super) commits: TaskTracker,
    accept: Vec<ImageType>,
    pub(super) settings: ImageSettings,
}

impl Uploads {
    /// Uploads into `storage`, recorded in `records`, by these settings, which have been checked.
    /// Commits run as tasks of `commits`, for the shutdown to wait for.
    pub fn new(
        storage: SharedStorage,
        records: Records,
        budget: Arc<Budget>,
        commits: TaskTracker,
        settings: ImageSettings,
    ) -> Self {
        let accept =
            settings.accept.iter().filter_map(|t| ImageType::from_content_type(t)).collect();
        Self { storage, records, budget, commits, accept, settings }
    }

    /// The settings it goes by.
    pub fn settings(&self) -> &ImageSettings {
        &self.settings
    }

    /// Takes an image from a multipart body: the part `file`, shown as the field `fileName` says.
    ///
    /// # Errors
    /// Whatever is wrong with the body, or the store; nothing is kept then.
    pub async fn take_form<S>(
        &self,
        tenant: &TenantId,
        customer: CustomerId,
        body: S,
        boundary: &str,
        conditions: Conditions,
        size_hint: Option<u64>,
    ) -> Result<Image, Error>
    where
        S: Stream<Item = Result<Bytes, Error>> + Unpin,
    {
        let permit = self.turn(tenant).await?;
        let received = self.receive_form(tenant, &customer, body, boundary, &conditions, size_hint);
        let (permit, received) = permit.lend(received).await;
        let (image, display_name) = received?;
        image.commit(self, customer, display_name, conditions, permit).await
    }

    async fn receive_form<S>(
        &self,
        tenant: &TenantId,
        customer: &CustomerId,
        body: S,
        boundary: &str,
        conditions: &Conditions,
        size_hint: Option<u64>,
    ) -> Result<(Incoming, Option<FileName>), Error>
    where
        S: Stream<Item = Result<Bytes, Error>> + Unpin,
    {
        let limits = Limits {
            parts: self.settings.max_parts,
            part_headers: to_usize(self.settings.max_part_headers.as_u64()),
        };
        let mut form = Multipart::new(body, boundary, limits);
        let mut image: Option<Incoming> = None;
        let mut display_name = None;
        while let Some(part) = form.next_part().await? {
            match part.file_name {
                Some(name) if part.name == "file" && image.is_none() => {
                    let least = size_hint.map(|size| size.saturating_sub(self.form_overhead()));
                    let mut incoming = self.begin(tenant, customer, &name, size_hint, least)?;
                    incoming.check(self, conditions).await?;
                    while let Some(chunk) = form.chunk().await? {
                        incoming.take(self, chunk).await?;
                    }
                    incoming.seen_whole(self)?;
                    image = Some(incoming);
                }
                Some(_) if part.name == "file" => {
                    return Err(Error::MultipartInvalid(
                        "The body has a second file; send one a request.",
                    ));
                }
                Some(_) => {
                    return Err(Error::MultipartInvalid(
                        "A file came in another field; send it as 'file'.",
                    ));
                }
                None => {
                    let text = self.text_field(&mut form).await?;
                    if part.name == "fileName" {
                        let name = FileName::parse(&text);
                        let name = name.ok_or(Error::FileNameInvalid(
                            "The field fileName is no valid file name.",
                        ))?;
                        display_name = Some(name);
                    }
                }
            }
        }
        Ok((image.ok_or(Error::FileMissing)?, display_name))
    }

    /// Takes an image that is the whole body.
    ///
    /// # Errors
    /// Whatever is wrong with the body, or the store; nothing is kept then.
    pub async fn take_raw<S>(
        &self,
        tenant: &TenantId,
        customer: CustomerId,
        name: &[u8],
        body: S,
        conditions: Conditions,
        size_hint: Option<u64>,
    ) -> Result<Image, Error>
    where
        S: Stream<Item = Result<Bytes, Error>> + Unpin,
    {
        let permit = self.turn(tenant).await?;
        let received = self.receive_raw(tenant, &customer, name, body, &conditions, size_hint);
        let (permit, received) = permit.lend(received).await;
        received?.commit(self, customer, None, conditions, permit).await
    }

    async fn receive_raw<S>(
        &self,
        tenant: &TenantId,
        customer: &CustomerId,
        name: &[u8],
        mut body: S,
        conditions: &Conditions,
        size_hint: Option<u64>,
    ) -> Result<Incoming, Error>
    where
        S: Stream<Item = Result<Bytes, Error>> + Unpin,
    {
        let mut incoming = self.begin(tenant, customer, name, size_hint, size_hint)?;
        incoming.check(self, conditions).await?;
        while let Some(chunk) = body.next().await {
            incoming.take(self, chunk?).await?;
        }
        if incoming.size == 0 {
            return Err(Error::FileMissing);
        }
        incoming.seen_whole(self)?;
        Ok(incoming)
    }

    /// The most bytes of a form that are not its file.
    fn form_overhead(&self) -> u64 {
        let ImageSettings { max_part_headers, max_text_field, max_parts, .. } = self.settings;
        let part = max_part_headers.as_u64().saturating_add(max_text_field.as_u64());
        let part = part.saturating_add(multipart::MAX_DELIMITER);
        multipart::MAX_AROUND.saturating_add(part.saturating_mul(max_parts as u64))
    }

    /// An image that comes with at least `least` bytes, where that is known.
    fn begin(
        &self,
        tenant: &TenantId,
        customer: &CustomerId,
        name: &[u8],
        size_hint: Option<u64>,
        least: Option<u64>,
    ) -> Result<Incoming, Error> {
        let (name, key) = target(tenant, customer, name)?;
        let limit = self.settings.max_file_size.as_u64();
        // An image has at least one byte. For one of which nothing is known, nothing is reserved.
        let least = least.map_or(1, |least| least.clamp(1, limit));
        let expected = ExpectedSize { least, most: size_hint.map_or(0, |most| most.min(limit)) };
        Ok(Incoming {
            intent: self.records.intent(tenant, &key, expected),
            tenant: tenant.clone(),
            least,
            key,
            name,
            share: self.budget.share(tenant.as_str()),
            size_hint,
            size: 0,
            hash: digest::Context::new(&digest::SHA256),
            inspector: Inspector::new(),
            head: Vec::new(),
            upload: None,
        })
    }

    async fn text_field<S>(&self, form: &mut Multipart<S>) -> Result<Vec<u8>, Error>
    where
        S: Stream<Item = Result<Bytes, Error>> + Unpin,
    {
        let mut text = Vec::new();
        while let Some(chunk) = form.chunk().await? {
            text.extend_from_slice(&chunk);
            if text.len() as u64 > self.settings.max_text_field.as_u64() {
                return Err(Error::MultipartInvalid("A text field is longer than allowed."));
            }
        }
        Ok(text)
    }
}

/// An image of which some bytes have come.
struct Incoming {
    intent: Arc<Intent>,
    tenant: TenantId,
    key: ObjectKey,
    name: FileName,
    /// It comes to no less bytes.
    least: u64,
    share: crate::storage::Share,
    size_hint: Option<u64>,
    size: u64,
    hash: digest::Context,
    inspector: Inspector,
    /// The first chunks, until the type is known and the store may have them: some bytes only.
    head: Vec<Bytes>,
    upload: Option<Box<dyn Upload>>,
}

impl Incoming {
    /// Spares the client its bytes when the quota lacks room, the name is taken, or a condition does
    /// not hold, already. The commit looks again.
    async fn check(&self, uploads: &Uploads, conditions: &Conditions) -> Result<(), Error> {
        uploads.check_early(&self.tenant, &self.key, self.least, conditions).await
    }

    async fn take(&mut self, uploads: &Uploads, chunk: Bytes) -> Result<(), Error> {
        let limit = uploads.settings.max_file_size.as_u64();
        self.size += chunk.len() as u64;
        if self.size > limit {
            return Err(Error::TooLarge(limit));
        }
        let seen = self.inspector.push(&chunk);
        uploads.judge(&self.inspector, seen.map_err(Error::from))?;
        self.hash.update(&chunk);
        if let Some(upload) = &mut self.upload {
            upload.write(chunk).await?;
            return Ok(());
        }
        self.head.push(chunk);
        let Some(image_type) = self.inspector.image_type() else {
            return Ok(());
        };
        let new = NewObject {
            key: self.key.clone(),
            content_type: image_type.content_type(),
            size_hint: self.size_hint,
            share: self.share.clone(),
            upload: self.intent.id(),
            journal: Some(Arc::clone(&self.intent) as Arc<dyn Journal>),
        };
        let upload = self.upload.insert(uploads.storage.begin(new).await?);
        for chunk in self.head.drain(..) {
            upload.write(chunk).await?;
        }
        Ok(())
    }

    /// Checks what can be told only once all bytes are there.
    fn seen_whole(&mut self, uploads: &Uploads) -> Result<(), Error> {
        let (image_type, dimensions) = self.inspector.finish()?;
        uploads.check_image(image_type, Some(dimensions))
    }

    async fn commit(
        mut self,
        uploads: &Uploads,
        customer: CustomerId,
        display_name: Option<FileName>,
        conditions: Conditions,
        permit: Option<Permit>,
    ) -> Result<Image, Error> {
        let (image_type, dimensions) = self.inspector.finish()?;
        let upload = self.upload.take().ok_or(Error::ImageUnsupported)?;
        let sha256 = storage::finished(self.hash);
        let new = NewImage {
            customer: customer.as_str().to_owned(),
            display_name: display_name.unwrap_or(self.name).as_str().to_owned(),
            content_type: image_type.content_type().to_owned(),
            size: self.size,
            sha256: Some(storage::hex(&sha256)),
            width: dimensions.width,
            height: dimensions.height,
        };
        let last = LastStep { conditions, sha256: Some(sha256), permit };
        let commit = uploads.commit(self.intent, upload, new, last, None);
        // Once begun, a commit runs to its end even if the client leaves meanwhile.
        uploads.carry_out(commit).await
    }
}

/// The name of a file as a client sent it, and the key that it makes.
pub(super) fn target(
    tenant: &TenantId,
    customer: &CustomerId,
    name: &[u8],
) -> Result<(FileName, ObjectKey), Error> {
    let broken = Error::FileNameInvalid(crate::problem::Kind::FileNameInvalid.help());
    let name = FileName::parse(name).ok_or(broken)?;
    let key = image_key(tenant, customer, &name).map_err(|_| {
        Error::FileNameInvalid(
            "The key that the names make is over 1,024 bytes; choose shorter ones.",
        )
    })?;
    Ok((name, key))
}

impl Uploads {
    /// Whether what has come of an image is taken in: that its type is not goes before what is wrong with it, as the
    /// inspector has `seen`.
    pub(super) fn judge(
        &self,
        inspector: &Inspector,
        seen: Result<(), Error>,
    ) -> Result<(), Error> {
        if let Some(image_type) = inspector.image_type() {
            self.check_image(image_type, inspector.dimensions())?;
        }
        seen
    }

    /// Whether images of this type and size are taken in.
    pub(super) fn check_image(
        &self,
        image_type: ImageType,
        dimensions: Option<Dimensions>,
    ) -> Result<(), Error> {
        if !self.accept.contains(&image_type) {
            return Err(Error::ImageUnsupported);
        }
        let limit = self.settings.max_pixels;
        match dimensions {
            Some(dimensions) if dimensions.pixels() > u128::from(limit) => {
                Err(Error::ImageInvalid(format!(
                    "The image has {} pixels (width x height x frames); at most {limit} are allowed.",
                    dimensions.pixels()
                )))
            }
            _ => Ok(()),
        }
    }
}

impl From<image::Error> for Error {
    fn from(error: image::Error) -> Self {
        match error {
            image::Error::Unsupported => Self::ImageUnsupported,
            image::Error::Invalid(what) => Self::ImageInvalid(what.to_owned()),
        }
    }
}

fn to_usize(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}
