//! Links to an image's bytes, good for a while for whoever has them: the store's own signed ones, or
//! this process's where the store has none.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use uuid::Uuid;

use super::{access::Images, disposition};
use crate::{
    consumers::{
        error::Error,
        settings::MOST_SIGNED,
        signed::{Link, Permit, Signer},
    },
    storage::GetTerms,
    tenant::TenantId,
};

/// As long as a link is good where the client does not say.
const USUAL: Duration = Duration::from_secs(300);
/// What may be kept by the reader's own cache only.
const CACHE: &str = "private";

/// Makes links.
pub struct Links {
    images: Arc<Images>,
    signer: Arc<Signer>,
}

impl Links {
    /// Links to these images.
    pub fn new(images: Arc<Images>, signer: Arc<Signer>) -> Self {
        Self { images, signer }
    }

    /// A link to the content that the tenant's image of this id has now; `base` is where clients reach
    /// this process.
    ///
    /// # Errors
    /// [`super::super::records::Error::NotFound`], [`Error::Quarantined`]; or the store or the database fails.
    pub async fn make(
        &self,
        tenant: &TenantId,
        id: Uuid,
        valid: Duration,
        base: &str,
    ) -> Result<Link, Error> {
        let image = self.images.passed(tenant, id).await?;
        // The store's own links would lead past the gates to whatever has the name later.
        let presigner = self.images.storage().presigner();
        let Some(presigner) = presigner.filter(|_| !self.images.records().holds_back()) else {
            let expires_at = SystemTime::now() + valid;
            let link = self.signer.link(Permit::Read, tenant, id, expires_at).await?;
            return Ok(Link { url: format!("{base}{link}"), expires_at });
        };
        let terms = GetTerms {
            content_type: image.content_type.clone(),
            disposition: disposition::inline(&image.display_name),
            cache_control: CACHE.to_owned(),
        };
        let signed = presigner.get(&image.key, &terms, valid).await?;
        Ok(Link { url: signed.url, expires_at: signed.expires_at })
    }

    /// Lets pass who holds a link of this process's own to this image, or to the content that an upload
    /// brought.
    ///
    /// # Errors
    /// [`Error::LinkInvalid`].
    pub async fn check(
        &self,
        tenant: &TenantId,
        id: Uuid,
        upload: Option<Uuid>,
        query: &str,
    ) -> Result<(), Error> {
        let permit = upload.map_or(Permit::Read, Permit::Inspect);
        self.signer.check(permit, tenant, id, query).await
    }
}

/// How long a link is to be good, by the request's query: `expiresIn`, in seconds.
///
/// # Errors
/// [`Error::QueryInvalid`], which says what is wrong.
pub fn validity(query: &str) -> Result<Duration, Error> {
    let wrong = |what: String| Error::QueryInvalid(what);
    let mut validity = None;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if name != "expiresIn" {
            return Err(wrong(format!("There is no parameter '{name}' here; there is expiresIn.")));
        }
        let most = MOST_SIGNED.as_secs();
        let is_number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
        let seconds = value.parse().ok().filter(|n| is_number && (1..=most).contains(n));
        let seconds = seconds.ok_or_else(|| {
            wrong(format!("The parameter 'expiresIn' is a number of seconds from 1 to {most}."))
        })?;
        if validity.replace(Duration::from_secs(seconds)).is_some() {
            return Err(wrong(
                "The parameter 'expiresIn' is there twice; send it once.".to_owned(),
            ));
        }
    }
    Ok(validity.unwrap_or(USUAL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_validity_is_a_number_of_seconds() {
        let seconds = |query| validity(query).ok().map(|time| time.as_secs());
        assert_eq!(seconds(""), Some(300));
        assert_eq!(seconds("expiresIn=1"), Some(1));
        assert_eq!(seconds("expiresIn=604800"), Some(604_800));
        for wrong in [
            "expiresIn=0",
            "expiresIn=604801",
            "expiresIn=",
            "expiresIn=%31",
            "expiresIn=+1",
            "expiresIn=1&expiresIn=1",
            "expiresin=1",
            "a=b",
        ] {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }
}
