//! Networks as operators write them down: what sandboxes and outbound requests may reach.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Serialize};

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
