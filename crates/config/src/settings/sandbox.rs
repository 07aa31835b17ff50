//! Sandboxes and their network.

use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::Ipv4Net;
use picasso_types::network::Destination;

use crate::entry::Entry;
use crate::leaf::{Leaf, quoted, text, wanted};
use crate::tree::section;

/// What makes sandboxes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SandboxRuntime {
    /// Linux namespaces and cgroups, made by a root process of ours. Needs a start as root.
    Native,
    /// Containers of a Docker Engine.
    Docker,
    /// An OCI runtime, started by a root process of ours. Needs a start as root.
    Oci(OciBinary),
}

/// The program of an OCI runtime: an absolute path, or a name that root's `PATH` has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OciBinary(PathBuf);

impl OciBinary {
    fn from_text(text: &str) -> Option<Self> {
        let named = !text.contains('/') && !matches!(text, "" | "." | "..");
        let sane = !text.chars().any(|c| c.is_control() || c.is_whitespace());
        (sane && (named || text.starts_with('/'))).then(|| Self(PathBuf::from(text)))
    }

    /// As it was written.
    pub fn path(&self) -> &std::path::Path {
        &self.0
    }
}

impl Leaf for SandboxRuntime {
    fn kind() -> String {
        "`native`, `docker` or `oci:BINARY`".to_owned()
    }

    fn parse(entry: &Entry) -> Result<Self, String> {
        let known = match text(entry) {
            Some("native") => Some(Self::Native),
            Some("docker") => Some(Self::Docker),
            other => {
                other.and_then(|text| text.strip_prefix("oci:")).and_then(OciBinary::from_text).map(Self::Oci)
            }
        };
        known.ok_or_else(|| {
            let right = "\"native\", \"docker\" or \"oci:BINARY\", the binary by its absolute path or its \
                         name in root's PATH";
            wanted(right, entry)
        })
    }

    fn show(&self) -> Option<String> {
        Some(quoted(&match self {
            Self::Native => "native".to_owned(),
            Self::Docker => "docker".to_owned(),
            Self::Oci(binary) => format!("oci:{}", binary.0.display()),
        }))
    }
}

section! {
    /// Sandboxes.
    pub struct Sandbox {
        /// What makes them. `native` needs Linux and a start as root, `docker` a Docker Engine,
        /// `oci:BINARY` a start as root and an OCI runtime: its absolute path, or its name in root's
        /// `PATH` (`oci:runc`). See docs/sandboxes.md.
        pub runtime: SandboxRuntime = SandboxRuntime::Native,
        /// The Docker Engine's socket.
        pub docker_socket: PathBuf = PathBuf::from("/var/run/docker.sock"),
        /// Where secrets that functions in containers of a Docker Engine get as files, and their
        /// identities, lie while these run: a folder in memory (tmpfs), which the Engine must see under
        /// the same path.
        pub docker_secrets_folder: PathBuf = PathBuf::from("/dev/shm"),
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
        /// Empty slots (namespaces, cgroup) that are kept ready; not for `docker`.
        pub ready_slots: u16 = 8,
        /// The same with egress, where it is enabled.
        pub ready_egress_slots: u16 = 2,
        /// Slots at one time, used or ready; not for `docker`.
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

impl Leaf for Destination {
    fn kind() -> String {
        "destinations like \"10.0.0.0/8:443\"".to_owned()
    }

    fn parse(entry: &Entry) -> Result<Self, String> {
        text(entry)
            .and_then(|text| text.parse().ok())
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
        text.parse::<Destination>().ok().and_then(|d| d.show())
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
    fn an_oci_runtime_is_named_by_an_absolute_path_or_a_bare_name() {
        for good in ["runc", "/usr/sbin/runc", "runsc-2025"] {
            assert_eq!(OciBinary::from_text(good).unwrap().path().to_str(), Some(good));
        }
        for bad in ["", "..", "bin/runc", "./runc", "run c", "runc\n"] {
            assert_eq!(OciBinary::from_text(bad), None, "{bad:?}");
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
