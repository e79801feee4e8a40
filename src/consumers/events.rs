//! `GET customer-images/events`: a tenant's events as they come, as server-sent events (HTML, section
//! 9.2), for as long as the client stays.
//!
//! Each has its number as the stream's id. Who comes back with the last one that it got
//! (`Last-Event-ID`) misses none that are still kept, and is told so if some are not.

use std::{convert::Infallible, fmt::Write as _, sync::Arc, time::Duration};

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName},
    web,
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;
use utoipa::OpenApi;

use super::{
    described::StreamRefused,
    error::Error,
    records::{Event, Records},
    told::Told,
};
use crate::{
    problem::{self, Kind, Problem},
    tenant::{Tenant, TenantId},
};

/// Streams of one process.
const STREAMS: usize = 1024;
/// Those of them that may be one tenant's.
const A_TENANTS: usize = 128;
/// Events that are looked up at once.
const PAGE: u64 = 100;
/// How long a stream is silent at most, so that no one between takes it for dead.
const SILENT_FOR: Duration = Duration::from_secs(15);
/// How long a stream goes on: credentials are looked at when a client comes back.
const GOES_ON_FOR: Duration = Duration::from_secs(15 * 60);
/// When a client is to come back, in the stream's own words.
const AGAIN: &[u8] = b"retry: 2000\n\n";
/// Tells that events of which the client does not know are not kept any more.
const MISSED: &str = "event: events.missed\ndata: {}\n\n";

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Tells nginx to pass on what comes, when it comes.
const UNBUFFERED: (HeaderName, &str) = (HeaderName::from_static("x-accel-buffering"), "no");

/// The events of tenants' images.
pub struct Events {
    records: Records,
    slots: Arc<Semaphore>,
    /// Once the process is about to end.
    ending: CancellationToken,
}

/// Adds the resource. It expects [`Events`] among the app's data.
pub fn routes(config: &mut web::ServiceConfig) {
    config.service(
        web::resource("/customer-images/events")
            .route(web::get().to(follow))
            .default_service(web::to(only_get)),
    );
}

/// Its description.
#[derive(OpenApi)]
#[openapi(paths(follow), components(schemas(Told<'static>)))]
pub(super) struct Described;

/// `GET customer-images/events`: the events behind the last one that the client has, or from now on.
#[utoipa::path(
    get, path = "/customer-images/events", operation_id = "followEvents", tag = "Events",
    summary = "Follow what happens to the tenant's images",
    description = "Server-sent events (HTML, section 9.2): each has the event's number as `id`, its type as `event`, and \
        an `Event` in JSON as `data`. `events.missed` says that some are not kept any more. A stream ends after 15 \
        minutes; the client comes back with the last number that it got.",
    params(("Last-Event-ID" = Option<u64>, Header, nullable = false,
        description = "The number of the last event that the client has; 0 for all that are kept.")),
    responses(
        (status = 200, description = "The events, as they happen.", body = String, content_type = "text/event-stream"),
        StreamRefused,
    ),
)]
async fn follow(
    request: HttpRequest,
    tenant: Tenant,
    events: web::Data<Events>,
) -> Result<HttpResponse, Problem> {
    let last = last_event(&request)?;
    let told = events.follow(tenant.0, last).await?;
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/event-stream"))
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header(UNBUFFERED)
        .streaming(told.map(Ok::<_, Infallible>)))
}

async fn only_get() -> Result<HttpResponse, Problem> {
    Err(Problem::new(Kind::MethodNotAllowed).allow("GET"))
}

/// The number of the last event that the client has.
fn last_event(request: &HttpRequest) -> Result<Option<u64>, Error> {
    let Some(told) = request.headers().get(LAST_EVENT_ID) else { return Ok(None) };
    let number = told.to_str().ok().and_then(|text| text.parse::<u64>().ok());
    // None is larger than what databases count to.
    let number = number.filter(|number| i64::try_from(*number).is_ok());
    let wrong = || Error::QueryInvalid("Last-Event-ID is no id that this stream told.".to_owned());
    number.map(Some).ok_or_else(wrong)
}

