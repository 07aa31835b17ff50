//! Turning a made slot into a running process: the clone.

use std::os::fd::{AsFd, OwnedFd};

use super::SpawnerSettings;
use super::slot::Parts;
use crate::native::cgroup::{Cgroups, Join};
use crate::native::child::{self, Launch};
use crate::native::mounts::{Mask, Skeleton, Tree};
use crate::native::packet;
use crate::native::protocol::Start;
use crate::native::raw::{self, Cloned, Process};
use crate::native::sys::Linux;
use crate::{Channel, SlotLimits};
use picasso_types::NetworkMode;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

/// What every start needs, made once.
#[derive(Debug)]
pub(super) struct Tools {
    pub(super) cgroups: Cgroups,
    pub(super) masks: Vec<Mask>,
    /// The seccomp program.
    pub(super) filter: Vec<u8>,
}

const NAMESPACES: i32 = libc::CLONE_NEWPID | libc::CLONE_NEWNS | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;

/// The descriptors that come with a start, checked: three pipes and a sealed memory file.
#[derive(Debug)]
pub(super) struct StartFds {
    streams: [OwnedFd; 3],
    process: OwnedFd,
}

impl StartFds {
    /// Takes the descriptors of a packet. A stream must be a pipe: it will be given to the
    /// function's user, which must not happen to anything else.
    pub(super) fn check(fds: Vec<OwnedFd>) -> Result<Self, &'static str> {
        let [stdin, stdout, stderr, process] =
            <[OwnedFd; 4]>::try_from(fds).map_err(|_| "a start needs four descriptors")?;
        let streams = [stdin, stdout, stderr];
        for stream in &streams {
            let stat = rustix::fs::fstat(stream).map_err(|_| "a stream cannot be read")?;
            if rustix::fs::FileType::from_raw_mode(stat.st_mode) != rustix::fs::FileType::Fifo {
                return Err("a stream is not a pipe");
            }
        }
        Ok(Self { streams, process })
    }
}

/// A process on its way to become a function, and the line that tells when it did: it closes at
/// exec, or carries the fault. Before that it may carry the descriptor of the channel.
#[derive(Debug)]
pub(super) struct Launched {
    pub(super) process: Process,
    pub(super) line: OwnedFd,
}

/// Clones the process. The parts are used up, whatever comes of it.
pub(super) fn launch(
    tools: &Tools,
    settings: &SpawnerSettings,
    parts: &Parts,
    limits: &SlotLimits,
    start: &Start,
    fds: &StartFds,
) -> std::io::Result<Launched> {
    let (line, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    let base = settings.base_id(parts.index);
    let layers: Vec<String> = start.layers.iter().map(hex).collect();
    let (tasks, cgroup) = match &parts.group.join {
        Join::Tasks(files) => (files.as_slice(), None),
        Join::Clone(dir) => (&[][..], Some(dir.as_fd())),
    };
    match raw::clone_process(NAMESPACES, cgroup)? {
        Cloned::Parent(process) => Ok(Launched { process, line }),
        Cloned::Child => {
            drop(line);
            let fault = child::become_function(
                &Linux,
                &Launch {
                    tasks,
                    netns: parts.netns.as_fd(),
                    userns: parts.userns.as_fd(),
                    tree: Tree {
                        masks: &tools.masks,
                        userns: parts.userns.as_fd(),
                        layers: &layers,
                        skeleton: match parts.network {
                            NetworkMode::None => Skeleton::None,
                            NetworkMode::Egress => Skeleton::Egress,
                        },
                        base_id: base,
                        tmp_bytes: limits.tmp_bytes,
                        tmp_inodes: limits.tmp_inodes,
                        socket_folder: (start.channel == Channel::SocketFolder)
                            .then_some((base + start.uid, base + start.gid)),
                    },
                    uid: start.uid,
                    gid: start.gid,
                    groups: &start.groups,
                    nofile: limits.nofile,
                    streams: [&fds.streams[0], &fds.streams[1], &fds.streams[2]].map(AsFd::as_fd),
                    process: fds.process.as_fd(),
                    line: theirs.as_fd(),
                    channel: start.channel,
                    filter: &tools.filter,
                },
            );
            let _ = packet::send(theirs.as_fd(), &fault.to_bytes(), &[]);
            raw::exit_now(127)
        }
    }
}

fn hex(digest: &[u8; 32]) -> String {
    let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap_or('0');
    digest.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}
