//! What sandboxes with network access may reach, as the operator says it.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;
use picasso_types::network::Destination;
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
