//! Why a request could not be forwarded, or its answer not be relayed.

use std::{error::Error as StdError, fmt, io, time::Duration};

use rustix::io::Errno;
use tokio::net::TcpSocket;

/// What went wrong, as far as an answer to the client depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The service refused, reset, closed before its answer, or could not be resolved: 502.
    Unreachable,
    /// The service could not be trusted, or spoke no TLS: 502.
    Untrusted,
    /// The service did not answer with valid HTTP: 502.
    Invalid,
    /// The service did not connect, answer, or take the body in time: 504.
    Timeout,
    /// The service takes no request now: 503.
    Unavailable,
    /// This host lacks what a connection takes, file descriptors above all: 503.
    Exhausted,
    /// The client stopped sending its body: 408.
    ClientTimeout,
    /// The client went away before its body was whole: whatever is answered, nobody reads it.
    ClientGone,
    /// The client's body breaks its framing, or ends within a chunk: 400.
    ClientBody,
    /// The body is larger than `max_body_size`: 413.
    TooLarge,
    /// The request's target cannot be sent on as it is: 400.
    Target,
}

/// How far the request had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Checking the request.
    Check,
    /// Resolving and connecting.
    Connect,
    /// Sending the request's body.
    Send,
    /// Waiting for the response's head.
    Head,
    /// Relaying the response's body.
    Body,
}

/// A failure of the proxy: kind, phase, the reason as one word, and the cause.
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    phase: Phase,
    reason: &'static str,
    retry_after: Option<Duration>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    pub(super) fn new(kind: Kind, phase: Phase) -> Self {
        let reason = match kind {
            Kind::Unreachable => "closed",
            Kind::Untrusted => "tls",
            Kind::Invalid | Kind::Target | Kind::ClientBody => "invalid",
            Kind::Timeout | Kind::ClientTimeout => "timeout",
            Kind::ClientGone => "closed",
            Kind::TooLarge | Kind::Unavailable | Kind::Exhausted => "over-limit",
        };
        Self { kind, phase, reason, retry_after: None, source: None }
    }

    pub(super) fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The service takes no request now, and when it may again.
    pub(super) fn unavailable(reason: &'static str, retry_after: Duration) -> Self {
        let retry_after = Some(retry_after);
        Self { reason, retry_after, ..Self::new(Kind::Unavailable, Phase::Check) }
    }

    /// The name could not be resolved.
    pub(super) fn unresolved(source: io::Error) -> Self {
        // A resolver that cannot open its own socket says only that it found nothing.
        if let Err(error) = TcpSocket::new_v4()
            && is_shortage(&error)
        {
            return Self::io(Phase::Connect, error);
        }
        Self { reason: "dns", ..Self::new(Kind::Unreachable, Phase::Connect) }.because(source)
    }

    /// A system call on the connection failed.
    pub(super) fn io(phase: Phase, source: io::Error) -> Self {
        let (kind, reason) = match source.kind() {
            io::ErrorKind::TimedOut => (Kind::Timeout, "timeout"),
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe => (Kind::Unreachable, "reset"),
            io::ErrorKind::UnexpectedEof => (Kind::Unreachable, "closed"),
            _ if phase == Phase::Connect && is_shortage(&source) => {
                return Self::new(Kind::Exhausted, phase).because(source);
            }
            // No route, no permission, no such network: nobody took the connection.
            _ if phase == Phase::Connect => (Kind::Unreachable, "refused"),
            _ => (Kind::Unreachable, "reset"),
        };
        Self { reason, ..Self::new(kind, phase) }.because(source)
    }

    /// What the answer to the client depends on.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// How far the request had come.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether it tells against the instance that it happened at. A connection that ends while
    /// the client is still sending tells nothing: the client may have been too slow for the
    /// instance, or have sent more than it takes.
    pub(super) fn is_the_instances(&self) -> bool {
        match self.kind {
            Kind::Unreachable => self.phase != Phase::Send,
            Kind::Untrusted | Kind::Invalid | Kind::Timeout => true,
            _ => false,
        }
    }

    /// Whether it is the client's own doing.
    pub fn is_the_clients(&self) -> bool {
        matches!(
            self.kind,
            Kind::ClientTimeout
                | Kind::ClientGone
                | Kind::ClientBody
                | Kind::TooLarge
                | Kind::Target
        )
    }

    /// When the service may take requests again.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// The cause as one word: `refused`, `reset`, `closed`, `dns`, `tls`, `timeout`, `invalid`,
    /// `ejected`, `circuit-open` or `over-limit`. Of the client where the kind is about the client.
    pub fn reason(&self) -> &'static str {
        self.reason
    }
}

/// Whether a system call failed for want of what this process or host has no more of.
fn is_shortage(error: &io::Error) -> bool {
    let short = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    Errno::from_io_error(error).is_some_and(|error| short.contains(&error))
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            Kind::Unreachable => "the upstream cannot be reached",
            Kind::Untrusted => "the upstream failed its TLS handshake",
            Kind::Invalid => "the upstream spoke no valid HTTP",
            Kind::Timeout => "the upstream took too long",
            Kind::Unavailable => "the upstream takes no requests now",
            Kind::Exhausted => "this host lacks file descriptors or memory for a connection",
            Kind::ClientTimeout => "the client stopped sending its body",
            Kind::ClientGone => "the client went away",
            Kind::ClientBody => "the client's body is malformed",
            Kind::TooLarge => "the body is larger than the service takes",
            Kind::Target => "the request cannot be sent on as it is",
        };
        let phase = match self.phase {
            Phase::Check => "check",
            Phase::Connect => "connect",
            Phase::Send => "send",
            Phase::Head => "head",
            Phase::Body => "body",
        };
        write!(f, "{what} ({}, {phase})", self.reason)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|e| e as &(dyn StdError + 'static))
    }
}
