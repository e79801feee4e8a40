//! What a client is told about its direct upload: the requests that it has to send.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::DirectUploads;
use crate::{
    consumers::{
        error::Error,
        images::record::WholeRecord,
        records::{Image, Session, Way},
        signed::Permit,
    },
    storage::{ErrorKind, Presigner, PutTerms, StoredPart},
};

/// How a direct upload goes on: by one request, a form or parts; or the image that it has become.
#[derive(Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = DirectUpload)]
pub struct Answer {
    #[schema(format = Uuid)]
    upload_id: String,
    /// `PUT`, or `POST` for a form.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "PUT")]
    method: Option<&'static str>,
    /// Where the bytes go.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = "uri")]
    url: Option<String>,
    /// Fields that each request must have: they are signed, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    headers: Option<BTreeMap<String, String>>,
    /// The hidden inputs of a form; the file comes last, as `file`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    fields: Option<BTreeMap<String, String>>,
    /// One request each, of a large file.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    parts: Option<Vec<Part>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = DateTime)]
    expires_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<WholeRecord<'static>>)]
    image: Option<serde_json::Value>,
}

/// One request of an upload in parts.
#[derive(Debug, Serialize, ToSchema)]
struct Part {
    number: u32,
    url: String,
    headers: BTreeMap<String, String>,
    size: u64,
    done: bool,
}

impl Answer {
    /// There is nothing to send any more.
    pub(super) fn finished(id: Uuid, image: &Image) -> Self {
        let image = serde_json::to_value(WholeRecord::of(image)).ok();
        Self { upload_id: id.to_string(), image, ..Self::default() }
    }
}

impl DirectUploads {
    /// The requests that bring this upload's bytes, signed anew; `base` is where clients reach this
    /// process.
    pub(super) async fn describe(&self, session: &Session, base: &str) -> Result<Answer, Error> {
        let mut answer = Answer {
            upload_id: session.id.to_string(),
            method: Some("PUT"),
            expires_at: Some(humantime::format_rfc3339_millis(session.expires_at).to_string()),
            ..Answer::default()
        };
        let valid = session.expires_at.duration_since(SystemTime::now()).unwrap_or_default();
        let content_type = session.content_type.clone().unwrap_or_default();
        let terms = PutTerms {
            size: session.length.unwrap_or_default(),
            content_type: content_type.clone(),
            sha256: session.declared(),
            upload: session.id,
        };
        let key = session.staging()?;
        let Some(presigner) = self.uploads.storage.presigner() else {
            let (tenant, until) = (&session.tenant, session.expires_at);
            let link = self.signer.link(Permit::Upload, tenant, session.id, until).await?;
            answer.url = Some(format!("{base}{link}"));
            answer.headers = Some([("content-type".to_owned(), content_type)].into());
            return Ok(answer);
        };
        if session.way == Way::Form {
            let form = presigner.form(&key, &terms, valid).await?;
            answer.method = Some("POST");
            answer.url = Some(form.url);
            answer.fields = Some(form.fields.into_iter().collect());
        } else if let Some(reference) = &session.staged {
            let parts = self.parts(presigner, session, reference, valid).await?;
            // They are the same for all, and told here as for an upload in one request.
            answer.headers = parts.first().map(|part| part.headers.clone());
            answer.parts = Some(parts);
        } else {
            let request = presigner.put(&key, &terms, valid).await?;
            answer.url = Some(request.url);
            answer.headers = Some(request.headers.into_iter().collect());
        }
        Ok(answer)
    }

    async fn parts(
        &self,
        presigner: &dyn Presigner,
        session: &Session,
        reference: &str,
        valid: Duration,
    ) -> Result<Vec<Part>, Error> {
        let key = session.staging()?;
        let there = match presigner.parts(&key, reference).await {
            Ok(there) => Some(there),
            // All of them are joined already.
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error.into()),
        };
        let (length, size) = (session.length.unwrap_or_default(), presigner.part_size());
        let step = usize::try_from(size).unwrap_or(usize::MAX);
        let mut parts = Vec::new();
        for (number, begin) in (1..).zip((0..length).step_by(step)) {
            let size = size.min(length - begin);
            let request = presigner.part(&key, reference, number, size, valid).await?;
            let is_it = |part: &StoredPart| part.number == number && part.size == size;
            let done = there.as_ref().is_none_or(|there| there.iter().any(is_it));
            let headers = request.headers.into_iter().collect();
            parts.push(Part { number, url: request.url, headers, size, done });
        }
        Ok(parts)
    }
}
