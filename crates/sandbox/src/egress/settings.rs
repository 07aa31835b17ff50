//! What sandboxes with network access may reach, as the operator says it.

use std::fmt::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Serialize};

/// The settings of `NetworkMode::Egress`.
///
/// Sandboxes get IPv4 only: no IPv6 packet of theirs leaves the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EgressSettings {
    /// The server's instance id, 8 hex digits: it names bridge, interfaces and tables.
    pub instance: String,
    /// The sandboxes' addresses, `/29` or larger; the first is the bridge's own. Must not be in
    /// use on this machine, nor by another server on it.
    pub subnet: Ipv4Net,
    /// Name servers written to the sandboxes' `resolv.conf`, reachable on port 53 wherever they
    /// are (but on this host: list those in `allow` too). None: no names are resolved.
    pub dns: Vec<IpAddr>,
    /// Destinations that may be reached although they are in a range that is denied by itself
    /// (private, loopback, link-local, …, port 25). An address of this host counts only where it
    /// is listed by itself (`/32`).
    pub allow: Vec<Destination>,
    /// Destinations that may never be reached; stronger than `allow`.
    pub deny: Vec<Destination>,
    /// Connections one sandbox may have at a time.
    pub max_connections: u32,
    /// Bytes a second one sandbox may send, and as many receive.
    pub bytes_per_second: u64,
}

impl EgressSettings {
    /// The bridge's own address: the sandboxes' gateway.
    pub fn gateway(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.subnet.network().to_bits() + 1)
    }

    /// The text of a sandbox's `/etc/resolv.conf`.
    pub fn resolv_conf(&self) -> String {
        resolv_conf(&self.dns)
    }

    /// What is wrong with the settings, each a sentence; empty when nothing is.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.instance.len() != 8 || !self.instance.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            faults.push(format!("the instance id {:?} is not 8 hex digits", self.instance));
        }
        if self.subnet.prefix_len() > 29 || self.subnet.prefix_len() < 8 {
            faults.push(format!("the subnet {} is not between /8 and /29", self.subnet));
        }
        if self.max_connections == 0 || self.bytes_per_second == 0 {
            faults.push("max_connections and bytes_per_second must be at least 1".to_owned());
        }
        if self.allow.len() + self.deny.len() > 1024 || self.dns.len() > 3 {
            faults.push("at most 1024 destinations and 3 name servers".to_owned());
        }
        faults
    }
}

/// `resolv.conf` for these name servers; without any it says that there are none.
pub fn resolv_conf(dns: &[IpAddr]) -> String {
    let mut text = String::from("# Written by Picasso.\n");
    for server in dns {
        let _ = writeln!(text, "nameserver {server}");
    }
    if !dns.is_empty() {
        text.push_str("options timeout:2 attempts:2\n");
    }
    text
}

/// A network and, where given, one port: `198.51.100.0/24`, `198.51.100.7:5432`,
/// `[2001:db8::/32]:443`. An address alone is a network of one; IPv4-mapped IPv6 is IPv4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Destination {
    /// The network.
    pub net: IpNet,
    /// The TCP or UDP port; all where none is given.
    pub port: Option<u16>,
}

/// A text is not a [`Destination`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a destination: write CIDR or CIDR:port, for example 198.51.100.0/24:443")]
pub struct DestinationError(String);

impl FromStr for Destination {
    type Err = DestinationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || DestinationError(text.chars().take(100).collect());
        let (net, port) = if let Some(rest) = text.strip_prefix('[') {
            let (net, rest) = rest.split_once(']').ok_or_else(error)?;
            match rest.strip_prefix(':') {
                Some(port) => (net, Some(port)),
                None if rest.is_empty() => (net, None),
                None => return Err(error()),
            }
        } else if text.matches(':').count() == 1 {
            text.split_once(':').map(|(net, port)| (net, Some(port))).ok_or_else(error)?
        } else {
            (text, None)
        };
        let net =
            net.parse::<IpNet>().or_else(|_| net.parse::<IpAddr>().map(IpNet::from)).map_err(|_| error())?;
        let port = port.map(|port| port.parse::<u16>().map_err(|_| error())).transpose()?;
        if port == Some(0) {
            return Err(error());
        }
        Ok(Self { net: unmapped(net.trunc()), port })
    }
}

fn unmapped(net: IpNet) -> IpNet {
    if let IpNet::V6(v6) = net
        && v6.prefix_len() >= 96
        && let Some(v4) = v6.network().to_ipv4_mapped()
        && let Ok(v4) = Ipv4Net::new(v4, v6.prefix_len() - 96)
    {
        return IpNet::V4(v4);
    }
    net
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.net, self.port) {
            (net, None) => net.fmt(f),
            (IpNet::V4(net), Some(port)) => write!(f, "{net}:{port}"),
            (IpNet::V6(net), Some(port)) => write!(f, "[{net}]:{port}"),
        }
    }
}

impl TryFrom<String> for Destination {
    type Error = DestinationError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Destination> for String {
    fn from(destination: Destination) -> Self {
        destination.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::Destination;

    #[test]
    fn destinations_are_read_and_written() {
        for (text, written) in [
            ("198.51.100.0/24", "198.51.100.0/24"),
            ("198.51.100.7", "198.51.100.7/32"),
            ("198.51.100.7/24:443", "198.51.100.0/24:443"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("[2001:db8::1]:443", "[2001:db8::1/128]:443"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("[::ffff:10.1.2.3]:22", "10.1.2.3/32:22"),
        ] {
            assert_eq!(text.parse::<Destination>().unwrap().to_string(), written, "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "host", "10.0.0.0/33", "10.0.0.1:0", "10.0.0.1:70000", "[::1]x", "[::1", "10.1"] {
            assert!(text.parse::<Destination>().is_err(), "{text}");
        }
    }
}
