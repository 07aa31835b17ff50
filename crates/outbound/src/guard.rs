//! Which addresses a request that a tenant can aim may reach.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use picasso_types::network::Destination;
use thiserror::Error;

/// Mail is never sent for tenants: an open way to port 25 makes a cloud a source of spam.
const SMTP: u16 = 25;

/// An address that tenants' requests must not reach.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "\"{host}\" has an address that is private, reserved or this cloud's own; the operator has to allow it"
)]
pub struct BlockedAddress {
    /// The host as the URL names it; never the address that was found for a name, which would tell
    /// tenants about the network inside.
    pub host: String,
}

/// The rules, with the operator's exceptions.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    allow: Vec<Destination>,
    deny: Vec<Destination>,
    allows_private: bool,
}

impl Guard {
    /// `allow` may be reached although the rules refuse it; an address of this host counts only
    /// where it is listed by itself. `deny` may never be reached; it wins.
    pub fn new(allow: Vec<Destination>, deny: Vec<Destination>) -> Self {
        Self { allow, deny, allows_private: false }
    }

    /// The same with all addresses but those of `deny`: for hosts that the operator names.
    #[must_use]
    pub fn allowing_private(&self) -> Self {
        Self { allows_private: true, ..self.clone() }
    }

    /// Whether this address and port may be connected to.
    pub fn permits(&self, address: SocketAddr) -> bool {
        let (ip, port) = (address.ip().to_canonical(), address.port());
        let covers =
            |one: &Destination| one.net.contains(&ip) && one.port.is_none_or(|listed| listed == port);
        if self.deny.iter().any(covers) {
            return false;
        }
        if self.allows_private {
            return true;
        }
        let own = is_own_address(ip);
        let by_itself = |one: &Destination| one.net.prefix_len() == one.net.max_prefix_len();
        if self.allow.iter().any(|one| covers(one) && (!own || by_itself(one))) {
            return true;
        }
        port != SMTP && is_public(ip) && !own
    }
}

/// Whether an address is one of this host's. The kernel answers: towards an address of its own it
/// takes that address as the source. No packet is sent, and nothing is remembered that could change.
fn is_own_address(ip: IpAddr) -> bool {
    if ip.is_loopback() || ip.is_unspecified() {
        return true;
    }
    let any: IpAddr = if ip.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let source = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect((ip, 9))?;
        socket.local_addr()
    });
    source.is_ok_and(|source| source.ip() == ip)
}

/// Whether an address belongs to the public internet.
fn is_public(address: IpAddr) -> bool {
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
    let segments = address.segments();
    let special = (segments[0] == 0x2001
        // Teredo, ORCHID, benchmarks; documentation.
        && (segments[1] < 0x0200 || segments[1] == 0x0db8))
        || segments[0] == 0x2002 // 6to4
        || (segments[0] & 0xfff0) == 0x3ff0; // documentation (RFC 9637)
    (segments[0] & 0xe000) == 0x2000 && !special
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permits(guard: &Guard, address: &str) -> bool {
        guard.permits(address.parse().unwrap())
    }

    fn guard(allow: &[&str], deny: &[&str]) -> Guard {
        let parse = |list: &[&str]| list.iter().map(|one| one.parse().unwrap()).collect();
        Guard::new(parse(allow), parse(deny))
    }

    #[test]
    fn private_reserved_and_mapped_addresses_are_refused() {
        for text in [
            "127.0.0.1",
            "127.255.255.254",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "192.0.2.1",
            "[::]",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:10.0.0.1]",
            "[::ffff:169.254.169.254]",
            "[fe80::1]",
            "[fc00::1]",
            "[fd00:ec2::254]",
            "[ff02::1]",
            "[64:ff9b::7f00:1]",
            "[2002:7f00:1::]",
            "[::127.0.0.1]",
            "[2001:db8::1]",
        ] {
            assert!(!permits(&Guard::default(), &format!("{text}:80")), "{text} was let through");
        }
        for text in
            ["1.1.1.1", "93.184.216.34", "[2606:4700::1111]", "[2a00:1450:4001::1]", "[::ffff:1.1.1.1]"]
        {
            assert!(permits(&Guard::default(), &format!("{text}:443")), "{text} was refused");
            assert!(!permits(&Guard::default(), &format!("{text}:25")), "{text} was let through for mail");
        }
    }

    #[test]
    fn what_the_operator_lists_is_allowed_on_its_port_only_and_deny_wins() {
        let listed = guard(&["10.0.0.0/8:443", "192.168.7.7", "1.1.1.1:25"], &["10.6.0.0/16", "9.9.9.9"]);
        assert!(permits(&listed, "10.1.2.3:443"));
        assert!(permits(&listed, "[::ffff:10.1.2.3]:443"));
        assert!(permits(&listed, "192.168.7.7:8080"));
        assert!(permits(&listed, "1.1.1.1:25"));
        for refused in ["10.1.2.3:80", "10.6.1.1:443", "9.9.9.9:443", "192.168.7.8:8080"] {
            assert!(!permits(&listed, refused), "{refused}");
        }
        assert!(permits(&listed.allowing_private(), "127.0.0.1:5000"));
        assert!(!permits(&listed.allowing_private(), "10.6.1.1:443"));
    }

    #[test]
    fn addresses_of_this_host_count_only_where_they_are_listed_by_themselves() {
        assert!(!permits(&guard(&["127.0.0.0/8", "::/0"], &[]), "127.0.0.1:80"));
        assert!(!permits(&guard(&["127.0.0.0/8", "::/0"], &[]), "[::1]:80"));
        assert!(permits(&guard(&["127.0.0.1:80"], &[]), "127.0.0.1:80"));
        assert!(is_own_address("127.0.0.7".parse().unwrap()));
        assert!(!is_own_address("192.0.2.1".parse().unwrap()));
    }
}
