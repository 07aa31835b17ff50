//! The spawner's end: the engine is gone, and nothing of its sandboxes may stay.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::process::{WaitId, WaitIdOptions};

use super::network::Link;
use super::serve::{BURY_AGAIN, Spawner};
use super::slot::Slot;
use super::{Level, log};
use crate::native::sys::Linux;

/// How long the end may take.
const FAREWELL: Duration = Duration::from_secs(10);

impl Spawner {
    pub(super) fn end_everything(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + FAREWELL;
        let mut unused = self.pool.drain();
        unused.extend(self.network.as_mut().map(Link::take_waiting).unwrap_or_default());
        for parts in unused {
            self.discard(parts);
        }
        let indexes: Vec<u16> = self.slots.keys().copied().collect();
        for index in &indexes {
            self.doom(*index);
        }
        for index in indexes {
            if let Some(process) = self.slots.get(&index).and_then(Slot::process) {
                let fd = WaitId::PidFd(process.pidfd.as_fd());
                let _ = rustix::process::waitid(fd, WaitIdOptions::EXITED);
            }
            self.slots.remove(&index);
            self.burying.push((index, Vec::new()));
        }
        loop {
            self.bury();
            if self.burying.is_empty() {
                break;
            }
            if Instant::now() > deadline {
                return Err("processes of a sandbox do not end after SIGKILL".to_owned());
            }
            std::thread::sleep(BURY_AGAIN);
        }
        if let Some(link) = self.network.take() {
            link.end(deadline);
        }
        self.tools.cgroups.remove_base(&Linux).map_err(|e| format!("removing the cgroups: {e}"))?;
        log(Level::Info, "spawner", "ended, nothing left");
        Ok(())
    }
}
