//! Where clients reach this process, for what tells them a whole URL.

use actix_web::{HttpMessage as _, HttpRequest};

/// The scheme, the host and what stands before the path, such as `https://images.example.com/api`, where
/// settings or a trusted proxy tell it. Left in a request's extensions by the gateway.
#[derive(Clone, Debug)]
pub struct PublicBase(pub String);

impl PublicBase {
    /// What settings, or a proxy of this request, told.
    pub fn told(request: &HttpRequest) -> Option<String> {
        request.extensions().get::<Self>().map(|base| base.0.clone())
    }

    /// What was told; otherwise as the request itself says.
    pub fn of(request: &HttpRequest) -> String {
        Self::told(request).unwrap_or_else(|| {
            let host = request.headers().get("host").and_then(|host| host.to_str().ok());
            format!("http://{}", host.unwrap_or("localhost"))
        })
    }
}
