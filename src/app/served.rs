//! The consumers module as a server has it: what its requests need, and what works beside them.

use std::sync::Arc;

use actix_web::web;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    consumers::{
        self, DirectUploads, Events, Images, Links, ResumableUploads, Signer, Uploads,
        records::{Hasher, Reconciler, Records},
    },
    storage::{Budget, SharedStorage},
};

/// What the module's routes expect among the app's data.
#[derive(Clone)]
pub(super) struct Consumers {
    uploads: web::Data<Uploads>,
    images: web::Data<Images>,
    direct: web::Data<DirectUploads>,
    links: web::Data<Links>,
    resumable: web::Data<ResumableUploads>,
    events: web::Data<Events>,
}

/// What works on the module's images beside the requests.
pub(super) struct Background {
    pub(super) reconciler: Reconciler,
    pub(super) hasher: Hasher,
    pub(super) records: Records,
}

impl Consumers {
    /// The module on these records and this store. Commits run as tasks of `work`; once `cut`, uploads
    /// that can be gone on with keep what has come; streams of events end once `ending`.
    pub(super) fn new(
        settings: &consumers::Settings,
        storage: &SharedStorage,
        records: Records,
        budget: Arc<Budget>,
        work: TaskTracker,
        cut: CancellationToken,
        ending: CancellationToken,
    ) -> (Self, Background) {
        let storage = || Arc::clone(storage);
        let reconciler = Reconciler::new(records.clone(), storage());
        let hasher = Hasher::new(records.clone(), storage());
        let signer = Arc::new(Signer::new(records.clone()));
        let events = Events::new(records.clone(), ending);
        let background =
            Background { reconciler: reconciler.clone(), hasher, records: records.clone() };
        let images = Images::new(storage(), records.clone(), reconciler, work.clone());
        let images = Arc::new(images);
        let uploads = Uploads::new(storage(), records, budget, work, settings.images.clone());
        let uploads = Arc::new(uploads);
        let links = Links::new(Arc::clone(&images), Arc::clone(&signer));
        let expire_after = settings.direct_uploads.expire_after;
        let direct = DirectUploads::new(Arc::clone(&uploads), signer, expire_after);
        let expire_after = settings.resumable_uploads.expire_after;
        let resumable = ResumableUploads::new(Arc::clone(&uploads), expire_after, cut);
        let consumers = Self {
            uploads: uploads.into(),
            images: images.into(),
            direct: web::Data::new(direct),
            links: web::Data::new(links),
            resumable: web::Data::new(resumable),
            events: web::Data::new(events),
        };
        (consumers, background)
    }

    /// Adds the data, and what links of this process's own lead to.
    pub(super) fn configure(self, config: &mut web::ServiceConfig) {
        config
            .app_data(self.uploads)
            .app_data(self.images)
            .app_data(self.direct)
            .app_data(self.links)
            .app_data(self.resumable)
            .app_data(self.events)
            .configure(consumers::signed_routes);
    }
}
