//! What the server tells the supervisor.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::sockets::UnixSocketSettings;
use crate::egress::EgressSettings;

/// Everything the supervisor needs; made by the server out of the configuration.
#[derive(Debug, Clone)]
pub struct SupervisorSettings {
    /// The data directory: made when missing (root's, mode 1770, group of `user`), locked against
    /// a second server.
    pub data_dir: PathBuf,
    /// The unprivileged user the engine runs as when the supervisor is root.
    pub user: String,
    /// The native driver; `None` where the operator switched it off. It also stays off where the
    /// supervisor is not root.
    pub native: Option<NativeSettings>,
    /// What sandboxes with `network: egress` may reach; `None` where nothing is configured. The
    /// instance id in it is set by the supervisor.
    pub egress: Option<EgressSettings>,
    /// Whether the Docker driver is used, so that its network's packet filter is loaded.
    pub docker: bool,
    /// Unix sockets that the engine listens on. Sockets of these names that systemd passes take
    /// their places.
    pub unix_sockets: Vec<UnixSocketSettings>,
    /// Whether log lines are JSON; text otherwise.
    pub json_logs: bool,
    /// Bytes handed to the engine unread ([`super::EngineSide::settings`]), through a sealed
    /// memory file: they may hold secrets.
    pub engine: Vec<u8>,
}

/// The native driver's settings.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NativeSettings {
    /// Slots without network kept ready, 0 to 256.
    pub ready_slots: u16,
    /// Slots with egress kept ready, 0 to 64; used where `egress` is configured.
    pub ready_egress_slots: u16,
    /// Slots that may exist at one time; with the ready ones at most 4096.
    pub max_slots: u16,
    /// The program of an OCI runtime that starts the functions, absolute; `None` where the spawner
    /// does it itself.
    pub runtime: Option<PathBuf>,
}

impl Default for NativeSettings {
    fn default() -> Self {
        Self { ready_slots: 8, ready_egress_slots: 2, max_slots: 1024, runtime: None }
    }
}
