//! The body of an answer that actix-web never saw.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use actix_http::body::BoxBody;
use actix_web::{
    body::{BodySize, MessageBody},
    web::Bytes,
};

use super::Exchange;

/// A refusal's body, which ends its exchange.
pub(super) struct Refusal {
    pub(super) body: BoxBody,
    pub(super) _exchange: Exchange,
}

impl MessageBody for Refusal {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_next(cx)
    }
}
