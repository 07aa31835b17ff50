//! A block of host user and group ids for this server's sandboxes, shared with no other server
//! on the machine.

use std::fs::{DirBuilder, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::FlockOperation;

/// Where the locks are, one file per block.
const LOCKS: &str = "/run/picasso/uid-blocks";
/// Blocks of 2^28 ids: 0 has the host's own users, 15 the ids that mean "none".
const BLOCKS: std::ops::RangeInclusive<u32> = 1..=14;

/// A block, ours as long as the lock is open in any process.
#[derive(Debug)]
pub(super) struct IdBlock {
    pub(super) first: u32,
    pub(super) lock: OwnedFd,
}

impl IdBlock {
    /// Takes the first free block.
    pub(super) fn take() -> Result<Self, String> {
        Self::take_in(Path::new(LOCKS))
    }

    fn take_in(dir: &Path) -> Result<Self, String> {
        let fault = |e: io::Error| format!("{}: {e}", dir.display());
        DirBuilder::new().recursive(true).mode(0o755).create(dir).map_err(fault)?;
        for number in BLOCKS {
            let file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
                .open(dir.join(number.to_string()))
                .map_err(fault)?;
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Self { first: number << 28, lock: file.into() }),
                Err(rustix::io::Errno::WOULDBLOCK) => {}
                Err(e) => return Err(fault(e.into())),
            }
        }
        Err("14 servers with native sandboxes run on this machine already".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_servers_never_have_the_same_ids() {
        let dir = std::env::temp_dir().join(format!("ids-{}", picasso_types::random::short_id()));
        let all: Vec<IdBlock> = BLOCKS.map(|_| IdBlock::take_in(&dir).unwrap()).collect();
        let mut firsts: Vec<u32> = all.iter().map(|b| b.first).collect();
        firsts.dedup();
        assert_eq!(firsts.len(), 14);
        assert!(IdBlock::take_in(&dir).is_err());
        let third = all.into_iter().nth(2).unwrap().first;
        assert_eq!(third, 3 << 28);
        assert_eq!(IdBlock::take_in(&dir).unwrap().first, 1 << 28);
        std::fs::remove_dir_all(dir).unwrap();
    }
}
