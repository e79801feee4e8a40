//! Adopting: records for objects that are in the store already, put there by other programs under the
//! keys that uploads have.
//!
//! Objects are only read, never changed. What an upload of the same name does meanwhile wins.

use std::{collections::BTreeMap, time::SystemTime};

use aws_lc_rs::digest;
use futures_util::{StreamExt, stream};

use super::{
    Error,
    image::{self, Dimensions, ImageType, Inspector},
    names::{CustomerId, FileName, image_key},
    records::{self, ExpectedSize, NewImage, Records},
    settings::ImageSettings,
};
use crate::{
    fault,
    storage::{self, ErrorKind, Listed, ObjectKey, Read, SharedStorage},
    tenant::TenantId,
};

/// Objects that are read at a time.
const AT_ONCE: usize = 4;

/// What makes records for objects.
pub struct Adopter {
    storage: SharedStorage,
    records: Records,
    accept: Vec<ImageType>,
    max_pixels: u64,
}

/// What has become of the objects so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Adopted {
    /// Objects that have got their record, or would.
    pub images: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Objects that have a record, or are being uploaded.
    pub recorded: u64,
    /// Objects that were left alone, by the reason.
    pub left: BTreeMap<&'static str, u64>,
}

/// Why an object is left alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Its key is none that an upload could have.
    Key,
    /// Its bytes are of no type that is taken in.
    Unsupported,
    /// Its bytes are those of a broken image, or of one with too many pixels.
    Invalid(String),
    /// It was changed while it was read.
    Changed,
    /// The store does not give it out.
    Unreadable,
}

/// Is told what has become of the objects so far, and of one that is left alone its key and why.
pub type Tell<'a> = dyn FnMut(&Adopted, Option<(&str, &Reason)>) + 'a;

impl Reason {
    /// A word for it.
    pub fn slug(&self) -> &'static str {
        match self {
            Self::Key => "key-invalid",
            Self::Unsupported => "image-unsupported",
            Self::Invalid(_) => "image-invalid",
            Self::Changed => "changed",
            Self::Unreadable => "unreadable",
        }
    }

    /// A sentence on it.
    pub fn sentence(&self) -> &str {
        match self {
            Self::Key => "The key is not {tenant}/customer/{customerId}/{file name}.",
            Self::Unsupported => "The bytes are not an image of an accepted type.",
            Self::Invalid(what) => what,
            Self::Changed => "The object was changed meanwhile.",
            Self::Unreadable => "The store does not give the object out.",
        }
    }
}

/// What becomes of one object.
enum Outcome {
    Adopted(u64),
    Recorded,
    Left(Reason),
}

/// An object whose key is an image's.
struct Found {
    tenant: TenantId,
    customer: CustomerId,
    file: FileName,
    key: ObjectKey,
    etag: String,
    modified: SystemTime,
}

/// What an object turns out to be.
struct Seen {
    image_type: ImageType,
    dimensions: Dimensions,
    size: u64,
    sha256: [u8; 32],
}

impl Adopter {
    /// For the objects of `storage` that `records` does not tell of. Images are taken as uploads
    /// are by these settings, whatever their size.
    pub fn new(storage: SharedStorage, records: Records, settings: &ImageSettings) -> Self {
        let accept = settings.accept.iter().filter_map(|t| ImageType::from_content_type(t));
        Self { storage, records, accept: accept.collect(), max_pixels: settings.max_pixels }
    }

