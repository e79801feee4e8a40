//! `multipart/form-data` bodies, part heads given byte by byte where a test is about them.

use super::http::Request;

/// A body under construction.
#[derive(Clone)]
pub struct Form {
    boundary: String,
    bytes: Vec<u8>,
}

impl Form {
    pub fn new() -> Self {
        Self::with_boundary("------------------------2f7c1d0a9e6b4853")
    }

    pub fn with_boundary(boundary: &str) -> Self {
        Self { boundary: boundary.into(), bytes: Vec::new() }
    }

    /// A `file` part with this name as curl would write it, and this content.
    pub fn file(self, name: &str, content: &[u8]) -> Self {
        self.named_file("file", name, content)
    }

    /// A part with a file name in any field.
    pub fn named_file(self, field: &str, name: &str, content: &[u8]) -> Self {
        let head = format!(
            "Content-Disposition: form-data; name=\"{field}\"; filename=\"{name}\"\r\n\
             Content-Type: application/octet-stream\r\n"
        );
        self.part(head, content)
    }

    /// A `file` part whose parameters after `name="file"` are exactly these bytes.
    pub fn file_with(self, parameters: impl AsRef<[u8]>, content: &[u8]) -> Self {
        let mut head = b"Content-Disposition: form-data; name=\"file\"".to_vec();
        head.extend(parameters.as_ref());
        head.extend(b"\r\nContent-Type: image/png\r\n");
        self.part(head, content)
    }

    /// A text field.
    pub fn text(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.part(format!("Content-Disposition: form-data; name=\"{name}\"\r\n"), value)
    }

    /// A part with exactly this head, each line of it with its CRLF.
    pub fn part(mut self, head: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Self {
        self.bytes.extend(format!("--{}\r\n", self.boundary).into_bytes());
        self.bytes.extend(head.as_ref());
        self.bytes.extend(b"\r\n");
        self.bytes.extend(content.as_ref());
        self.bytes.extend(b"\r\n");
        self
    }

    /// The whole body, closed.
    pub fn body(&self) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        bytes.extend(format!("--{}--\r\n", self.boundary).into_bytes());
        bytes
    }

    /// The body without its final boundary.
    pub fn unclosed(&self) -> Vec<u8> {
        self.bytes.clone()
    }

    pub fn content_type(&self) -> String {
        let token = |b: u8| b.is_ascii_alphanumeric() || b"'+_-.".contains(&b);
        match self.boundary.bytes().all(token) {
            true => format!("multipart/form-data; boundary={}", self.boundary),
            false => format!("multipart/form-data; boundary=\"{}\"", self.boundary),
        }
    }

    /// The request that posts it to `target`.
    pub fn post(&self, target: &str) -> Request {
        self.post_body(target, self.body())
    }

    /// The request that posts these bytes as if they were this form.
    pub fn post_body(&self, target: &str, body: Vec<u8>) -> Request {
        Request::post(target).header("Content-Type", self.content_type()).body(body)
    }
}
