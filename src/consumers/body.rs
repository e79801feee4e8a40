//! A request's body with the module's patience: a client that sends too slowly is given up.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use actix_web::{error::PayloadError, web};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use tokio::time::{Instant, Sleep, sleep_until};

use super::error::Error;

/// The longest that is slept at once, so that no window is too long for a clock.
const LONGEST_SLEEP: Duration = Duration::from_secs(60 * 60);

/// The slowest a client may send.
#[derive(Clone, Copy, Debug)]
pub struct MinRate {
    /// Bytes a second; 0 sets no limit.
    pub bytes_per_second: u64,
    /// The time over which they are counted.
    pub window: Duration,
}

/// The body. Only time spent waiting for the client counts against it, not the time that the
/// store takes.
pub struct Body {
    payload: web::Payload,
    /// Of a declared length, what is still to come.
    remaining: Option<u64>,
    rate: MinRate,
    received: u64,
    /// Bytes since the window began.
    in_window: u64,
    /// Time waited since the window began, without the wait under way.
    waited: Duration,
    waiting_since: Option<Instant>,
    /// Fires when the window may be full, and is then set anew.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Body {
    /// The body of a request, of the length that the request declares if it does.
    pub fn new(payload: web::Payload, length: Option<u64>, rate: MinRate) -> Self {
        Self {
            payload,
            remaining: length,
            rate,
            received: 0,
            in_window: 0,
            waited: Duration::ZERO,
            waiting_since: None,
            timer: None,
        }
    }

    /// Bytes received so far.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// All of it, which may be `most` bytes.
    ///
    /// # Errors
    /// [`Error::TooLarge`] for more; or why it does not come.
    pub async fn collect(&mut self, most: usize) -> Result<Vec<u8>, Error> {
        let mut all = Vec::new();
        while let Some(piece) = self.next().await {
            all.extend_from_slice(&piece?);
            if all.len() > most {
                return Err(Error::TooLarge(most as u64));
            }
        }
        Ok(all)
    }

    /// Accounts for a piece, and cuts what lies beyond the declared length: for an `Upgrade`,
    /// actix takes all that follows on the connection for the body, whatever was declared.
    fn take(&mut self, mut piece: Bytes) -> Result<Bytes, Error> {
        if let Some(remaining) = &mut self.remaining {
            if piece.len() as u64 > *remaining {
                piece.truncate(usize::try_from(*remaining).unwrap_or(usize::MAX));
            }
            *remaining -= piece.len() as u64;
        }
        self.received += piece.len() as u64;
        self.in_window = self.in_window.saturating_add(piece.len() as u64);
        self.settle()?;
        Ok(piece)
    }

    /// Ends a wait: the window's account is kept, and settled when the window is full.
    fn settle(&mut self) -> Result<(), Error> {
        if let Some(since) = self.waiting_since.take() {
            self.waited += since.elapsed();
        }
        if self.waited < self.rate.window {
            return Ok(());
        }
        let due = self.rate.window.as_millis().saturating_mul(self.rate.bytes_per_second.into());
        if u128::from(self.in_window) < due / 1000 {
            return Err(Error::TooSlow);
        }
        self.in_window = 0;
        self.waited = Duration::ZERO;
        Ok(())
    }

    /// Waits until the client has been too slow.
    fn poll_too_slow(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        if self.rate.bytes_per_second == 0 {
            return Poll::Pending;
        }
        loop {
            let since = *self.waiting_since.get_or_insert_with(Instant::now);
            let left = self.rate.window.saturating_sub(self.waited).min(LONGEST_SLEEP);
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(since + left)));
            if timer.is_elapsed() {
                timer.as_mut().reset(since + left);
            }
            ready!(timer.as_mut().poll(cx));
            // It may have been set for an earlier wait; then there is time left.
            if let Err(error) = self.settle() {
                return Poll::Ready(error);
            }
        }
    }
}

impl Stream for Body {
    type Item = Result<Bytes, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.remaining == Some(0) {
            return Poll::Ready(None);
        }
        match Pin::new(&mut this.payload).poll_next(cx) {
            Poll::Ready(Some(Ok(piece))) => Poll::Ready(Some(this.take(piece))),
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(Error::BodyBroken(error)))),
            Poll::Ready(None) if this.remaining.is_some() => {
                Poll::Ready(Some(Err(Error::BodyBroken(PayloadError::Incomplete(None)))))
            }
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => this.poll_too_slow(cx).map(|error| Some(Err(error))),
        }
    }
}
