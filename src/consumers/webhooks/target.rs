//! The URL of a receiver: what can be told from it alone. What its host stands for is looked at whenever
//! it is dialed.

use std::net::{IpAddr, Ipv4Addr};

use url::{Host, Url};

use crate::{consumers::error::Error, outbound::Reach};

/// The longest URL.
const LONGEST: usize = 2048;

/// The URL as it is sent to: in its normal form, so that all spellings of an address are one.
///
/// # Errors
/// [`Error::WebhookInvalid`], which says what is wrong.
pub(super) fn parse(text: &str, reach: &Reach) -> Result<String, Error> {
    let wrong = |what| Err(Error::WebhookInvalid(what));
    if text.len() > LONGEST {
        return wrong("The url has over 2,048 bytes.");
    }
    let Ok(url) = Url::parse(text) else {
        return wrong("The url is none; send one such as https://example.com/hook.");
    };
    if !matches!(url.scheme(), "https" | "http") {
        return wrong("The url must begin with https:// or http://.");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return wrong("The url must not have a user or password; receivers check signatures.");
    }
    if url.fragment().is_some() {
        return wrong("The url must not have a fragment, which is never sent.");
    }
    let address = match url.host() {
        Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
        Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
        Some(Host::Domain(name)) => is_local(name).then_some(Ipv4Addr::LOCALHOST.into()),
        None => return wrong("The url has no host."),
    };
    if url.port() == Some(0) || address.is_some_and(|address| !reach.includes(address)) {
        return wrong("The url's address is none that webhooks may be sent to.");
    }
    // What is dialed must be read as it was here.
    match url.as_str().parse::<http::Uri>() {
        Ok(_) => Ok(url.into()),
        Err(_) => wrong("The url has characters that no request can have."),
    }
}

/// Whether a name is this machine's own (RFC 6761, section 6.3).
fn is_local(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name == "localhost" || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn public(besides: &[&str]) -> Reach {
        Reach::Public { besides: besides.iter().map(|n| n.parse().unwrap()).collect() }
    }

    #[test]
    fn addresses_are_known_in_all_their_spellings() {
        for host in [
            "127.0.0.1",
            "2130706433",
            "0x7f000001",
            "0x7f.1",
            "0177.0.0.1",
            "127.1",
            "127.0.0.1.",
            "%31%32%37.0.0.1",
            "１２７.0.0.1",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[64:ff9b::7f00:1]",
            "[fd00::1]",
            "[fe80::1]",
            "0",
            "10.1.2.3",
            "169.254.169.254",
            "localhost",
            "LOCALHOST",
            "localhost.",
            "a.localhost",
        ] {
            let url = format!("http://{host}/hook");
            assert!(parse(&url, &public(&[])).is_err(), "{url}");
        }
        let reach = public(&["127.0.0.0/8"]);
        for host in ["0x7f.1", "2130706433", "[::ffff:127.0.0.1]", "localhost"] {
            assert!(parse(&format!("http://{host}/hook"), &reach).is_ok(), "{host}");
        }
        assert_eq!(parse("http://0x7f.1:8080", &reach).unwrap(), "http://127.0.0.1:8080/");
    }

    #[test]
    fn what_is_no_receiver_is_told_so() {
        for (url, word) in [
            ("", "none"),
            ("/hook", "none"),
            ("ftp://example.com/", "https://"),
            ("file:///etc/passwd", "https://"),
            ("https://user@example.com/", "user"),
            ("https://user:word@example.com/", "user"),
            ("https://example.com/#a", "fragment"),
            ("https://", "none"),
            ("https://example.com:0/", "address"),
            ("https://a b/", "none"),
        ] {
            match parse(url, &public(&[])) {
                Err(Error::WebhookInvalid(what)) => assert!(what.contains(word), "{url}: {what}"),
                other => panic!("{url}: {other:?}"),
            }
        }
        assert!(parse(&format!("https://example.com/{}", "a".repeat(2048)), &public(&[])).is_err());
        let kept = "https://example.com/hook?token=a%20b";
        assert_eq!(parse(kept, &public(&[])).unwrap(), kept);
    }

    proptest! {
        #[test]
        fn what_is_accepted_is_dialed_as_it_was_read(url in "https?://(\\PC|[0-9a-fx.:@/\\[\\]%]){0,40}") {
            if let Ok(url) = parse(&url, &public(&[])) {
                let (uri, read) = (url.parse::<http::Uri>().unwrap(), Url::parse(&url).unwrap());
                prop_assert_eq!(uri.host(), read.host_str());
                prop_assert!(!uri.authority().unwrap().as_str().contains('@'));
            }
        }
    }
}
