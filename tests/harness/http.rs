//! A raw HTTP/1.1 client: the bytes that a test writes are the bytes on the wire, and what
//! comes back is taken apart strictly. It never normalizes, retries or follows anything.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

pub use super::request::Request;

/// How long a test waits for an answer before it fails.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Field names in lower case with their exact values, in the order on the wire.
pub type Fields = Vec<(String, Vec<u8>)>;

/// Why no whole response came.
#[derive(Debug)]
pub enum Failure {
    /// The connection ended before the first byte of a response.
    Closed,
    /// The connection ended, or was reset, within a response: what came of its body.
    Cut(Vec<u8>),
    /// What came is no HTTP.
    Malformed(String),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Closed => f.write_str("the connection ended"),
            Self::Cut(body) => write!(f, "the response was cut after {} bytes", body.len()),
            Self::Malformed(what) => write!(f, "no HTTP: {what:?}"),
        }
    }
}

/// A whole response, or with [`Connection::head`] its head alone.
#[derive(Debug, Clone)]
pub struct Response {
    pub status: u16,
    pub fields: Fields,
    pub body: Vec<u8>,
    /// The statuses of the 1xx responses that came before.
    pub interim: Vec<u16>,
}

impl Response {
    /// The only value of a field; fails when the field is repeated.
    pub fn header(&self, name: &str) -> Option<String> {
        let all = self.headers(name);
        assert!(all.len() <= 1, "{name} is repeated: {all:?}");
        all.into_iter().next()
    }

    /// All values of a field.
    pub fn headers(&self, name: &str) -> Vec<String> {
        values(&self.fields, name)
    }

    /// The body as JSON; fails with the body in the message.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("{e} in {} {:?}", self.status, self.text()))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// All values of one field.
pub fn values(fields: &Fields, name: &str) -> Vec<String> {
    let named = fields.iter().filter(|(n, _)| n == name);
    named.map(|(_, v)| String::from_utf8_lossy(v).into_owned()).collect()
}

/// One connection, and what has been read from it but not used.
pub struct Connection {
    pub stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    /// Connects.
    pub async fn open(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).await.expect("connect");
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: Vec::new() }
    }

    /// Takes over a connection that a test upstream accepted.
    pub fn accepted(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: Vec::new() }
    }

    /// Writes exactly these bytes.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).await.expect("the peer reads");
    }

    /// Writes exactly these bytes, or tells that the peer is gone.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        let write = self.stream.write_all(bytes.as_ref());
        timeout(PATIENCE, write).await.expect("a write within the patience of a test")
    }

    /// Ends our side: the peer reads an end of file after what was sent.
    pub async fn finish_sending(&mut self) {
        // A peer that has closed already is as well.
        let _ = self.stream.shutdown().await;
    }

    /// The next response, to a request of any method but HEAD.
    pub async fn response(&mut self) -> Response {
        self.try_response().await.unwrap_or_else(|failure| panic!("no response: {failure}"))
    }

    /// The next response, to a HEAD.
    pub async fn response_to_head(&mut self) -> Response {
        self.head().await.expect("a response")
    }

    /// The next response, or why there is none.
    pub async fn try_response(&mut self) -> Result<Response, Failure> {
        timeout(PATIENCE, self.whole()).await.expect("an answer within the patience of a test")
    }

    async fn whole(&mut self) -> Result<Response, Failure> {
        let mut response = self.read_head().await?;
        if response.status != 204 && response.status != 304 {
            response.body = self.body(&response.fields, true).await?;
        }
        Ok(response)
    }

    /// The head of the next final response, its body left on the wire.
    pub async fn head(&mut self) -> Result<Response, Failure> {
        timeout(PATIENCE, self.read_head()).await.expect("a head within the patience of a test")
    }

    async fn read_head(&mut self) -> Result<Response, Failure> {
        let mut interim = Vec::new();
        loop {
            let (line, fields) = self.message_head().await?;
            let malformed = || Failure::Malformed(line.clone());
            let rest = line.strip_prefix("HTTP/1.1 ").ok_or_else(malformed)?;
            let code = rest.get(..3).ok_or_else(malformed)?;
            let status: u16 = code.parse().map_err(|_| malformed())?;
            if (100..200).contains(&status) {
                interim.push(status);
                continue;
            }
            return Ok(Response { status, fields, body: Vec::new(), interim });
        }
    }

    /// The start line and the fields of a message: a response's, or at an upstream a request's.
    pub async fn message_head(&mut self) -> Result<(String, Fields), Failure> {
        let end = loop {
            if let Some(at) = find(&self.buffer, b"\r\n\r\n") {
                break at + 4;
            }
            if self.fill().await == 0 {
                return Err(match self.buffer.is_empty() {
                    true => Failure::Closed,
                    false => Failure::Malformed(String::from_utf8_lossy(&self.buffer).into_owned()),
                });
            }
        };
        let head: Vec<u8> = self.buffer.drain(..end).collect();
        parse_head(&head)
    }

    /// The body that these fields announce; `until_close` where nothing announces one.
    pub async fn body(&mut self, fields: &Fields, until_close: bool) -> Result<Vec<u8>, Failure> {
        let encodings = values(fields, "transfer-encoding");
        let lengths = values(fields, "content-length");
        let mut body = Vec::new();
        if encodings.iter().any(|v| v.eq_ignore_ascii_case("chunked")) {
            assert!(lengths.is_empty(), "both framings in one message: {fields:?}");
            loop {
                let line = self.line(&body).await?;
                let size = usize::from_str_radix(line.split(';').next().unwrap().trim(), 16)
                    .map_err(|_| Failure::Malformed(format!("chunk size {line:?}")))?;
                self.take(size, &mut body).await?;
                if size == 0 {
                    // Trailer fields, if any, up to the empty line.
                    while !self.line(&body).await?.is_empty() {}
                    return Ok(body);
                }
                if !self.line(&body).await?.is_empty() {
                    return Err(Failure::Malformed("chunk without its CRLF".into()));
                }
            }
        } else if let Some(length) = lengths.first() {
            assert_eq!(lengths.len(), 1, "Content-Length is repeated: {fields:?}");
            self.take(length.parse().expect("a length"), &mut body).await?;
        } else if until_close {
            while self.fill().await > 0 {}
            body.append(&mut self.buffer);
        }
        Ok(body)
    }

    async fn take(&mut self, size: usize, body: &mut Vec<u8>) -> Result<(), Failure> {
        while self.buffer.len() < size {
            if self.fill().await == 0 {
                body.append(&mut self.buffer);
                return Err(Failure::Cut(std::mem::take(body)));
            }
        }
        body.extend(self.buffer.drain(..size));
        Ok(())
    }

    async fn line(&mut self, body: &[u8]) -> Result<String, Failure> {
        loop {
            if let Some(at) = find(&self.buffer, b"\r\n") {
                let line = String::from_utf8_lossy(&self.buffer[..at]).into_owned();
                self.buffer.drain(..at + 2);
                return Ok(line);
            }
            if self.fill().await == 0 {
                return Err(Failure::Cut(body.to_vec()));
            }
        }
    }

    /// Reads raw bytes until they contain `needle`, and gives all that came so far.
    pub async fn read_until(&mut self, needle: &[u8]) -> Vec<u8> {
        let read = async {
            while find(&self.buffer, needle).is_none() {
                let more = self.fill().await;
                let came = String::from_utf8_lossy(&self.buffer);
                assert!(more > 0, "ended before {:?}: {came:?}", String::from_utf8_lossy(needle));
            }
        };
        let waited = timeout(PATIENCE, read).await;
        let needle = String::from_utf8_lossy(needle);
        waited.unwrap_or_else(|_| panic!("{needle:?} did not come"));
        std::mem::take(&mut self.buffer)
    }

    /// Everything up to the end of the connection, clean or not.
    pub async fn rest(&mut self) -> Vec<u8> {
        let read = async { while self.fill().await > 0 {} };
        timeout(PATIENCE, read).await.expect("an end within the patience of a test");
        std::mem::take(&mut self.buffer)
    }

    /// Whether the peer ends the connection within this time, sending nothing more.
    pub async fn ends_within(&mut self, time: Duration) -> bool {
        matches!(timeout(time, self.fill()).await, Ok(0))
    }

    /// Whether nothing comes, not even an end, within this time.
    pub async fn is_silent_for(&mut self, time: Duration) -> bool {
        self.buffer.is_empty() && timeout(time, self.fill()).await.is_err()
    }

    /// Reads once; 0 at the end of the connection, however it ended.
    async fn fill(&mut self) -> usize {
        self.stream.read_buf(&mut self.buffer).await.unwrap_or(0)
    }
}

