//! What the supervisor tells the spawner, through an inherited memory file.

use serde::{Deserialize, Serialize};

use crate::Reaped;
use crate::egress::EgressSettings;
use crate::supervisor::NativeSettings;

/// Sandboxes one block of host ids has room for.
const BLOCK_SLOTS: u16 = 4096;

/// The spawner's settings.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SpawnerSettings {
    /// Eight hex digits; names cgroups and interfaces.
    pub(crate) instance: String,
    /// The data directory, absolute.
    pub(crate) data_dir: std::path::PathBuf,
    /// First host id of this server's block.
    pub(crate) first_id: u32,
    /// User and group of the engine, which alone writes into the folders of identities.
    pub(crate) engine: (u32, u32),
    pub(crate) native: NativeSettings,
    pub(crate) egress: Option<EgressSettings>,
    /// What the supervisor removed before it started this spawner.
    pub(crate) reaped: Reaped,
}

impl SpawnerSettings {
    /// What is wrong with the numbers; a sentence.
    pub(crate) fn fault(&self) -> Option<String> {
        let native = &self.native;
        let all = u32::from(native.max_slots)
            + u32::from(native.ready_slots)
            + u32::from(native.ready_egress_slots);
        if native.max_slots == 0 || all > u32::from(BLOCK_SLOTS) {
            return Some(format!(
                "max_slots must be at least 1, and at most {BLOCK_SLOTS} together with the ready slots"
            ));
        }
        if native.ready_slots > 256 || native.ready_egress_slots > 64 {
            return Some("ready_slots is at most 256, ready_egress_slots at most 64".to_owned());
        }
        if self.first_id == 0 || self.first_id.trailing_zeros() < 28 {
            return Some("the block of host ids is not one".to_owned());
        }
        None
    }

    /// Indexes the spawner hands out: made slots and ready ones.
    pub(crate) fn indexes(&self) -> u16 {
        self.native.max_slots + self.native.ready_slots + self.native.ready_egress_slots
    }

    /// Host id that is 0 in the sandbox with this index.
    pub(crate) fn base_id(&self, index: u16) -> u32 {
        self.first_id + u32::from(index) * crate::native::IDS
    }
}
