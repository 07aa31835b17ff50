//! The bridge, the sandboxes' interfaces and the loaded packet filter. Needs root.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::process::Child;

use super::addresses::{Addresses, mac};
use super::commands::{find, run, start};
use super::ruleset::ruleset;
use super::settings::EgressSettings;
use crate::SandboxError;

/// The network of one server's native sandboxes: a bridge in the host's namespace with isolated
/// ports, its packet filter, and a veth pair for every attached sandbox.
#[derive(Debug)]
pub struct EgressNetwork {
    settings: EgressSettings,
    addresses: Addresses,
    /// Deleting a veth pair takes the kernel 25 ms; nobody waits for it.
    deleting: Vec<Child>,
}

/// What a sandbox was attached with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attached {
    /// Its address.
    pub address: Ipv4Addr,
    /// Its gateway: the bridge.
    pub gateway: Ipv4Addr,
}

/// The bridge of the native driver's sandboxes.
pub(super) fn native_bridge(instance: &str) -> String {
    format!("pcs{instance}")
}

/// The bridge of the Docker driver's network.
pub(crate) fn docker_bridge(instance: &str) -> String {
    format!("pcd{instance}")
}

fn native_table(instance: &str) -> String {
    format!("picasso_{instance}")
}

fn docker_table(instance: &str) -> String {
    format!("picasso_docker_{instance}")
}

fn interface_prefix(instance: &str) -> String {
    format!("p{instance}-")
}

impl EgressNetwork {
    /// Makes bridge and packet filter, removing what an earlier process with the same instance id
    /// left, and switches IPv4 forwarding on.
    pub fn set_up(settings: &EgressSettings) -> Result<Self, SandboxError> {
        check(settings)?;
        let instance = &settings.instance;
        reap_native(instance)?;
        let bridge = native_bridge(instance);
        // The filter is there before the first interface it is for.
        run("nft", &["-f", "-"], &ruleset(settings, &native_table(instance), &bridge))?;
        let gateway = settings.gateway();
        let length = settings.subnet.prefix_len();
        let made = run(
            "ip",
            &["-batch", "-"],
            &format!(
                "link add name {bridge} type bridge\n\
                 link set dev {bridge} addrgenmode none\n\
                 address add {gateway}/{length} dev {bridge}\n\
                 link set dev {bridge} up\n"
            ),
        )
        .and_then(|_| forward_ipv4())
        .and_then(|()| super::forward::admit(instance, &bridge));
        if let Err(error) = made {
            let _ = reap_native(instance);
            return Err(error);
        }
        Ok(Self { settings: settings.clone(), addresses: Addresses::of(settings), deleting: Vec::new() })
    }

    /// The settings it was set up with.
    pub fn settings(&self) -> &EgressSettings {
        &self.settings
    }

    /// Gives the network namespace `netns` an `eth0` with the slot's address and a default route.
    pub fn attach(&mut self, netns: BorrowedFd<'_>, slot: u32) -> Result<Attached, SandboxError> {
        self.collect();
        let name = self.interface(slot);
        if interfaces()?.contains(&name) {
            run("ip", &["link", "delete", "dev", &name], "")?;
        }
        let address = self.addresses.take(slot).ok_or_else(|| SandboxError::Failed {
            context: format!("attaching slot {slot}"),
            reason: format!("every address of {} is taken (hint: a larger subnet)", self.settings.subnet),
        })?;
        let mac = mac(address);
        let bridge = native_bridge(&self.settings.instance);
        let gateway = self.settings.gateway();
        let length = self.settings.subnet.prefix_len();
        // The commands run as children; this process's descriptor is reached by its number.
        let netns = format!("/proc/{}/fd/{}", std::process::id(), netns.as_raw_fd());
        let made = run(
            "ip",
            &["-batch", "-"],
            &format!(
                "link add name {name} type veth peer name eth0 address {mac} netns {netns}\n\
                 link set dev {name} master {bridge} addrgenmode none\n\
                 link set dev {name} type bridge_slave isolated on\n\
                 link set dev {name} up\n"
            ),
        )
        .and_then(|_| {
            run(
                "nsenter",
                &[&format!("--net={netns}"), "--", &ip_path(), "-batch", "-"],
                &format!(
                    "link set dev lo up\n\
                     link set dev eth0 addrgenmode none\n\
                     address add {address}/{length} dev eth0\n\
                     link set dev eth0 up\n\
                     route add default via {gateway}\n"
                ),
            )
        });
        if let Err(error) = made {
            let _ = run("ip", &["link", "delete", "dev", &name], "");
            self.addresses.give_back(slot);
            return Err(error);
        }
        Ok(Attached { address, gateway })
    }

