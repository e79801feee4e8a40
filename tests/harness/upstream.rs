//! A service behind the gateway, made of a raw socket: it remembers the exact bytes of every
//! request and answers whatever bytes a test tells it to, when it tells it to.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::http::{Connection, Failure, Fields, values};
use super::port;

/// The answers 200 with the body `ok`, and 503.
pub const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
pub const BUSY: &str = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy";

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// The request line, without its CRLF.
    pub line: String,
    pub fields: Fields,
    pub body: Vec<u8>,
}

impl Recorded {
    pub fn method(&self) -> &str {
        self.line.split(' ').next().unwrap()
    }

    /// The request's target, byte for byte.
    pub fn target(&self) -> &str {
        let (_, rest) = self.line.split_once(' ').unwrap();
        rest.strip_suffix(" HTTP/1.1").expect("HTTP/1.1")
    }

    /// All values of a field.
    pub fn headers(&self, name: &str) -> Vec<String> {
        values(&self.fields, name)
    }

    /// The only value of a field.
    pub fn header(&self, name: &str) -> Option<String> {
        let all = self.headers(name);
        assert!(all.len() <= 1, "{name} is repeated: {all:?}");
        all.into_iter().next()
    }
}

type Log = Arc<Mutex<Vec<Recorded>>>;
type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// One accepted connection, in a test's hands.
pub struct Peer {
    pub connection: Connection,
    log: Log,
}

impl Peer {
    /// Reads a whole request and remembers it; `None` once the gateway has closed.
    pub async fn request(&mut self) -> Option<Recorded> {
        let mut request = self.request_head().await?;
        request.body = self.connection.body(&request.fields, false).await.ok()?;
        self.log.lock().unwrap().push(request.clone());
        Some(request)
    }

    /// Reads a request up to its body.
    pub async fn request_head(&mut self) -> Option<Recorded> {
        match self.connection.message_head().await {
            Ok((line, fields)) => Some(Recorded { line, fields, body: Vec::new() }),
            Err(Failure::Closed) => None,
            Err(other) => panic!("the gateway sent no request: {other:?}"),
        }
    }

    /// Writes these bytes.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // A gateway that has gone is what some tests are about.
        let _ = self.connection.try_send(bytes).await;
    }

    /// Writes what the sender of these bytes has last been given, once that is not empty.
    pub async fn send_current(&mut self, bytes: &mut watch::Receiver<&'static str>) {
        let current = bytes.wait_for(|bytes| !bytes.is_empty()).await.map(|bytes| *bytes);
        self.send(current.unwrap_or_default()).await;
    }

    /// Ends the connection with a reset.
    pub fn reset(self) {
        self.connection.stream.set_zero_linger().unwrap();
    }
}

/// A listening upstream; it ends with the test.
pub struct Upstream {
    pub addr: SocketAddr,
    log: Log,
    task: JoinHandle<()>,
}

impl Upstream {
    /// Runs this script with every connection.
    pub async fn scripted<F, T>(script: F) -> Self
    where
        F: Fn(Peer) -> T + Send + 'static,
        T: Future<Output = ()> + Send + 'static,
    {
        let listener = port::listener();
        let addr = listener.local_addr().unwrap();
        let log = Log::default();
        let of_all = Arc::clone(&log);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let peer = Peer { connection: Connection::accepted(stream), log: of_all.clone() };
                let task: Task = Box::pin(script(peer));
                tokio::spawn(task);
            }
        });
        Self { addr, log, task }
    }

    /// Answers every request on a connection with these bytes.
    pub async fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::scripted(move |mut peer| {
            let answer = answer.clone();
            async move {
                while peer.request().await.is_some() {
                    peer.send(&answer).await;
                }
            }
        })
        .await
    }

    /// Answers every request 200 with the body `ok`.
    pub async fn ok() -> Self {
        Self::answering(OK).await
    }

    /// Answers every request with these bytes, or what the sender has been given since; while
    /// that is empty, it lets them wait.
    pub async fn switched(answer: &'static str) -> (Self, watch::Sender<&'static str>) {
        let (switch, now) = watch::channel(answer);
        let upstream = Self::scripted(move |mut peer| {
            let mut now = now.clone();
            async move {
                while peer.request().await.is_some() {
                    peer.send_current(&mut now).await;
                }
            }
        });
        (upstream.await, switch)
    }

    /// The URL of a path here.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Recorded> {
        self.log.lock().unwrap().clone()
    }

    /// All requests, once there are so many.
    pub async fn received(&self, count: usize) -> Vec<Recorded> {
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            let all = self.requests();
            if all.len() >= count {
                return all;
            }
            assert!(Instant::now() < until, "{} of {count} requests came", all.len());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The only request so far.
    pub fn request(&self) -> Recorded {
        let all = self.requests();
        assert_eq!(all.len(), 1, "{all:?}");
        all.into_iter().next().unwrap()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Lets everything that is about to happen happen.
pub async fn a_moment() {
    tokio::time::sleep(Duration::from_millis(200)).await;
}
