//! Cross-origin resource sharing (the Fetch standard, section 3.2): the pages of which other
//! origins may use the API in a browser.
//!
//! Every answer is marked at the edge, errors included. When a preflight is answered is for the
//! gateway to say, which asks here whether a request is one.

use std::{sync::Arc, time::Duration};

use actix_http::RequestHead;
use actix_web::{
    HttpResponse,
    http::{
        Method,
        header::{self, HeaderMap, HeaderValue},
    },
};
use serde::{Deserialize, Serialize};

use crate::settings::{Invalid, text};

/// The fields of our answers that a page could not read otherwise.
const EXPOSED: &str = "accept-ranges, allow, content-disposition, content-location, content-range, etag, \
                       location, ratelimit, ratelimit-policy, retry-after, tus-checksum-algorithm, \
                       tus-extension, tus-max-size, tus-resumable, tus-version, upload-defer-length, \
                       upload-expires, upload-length, upload-metadata, upload-offset, \
                       www-authenticate, x-request-id";

/// What a preflight's answer depends on, besides the origin.
const ASKED: &str = "Access-Control-Request-Method, Access-Control-Request-Headers";

/// `[server.cors]`: which pages of other origins may use the API.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct CorsSettings {
    /// Their origins; none: sharing is off.
    #[serde(with = "text")]
    pub allowed_origins: Vec<Origin>,
    /// Whether browsers may send cookies and the like along. Tokens need no such permission.
    pub allow_credentials: bool,
    /// How long a browser may keep a preflight's answer.
    #[serde(with = "text")]
    pub max_age: Duration,
}

impl Default for CorsSettings {
    fn default() -> Self {
        Self {
            allowed_origins: Vec::new(),
            allow_credentials: false,
            max_age: Duration::from_secs(60 * 60),
        }
    }
}

impl CorsSettings {
    /// Checks the values against each other.
    ///
    /// # Errors
    /// When any page whatever could act with a user's cookies.
    pub fn validate(&self) -> Result<(), Invalid> {
        if self.allow_credentials && self.allowed_origins.contains(&Origin::any()) {
            return Err(Invalid::new(
                "server.cors.allow_credentials",
                "is true while server.cors.allowed_origins has \"*\", which browsers refuse; \
                 name the origins, or leave it false",
            ));
        }
        Ok(())
    }
}

/// An origin as browsers send it, or `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(String);

impl Origin {
    fn any() -> Self {
        Self("*".to_owned())
    }
}

impl text::Text for Origin {
    const FORM: &'static str = "\"*\", or an origin as browsers send it, such as \
        \"https://app.example.com\": scheme and host in small letters, the port unless it is the \
        scheme's own, and nothing behind";

    fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::any());
        }
        let (scheme, rest) = text.split_once("://")?;
        let is_small = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let right_scheme = scheme.starts_with(|c: char| c.is_ascii_lowercase())
            && scheme.bytes().all(|b| is_small(b) || b"+-.".contains(&b));
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (rest, None),
        };
        let right_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => !host.is_empty() && host.bytes().all(|b| is_small(b) || b"-._".contains(&b)),
        };
        let right_port = port.is_none_or(|port| {
            let own = matches!((scheme, port), ("http", "80") | ("https", "443"));
            let number = port.parse::<u16>();
            !own && number.is_ok_and(|number| number > 0 && number.to_string() == port)
        });
        (right_scheme && right_host && right_port).then(|| Self(text.to_owned()))
    }

    fn print(&self) -> String {
        self.0.clone()
    }
}

/// The rules in effect, shared by all workers.
#[derive(Debug)]
pub struct Cors {
    origins: Vec<Origin>,
    any: bool,
    allow_credentials: bool,
    max_age: u64,
}

impl Cors {
    /// The rules of these settings, if any origin is allowed.
    pub fn new(settings: &CorsSettings) -> Option<Arc<Self>> {
        let origins = settings.allowed_origins.clone();
        let any = origins.contains(&Origin::any());
        (!origins.is_empty()).then(|| {
            Arc::new(Self {
                origins,
                any,
                allow_credentials: settings.allow_credentials,
                max_age: settings.max_age.as_secs(),
            })
        })
    }

    /// The answer to a preflight from an allowed origin; none to any other request. What is
    /// asked for is allowed: whether it is right is for the request itself to find out.
    pub fn preflight(&self, head: &RequestHead) -> Option<HttpResponse> {
        let headers = head.headers();
        let method = headers.get(header::ACCESS_CONTROL_REQUEST_METHOD)?;
        if head.method != Method::OPTIONS || self.allowed(headers).is_none() {
            return None;
        }
        let mut response = HttpResponse::NoContent();
        response.insert_header((header::ACCESS_CONTROL_ALLOW_METHODS, method.clone()));
        for names in headers.get_all(header::ACCESS_CONTROL_REQUEST_HEADERS) {
            response.append_header((header::ACCESS_CONTROL_ALLOW_HEADERS, names.clone()));
        }
        response.insert_header((header::ACCESS_CONTROL_MAX_AGE, self.max_age));
        response.insert_header((header::VARY, ASKED));
        Some(response.finish())
    }

    /// What `Access-Control-Allow-Origin` has to say to a request with these fields.
    fn allowed(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let mut sent = headers.get_all(header::ORIGIN);
        let (Some(origin), None) = (sent.next(), sent.next()) else {
            return None;
        };
        if self.any {
            return Some(HeaderValue::from_static("*"));
        }
        let known = self.origins.iter().any(|known| known.0.as_bytes() == origin.as_bytes());
        known.then(|| origin.clone())
    }
}

/// What the rules come to for one request.
#[derive(Clone, Debug)]
pub(super) struct Sharing {
    cors: Arc<Cors>,
    origin: Option<HeaderValue>,
}

impl Sharing {
    pub(super) fn of(cors: &Arc<Cors>, headers: &HeaderMap) -> Self {
        Self { cors: Arc::clone(cors), origin: cors.allowed(headers) }
    }

    /// Marks an answer, in place of what a service behind may have said.
    pub(super) fn mark(&self, headers: &mut HeaderMap) {
        // For caches, whoever asked.
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
        let Some(origin) = &self.origin else { return };
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        if self.cors.allow_credentials {
            let value = HeaderValue::from_static("true");
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, value);
        } else {
            headers.remove(header::ACCESS_CONTROL_ALLOW_CREDENTIALS);
        }
        // A service knows best which fields of its own are to be read.
        let names = HeaderValue::from_static(EXPOSED);
        headers.append(header::ACCESS_CONTROL_EXPOSE_HEADERS, names);
    }
}
