//! Which addresses a request that a tenant can aim may reach.
//!
//! Checked after the name was resolved, on the very addresses that are connected to, so neither
//! a name that changes its address nor another spelling of one gets past.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use thiserror::Error;
use url::Host;

/// An address that tenants' requests must not reach.
#[derive(Debug, Error)]
#[error(
    "\"{0}\" has an address that is private or reserved; the operator has to allow that for the registry"
)]
pub(crate) struct BlockedAddress(String);

/// Whether an address belongs to the public internet.
pub(crate) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// IANA's special-purpose registry (RFC 6890 and its updates), read as a deny list.
fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let reserved = a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (b == 18 || b == 19));
    !(reserved
        || address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation())
}

/// Only global unicast (2000::/3) less what tunnels or translates to other addresses.
fn is_public_v6(address: Ipv6Addr) -> bool {
    if let Some(mapped) = address.to_ipv4_mapped() {
        return is_public_v4(mapped);
    }
    let segments = address.segments();
    let special = (segments[0] == 0x2001
        // Teredo, ORCHID, benchmarks; documentation.
        && (segments[1] < 0x0200 || segments[1] == 0x0db8))
        || segments[0] == 0x2002 // 6to4
        || (segments[0] & 0xfff0) == 0x3ff0; // documentation (RFC 9637)
    (segments[0] & 0xe000) == 0x2000 && !special
}

/// Checks a host that is an address already; names are checked by [`GuardedResolver`].
pub(crate) fn check_literal(host: &Host<&str>) -> Result<(), BlockedAddress> {
    let address = match host {
        Host::Domain(_) => return Ok(()),
        Host::Ipv4(address) => IpAddr::V4(*address),
        Host::Ipv6(address) => IpAddr::V6(*address),
    };
    if is_public(address) { Ok(()) } else { Err(BlockedAddress(address.to_string())) }
}

/// Resolves names and gives public addresses only.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GuardedResolver;

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            // One private address among public ones is an attack or a mistake: refuse them all.
            if found.iter().any(|address| !is_public(address.ip())) {
                return Err(BlockedAddress(name.as_str().to_owned()).into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_reserved_and_mapped_addresses_are_not_public() {
        for text in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "fe80::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "::127.0.0.1",
            "2001:db8::1",
        ] {
            assert!(!is_public(text.parse().unwrap()), "{text} was taken for public");
        }
        for text in ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "2a00:1450:4001::1", "::ffff:1.1.1.1"] {
            assert!(is_public(text.parse().unwrap()), "{text} was refused");
        }
    }

    #[test]
    fn odd_spellings_of_loopback_are_seen_through() {
        for url in ["http://2130706433/", "http://0x7f.1/", "http://0177.0.0.1/", "http://[::ffff:7f00:1]/"] {
            let url = url::Url::parse(url).unwrap();
            assert!(check_literal(&url.host().unwrap()).is_err(), "{url} was let through");
        }
    }

    #[tokio::test]
    async fn a_name_of_a_private_address_is_refused_after_resolution() {
        let name: Name = "localhost".parse().unwrap();
        let error = GuardedResolver.resolve(name).await.err().unwrap();
        assert!(error.to_string().contains("private"), "{error}");
    }
}
