//! Reading and listing: `HeadObject`, `GetObject`, `ListObjectsV2`.

use std::{
    collections::HashMap,
    ops::Range,
    time::{Duration, SystemTime},
};

use aws_sdk_s3::{
    operation::get_object::GetObjectOutput,
    primitives::{ByteStream, DateTime},
    types::EncodingType,
};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use percent_encoding::percent_decode_str;
use tokio::time::timeout;
use uuid::Uuid;

use super::{
    super::{
        Error, ErrorKind, Head, Listed, Page, Read, Reading, Result,
        read::{PAGE, check_prefix},
    },
    Bucket,
    failure::Failure,
    multipart::{UPLOAD, unquoted},
};

/// A body of which nothing comes for this long, while it is waited for, has broken off.
const STALLED: Duration = Duration::from_secs(20);

const HEAD: &str = "HeadObject";
const GET: &str = "GetObject";
const LIST: &str = "ListObjectsV2";

impl Bucket {
    pub(super) async fn head(&self, key: String) -> Result<Head> {
        let request = self.client().head_object().bucket(&self.name).key(key);
        let answer = match request.send().await.map_err(|e| Failure::of(&e)) {
            Ok(answer) => answer,
            Err(failure) if failure.is_missing_something() => {
                // A missing bucket looks the same, and must not be taken for an empty one.
                self.exists().await?;
                return Err(Error::new(ErrorKind::NotFound, HEAD).because(failure));
            }
            Err(failure) => return Err(failure.into_error(HEAD)),
        };
        Ok(Head {
            etag: unquoted(answer.e_tag),
            size: length(answer.content_length, HEAD)?,
            upload: upload_of(answer.metadata),
            modified: time(answer.last_modified),
            content_type: answer.content_type,
        })
    }

    pub(super) async fn read(&self, key: String, how: Read) -> Result<Reading> {
        how.check(GET)?;
        let range = how.range.as_ref().map(|r| format!("bytes={}-{}", r.start, r.end - 1));
        let request = self
            .client()
            .get_object()
            .bucket(&self.name)
            .key(key)
            .set_range(range)
            .set_if_match(how.if_match.map(|etag| format!("\"{etag}\"")));
        let answer = request.send().await.map_err(|e| {
            let failure = Failure::of(&e);
            if failure.is_changed() {
                return Error::new(ErrorKind::Changed, GET).because(failure);
            }
            failure.into_error(GET)
        })?;
        let sent = length(answer.content_length, GET)?;
        let size = whole_size(&answer, how.range, sent)?;
        Ok(Reading {
            head: Head {
                etag: unquoted(answer.e_tag),
                size,
                upload: upload_of(answer.metadata),
                modified: time(answer.last_modified),
                content_type: answer.content_type,
            },
            body: stream::unfold(Some((answer.body, sent)), next).boxed(),
        })
    }

    pub(super) async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page> {
        check_prefix(prefix, LIST)?;
        let request = self
            .client()
            .list_objects_v2()
            .bucket(&self.name)
            .prefix(format!("{}{prefix}", self.prefix))
            .set_start_after(after.map(|key| format!("{}{key}", self.prefix)))
            .max_keys(PAGE as i32)
            // Others' keys may have characters that XML cannot.
            .encoding_type(EncodingType::Url);
        let mut token = None;
        loop {
            let request = request.clone().set_continuation_token(token);
            let page = request.send().await.map_err(|e| Failure::of(&e).into_error(LIST))?;
            let encoded = page.encoding_type == Some(EncodingType::Url);
            let listed = page.contents.unwrap_or_default().into_iter().filter_map(|object| {
                let key = object.key?;
                let key = if encoded { decoded(&key) } else { key };
                Some(Listed {
                    key: key.strip_prefix(&self.prefix)?.to_owned(),
                    size: object.size.and_then(|size| u64::try_from(size).ok())?,
                    etag: unquoted(object.e_tag),
                    modified: time(object.last_modified),
                })
            });
            let objects: Vec<_> = listed.collect();
            token = page.next_continuation_token.filter(|_| page.is_truncated == Some(true));
            // A page may be empty without being the last.
            if token.is_none() || !objects.is_empty() {
                let last = objects.last().filter(|_| token.is_some());
                let next = last.map(|object| object.key.clone());
                return Ok(Page { objects, next });
            }
        }
    }
}

/// The next bytes, once they are asked for. Of what is announced, all comes or an error.
async fn next(
    left: Option<(ByteStream, u64)>,
) -> Option<(Result<Bytes>, Option<(ByteStream, u64)>)> {
    let (mut body, left) = left?;
    let broken = |kind| Error::new(kind, GET);
    let bytes = match timeout(STALLED, body.next()).await {
        Ok(None) if left == 0 => return None,
        Ok(Some(Ok(bytes))) => bytes,
        Ok(None) => {
            let cause = format!("the body ended {left} bytes early");
            return Some((Err(broken(ErrorKind::Unavailable).because(cause)), None));
        }
        Ok(Some(Err(e))) => return Some((Err(broken(ErrorKind::Unavailable).because(e)), None)),
        Err(e) => return Some((Err(broken(ErrorKind::Unavailable).because(e)), None)),
    };
    match left.checked_sub(bytes.len() as u64) {
        Some(left) => Some((Ok(bytes), Some((body, left)))),
        None => {
            let cause = "the body is longer than announced";
            Some((Err(broken(ErrorKind::Internal).because(cause)), None))
        }
    }
}

/// The size of the object of which `sent` bytes come, which must be those asked for: a store may
/// not know ranges, and sends less of an object that is too short for one.
fn whole_size(answer: &GetObjectOutput, range: Option<Range<u64>>, sent: u64) -> Result<u64> {
    let Some(asked) = range else {
        return Ok(sent);
    };
    let wrong = |kind| Error::new(kind, GET).because("the answer is another range");
    let told = answer.content_range.as_deref();
    let (range, size) = told
        .and_then(|told| told.strip_prefix("bytes ")?.split_once('/'))
        .ok_or_else(|| wrong(ErrorKind::Internal))?;
    let size = size.parse().map_err(|_| wrong(ErrorKind::Internal))?;
    if size < asked.end {
        return Err(wrong(ErrorKind::Changed));
    }
    let is_it = range == format!("{}-{}", asked.start, asked.end - 1);
    if is_it && sent == asked.end - asked.start {
        Ok(size)
    } else {
        Err(wrong(ErrorKind::Internal))
    }
}

fn length(length: Option<i64>, operation: &'static str) -> Result<u64> {
    let length = length.and_then(|length| u64::try_from(length).ok());
    length.ok_or_else(|| Error::new(ErrorKind::Internal, operation).because("no Content-Length"))
}

fn upload_of(metadata: Option<HashMap<String, String>>) -> Option<Uuid> {
    metadata?.get(UPLOAD)?.parse().ok()
}

fn time(at: Option<DateTime>) -> SystemTime {
    at.and_then(|at| SystemTime::try_from(at).ok()).unwrap_or(SystemTime::UNIX_EPOCH)
}

/// A key as `encoding-type=url` writes it: like a form's field.
fn decoded(key: &str) -> String {
    let spaces = key.replace('+', " ");
    percent_decode_str(&spaces).decode_utf8_lossy().into_owned()
}
