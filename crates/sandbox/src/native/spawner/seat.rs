//! Seats: processes cloned ahead that sit in a slot and wait to be told what to become.
//!
//! A seat is in its namespaces and its cgroup and has done all that does not depend on an image.
//! It has one thread, one way to the spawner and none to anything else: every other descriptor of
//! the spawner's is closed in it. When the spawner goes away, so does it.

use std::convert::Infallible;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use picasso_types::NetworkMode;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::pipe::PipeFlags;

use super::SpawnerSettings;
use crate::native::cgroup::{Cgroups, Group, Join};
use crate::native::child::{self, Launch, Seat, StartFault, Step};
use crate::native::mounts::{Mask, Skeleton, Tree};
use crate::native::order::Order;
use crate::native::packet::{self, Packet};
use crate::native::raw::{self, Cloned, Process};
use crate::native::sys::Linux;
use crate::oci::Runtime;
use crate::oci::keeper::{self, Keep};
use crate::{Channel, IdentityFolderId};

/// What every start needs, made once.
#[derive(Debug)]
pub(super) struct Tools {
    pub(super) cgroups: Cgroups,
    pub(super) masks: Vec<Mask>,
    /// The seccomp program.
    pub(super) filter: Vec<u8>,
    /// What starts functions instead of their seats, where the operator chose one.
    pub(super) runtime: Option<Runtime>,
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

    /// Sends them with an order to a seated process.
    pub(super) fn send(&self, line: &OwnedFd, order: &[u8]) -> std::io::Result<()> {
        let [stdin, stdout, stderr] = &self.streams;
        let fds = [stdin, stdout, stderr, &self.process].map(AsFd::as_fd);
        packet::send(line.as_fd(), order, &fds)
    }
}

/// Where a seat is.
#[derive(Debug)]
pub(super) struct Place<'a> {
    pub(super) settings: &'a SpawnerSettings,
    pub(super) index: u16,
    pub(super) group: &'a Group,
    pub(super) netns: &'a OwnedFd,
    pub(super) userns: &'a OwnedFd,
}

/// A taken seat. `line` is the spawner's way to it: an order goes down; what comes up is the
/// descriptor of a channel, a fault, or the end of the line, which exec closes.
#[derive(Debug)]
pub(super) struct Seated {
    pub(super) process: Process,
    pub(super) line: OwnedFd,
    /// Where a keeper tells the function's end: its own is not that.
    pub(super) end: Option<OwnedFd>,
}

