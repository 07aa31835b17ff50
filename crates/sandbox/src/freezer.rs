//! Stopping and continuing all processes of a sandbox.

use std::fs::File;
use std::io::{self, Write};

/// Stops and continues the processes of one sandbox. Blocking calls, but of microseconds: one
/// write to a file of the kernel each. Killing a frozen sandbox thaws it first (the driver does).
#[derive(Debug)]
pub struct Freezer {
    state: File,
    frozen: &'static [u8],
    thawed: &'static [u8],
}

impl Freezer {
    /// A freezer that writes to `state`: `freezer.state` of cgroup v1.
    pub fn v1(state: File) -> Self {
        Self { state, frozen: b"FROZEN", thawed: b"THAWED" }
    }

    /// A freezer that writes to `state`: `cgroup.freeze` of cgroup v2.
    pub fn v2(state: File) -> Self {
        Self { state, frozen: b"1", thawed: b"0" }
    }

    /// Stops the processes; those in the kernel stop when they leave it.
    pub fn freeze(&self) -> io::Result<()> {
        (&self.state).write_all(self.frozen)
    }

    /// Lets the processes go on.
    pub fn thaw(&self) -> io::Result<()> {
        (&self.state).write_all(self.thawed)
    }
}
