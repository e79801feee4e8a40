//! A remote service's address and limits, parsed once from settings.

use std::time::Duration;

use http::{Uri, uri::Scheme};
use rustls_pki_types::CertificateDer;

use super::tls::Tls;

/// A remote service: where it is, and how long and how much the gateway grants it.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// To connect, all addresses of the host's name together. 2 s unless set.
    pub connect_timeout: Duration,
    /// To the response's head, counted from when the request has been sent whole. 30 s unless
    /// set.
    pub response_timeout: Duration,
    /// Between two pieces of a body, either way. 30 s unless set.
    pub idle_timeout: Duration,
    /// The largest request body in bytes, inclusive. No limit unless set.
    pub max_body_size: Option<u64>,
    origin: Box<str>,
    host: Box<str>,
    port: u16,
    tls: Option<Tls>,
    authority: Box<str>,
    path: Box<str>,
}

impl Upstream {
    /// Parses `http[s]://host[:port][/base]`, with the default limits. Over https, one of these
    /// authorities has to vouch for it, or one of the system's if there are none.
    ///
    /// # Errors
    /// What is wrong with the URL, as half a sentence for the error about the setting.
    pub fn parse(url: &str, authorities: &[CertificateDer<'static>]) -> Result<Self, String> {
        let uri: Uri = url.parse().map_err(|e| format!("is not a URL ({e})"))?;
        let secure = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTP => false,
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            _ => return Err("starts with neither http:// nor https://".to_owned()),
        };
        let authority = uri.authority().ok_or("names no host")?;
        if authority.as_str().contains('@') {
            return Err("has a user or a password in it".to_owned());
        }
        if url.contains(['?', '#']) {
            return Err("has a query or a fragment".to_owned());
        }
        let host = authority.host();
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() {
            return Err("names no host".to_owned());
        }
        let port = match authority.port() {
            Some(port) => port.as_u16(),
            None if authority.as_str().ends_with(authority.host()) && secure => 443,
            None if authority.as_str().ends_with(authority.host()) => 80,
            None => return Err("has a bad port".to_owned()),
        };
        Ok(Self {
            connect_timeout: Duration::from_secs(2),
            response_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(30),
            max_body_size: None,
            origin: match secure {
                true => format!("https://{host}:{port} {}", Tls::fingerprint(authorities)),
                false => format!("http://{host}:{port}"),
            }
            .into(),
            tls: if secure { Some(Tls::to(host, authorities)?) } else { None },
            host: host.into(),
            port,
            authority: authority.as_str().into(),
            path: uri.path().into(),
        })
    }

    /// Scheme, host, port, and who vouches for it: what connections to this service may be shared by.
    pub(super) fn origin(&self) -> &str {
        &self.origin
    }

    /// How connections to it are secured, if they are.
    pub(super) fn tls(&self) -> Option<&Tls> {
        self.tls.as_ref()
    }

    /// The host's name or address (IPv6 without brackets) and port.
    pub(super) fn address(&self) -> (&str, u16) {
        (&self.host, self.port)
    }

    /// The authority as written in the URL, for `Host`.
    pub(super) fn authority(&self) -> &str {
        &self.authority
    }

    /// Writes the request target: the URL's path, exactly one slash, `rest` and the query, byte
    /// for byte. Without a `rest` it is the URL's path as given.
    ///
    /// False when it has bytes that no request target may have.
    pub(super) fn write_target(
        &self,
        rest: Option<&str>,
        query: Option<&str>,
        out: &mut Vec<u8>,
    ) -> bool {
        let start = out.len();
        match rest {
            None => out.extend_from_slice(self.path.as_bytes()),
            Some(rest) => {
                let base = self.path.strip_suffix('/').unwrap_or(&self.path);
                out.extend_from_slice(base.as_bytes());
                out.push(b'/');
                out.extend_from_slice(rest.as_bytes());
            }
        }
        if let Some(query) = query {
            out.push(b'?');
            out.extend_from_slice(query.as_bytes());
        }
        !out[start..].iter().any(|byte| matches!(byte, 0..=b' ' | 0x7f | b'#'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str, rest: Option<&str>, query: Option<&str>) -> String {
        let mut out = Vec::new();
        assert!(Upstream::parse(url, &[]).unwrap().write_target(rest, query, &mut out));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn exactly_one_slash_joins_base_and_rest() {
        for base in ["http://h/api", "http://h/api/"] {
            assert_eq!(target(base, Some("x"), None), "/api/x");
            assert_eq!(target(base, Some("/x"), None), "/api//x");
            assert_eq!(target(base, Some(""), None), "/api/");
        }
        assert_eq!(target("http://h", Some("x/"), None), "/x/");
    }

    #[test]
    fn without_a_rest_the_target_is_the_url_itself() {
        assert_eq!(target("http://h/api", None, None), "/api");
        assert_eq!(target("http://h/api/", None, Some("q")), "/api/?q");
        assert_eq!(target("http://h", None, None), "/");
    }

    #[test]
    fn paths_and_queries_pass_byte_for_byte() {
        let rest = "a%2Fb//c;d=%zz/{\"e\"}|\\^[]~!$&'()*+,=:@";
        let query = "x=%20&y=[]{}|^\\`&z&?";
        assert_eq!(target("http://h", Some(rest), Some(query)), format!("/{rest}?{query}"));
        assert_eq!(target("http://h", Some("x"), Some("")), "/x?");
    }

    #[test]
    fn what_would_not_pass_whole_is_refused() {
        let upstream = Upstream::parse("http://h", &[]).unwrap();
        for rest in ["a#b", "a b", "a\r\nb", "a\0b", "a\x7fb"] {
            assert!(!upstream.write_target(Some(rest), None, &mut Vec::new()), "{rest:?}");
        }
    }

    #[test]
    fn a_url_is_parsed_once_and_whole() {
        let upstream = Upstream::parse("http://Orders:8080/api", &[]).unwrap();
        assert_eq!(upstream.address(), ("Orders", 8080));
        assert_eq!(upstream.authority(), "Orders:8080");
        let upstream = Upstream::parse("http://[::1]", &[]).unwrap();
        assert_eq!(upstream.address(), ("::1", 80));
        assert_eq!(upstream.authority(), "[::1]");
    }

    #[test]
    fn a_bad_url_is_refused_with_its_reason() {
        for (url, reason) in [
            ("", "is not a URL"),
            ("orders:8080", "starts with neither"),
            ("/api", "starts with neither"),
            ("ftp://orders", "starts with neither"),
            ("http://user:secret@orders", "has a user"),
            ("http://orders/?x=1", "has a query"),
            ("http://orders/#x", "has a query or a fragment"),
            ("http://orders:99999", "has a bad port"),
            ("http://:80", ""),
        ] {
            let error = Upstream::parse(url, &[]).unwrap_err();
            assert!(error.starts_with(reason), "{url}: {error}");
            assert!(!error.contains("secret"));
        }
    }
}
