//! Stopping: readiness turns red, the listeners close, what runs finishes, the rest is cleared away.

use std::{
    net::{Shutdown, TcpListener, TcpStream},
    os::fd::OwnedFd,
    sync::Arc,
    time::Duration,
};

use actix_server::ServerHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::Shared;
use crate::{consumers::records::Reconciler, storage::SharedStorage};

/// How long a cut request's uploads may take to clear away what they left in the store.
const CLEAR_WITHIN: Duration = Duration::from_secs(5);

/// How long the accepting thread has for those that are connected already.
const ACCEPTED_WITHIN: Duration = Duration::from_millis(100);

/// How long the first request of a new connection may take, where there is a drain delay at all.
const FIRST_REQUEST: Duration = Duration::from_millis(500);

/// How long what can be gone on with may take to be kept, before it is cut.
const KEEP_WITHIN: Duration = Duration::from_secs(2);

/// Stops the application.
#[derive(Clone)]
pub struct Stopper {
    pub(super) server: ServerHandle,
    /// Answers to the end: what a stop waits for is to be seen.
    pub(super) operations: Option<ServerHandle>,
    pub(super) listeners: Arc<[TcpListener]>,
    pub(super) storage: SharedStorage,
    pub(super) reconciler: Option<Reconciler>,
    /// Ends the reconciler's work.
    pub(super) settled: CancellationToken,
    pub(super) shared: Shared,
    pub(super) drain_delay: Duration,
    pub(super) timeout: Duration,
}

impl Stopper {
    /// Turns readiness red, serves on for the drain delay, a request a connection, stops accepting, lets
    /// what runs finish within the shutdown timeout, and ends the server. What is cut then clears away
    /// what it left in the store.
    pub async fn stop(self) {
        tracing::info!("stopping");
        self.shared.readiness.stop();
        self.shared.ends.leaving.begin();
        tokio::time::sleep(self.drain_delay).await;
        self.stop_accepting().await;
        // A connection that was just accepted is for a request, which may still be on its way.
        tokio::time::sleep(FIRST_REQUEST.min(self.drain_delay)).await;
        let deadline = Instant::now() + self.timeout;
        self.shared.ends.draining.cancel();
        self.shared.ends.work.close();
        self.shared.connections.close();
        // A commit whose client has left is nobody's connection: wait for it while the workers live.
        let kept_by = deadline - KEEP_WITHIN.min(self.timeout / 2);
        let worked = match timeout_at(kept_by, self.work_done()).await {
            Ok(()) => true,
            Err(_) => {
                self.shared.ends.cut.cancel();
                timeout_at(deadline, self.work_done()).await.is_ok()
            }
        };
        // Answers may still be on their way to slow clients.
        let closed = timeout_at(deadline, self.shared.connections.wait()).await.is_ok();
        self.server.stop(closed).await;
        if !worked {
            tracing::warn!("requests were cut: they did not finish within server.shutdown_timeout");
            if timeout(CLEAR_WITHIN, self.work_done()).await.is_err() {
                tracing::warn!("unfinished uploads may be left in the store");
            }
        }
        self.settled.cancel();
        if let Some(reconciler) = self.reconciler
            && timeout(CLEAR_WITHIN, reconciler.leave()).await.is_err()
        {
            tracing::warn!("unfinished changes are left to be settled after the next start");
        }
        if let Some(operations) = self.operations {
            operations.stop(false).await;
        }
        tracing::info!("stopped");
    }

    /// Ends when no request runs and the store has nothing left to do.
    async fn work_done(&self) {
        self.shared.ends.work.wait().await;
        self.storage.drain().await;
    }

    /// Closes the listeners: paused alone, they would let clients connect and wait. Who is connected by
    /// then is accepted.
    async fn stop_accepting(&self) {
        if self.listeners.iter().all(|listener| turn_away(listener).is_ok()) {
            tokio::time::sleep(ACCEPTED_WITHIN).await;
        }
        self.server.pause().await;
        // Asked for, the pause takes a moment; until then a closed listener is an error to log.
        tokio::time::sleep(Duration::from_millis(20)).await;
        for listener in &*self.listeners {
            if let Ok(listener) = listener.try_clone() {
                // The standard library can shut down streams only; the system does not mind. Where
                // it does, clients wait for the end of the process.
                let _ = TcpStream::from(OwnedFd::from(listener)).shutdown(Shutdown::Both);
            }
        }
    }
}

/// Has the system drop what asks for a connection from now on, as if it had been lost: who asks again,
/// after a second, finds the listener closed, and a balancer takes another server. Closed without that, a
/// listener takes those along that are connected and not accepted yet, with the requests that they sent.
#[cfg(target_os = "linux")]
fn turn_away(listener: &TcpListener) -> std::io::Result<()> {
    use socket2::{SockFilter, SockRef};

    // Classic BPF over the TCP header (RFC 9293, 3.1): a segment with SYN and without ACK is dropped. What
    // completes a handshake passes.
    const FLAGS: u32 = 13;
    const SYN: u32 = 0x02;
    const ACK: u32 = 0x10;
    SockRef::from(listener).attach_filter(&[
        SockFilter::new(0x30, 0, 0, FLAGS),     // load a byte
        SockFilter::new(0x54, 0, 0, SYN | ACK), // and
        SockFilter::new(0x15, 0, 1, SYN),       // if equal, the next one; else the one behind
        SockFilter::new(0x06, 0, 0, 0),         // drop
        SockFilter::new(0x06, 0, 0, u32::MAX),  // keep
    ])
}

/// Other systems know no such thing.
#[cfg(not(target_os = "linux"))]
fn turn_away(_: &TcpListener) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}
