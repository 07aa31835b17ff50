//! The spawner's network worker: a process of its own that gives sandboxes their egress
//! interfaces, because making and deleting them takes tens of milliseconds that no start should
//! wait for.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use picasso_types::NetworkMode;
use picasso_types::text::cut;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{Signal, WaitId, WaitIdOptions};

use super::slot::Parts;
use super::{Level, log};
use crate::egress::{EgressNetwork, EgressSettings};
use crate::native::packet::{receive, send};
use crate::native::raw::{self, Cloned, Process};

/// How long setting the network up may take.
const SET_UP: Duration = Duration::from_secs(20);
/// Longest reason in an answer, bytes.
const MAX_REASON: usize = 1024;

const ATTACH: u8 = 1;
const DETACH: u8 = 2;

/// The spawner's end.
#[derive(Debug)]
pub(super) struct Link {
    socket: OwnedFd,
    worker: Process,
    waiting: BTreeMap<u16, Parts>,
}

/// Parts that came back from the worker.
#[derive(Debug)]
pub(super) struct Attachment {
    pub(super) parts: Parts,
    pub(super) result: Result<(), String>,
}

impl Link {
    /// Forks the worker, which sets the network up, and waits until it did. `engine` is the
    /// socket the worker must not keep open.
    pub(super) fn start(
        settings: &EgressSettings,
        data_dir: &Path,
        engine: &OwnedFd,
    ) -> Result<Self, String> {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .map_err(|e| format!("the network worker's socket: {e}"))?;
        match raw::clone_process(0, None).map_err(|e| format!("the network worker: {e}"))? {
            Cloned::Child => {
                drop(ours);
                // Its being open tells the engine that the spawner lives.
                let code = match raw::close_inherited(engine) {
                    Ok(()) => work(settings, data_dir, &theirs),
                    Err(_) => 1,
                };
                raw::exit_now(code)
            }
            Cloned::Parent(worker) => {
                drop(theirs);
                let link = Self { socket: ours, worker, waiting: BTreeMap::new() };
                link.await_set_up()?;
                Ok(link)
            }
        }
    }

    fn await_set_up(&self) -> Result<(), String> {
        let limit = Timespec { tv_sec: SET_UP.as_secs().cast_signed(), tv_nsec: 0 };
        let mut fds = [PollFd::new(&self.socket, PollFlags::IN)];
        let answered = poll(&mut fds, Some(&limit)).map_err(|e| e.to_string())?;
        if answered == 0 {
            return Err("the egress network was not set up within 20 seconds".to_owned());
        }
        let packet = receive(self.socket.as_fd()).map_err(|e| e.to_string())?;
        match packet.bytes.split_first() {
            Some((1, _)) => Ok(()),
            Some((_, reason)) => Err(String::from_utf8_lossy(reason).into_owned()),
            None => Err("the network worker died".to_owned()),
        }
    }

    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Asks the worker to attach the network of these parts; they come back by [`Self::receive`].
    pub(super) fn attach(&mut self, mut parts: Parts) {
        parts.network = NetworkMode::Egress;
        let index = parts.index.to_le_bytes();
        // A worker that is gone is told by its socket's end.
        let _ = send(self.socket(), &[ATTACH, index[0], index[1]], &[parts.netns.as_fd()]);
        self.waiting.insert(parts.index, parts);
    }

    /// Asks the worker to take a sandbox's interface away; nobody waits for it.
    pub(super) fn detach(&mut self, index: u16) {
        let index = index.to_le_bytes();
        let _ = send(self.socket(), &[DETACH, index[0], index[1]], &[]);
    }

    /// What the worker has done meanwhile; an error when it is gone.
    pub(super) fn receive(&mut self) -> Result<Vec<Attachment>, String> {
        let mut done = Vec::new();
        loop {
            let packet = match receive(self.socket()) {
                Ok(packet) => packet,
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => return Ok(done),
                Err(e) => return Err(format!("the network worker: {e}")),
            };
            let Some(([low, high, ok], reason)) = packet.bytes.split_first_chunk::<3>() else {
                return Err("the network worker died".to_owned());
            };
            if let Some(parts) = self.waiting.remove(&u16::from_le_bytes([*low, *high])) {
                let result = match ok {
                    1 => Ok(()),
                    _ => Err(String::from_utf8_lossy(reason).into_owned()),
                };
                done.push(Attachment { parts, result });
            }
        }
    }