    /// Makes records for all objects, or those of one tenant; in a dry run, only says so. Tells
    /// each object: what has become of them so far, and of one that is left alone its key and why.
    ///
    /// # Errors
    /// When the store or the database fails. What was adopted until then is, and another run goes
    /// on with the rest.
    pub async fn adopt(
        &self,
        tenant: Option<&TenantId>,
        dry_run: bool,
        tell: &mut Tell<'_>,
    ) -> Result<Adopted, Error> {
        let prefix = tenant.map(|tenant| format!("{tenant}/")).unwrap_or_default();
        let (mut adopted, mut after) = (Adopted::default(), None);
        loop {
            let page = self.storage.list(&prefix, after.as_deref()).await?;
            let names: Vec<_> = page.objects.iter().map(|object| object.key.clone()).collect();
            let mut known = self.records.recorded(&names).await?;
            known.extend(self.records.intended(&names).await?);
            let outcomes = page.objects.iter().map(async |object| {
                let outcome = match known.contains(&object.key) {
                    true => Ok(Outcome::Recorded),
                    false => self.adopt_one(object, dry_run).await,
                };
                (object, outcome)
            });
            let mut outcomes = stream::iter(outcomes).buffered(AT_ONCE);
            while let Some((object, outcome)) = outcomes.next().await {
                match outcome? {
                    Outcome::Adopted(size) => {
                        adopted.images += 1;
                        adopted.bytes += size;
                        tell(&adopted, None);
                    }
                    Outcome::Recorded => {
                        adopted.recorded += 1;
                        tell(&adopted, None);
                    }
                    Outcome::Left(reason) => {
                        *adopted.left.entry(reason.slug()).or_default() += 1;
                        tell(&adopted, Some((&object.key, &reason)));
                    }
                }
            }
            after = page.next;
            if after.is_none() {
                return Ok(adopted);
            }
        }
    }

    async fn adopt_one(&self, object: &Listed, dry_run: bool) -> Result<Outcome, Error> {
        let Some(found) = Found::of(object) else {
            return Ok(Outcome::Left(Reason::Key));
        };
        let seen = match self.look(&found, dry_run).await {
            Ok(Ok(seen)) => seen,
            Ok(Err(reason)) => return Ok(Outcome::Left(reason)),
            Err(error) => {
                return match error.kind() {
                    ErrorKind::NotFound | ErrorKind::Changed => Ok(Outcome::Left(Reason::Changed)),
                    ErrorKind::Internal => {
                        let cause = crate::problem::chain(&error);
                        tracing::warn!(name = object.key, cause, "an object cannot be read");
                        Ok(Outcome::Left(Reason::Unreadable))
                    }
                    _ => Err(error.into()),
                };
            }
        };
        if dry_run {
            return Ok(Outcome::Adopted(object.size));
        }
        self.record(found, seen).await
    }

    /// Reads the object; in a dry run, no more of it than tells what it is.
    async fn look(&self, found: &Found, dry_run: bool) -> storage::Result<Result<Seen, Reason>> {
        let how = Read { range: None, if_match: Some(found.etag.clone()) };
        let mut body = self.storage.read(&found.key, how).await?.body;
        let (mut inspector, mut size) = (Inspector::new(), 0);
        let mut hash = digest::Context::new(&digest::SHA256);
        while let Some(chunk) = body.next().await {
            let chunk = chunk?;
            size += chunk.len() as u64;
            hash.update(&chunk);
            if let Err(error) = inspector.push(&chunk) {
                return Ok(Err(error.into()));
            }
            if dry_run && inspector.dimensions().is_some() {
                break;
            }
        }
        let (image_type, dimensions) = match inspector.finish() {
            Ok(found) => found,
            Err(error) => return Ok(Err(error.into())),
        };
        if !self.accept.contains(&image_type) {
            return Ok(Err(Reason::Unsupported));
        }
        if dimensions.pixels() > u128::from(self.max_pixels) {
            let (pixels, most) = (dimensions.pixels(), self.max_pixels);
            let what = format!("The image has {pixels} pixels; at most {most} are allowed.");
            return Ok(Err(Reason::Invalid(what)));
        }
        Ok(Ok(Seen { image_type, dimensions, size, sha256: storage::finished(hash) }))
    }

