//! A request's body with the module's patience: a client that sends too slowly is given up.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use actix_web::web;
use bytes::Bytes;
use futures_util::Stream;
use tokio::time::Sleep;

use super::error::Error;

/// The slowest a client may send.
#[derive(Clone, Copy, Debug)]
pub struct MinRate {
    /// Bytes a second.
    pub bytes_per_second: u64,
    /// The time over which they are counted.
    pub window: Duration,
}

/// The body. Only time spent waiting for the client counts against it, not the time that the
/// store takes.
pub struct Body {
    payload: web::Payload,
    rate: MinRate,
    received: u64,
    /// Bytes since the window began.
    in_window: u64,
    /// Time waited since the window began, without the wait under way.
    waited: Duration,
    waiting: Option<Wait>,
}

struct Wait {
    since: Instant,
    until: Pin<Box<Sleep>>,
}

impl Body {
    /// The body of a request.
    pub fn new(payload: web::Payload, rate: MinRate) -> Self {
        Self { payload, rate, received: 0, in_window: 0, waited: Duration::ZERO, waiting: None }
    }

    /// Bytes received so far.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Ends a wait: the window's account is kept, and settled when the window is full.
    fn waited_for(&mut self, chunk: usize) -> Result<(), Error> {
        self.received += chunk as u64;
        self.in_window += chunk as u64;
        if let Some(wait) = self.waiting.take() {
            self.waited += wait.since.elapsed();
        }
        if self.waited < self.rate.window {
            return Ok(());
        }
        let due = self.rate.window.as_millis() * u128::from(self.rate.bytes_per_second) / 1000;
        if u128::from(self.in_window) < due {
            return Err(Error::TooSlow);
        }
        self.in_window = 0;
        self.waited = Duration::ZERO;
        Ok(())
    }
}

impl Stream for Body {
    type Item = Result<Bytes, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        match Pin::new(&mut this.payload).poll_next(cx) {
            Poll::Ready(Some(Ok(chunk))) => {
                Poll::Ready(Some(this.waited_for(chunk.len()).map(|()| chunk)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(Error::BodyBroken(error)))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => loop {
                let left = this.rate.window.saturating_sub(this.waited);
                let wait = this.waiting.get_or_insert_with(|| Wait {
                    since: Instant::now(),
                    until: Box::pin(tokio::time::sleep(left)),
                });
                if wait.until.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                if let Err(error) = this.waited_for(0) {
                    return Poll::Ready(Some(Err(error)));
                }
            },
        }
    }
}
