//! Requests as a test wants them on the wire, lies about their framing included.

use std::net::SocketAddr;

use super::http::{Connection, Failure, Response};

/// How a request's body is framed.
#[derive(Clone, Copy)]
enum Framing {
    /// No framing field, unless there is a body.
    Natural,
    /// In chunks of this size.
    Chunked(usize),
    /// A Content-Length that may be a lie.
    Claimed(u64),
}

/// A request that is written as it stands here, `Host` first.
#[derive(Clone)]
pub struct Request {
    method: String,
    target: String,
    fields: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    framing: Framing,
}

impl Request {
    /// A request without fields or body.
    pub fn new(method: &str, target: &str) -> Self {
        Self {
            method: method.into(),
            target: target.into(),
            fields: Vec::new(),
            body: Vec::new(),
            framing: Framing::Natural,
        }
    }

    pub fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    pub fn post(target: &str) -> Self {
        Self::new("POST", target)
    }

    pub fn put(target: &str) -> Self {
        Self::new("PUT", target)
    }

    /// Adds a field with exactly these bytes as its value.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.fields.push((name.into(), value.as_ref().to_vec()));
        self
    }

    pub fn tenant(self, tenant: &str) -> Self {
        self.header("x-tenant-id", tenant)
    }

    pub fn bearer(self, token: &str) -> Self {
        self.header("Authorization", format!("Bearer {token}"))
    }

    /// Sets the body, framed by its length.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends the body in chunks of this size instead.
    pub fn chunked(mut self, size: usize) -> Self {
        self.framing = Framing::Chunked(size);
        self
    }

    /// Announces this length, whatever is sent.
    pub fn claiming(mut self, length: u64) -> Self {
        self.framing = Framing::Claimed(length);
        self
    }

    /// Its method and target.
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.target)
    }

    pub fn is_head(&self) -> bool {
        self.method == "HEAD"
    }

    /// The head as it goes on the wire.
    pub fn head_bytes(&self, addr: SocketAddr) -> Vec<u8> {
        let mut bytes = format!("{} {} HTTP/1.1\r\n", self.method, self.target).into_bytes();
        if !self.fields.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            bytes.extend(format!("Host: {addr}\r\n").into_bytes());
        }
        for (name, value) in &self.fields {
            bytes.extend(name.as_bytes());
            bytes.extend(b": ");
            bytes.extend(value);
            bytes.extend(b"\r\n");
        }
        match self.framing {
            Framing::Natural if self.body.is_empty() => {}
            Framing::Natural => {
                bytes.extend(format!("Content-Length: {}\r\n", self.body.len()).into_bytes());
            }
            Framing::Claimed(length) => {
                bytes.extend(format!("Content-Length: {length}\r\n").into_bytes());
            }
            Framing::Chunked(_) => bytes.extend(b"Transfer-Encoding: chunked\r\n"),
        }
        bytes.extend(b"\r\n");
        bytes
    }

    /// The body as it goes on the wire.
    pub fn body_bytes(&self) -> Vec<u8> {
        let Framing::Chunked(size) = self.framing else { return self.body.clone() };
        let mut bytes = Vec::new();
        for chunk in self.body.chunks(size) {
            bytes.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
            bytes.extend(chunk);
            bytes.extend(b"\r\n");
        }
        bytes.extend(b"0\r\n\r\n");
        bytes
    }

    /// Sends it on a fresh connection, reading while it writes; gives the response.
    pub async fn send(&self, addr: SocketAddr) -> Response {
        self.try_send(addr).await.unwrap_or_else(|e| {
            panic!("no response to {} {}: {e:?}", self.method, self.target);
        })
    }

    /// Sends it on a fresh connection; gives the response, or why there is none.
    pub async fn try_send(&self, addr: SocketAddr) -> Result<Response, Failure> {
        let mut connection = Connection::open(addr).await;
        connection.exchange(self, addr).await
    }
}
