//! Network access for sandboxes that ask for it (`NetworkMode::Egress`).
//!
//! [`EgressSettings`] is what the operator says, the ruleset its translation for nftables, and
//! [`EgressNetwork`] the bridge and interfaces of the native driver. The Docker driver's network
//! is Docker's own; [`load_docker_filter`] puts the same ruleset before it. All but the settings
//! needs root and runs in the spawner or supervisor.

mod addresses;
mod commands;
mod forward;
mod network;
mod ruleset;
mod settings;

pub(crate) use network::docker_bridge;
pub use network::{Attached, EgressNetwork, load_docker_filter, reap, unload_docker_filter};
pub use settings::{EgressSettings, resolv_conf};
