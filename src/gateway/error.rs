//! What the client is told of a proxy's failure.

use super::proxy::{self, Kind as ProxyKind};
use crate::problem::{Kind, Problem};

impl From<proxy::Error> for Problem {
    fn from(error: proxy::Error) -> Self {
        let (kind, upstream) = match error.kind() {
            ProxyKind::Unreachable | ProxyKind::Untrusted => (Kind::UpstreamUnreachable, true),
            ProxyKind::Invalid => (Kind::UpstreamInvalid, true),
            ProxyKind::Timeout => (Kind::UpstreamTimeout, true),
            ProxyKind::Unavailable => (Kind::UpstreamUnavailable, true),
            ProxyKind::Exhausted => (Kind::Overloaded, false),
            ProxyKind::ClientTimeout | ProxyKind::ClientGone => (Kind::RequestTimeout, false),
            ProxyKind::ClientBody => (Kind::BodyInvalid, false),
            ProxyKind::TooLarge => (Kind::TooLarge, false),
            ProxyKind::Target => (Kind::PathInvalid, false),
        };
        let problem = Self::new(kind);
        let problem = if upstream { problem.reason(error.reason()) } else { problem };
        let problem = match error.retry_after() {
            Some(after) => problem.retry_after(after),
            None => problem,
        };
        match error.kind() {
            // Why it takes none has been logged when that began.
            ProxyKind::Unavailable => problem,
            _ => problem.because(error),
        }
    }
}