    /// Takes a slot's interface away, in the background; fine to repeat.
    pub fn detach(&mut self, slot: u32) {
        self.collect();
        if !self.addresses.give_back(slot) {
            return;
        }
        let name = self.interface(slot);
        // Where this fails the interface goes with its namespace, or with the next reap.
        if let Ok(child) = start("ip", &["link", "delete", "dev", &name]) {
            self.deleting.push(child);
        }
    }

    /// Removes interfaces, bridge and packet filter.
    pub fn tear_down(mut self) -> Result<(), SandboxError> {
        for mut child in std::mem::take(&mut self.deleting) {
            let _ = child.wait();
        }
        reap_native(&self.settings.instance).map(|_| ())
    }

    fn interface(&self, slot: u32) -> String {
        format!("{}{slot}", interface_prefix(&self.settings.instance))
    }

    fn collect(&mut self) {
        self.deleting.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
    }
}

/// Loads the packet filter for the Docker driver's network. Root's part of that driver: called
/// before the first container joins the network, harmless while there is none.
pub fn load_docker_filter(settings: &EgressSettings) -> Result<(), SandboxError> {
    check(settings)?;
    filter_bridged()?;
    let bridge = docker_bridge(&settings.instance);
    run("nft", &["-f", "-"], &ruleset(settings, &docker_table(&settings.instance), &bridge))?;
    forward_ipv4()
}

/// Removes the packet filter of the Docker driver's network.
pub fn unload_docker_filter(instance: &str) -> Result<(), SandboxError> {
    delete_table(&docker_table(instance))
}

/// Removes the interfaces, bridge and packet filters an earlier process of this instance left;
/// how many interfaces there were.
pub fn reap(instance: &str) -> Result<u32, SandboxError> {
    unload_docker_filter(instance)?;
    reap_native(instance)
}

fn reap_native(instance: &str) -> Result<u32, SandboxError> {
    let bridge = native_bridge(instance);
    let prefix = interface_prefix(instance);
    let mut removed = 0;
    let mut commands = String::new();
    for name in interfaces()? {
        if name == bridge || name.starts_with(&prefix) {
            let _ = writeln!(commands, "link delete dev {name}");
            removed += 1;
        }
    }
    if removed > 0 {
        // An interface may have gone with its namespace meanwhile.
        run("ip", &["-force", "-batch", "-"], &commands).or_else(|error| {
            let left = interfaces()?.iter().any(|name| *name == bridge || name.starts_with(&prefix));
            if left { Err(error) } else { Ok(String::new()) }
        })?;
    }
    super::forward::withdraw(instance)?;
    delete_table(&native_table(instance))?;
    Ok(removed)
}

fn check(settings: &EgressSettings) -> Result<(), SandboxError> {
    let faults = settings.faults();
    if faults.is_empty() {
        return Ok(());
    }
    Err(SandboxError::Unsupported { driver: "egress", reason: faults.join("; ") })
}

fn delete_table(table: &str) -> Result<(), SandboxError> {
    if find("nft").is_none() {
        return Ok(());
    }
    // Naming the table first makes deleting one that is not there no error.
    run("nft", &["-f", "-"], &format!("table inet {table}\ndelete table inet {table}\n")).map(|_| ())
}

/// Containers of one Docker network are ports of one bridge: only where bridged packets pass the
/// packet filter can it keep them apart. (The native driver's ports are isolated instead.)
fn filter_bridged() -> Result<(), SandboxError> {
    const SWITCH: &str = "/proc/sys/net/bridge/bridge-nf-call-iptables";
    let set = |error: &std::io::Error| SandboxError::Unsupported {
        driver: "egress",
        reason: format!(
            "{SWITCH} cannot be switched on ({error}), so containers could reach each other \
             (hint: modprobe br_netfilter)"
        ),
    };
    std::fs::write(SWITCH, "1").map_err(|error| set(&error))
}

fn forward_ipv4() -> Result<(), SandboxError> {
    const FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";
    let failed = |error: std::io::Error| SandboxError::Failed {
        context: format!("switching on {FORWARD}"),
        reason: error.to_string(),
    };
    if std::fs::read_to_string(FORWARD).map_err(failed)?.trim() == "1" {
        return Ok(());
    }
    std::fs::write(FORWARD, "1").map_err(failed)
}

/// The interfaces of the network namespace this process is in (`/sys` shows that of its mount).
fn interfaces() -> Result<Vec<String>, SandboxError> {
    let table = std::fs::read_to_string("/proc/self/net/dev").map_err(|error| SandboxError::Failed {
        context: "listing network interfaces".to_owned(),
        reason: error.to_string(),
    })?;
    let names = table.lines().filter_map(|line| line.split_once(':'));
    Ok(names.map(|(name, _)| name.trim().to_owned()).collect())
}

fn ip_path() -> String {
    find("ip").map_or_else(|| "ip".to_owned(), |path| path.to_string_lossy().into_owned())
}
