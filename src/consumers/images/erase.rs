//! Erasing all that is kept of a customer or of a tenant: its images, objects that no record
//! tells of, and what was begun and never finished.
//!
//! Each image goes as a single deletion does. An erasure that breaks off is taken up by the next
//! one. What is uploaded meanwhile is erased too, or there as a whole afterwards.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};

use super::access::Images;
use crate::{
    consumers::{
        error::Error,
        records::{self, Extent, Filter, Position, Sums},
    },
    storage::{Listed, ObjectKey},
};

/// Images that are looked at, and held in memory, at once.
const PAGE: u64 = 200;
/// Deletions at a time.
const AT_ONCE: usize = 16;
/// How long is waited for what is left over of earlier changes.
const PATIENCE: Duration = Duration::from_secs(25);

/// What was erased.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Erased {
    /// Images: a record and its object each.
    pub images: u64,
    /// Objects that no record told of.
    pub objects: u64,
    /// Objects that had to be left: nothing here can name their keys.
    pub left: u64,
}

/// What there is to erase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// Images, and their bytes.
    pub recorded: Sums,
    /// Objects that no record tells of, and their bytes.
    pub strays: Sums,
    /// Those of them that nothing here can name.
    pub left: u64,
}

impl Images {
    /// Erases all of it, and tells each step. The audit log gets a line of what was erased, however
    /// it ends.
    ///
    /// # Errors
    /// [`records::Error::Busy`] when earlier changes stay unsettled; or the store or the database
    /// fails. What was erased until then is, and the rest can be erased later.
    pub async fn erase(
        &self,
        extent: &Extent,
        by: By<'_>,
        tell: &mut dyn FnMut(Erased),
    ) -> Result<Erased, Error> {
        let mut audit = Audit { extent, by, erased: Erased::default(), whole: false };
        let erased = &mut audit.erased;
        self.reconciler().end_sessions(extent).await?;
        // What these may still become would else be missed.
        self.reconciler().settle_all(extent, PATIENCE).await?;
        self.erase_images(extent, erased, tell).await?;
        self.erase_strays(extent, erased, tell).await?;
        self.reconciler().abort_unknown(extent).await?;
        self.reconciler().forget_sessions(extent).await?;
        self.records().forget_events_of(extent).await?;
        self.storage().prune(&extent.prefix()).await?;
        if extent.customer.is_none() {
            // At once, what jobs would.
            self.reconciler().clear_made(&extent.tenant).await?;
            self.records().forget(&extent.tenant).await?;
        }
        if erased.left > 0 {
            let (left, prefix) = (erased.left, extent.prefix());
            tracing::warn!(left, prefix, "objects of foreign keys were not erased");
        }
        audit.whole = true;
        Ok(audit.erased)
    }

    /// What [`Images::erase`] would find.
    ///
    /// # Errors
    /// When the store or the database fails.
    pub async fn survey(&self, extent: &Extent) -> Result<Survey, Error> {
        let mut survey =
            Survey { recorded: self.records().sums(extent).await?, ..Survey::default() };
        let mut after = None;
        loop {
            let page = self.storage().list(&extent.prefix(), after.as_deref()).await?;
            for stray in self.strays(&page.objects).await? {
                survey.strays.images += 1;
                survey.strays.bytes += stray.size;
                survey.left += u64::from(ObjectKey::parse(&stray.key).is_err());
            }
            after = page.next;
            if after.is_none() {
                return Ok(survey);
            }
        }
    }

    /// One way through the records, from the newest to the oldest of now: what comes meanwhile is
    /// newer, and stays.
    async fn erase_images(
        &self,
        extent: &Extent,
        erased: &mut Erased,
        tell: &mut dyn FnMut(Erased),
    ) -> Result<(), Error> {
        let mut after = None;
        loop {
            let customer = extent.customer.clone();
            let filter = Filter { customer, stored_name: None, after, limit: PAGE };
            let images = self.records().list(&extent.tenant, filter).await?;
            let Some(last) = images.last() else {
                return Ok(());
            };
            after = Some(Position { created_at: last.created_at, id: last.id });
            let deletions = images
                .into_iter()
                .map(|image| self.remove(image, Arc::new(|_: Option<&_>| Ok(()))));
            let count = || {
                erased.images += 1;
                tell(*erased);
            };
            all_done(deletions, count).await?;
        }
    }

    async fn erase_strays(
        &self,
        extent: &Extent,
        erased: &mut Erased,
        tell: &mut dyn FnMut(Erased),
    ) -> Result<(), Error> {
        let mut after = None;
        loop {
            let page = self.storage().list(&extent.prefix(), after.as_deref()).await?;
            let strays = self.strays(&page.objects).await?;
            let (keys, left): (Vec<_>, Vec<_>) =
                strays.iter().map(|stray| ObjectKey::parse(&stray.key)).partition(Result::is_ok);
            erased.left += left.len() as u64;
            let deletions =
                keys.into_iter().flatten().map(|key| self.remove_stray(&extent.tenant, key));
            let count = || {
                erased.objects += 1;
                tell(*erased);
            };
            all_done(deletions, count).await?;
            after = page.next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    /// Those of these objects that no record tells of.
    async fn strays<'a>(&self, objects: &'a [Listed]) -> Result<Vec<&'a Listed>, Error> {
        let names: Vec<_> = objects.iter().map(|object| object.key.clone()).collect();
        let recorded = self.records().recorded(&names).await?;
        Ok(objects.iter().filter(|object| !recorded.contains(&object.key)).collect())
    }
}

/// Waits for all deletions, some at a time, and counts those that took place.
async fn all_done(
    deletions: impl Iterator<Item = impl Future<Output = Result<(), Error>>>,
    mut count: impl FnMut(),
) -> Result<(), Error> {
    let mut done = stream::iter(deletions).buffer_unordered(AT_ONCE);
    while let Some(done) = done.next().await {
        match done {
            Ok(()) => count(),
            // Others were faster: they deleted the image, or made the object one.
            Err(Error::Records(records::Error::NotFound | records::Error::Taken)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Who asked for an erasure, for the audit log; nobody that is known: a command.
#[derive(Clone, Copy, Debug, Default)]
pub struct By<'a> {
    /// The principal of the request, where there is one.
    pub principal: Option<&'a str>,
    /// The request's id.
    pub request_id: Option<&'a str>,
}

/// Writes the line of the audit log when it is dropped.
struct Audit<'a> {
    extent: &'a Extent,
    by: By<'a>,
    erased: Erased,
    whole: bool,
}

impl Drop for Audit<'_> {
    fn drop(&mut self) {
        let Erased { images, objects, .. } = self.erased;
        tracing::info!(
            target: "gatehouse::audit",
            event = if self.extent.customer.is_some() { "customer-erased" } else { "tenant-erased" },
            tenant = self.extent.tenant.as_str(),
            customer = self.extent.customer.as_deref(),
            images,
            objects,
            whole = self.whole,
            principal = self.by.principal,
            request_id = self.by.request_id,
            "images erased"
        );
    }
}
