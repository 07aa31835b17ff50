//! One slot and the states it goes through.

use std::os::fd::OwnedFd;

use picasso_types::NetworkMode;

use crate::SlotLimits;
use crate::native::child::StartFault;
use crate::native::protocol::{FreezerKind, SpawnerSlot};
use crate::native::raw::Process;

/// Low bits of a slot's number that hold its index.
const INDEX_BITS: u32 = 12;

/// What a slot is made of before it is given to a function: all of it unused.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) index: u16,
    pub(super) freezer: Option<(FreezerKind, OwnedFd)>,
    pub(super) netns: OwnedFd,
    /// Sits in the slot's namespaces and its cgroup.
    pub(super) process: Process,
    /// The way to it.
    pub(super) line: OwnedFd,
    /// Where a keeper tells the function's end: its own is not that.
    pub(super) end: Option<OwnedFd>,
    pub(super) network: NetworkMode,
}

/// A slot that the engine knows of.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) serial: u64,
    pub(super) network: NetworkMode,
    /// From its start until that is told.
    pub(super) freezer: Option<(FreezerKind, OwnedFd)>,
    /// From its start, for sockets in it.
    pub(super) netns: Option<OwnedFd>,
    /// From its start, where a keeper tells the function's end.
    pub(super) end: Option<OwnedFd>,
    pub(super) state: State,
}

/// Where a slot is in its life.
#[derive(Debug)]
pub(super) enum State {
    /// Ready to be started, once.
    Made { parts: Parts, limits: SlotLimits },
    /// The child is on its way; `id` is the request to answer.
    Starting { process: Process, line: OwnedFd, channel: Option<OwnedFd>, id: u32 },
    /// The child told that it could not become the function; it is exiting.
    Failing { process: Process, id: u32, fault: StartFault },
    /// The function runs.
    Running { process: Process },
    /// Its processes are gone.
    Ended,
    /// Asked to be removed; `process` is what must end first, `ids` whom to tell.
    Removing { process: Option<Process>, ids: Vec<u32> },
}

impl Slot {
    /// The process of the slot, seated or started, where it has one that has not ended.
    pub(super) fn process(&self) -> Option<&Process> {
        match &self.state {
            State::Starting { process, .. } | State::Failing { process, .. } | State::Running { process } => {
                Some(process)
            }
            State::Made { parts, .. } => Some(&parts.process),
            State::Removing { process, .. } => process.as_ref(),
            State::Ended => None,
        }
    }
}

/// The number the engine knows a slot by.
pub(super) fn number(serial: u64, index: u16) -> SpawnerSlot {
    serial << INDEX_BITS | u64::from(index)
}

/// The serial number and the index in a slot's number.
pub(super) fn split(number: SpawnerSlot) -> (u64, u16) {
    let index = number & ((1 << INDEX_BITS) - 1);
    (number >> INDEX_BITS, u16::try_from(index).unwrap_or(u16::MAX))
}
