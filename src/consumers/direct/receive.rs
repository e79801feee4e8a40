//! Taking a direct upload's bytes, where the store cannot take them from the client itself.

use aws_lc_rs::digest;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use uuid::Uuid;

use super::DirectUploads;
use crate::{
    consumers::{
        error::Error,
        records::{self, Session, Way},
        signed::Permit,
    },
    storage::{self, Commit, NewObject},
    tenant::TenantId,
};

impl DirectUploads {
    /// The upload that the holder of this link may send the bytes of.
    ///
    /// # Errors
    /// [`Error::LinkInvalid`]; [`records::Error::NotFound`] when it is finished or ended.
    pub async fn permitted(
        &self,
        tenant: &TenantId,
        id: Uuid,
        query: &str,
    ) -> Result<Session, Error> {
        self.signer.check(Permit::Upload, tenant, id, query).await?;
        let session = self.uploads.records.session(tenant, id).await?;
        let is_ours = session.way == Way::Direct && self.uploads.storage.presigner().is_none();
        if is_ours { Ok(session) } else { Err(records::Error::NotFound.into()) }
    }

    /// Stages the bytes of this upload, which has been permitted.
    ///
    /// # Errors
    /// [`Error::LinkTerms`] when they are not those that the link is for; or the store fails.
    pub async fn receive<S>(&self, session: &Session, mut body: S) -> Result<String, Error>
    where
        S: Stream<Item = Result<Bytes, Error>> + Unpin,
    {
        let new = NewObject {
            key: session.staging()?,
            content_type: "application/octet-stream",
            size_hint: session.length,
            share: self.uploads.budget.share(session.tenant.as_str()),
            upload: session.id,
            journal: None,
        };
        let mut upload = self.uploads.storage.begin(new).await?;
        let (mut size, mut hash) = (0, digest::Context::new(&digest::SHA256));
        while let Some(chunk) = body.next().await {
            let chunk = chunk?;
            size += chunk.len() as u64;
            if session.length.is_some_and(|length| size > length) {
                return Err(Error::LinkTerms);
            }
            hash.update(&chunk);
            upload.write(chunk).await?;
        }
        let sha256 = storage::finished(hash);
        if session.length != Some(size) {
            return Err(Error::LinkTerms);
        }
        if session.sha256.as_ref().is_some_and(|declared| *declared != storage::hex(&sha256)) {
            return Err(Error::ChecksumMismatch);
        }
        Ok(upload.finish(Commit { sha256: Some(sha256), if_absent: false }).await?.etag)
    }
}