    /// Makes the record, while nobody else changes the object, if it still is what was read.
    async fn record(&self, found: Found, seen: Seen) -> Result<Outcome, Error> {
        let new = NewImage {
            customer: found.customer.as_str().to_owned(),
            display_name: found.file.as_str().to_owned(),
            content_type: seen.image_type.content_type().to_owned(),
            size: seen.size,
            sha256: Some(storage::hex(&seen.sha256)),
            width: seen.dimensions.width,
            height: seen.dimensions.height,
        };
        let intent = self.records.intent(&found.tenant, &found.key, ExpectedSize::default());
        let prepared = match intent.prepare_adoption(new, found.modified).await {
            Ok(prepared) => prepared,
            Err(records::Error::Taken) => return Ok(Outcome::Recorded),
            Err(error) => return Err(error.into()),
        };
        fault::point("adopt.prepared");
        let head = match self.secured(&found.key).await {
            Ok(head) if head.etag == found.etag => head,
            Ok(_) => return self.leave(&intent).await,
            Err(error) if error.kind() == ErrorKind::NotFound => return self.leave(&intent).await,
            Err(error) => {
                intent.give_up().await?;
                return Err(error.into());
            }
        };
        let stored = storage::Stored { etag: head.etag, size: head.size, sha256: None };
        intent.complete(prepared, stored).await?;
        Ok(Outcome::Adopted(seen.size))
    }

    /// What is there, once it is sure to stay.
    async fn secured(&self, key: &ObjectKey) -> storage::Result<storage::Head> {
        self.storage.secure(key).await?;
        self.storage.head(key).await
    }

    async fn leave(&self, intent: &records::Intent) -> Result<Outcome, Error> {
        intent.give_up().await?;
        Ok(Outcome::Left(Reason::Changed))
    }
}

impl Found {
    /// None for a key that no upload could have.
    fn of(object: &Listed) -> Option<Self> {
        let mut segments = object.key.splitn(4, '/');
        let tenant = TenantId::parse(segments.next()?).ok()?;
        segments.next().filter(|word| *word == "customer")?;
        let customer = CustomerId::parse(segments.next()?.as_bytes())?;
        let file = FileName::parse(segments.next()?.as_bytes())?;
        let key = image_key(&tenant, &customer, &file).ok()?;
        // A name that would be read as another one is not this one.
        (key.as_str() == object.key).then(|| Self {
            tenant,
            customer,
            file,
            key,
            etag: object.etag.clone(),
            modified: object.modified,
        })
    }
}

impl From<image::Error> for Reason {
    fn from(error: image::Error) -> Self {
        match error {
            image::Error::Unsupported => Self::Unsupported,
            image::Error::Invalid(what) => Self::Invalid(what.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(key: &str) -> Option<Found> {
        let (key, etag) = (key.to_owned(), String::new());
        Found::of(&Listed { key, size: 1, etag, modified: SystemTime::UNIX_EPOCH })
    }

    #[test]
    fn only_keys_of_uploads_are_found() {
        let one = found("acme/customer/4@2/a b.jpg").unwrap();
        assert_eq!((one.tenant.as_str(), one.customer.as_str()), ("acme", "4@2"));
        assert_eq!(one.file.as_str(), "a b.jpg");
        for foreign in [
            "",
            "a.jpg",
            "acme/customer/42/",
            "acme/customer/42",
            "acme/customer/42/b/a.jpg",
            "acme/customers/42/a.jpg",
            "acme/customer//a.jpg",
            "_staging/customer/42/a.jpg",
            "acme/customer/4 2/a.jpg",
            "acme/customer/42/..",
            "acme/customer/42/a\nb.jpg",
            "acme/customer/42/e\u{301}.png",
            "/acme/customer/42/a.jpg",
        ] {
            assert!(found(foreign).is_none(), "{foreign:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_found_has_the_key_it_was_found_by(key in "[a-c]{0,2}/customer/[a1.]{0,3}/\\PC{0,6}") {
            if let Some(found) = found(&key) {
                prop_assert_eq!(found.key.as_str(), key);
            }
        }
    }
}
