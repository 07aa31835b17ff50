//! The file system in memory that holds the folders of identities: mounted in the spawner's own mount
//! namespace, so that no path of the host leads to it. The engine gets it as a descriptor, sandboxes get
//! one folder of it each. It goes when engine and spawner have ended, and was never on a disk.

use std::os::fd::{AsFd, OwnedFd};

use super::SpawnerSettings;
use crate::native::mounts::IDENTITIES;
use crate::native::sys::{Kernel, Linux, MountFlags};

/// Inodes for each sandbox: its folder, and every file that is ever written in it: a function may hold
/// those open that were replaced.
const INODES_EACH: u64 = crate::MAX_IDENTITY_WRITES as u64 + 2;
/// Bytes for each: a token and a short text take one page of memory each.
const BYTES_EACH: u64 = 4096 * INODES_EACH;

/// Mounts it below the working directory, the data directory. The way to it is for the engine.
pub(super) fn mount(settings: &SpawnerSettings) -> Result<OwnedFd, String> {
    let fault = |e: std::io::Error| format!("the file system for identities: {e}");
    let slots = u64::from(settings.native.max_slots);
    let (uid, gid) = settings.engine;
    let options = [
        ("size", (slots * BYTES_EACH).to_string()),
        ("nr_inodes", (slots * INODES_EACH + 1).to_string()),
        ("mode", "700".to_owned()),
        ("uid", uid.to_string()),
        ("gid", gid.to_string()),
    ];
    let flags = MountFlags { read_only: false, no_exec: true, no_dev: true };
    let folders = Linux::new_unswapped(&options, flags).map_err(fault)?;
    let place = Linux.open_in(rustix::fs::CWD, IDENTITIES).map_err(fault)?;
    Linux.attach(folders.as_fd(), place.as_fd()).map_err(fault)?;
    Ok(folders)
}
