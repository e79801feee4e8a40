//! One instance of a remote service: its address, parsed once from settings, and how it does.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use http::{Uri, uri::Scheme};
use rustls_pki_types::CertificateDer;

use super::{
    breaker::{Breaker, Standing},
    health::Health,
    tls::Tls,
};

/// One of the addresses that a service's requests go to. All workers share what is known of it.
#[derive(Debug)]
pub(super) struct Instance {
    id: u64,
    origin: Box<str>,
    host: Box<str>,
    port: u16,
    tls: Option<Tls>,
    authority: Box<str>,
    path: Box<str>,
    under_way: AtomicU32,
    pub(super) breaker: Breaker,
    pub(super) health: Health,
}

impl Instance {
    /// Parses `http[s]://host[:port][/base]`. Over https, one of these authorities has to vouch
    /// for it, or one of the system's if there are none.
    ///
    /// # Errors
    /// What is wrong with the URL, as half a sentence for the error about the setting.
    pub(super) fn parse(
        url: &str,
        authorities: &[CertificateDer<'static>],
    ) -> Result<Self, String> {
        static NEXT_ID: AtomicU64 = AtomicU64::new(0);

        let uri: Uri = url.parse().map_err(|e| format!("is not a URL ({e})"))?;
        let (scheme, default_port) = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTP => ("http", 80),
            Some(scheme) if *scheme == Scheme::HTTPS => ("https", 443),
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
            None if authority.as_str().ends_with(authority.host()) => default_port,
            None => return Err("has a bad port".to_owned()),
        };
        Ok(Self {
            id: NEXT_ID.fetch_add(1, Relaxed),
            origin: format!("{scheme}://{host}:{port}").into(),
            tls: if scheme == "https" { Some(Tls::to(host, authorities)?) } else { None },
            host: host.into(),
            port,
            authority: authority.as_str().into(),
            path: uri.path().into(),
            under_way: AtomicU32::new(0),
            breaker: Breaker::default(),
            health: Health::default(),
        })
    }

    /// What nothing else is: connections are not shared with another service at the same address,
    /// which may trust others.
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// How connections to it are secured, if they are.
    pub(super) fn tls(&self) -> Option<&Tls> {
        self.tls.as_ref()
    }

    /// Scheme, host and port, for the log.
    pub(super) fn origin(&self) -> &str {
        &self.origin
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

    /// Whether it gets requests.
    pub(super) fn standing(&self) -> Standing {
        if self.health.is_ejected() { Standing::Ejected } else { self.breaker.standing() }
    }

    /// How many requests are under way here, of all workers.
    pub(super) fn load(&self) -> u32 {
        self.under_way.load(Relaxed)
    }

    /// A request begins here.
    pub(super) fn enter(&self) {
        self.under_way.fetch_add(1, Relaxed);
    }

    /// A request has ended here.
    pub(super) fn leave(&self) {
        self.under_way.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str, rest: Option<&str>, query: Option<&str>) -> String {
        let mut out = Vec::new();
        assert!(Instance::parse(url, &[]).unwrap().write_target(rest, query, &mut out));
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
        let instance = Instance::parse("http://h", &[]).unwrap();
        for rest in ["a#b", "a b", "a\r\nb", "a\0b", "a\x7fb"] {
            assert!(!instance.write_target(Some(rest), None, &mut Vec::new()), "{rest:?}");
        }
    }

    #[test]
    fn a_url_is_parsed_once_and_whole() {
        let instance = Instance::parse("http://Orders:8080/api", &[]).unwrap();
        assert_eq!(instance.address(), ("Orders", 8080));
        assert_eq!(instance.authority(), "Orders:8080");
        let instance = Instance::parse("http://[::1]", &[]).unwrap();
        assert_eq!(instance.address(), ("::1", 80));
        assert_eq!(instance.authority(), "[::1]");
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
            let error = Instance::parse(url, &[]).unwrap_err();
            assert!(error.starts_with(reason), "{url}: {error}");
            assert!(!error.contains("secret"));
        }
    }
}