/// Where `needle` starts in `hay`.
pub fn find(hay: &[u8], needle: &[u8]) -> Option<usize> {
    memchr::memmem::find(hay, needle)
}

fn parse_head(head: &[u8]) -> Result<(String, Fields), Failure> {
    let malformed = |what: &[u8]| Failure::Malformed(String::from_utf8_lossy(what).into_owned());
    let text = &head[..head.len() - 4];
    let mut start = None;
    let mut fields = Fields::new();
    let mut from = 0;
    while from <= text.len() {
        let end = find(&text[from..], b"\r\n").map_or(text.len(), |at| from + at);
        let line = &text[from..end];
        from = end + 2;
        if start.is_none() {
            start = Some(String::from_utf8_lossy(line).into_owned());
            continue;
        }
        let colon = line.iter().position(|b| *b == b':').ok_or_else(|| malformed(line))?;
        let name = std::str::from_utf8(&line[..colon]).map_err(|_| malformed(line))?;
        if name.is_empty() || name.contains([' ', '\t']) {
            return Err(malformed(line));
        }
        fields.push((name.to_ascii_lowercase(), line[colon + 1..].trim_ascii().to_vec()));
    }
    Ok((start.expect("a first line"), fields))
}

impl Connection {
    /// Sends a request, reading while it writes; gives the response.
    pub async fn exchange(
        &mut self,
        request: &Request,
        addr: SocketAddr,
    ) -> Result<Response, Failure> {
        let mut bytes = request.head_bytes(addr);
        bytes.extend(request.body_bytes());
        let Self { stream, buffer } = self;
        let (mut reader, mut writer) = stream.split();
        let (mut written, mut answered) = (0, false);
        // The whole request; once an answer has begun, as much of it as the peer still takes.
        let exchange = async {
            while written < bytes.len() {
                let step = async {
                    tokio::select! {
                        read = reader.read_buf(&mut *buffer) => matches!(read, Ok(n) if n > 0),
                        wrote = writer.write(&bytes[written..]) => match wrote {
                            Ok(n) => { written += n; true }
                            Err(_) => false,
                        },
                    }
                };
                let time = if answered { Duration::from_secs(1) } else { PATIENCE };
                match timeout(time, step).await {
                    Ok(true) => answered = !buffer.is_empty(),
                    Ok(false) => break,
                    Err(_) if answered => break,
                    Err(_) => panic!("the peer neither reads nor answers"),
                }
            }
        };
        exchange.await;
        if request.is_head() { self.head().await } else { self.try_response().await }
    }
}
