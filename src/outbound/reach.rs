//! Which addresses may be asked.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{Arc, LazyLock},
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Which addresses requests may be sent to.
#[derive(Clone, Debug)]
pub enum Reach {
    /// All: the operator names them.
    Anywhere,
    /// Those of the public Internet, and those of these networks: others name them.
    Public {
        /// Networks that are reached though they are not public.
        besides: Arc<[IpNet]>,
    },
}

impl Reach {
    /// Whether requests may be sent to `address`.
    pub fn includes(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        match self {
            Self::Anywhere => true,
            Self::Public { besides } => {
                is_public(address) || besides.iter().any(|network| network.contains(&address))
            }
        }
    }
}

/// Whether an address is one of the public Internet's: globally reachable by the registries of special
/// purposes (RFC 6890), and no group's (multicast).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !SPECIAL_V4.iter().any(|network| network.contains(&address)),
        IpAddr::V6(address) => match translated(address) {
            Some(behind) => is_public(behind.into()),
            None => {
                GLOBAL_V6.contains(&address)
                    && !SPECIAL_V6.iter().any(|network| network.contains(&address))
            }
        },
    }
}

/// The IPv4 address that is reached through a translator at this one (NAT64, RFC 6052).
fn translated(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [0x64, 0xff9b, 0, 0, 0, 0, high, low] = address.segments() else { return None };
    Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
}

/// IANA's IPv4 special-purpose address registry, and multicast.
static SPECIAL_V4: LazyLock<Vec<Ipv4Net>> = LazyLock::new(|| {
    networks(&[
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    ])
});

/// What is given out as global unicast addresses (RFC 4291).
static GLOBAL_V6: LazyLock<Ipv6Net> =
    LazyLock::new(|| networks(&["2000::/3"]).pop().unwrap_or_default());

/// IANA's IPv6 special-purpose address registry within [`GLOBAL_V6`]: protocols and Teredo,
/// documentation, 6to4.
static SPECIAL_V6: LazyLock<Vec<Ipv6Net>> =
    LazyLock::new(|| networks(&["2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"]));

/// The networks of constants, all of which are valid.
fn networks<N: std::str::FromStr>(texts: &[&str]) -> Vec<N> {
    texts.iter().filter_map(|text| text.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn public(besides: &[&str]) -> Reach {
        Reach::Public { besides: besides.iter().map(|n| n.parse().unwrap()).collect() }
    }

    #[test]
    fn all_constants_are_networks() {
        assert_eq!((SPECIAL_V4.len(), SPECIAL_V6.len()), (15, 4));
        assert_eq!(GLOBAL_V6.to_string(), "2000::/3");
    }

    #[test]
    fn only_public_addresses_are_reached() {
        let reach = public(&[]);
        for address in
            ["1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "64:ff9b::101:101"]
        {
            assert!(reach.includes(address.parse().unwrap()), "{address}");
        }
        for address in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "127.255.255.255",
            "169.254.169.254",
            "172.31.255.255",
            "192.168.1.1",
            "192.0.2.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "fc00::1",
            "fd00::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!reach.includes(address.parse().unwrap()), "{address}");
            assert!(Reach::Anywhere.includes(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn networks_of_the_settings_are_reached_too() {
        let reach = public(&["10.0.0.0/8", "::1/128"]);
        for address in ["10.1.2.3", "::ffff:10.1.2.3", "::1"] {
            assert!(reach.includes(address.parse().unwrap()), "{address}");
        }
        assert!(!reach.includes("127.0.0.1".parse().unwrap()));
    }
}
