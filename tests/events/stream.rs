//! A client of a stream of events, by HTML's section 9.2.

use std::collections::VecDeque;
use std::net::SocketAddr;

use serde_json::Value;

use super::EVENTS;
use crate::harness::http::{Connection, Request, find};

/// An open stream.
pub struct Stream {
    connection: Connection,
    /// What has come of the next event.
    begun: Vec<u8>,
    came: VecDeque<Told>,
}

/// An event as the stream tells it.
#[derive(Debug)]
pub struct Told {
    pub id: Option<u64>,
    pub event: String,
    pub data: Value,
}

impl Stream {
    /// Asks for the events behind the one of this id, or from now on.
    pub async fn open(addr: SocketAddr, tenant: &str, last: Option<u64>) -> Self {
        let mut request = Request::get(EVENTS).tenant(tenant).header("Accept", "text/event-stream");
        if let Some(last) = last {
            request = request.header("Last-Event-ID", last.to_string());
        }
        Self::of(request, addr).await
    }

    /// Sends this request, which asks for a stream.
    pub async fn of(request: Request, addr: SocketAddr) -> Self {
        let mut connection = Connection::open(addr).await;
        connection.send(request.head_bytes(addr)).await;
        let head = connection.head().await.expect("a head");
        assert_eq!(head.status, 200);
        assert_eq!(head.header("content-type").as_deref(), Some("text/event-stream"));
        assert_eq!(head.header("cache-control").as_deref(), Some("no-store"));
        let mut stream = Self { connection, begun: Vec::new(), came: VecDeque::new() };
        // The stream is open once it has told when to come back.
        let begin = stream.connection.read_until(b"\n\n").await;
        stream.take_in(&begin);
        stream
    }

    /// The next event.
    pub async fn next(&mut self) -> Told {
        loop {
            if let Some(told) = self.came.pop_front() {
                return told;
            }
            let more = self.connection.read_until(b"\n\n").await;
            self.take_in(&more);
        }
    }

    /// All that comes until the stream ends.
    pub async fn rest(mut self) -> Vec<Told> {
        let rest = self.connection.rest().await;
        self.take_in(&rest);
        self.came.into()
    }

    /// Whether nothing was told so far.
    pub fn is_empty(&self) -> bool {
        self.came.is_empty()
    }

    /// Reads events; each comes in one chunk, so that only the chunks' frames stand between.
    fn take_in(&mut self, bytes: &[u8]) {
        self.begun.extend_from_slice(bytes);
        while let Some(end) = find(&self.begun, b"\n\n") {
            let block: Vec<_> = self.begun.drain(..end + 2).collect();
            let block = String::from_utf8(block).expect("UTF-8");
            let field = |name: &str| {
                let mut lines = block.lines();
                lines.find_map(|line| Some(line.strip_prefix(name)?.to_owned()))
            };
            if let Some(event) = field("event: ") {
                let id = field("id: ").map(|id| id.parse().expect("a number"));
                let data = serde_json::from_str(&field("data: ").expect("data")).expect("JSON");
                self.came.push_back(Told { id, event, data });
            }
        }
    }
}