impl Events {
    /// Those of `records`. All streams end once `ending`.
    pub fn new(records: Records, ending: CancellationToken) -> Self {
        Self { records, slots: Arc::new(Semaphore::new(STREAMS)), ending }
    }

    /// The tenant's events behind the one of the number `after`, or from now on.
    ///
    /// # Errors
    /// [`Error::TooManyStreams`]; or the database fails.
    pub async fn follow(
        &self,
        tenant: TenantId,
        after: Option<u64>,
    ) -> Result<impl Stream<Item = Bytes> + use<>, Error> {
        let slot = Arc::clone(&self.slots).try_acquire_owned();
        let slot = slot.map_err(|_| Error::TooManyStreams)?;
        // Before the first look, so that nothing falls in between.
        let heard = self.records.listen(&tenant, A_TENANTS).ok_or(Error::TooManyStreams)?;
        let last = self.records.last_events(&[tenant.as_str().to_owned()]).await?;
        let last = last.first().map_or(0, |(_, number)| *number);
        let after = after.unwrap_or(last);
        // Of a tenant that was erased and has begun anew.
        let is_anew = after > last;
        let follower = Follower {
            records: self.records.clone(),
            tenant,
            after: if is_anew { 0 } else { after },
            missed: is_anew,
            last,
            heard,
            until: Instant::now() + GOES_ON_FOR,
            ending: self.ending.clone(),
            _slot: slot,
        };
        let rest = stream::unfold(follower, |mut follower| async move {
            let told = follower.next().await?;
            Some((told, follower))
        });
        Ok(stream::iter([Bytes::from_static(AGAIN)]).chain(rest.boxed()))
    }
}

/// Who follows a tenant's events.
struct Follower {
    records: Records,
    tenant: TenantId,
    /// The last event that was told.
    after: u64,
    /// Whether the client has to be told that it does not know all.
    missed: bool,
    /// There were as many at the beginning.
    last: u64,
    heard: watch::Receiver<()>,
    until: Instant,
    ending: CancellationToken,
    _slot: OwnedSemaphorePermit,
}

impl Follower {
    /// What is to be told next; none when the stream ends, and the client is to come back.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            // However much there is to tell.
            if self.ending.is_cancelled() || Instant::now() >= self.until {
                return None;
            }
            self.heard.borrow_and_update();
            match self.records.events(&self.tenant, self.after, PAGE).await {
                Ok(events) => {
                    if let Some(told) = self.told(&events) {
                        return Some(told);
                    }
                }
                Err(error) => {
                    let cause = problem::chain(&error);
                    tracing::debug!(cause, "a stream of events ends early");
                    return None;
                }
            }
            tokio::select! {
                biased;
                () = self.ending.cancelled() => return None,
                () = sleep_until(self.until) => return None,
                changed = self.heard.changed() => changed.ok()?,
                () = sleep(SILENT_FOR) => return Some(Bytes::from_static(b":\n\n")),
            }
        }
    }

    /// What is told of these, which come next; none if there is nothing to tell.
    fn told(&mut self, events: &[Event]) -> Option<Bytes> {
        let next = events.first().map_or(self.last + 1, |event| event.sequence);
        let mut text = String::new();
        if self.missed || next > self.after + 1 {
            text.push_str(MISSED);
            (self.missed, self.after) = (false, next - 1);
        }
        for event in events {
            let data = serde_json::to_string(&Told::of(event)).ok()?;
            let (number, kind) = (event.sequence, event.change.as_str());
            // Writing to a string does not fail.
            let _ = write!(text, "id: {number}\nevent: {kind}\ndata: {data}\n\n");
            self.after = number;
        }
        (!text.is_empty()).then(|| text.into())
    }
}
