//! Sandboxes and their network.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::{IpNet, Ipv4Net};

use crate::entry::Entry;
use crate::leaf::{Leaf, quoted, text, wanted, word_leaf};
use crate::tree::section;

word_leaf!(
    /// What makes sandboxes.
    SandboxDriver {
        /// Linux namespaces and cgroups, made by a root process of ours. Needs a start as root.
        Native = "native",
        /// Containers of a Docker Engine.
        Docker = "docker",
    }
);

section! {
    /// Sandboxes.
    pub struct Sandbox {
        /// What makes them. `native` needs Linux and a start as root, `docker` a Docker Engine.
        pub driver: SandboxDriver = SandboxDriver::Native,
        /// The Docker Engine's socket.
        pub docker_socket: PathBuf = PathBuf::from("/var/run/docker.sock"),
        /// Processes and threads in one sandbox.
        pub pids: u32 = 256,
        /// Size of `/tmp` in one sandbox, MiB; it counts to the memory of the route.
        pub tmp_mb: u32 = 64,
        /// Files in `/tmp`.
        pub tmp_inodes: u64 = 8192,
        /// Open files of one process.
        pub nofile: u64 = 1024,
        /// CPU time of one sandbox, thousandths of one CPU.
        pub cpu_millis: u32 = 1000,
        /// Empty slots (namespaces, cgroup) of the native driver that are kept ready.
        pub ready_slots: u16 = 8,
        /// The same with egress, where it is enabled.
        pub ready_egress_slots: u16 = 2,
        /// Slots of the native driver at one time, used or ready.
        pub max_slots: u16 = 1024,
    }
}

section! {
    /// Egress.
    pub struct Egress {
        /// The network of the sandboxes' addresses, IPv4, `/8` to `/29`; must not be in use on this
        /// machine nor by another server on it. Default: none, and routes cannot ask for egress.
        pub subnet: Option<Ipv4Net> = None,
        /// Name servers in the sandboxes' `resolv.conf`, reachable on port 53 wherever they are; one
        /// on this host needs an entry in `allow`, too.
        pub dns: Vec<IpAddr> = Vec::new(),
        /// Destinations that are reachable although the rules above refuse them:
        /// `NETWORK[:PORT]`, IPv6 in brackets. An address of this host counts only where it is listed
        /// by itself.
        pub allow: Vec<Destination> = Vec::new(),
        /// Destinations that are never reachable, in the same form; wins over `allow`.
        pub deny: Vec<Destination> = Vec::new(),
        /// Connections of one sandbox at one time.
        pub max_connections: u32 = 256,
        /// Bandwidth of one sandbox in each direction, Mbit/s.
        pub bandwidth_mbit: u32 = 100,
    }
}

/// A network and perhaps one port of it: `10.0.0.0/8:443`, `192.0.2.7`, `[2001:db8::/32]:443`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Destination {
    /// The network.
    pub network: IpNet,
    /// The port; `None` means all.
    pub port: Option<u16>,
}

impl Destination {
    fn from_text(text: &str) -> Option<Self> {
        let network =
            |text: &str| text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
        if let Some(rest) = text.strip_prefix('[') {
            let (net, port) = rest.split_once(']')?;
            let port = match port {
                "" => None,
                port => Some(port.strip_prefix(':')?.parse().ok()?),
            };
            return Some(Self { network: network(net)?, port });
        }
        if let Some(network) = network(text) {
            return Some(Self { network, port: None });
        }
        let (net, port) = text.rsplit_once(':')?;
        Some(Self { network: network(net)?, port: Some(port.parse().ok().filter(|p| *p > 0)?) })
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.network, self.port) {
            (network, None) => write!(f, "{network}"),
            (IpNet::V4(network), Some(port)) => write!(f, "{network}:{port}"),
            (IpNet::V6(network), Some(port)) => write!(f, "[{network}]:{port}"),
        }
    }
}

impl Leaf for Destination {
    fn kind() -> String {
        "destinations like \"10.0.0.0/8:443\"".to_owned()
    }

    fn parse(entry: &Entry) -> Result<Self, String> {
        text(entry)
            .and_then(Self::from_text)
            .ok_or_else(|| wanted("a destination like \"10.0.0.0/8:443\" or \"[2001:db8::/32]:443\"", entry))
    }

    fn show(&self) -> Option<String> {
        Some(quoted(&self.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Option<String> {
        Destination::from_text(text).and_then(|d| d.show())
    }

    #[test]
    fn destinations_of_all_forms_are_read() {
        for (written, means) in [
            ("10.0.0.0/8:443", "\"10.0.0.0/8:443\""),
            ("10.0.0.0/8", "\"10.0.0.0/8\""),
            ("192.0.2.7:80", "\"192.0.2.7/32:80\""),
            ("[2001:db8::/32]:443", "\"[2001:db8::/32]:443\""),
            ("2001:db8::1", "\"2001:db8::1/128\""),
        ] {
            assert_eq!(shown(written).as_deref(), Some(means));
        }
    }

    #[test]
    fn half_written_destinations_are_refused() {
        for bad in [
            "",
            ":443",
            "10.0.0.0/8:",
            "10.0.0.0/8:0",
            "10.0.0.0/33",
            "example.org:443",
            "[::1",
            "10.0.0.1:x",
        ] {
            assert_eq!(shown(bad), None, "{bad}");
        }
    }
}