/// Clones the process of a slot.
pub(super) fn take_seat(tools: &Tools, place: &Place<'_>) -> std::io::Result<Seated> {
    let (line, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    if let Some(runtime) = &tools.runtime {
        let (end, tell) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // The keeper and the runtime are no part of the sandbox: its limits are the function's.
        return match raw::clone_process(NAMESPACES, None)? {
            Cloned::Parent(process) => Ok(Seated { process, line, end: Some(end) }),
            Cloned::Child => {
                let Err(fault) = sit_as_keeper(tools, runtime, place, &theirs, &tell);
                let _ = packet::send(theirs.as_fd(), &fault.to_bytes(), &[]);
                raw::exit_now(127)
            }
        };
    }
    let (tasks, cgroup) = match &place.group.join {
        Join::Tasks(files) => (files.as_slice(), None),
        Join::Clone(dir) => (&[][..], Some(dir.as_fd())),
    };
    match raw::clone_process(NAMESPACES, cgroup)? {
        Cloned::Parent(process) => Ok(Seated { process, line, end: None }),
        Cloned::Child => {
            let seat = Seat {
                tasks,
                netns: place.netns.as_fd(),
                userns: place.userns.as_fd(),
                line: theirs.as_fd(),
                masks: &tools.masks,
                base_id: place.settings.base_id(place.index),
            };
            let Err(fault) = sit(tools, &seat);
            let _ = packet::send(theirs.as_fd(), &fault.to_bytes(), &[]);
            raw::exit_now(127)
        }
    }
}

/// The seated process.
fn sit(tools: &Tools, seat: &Seat<'_>) -> Result<Infallible, StartFault> {
    let stage = child::sit_down(&Linux, seat)?;
    let (order, StartFds { streams, process }) = take_order(seat.line)?;
    let start = &order.start;
    let layers: Vec<String> = start.layers.iter().map(hex).collect();
    let (uid, gid) = (seat.base_id + start.uid, seat.base_id + start.gid);
    let identity = start.identity.map(IdentityFolderId::name);
    let launch = Launch {
        tree: Tree {
            userns: seat.userns,
            layers: &layers,
            skeleton: skeleton(order.network),
            base_id: seat.base_id,
            tmp_bytes: order.limits.tmp_bytes,
            tmp_inodes: order.limits.tmp_inodes,
            socket_folder: (start.channel == Channel::SocketFolder).then_some((uid, gid)),
            secrets: start.files.then_some((uid, gid)),
            identity: identity.as_deref(),
        },
        channel: start.channel,
        uid: start.uid,
        gid: start.gid,
        groups: &start.groups,
        nofile: order.limits.nofile,
        streams: [&streams[0], &streams[1], &streams[2]].map(AsFd::as_fd),
        process: process.as_fd(),
        filter: &tools.filter,
    };
    child::become_function(&Linux, seat, &stage, &launch)
}

/// The seated process where a runtime starts the function: its keeper.
fn sit_as_keeper(
    tools: &Tools,
    runtime: &Runtime,
    place: &Place<'_>,
    line: &OwnedFd,
    end: &OwnedFd,
) -> Result<Infallible, StartFault> {
    let (netns, userns) = (place.netns.as_fd(), place.userns.as_fd());
    let ready = keeper::make_ready(line, netns, &[line.as_fd(), end.as_fd(), netns, userns])?;
    let (order, StartFds { streams, process }) = take_order(line.as_fd())?;
    let start = &order.start;
    let layers: Vec<String> = start.layers.iter().map(hex).collect();
    let identity = start.identity.map(IdentityFolderId::name);
    let keep = Keep {
        name: &format!("picasso-{}-s{}", place.settings.instance, place.index),
        cgroup: &tools.cgroups.path(place.index),
        swap: tools.cgroups.limits_swap(),
        tree: Tree {
            userns,
            layers: &layers,
            skeleton: skeleton(order.network),
            base_id: place.settings.base_id(place.index),
            tmp_bytes: order.limits.tmp_bytes,
            tmp_inodes: order.limits.tmp_inodes,
            socket_folder: None,
            secrets: None,
            identity: identity.as_deref(),
        },
        limits: &order.limits,
        uid: start.uid,
        gid: start.gid,
        groups: &start.groups,
        streams: [&streams[0], &streams[1], &streams[2]].map(AsFd::as_fd),
        process: process.as_fd(),
        line,
        end: end.as_fd(),
    };
    keeper::keep(runtime, &ready, &keep)
}

fn skeleton(network: NetworkMode) -> Skeleton {
    match network {
        NetworkMode::None => Skeleton::None,
        NetworkMode::Egress => Skeleton::Egress,
    }
}

fn take_order(line: BorrowedFd<'_>) -> Result<(Order, StartFds), StartFault> {
    let Some(Packet { bytes, fds }) = next_order(line) else {
        // The spawner is gone, or has no use for this seat.
        raw::exit_now(0)
    };
    let broken = || StartFault { step: Step::Blob, errno: libc::EBADMSG };
    let order = Order::decode(&bytes).ok_or_else(broken)?;
    Ok((order, StartFds::check(fds).map_err(|_| broken())?))
}

fn next_order(line: BorrowedFd<'_>) -> Option<Packet> {
    loop {
        match packet::receive(line) {
            Ok(packet) => return Some(packet).filter(|packet| !packet.bytes.is_empty()),
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
        let mut fds = [PollFd::from_borrowed_fd(line, PollFlags::IN)];
        // Interrupted or not, the line is looked at again.
        let _ = poll(&mut fds, None);
    }
}

fn hex(digest: &[u8; 32]) -> String {
    let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap_or('0');
    digest.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}