    /// Takes parts out whose process died; their attachment is of no use.
    pub(super) fn lose(&mut self, index: u16) -> Option<Parts> {
        self.waiting.remove(&index)
    }

    /// Parts that will not come back.
    pub(super) fn take_waiting(&mut self) -> Vec<Parts> {
        std::mem::take(&mut self.waiting).into_values().collect()
    }

    /// Ends the worker, which takes the network down, and waits for it.
    pub(super) fn end(self, deadline: Instant) {
        drop(self.socket);
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_secs(1));
        let limit = Timespec::try_from(left).ok();
        let mut fds = [PollFd::new(&self.worker.pidfd, PollFlags::IN)];
        if !matches!(poll(&mut fds, limit.as_ref()), Ok(1)) {
            log(Level::Error, "spawner", "the network worker does not end; killing it");
            let _ = rustix::process::pidfd_send_signal(&self.worker.pidfd, Signal::KILL);
        }
        let fd = WaitId::PidFd(self.worker.pidfd.as_fd());
        let _ = rustix::process::waitid(fd, WaitIdOptions::EXITED);
    }
}

/// The worker process.
fn work(settings: &EgressSettings, data_dir: &Path, socket: &OwnedFd) -> i32 {
    // The worker of a spawner that was killed may still be taking the same network down.
    let _lock = match await_predecessor(data_dir, &settings.instance) {
        Ok(lock) => lock,
        Err(e) => {
            let _ = answer(socket, &[0], &format!("the network's lock: {e}"));
            return 1;
        }
    };
    let mut network = match EgressNetwork::set_up(settings) {
        Ok(network) => network,
        Err(e) => {
            let _ = answer(socket, &[0], &e.to_string());
            return 1;
        }
    };
    let mut alive = answer(socket, &[1], "").is_ok();
    while alive {
        let mut fds = [PollFd::new(socket, PollFlags::IN)];
        match poll(&mut fds, None) {
            Err(rustix::io::Errno::INTR) => continue,
            Err(_) => break,
            Ok(_) => {}
        }
        alive = match receive(socket.as_fd()) {
            Ok(packet) => obey(&mut network, socket, &packet.bytes, packet.fds.first()),
            Err(_) => false,
        };
    }
    match network.tear_down() {
        Ok(()) => 0,
        Err(e) => {
            log(Level::Error, "network", &e.to_string());
            1
        }
    }
}

/// Waits until no other worker of this instance has a network, and keeps it so.
fn await_predecessor(data_dir: &Path, instance: &str) -> std::io::Result<OwnedFd> {
    let lock = std::fs::File::create(data_dir.join("native").join(format!("network-{instance}")))?;
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive)?;
    Ok(lock.into())
}

fn obey(network: &mut EgressNetwork, socket: &OwnedFd, bytes: &[u8], netns: Option<&OwnedFd>) -> bool {
    let [what, low, high] = bytes else { return false };
    let index = u16::from_le_bytes([*low, *high]);
    match (*what, netns) {
        (ATTACH, Some(netns)) => {
            let (ok, reason) = match network.attach(netns.as_fd(), index.into()) {
                Ok(_) => (1, String::new()),
                Err(e) => (0, e.to_string()),
            };
            answer(socket, &[*low, *high, ok], &reason).is_ok()
        }
        (DETACH, None) => {
            network.detach(index.into());
            true
        }
        _ => false,
    }
}

fn answer(socket: &OwnedFd, head: &[u8], reason: &str) -> std::io::Result<()> {
    let reason = cut(reason, MAX_REASON);
    send(socket.as_fd(), &[head, reason.as_bytes()].concat(), &[])
}
