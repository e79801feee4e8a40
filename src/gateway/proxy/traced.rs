//! The span of each try of a request, by OpenTelemetry's conventions for HTTP clients: to the head of its
//! answer. A retry is another one.

use actix_web::http::StatusCode;

use super::{Outgoing, call::Call, error::Error};
use crate::trace::{self, Onward, Span};

/// A try of a request, as its trace tells of it. In a box, since mostly there is none.
pub(super) struct Traced(Option<Box<Within>>);

struct Within {
    /// None where the trace is not sampled, or when the try is over.
    span: Option<Span>,
    onward: Option<Onward>,
}

impl Traced {
    /// A try at the call's instance begins.
    pub(super) fn begin(call: &Call, outgoing: &Outgoing<'_>) -> Self {
        if !trace::is_on() {
            return Self(None);
        }
        let span = Span::of_request(outgoing.method.as_str());
        if let Some(span) = &span {
            let (host, port) = call.instance().address();
            span.set("server.address", host.to_owned());
            span.set("server.port", i64::from(port));
            span.set("gatehouse.service", call.upstream().service().to_owned());
            let resends = call.tries();
            span.set_some("http.request.resend_count", (resends > 0).then_some(resends));
        }
        let onward = Onward::from_within(span.as_ref());
        Self(Some(Box::new(Within { span, onward })))
    }

    /// What the request carries on.
    pub(super) fn onward(&self) -> Option<&Onward> {
        self.0.as_ref()?.onward.as_ref()
    }

    /// The head of an answer came.
    pub(super) fn answered(&mut self, status: StatusCode) {
        if let Some(span) = self.end() {
            span.answered(status.as_u16());
        }
    }

    /// None came.
    pub(super) fn failed(&mut self, error: &Error) {
        if let Some(span) = self.end() {
            span.fail(error.reason(), error.to_string());
        }
    }

    fn end(&mut self) -> Option<Span> {
        self.0.as_mut()?.span.take()
    }
}
