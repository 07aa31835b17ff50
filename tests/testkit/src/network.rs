//! A network for a cloud's services: a namespace on a wire to this machine.
//!
//! Functions never reach their host's own addresses, whatever the operator lists. So services that
//! functions shall reach listen here, on their usual ports, and the operator's list names
//! [`CloudNetwork::allow`].

use std::fs::File;
use std::net::Ipv4Addr;

use rustix::process::{Pid, Signal, kill_process};

use crate::place::Place;
use crate::process::{ProcessError, run};

/// 198.51.100.0/24, which is for documentation (RFC 5737), has this many networks of four addresses.
const NETWORKS: u8 = 64;
/// Of 198.18.0.0/15, which is for tests (RFC 2544): what functions of one server get addresses from.
const SANDBOX_SUBNETS: std::ops::Range<u8> = 100..250;

/// A namespace and the wire to it; gone when dropped.
#[derive(Debug)]
pub struct CloudNetwork {
    number: u8,
    _number_is_ours: File,
}

impl CloudNetwork {
    /// Why there can be none here; `None` when there can. For [`crate::process::require`].
    pub fn missing() -> Option<String> {
        if !rustix::process::geteuid().is_root() {
            return Some("network namespaces need root".to_owned());
        }
        run("ip", ["netns", "list"]).and(run("nsenter", ["--version"])).err()
    }

    /// Makes one with addresses that no other test of this machine uses.
    pub fn start() -> Result<Self, ProcessError> {
        let cannot = |source| ProcessError::Start { program: "a network".to_owned(), source };
        let (number, lock) = take("networks", 0..NETWORKS).map_err(cannot)?;
        let network = Self { number, _number_is_ours: lock };
        network.clear();
        network.make().map_err(|error| cannot(std::io::Error::other(error)))?;
        Ok(network)
    }

    /// Where its services run.
    pub fn place(&self) -> Place {
        Place::within(self.name(), self.address())
    }

    /// The address of its services.
    pub fn address(&self) -> Ipv4Addr {
        self.host(2)
    }

    /// This machine's end of the wire: where services find who listens outside.
    pub fn host_address(&self) -> Ipv4Addr {
        self.host(1)
    }

    /// What the operator's `egress.allow` needs, for functions to reach its services.
    pub fn allow(&self) -> String {
        format!("{}/32", self.address())
    }

    /// A subnet for the functions of one server (`egress.subnet`), which no other test of this
    /// machine uses while this process lives.
    pub fn sandbox_subnet() -> std::io::Result<String> {
        let (number, lock) = take("sandbox-subnets", SANDBOX_SUBNETS)?;
        // Held until the process ends.
        std::mem::forget(lock);
        Ok(format!("198.18.{number}.0/24"))
    }

    fn host(&self, host: u8) -> Ipv4Addr {
        Ipv4Addr::new(198, 51, 100, self.number * 4 + host)
    }

    fn name(&self) -> String {
        format!("pcloud{}", self.number)
    }

    fn make(&self) -> Result<(), String> {
        let ip = |arguments: String| run("ip", arguments.split(' ')).map(drop);
        let (name, near) = (self.name(), format!("{}w", self.name()));
        let (ours, theirs) = (self.host_address(), self.address());
        ip(format!("netns add {name}"))?;
        ip(format!("link add {near} type veth peer name eth0 netns {name}"))?;
        ip(format!("address add {ours}/30 dev {near}"))?;
        ip(format!("link set dev {near} up"))?;
        ip(format!("-n {name} link set lo up"))?;
        ip(format!("-n {name} address add {theirs}/30 dev eth0"))?;
        ip(format!("-n {name} link set eth0 up"))?;
        // What functions send arrives with the address of their own bridge or of the wire.
        ip(format!("-n {name} route add default via {ours}"))
    }

    /// Ends what a killed test left under this number, and takes the namespace and the wire away.
    fn clear(&self) {
        let name = self.name();
        let Ok(pids) = run("ip", ["netns", "pids", &name]) else { return };
        for pid in pids.lines().filter_map(|pid| Pid::from_raw(pid.trim().parse().ok()?)) {
            let _ = kill_process(pid, Signal::KILL);
        }
        // The wire goes with the namespace, once the last process in it is gone.
        let _ = run("ip", ["netns", "delete", &name]);
        let _ = run("ip", ["link", "delete", "dev", &format!("{name}w")]);
    }
}

impl Drop for CloudNetwork {
    fn drop(&mut self) {
        self.clear();
    }
}

/// A number that no other process of this machine has taken; free again when the file is closed.
fn take(kind: &str, numbers: std::ops::Range<u8>) -> std::io::Result<(u8, File)> {
    let locks = std::env::temp_dir().join(format!("picasso-test-{kind}"));
    std::fs::create_dir_all(&locks)?;
    for number in numbers {
        let lock = File::options().create(true).append(true).open(locks.join(number.to_string()))?;
        if lock.try_lock().is_ok() {
            return Ok((number, lock));
        }
    }
    Err(std::io::Error::other(format!("all {kind} for tests are taken")))
}
