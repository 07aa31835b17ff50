//! The spawner's loop: requests, starts that came through or failed, ends, removals, refills.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use picasso_types::NetworkMode;
use rustix::event::epoll;
use rustix::process::{Signal, WaitId, WaitIdOptions};

use super::launch::{self, StartFds, Tools};
use super::network::Link;
use super::pool::Pool;
use super::slot::{self, Parts, Slot, State};
use super::{Level, SpawnerSettings, log};
use crate::native::child::StartFault;
use crate::native::packet;
use crate::native::protocol::{RefusalKind, Report, Request, Start};
use crate::native::sys::Linux;
use crate::{Ended, EndedBy, Reaped, SlotLimits};

/// Quiet time before parts are made ahead, so that this does not slow a start that is under way.
const QUIET: Duration = Duration::from_millis(3);
/// Time between two looks at a cgroup that still has processes to bury.
pub(super) const BURY_AGAIN: Duration = Duration::from_millis(2);
/// Time between two looks whether making ahead may be tried again.
const PAUSED: Duration = Duration::from_millis(250);
/// Reports that may wait for an engine that does not read.
const MAX_UNSENT: usize = 65_536;

const SOCKET: u64 = 1 << 32;
const STATUS: u64 = 2 << 32;
const PROCESS: u64 = 3 << 32;
const NETWORK: u64 = 4 << 32;

/// The spawner's whole state.
pub(super) struct Spawner {
    pub(super) settings: SpawnerSettings,
    pub(super) socket: OwnedFd,
    /// Locks and pipes whose being open tells others that this process lives.
    pub(super) _kept: Vec<OwnedFd>,
    pub(super) network: Option<Link>,
    pub(super) tools: Tools,
    pub(super) pool: Pool,
    pub(super) slots: BTreeMap<u16, Slot>,
    pub(super) serial: u64,
    /// Slots with egress that wait for their network.
    pub(super) waiting: VecDeque<(u32, SlotLimits)>,
    /// Cgroups to remove, and whom to tell then.
    pub(super) burying: Vec<(u16, Vec<u32>)>,
    pub(super) epoll: OwnedFd,
    pub(super) unsent: VecDeque<Vec<u8>>,
    pub(super) reaped: Reaped,
}

impl Spawner {
    pub(super) fn new(
        settings: SpawnerSettings,
        socket: OwnedFd,
        kept: Vec<OwnedFd>,
        network: Option<Link>,
        tools: Tools,
        left: u32,
    ) -> Result<Self, String> {
        let fault = |e: rustix::io::Errno| format!("epoll: {e}");
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(fault)?;
        let data = epoll::EventData::new_u64;
        epoll::add(&epoll, &socket, data(SOCKET), epoll::EventFlags::IN).map_err(fault)?;
        if let Some(link) = &network {
            epoll::add(&epoll, link.socket(), data(NETWORK), epoll::EventFlags::IN).map_err(fault)?;
        }
        let mut reaped = settings.reaped;
        reaped.sandboxes = reaped.sandboxes.saturating_add(left);
        Ok(Self {
            pool: Pool::new(&settings, network.is_some())?,
            settings,
            socket,
            _kept: kept,
            network,
            tools,
            slots: BTreeMap::new(),
            serial: 0,
            waiting: VecDeque::new(),
            burying: Vec::new(),
            epoll,
            unsent: VecDeque::new(),
            reaped,
        })
    }

    /// Serves until the engine is gone, then ends everything.
    pub(super) fn run(mut self) -> Result<(), String> {
        self.report(&Report::Hello { egress: self.network.is_some() });
        log(Level::Info, "spawner", "ready");
        let served = self.serve();
        if let Err(reason) = &served {
            log(Level::Error, "spawner", reason);
        }
        self.end_everything().and(served)
    }

    fn serve(&mut self) -> Result<(), String> {
        let mut events = Vec::with_capacity(64);
        loop {
            events.clear();
            let timeout = self.timeout().and_then(|t| t.try_into().ok());
            let buffer = rustix::buffer::spare_capacity(&mut events);
            match epoll::wait(&self.epoll, buffer, timeout.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(format!("epoll: {e}")),
            }
            self.bury();
            if events.is_empty() {
                self.refill();
            }
            for event in &events {
                let token = event.data.u64();
                let index = u16::try_from(token & 0xffff).unwrap_or(u16::MAX);
                match token & !0xffff_ffff {
                    SOCKET => {
                        self.send_unsent()?;
                        if !self.receive()? {
                            return Ok(());
                        }
                    }
                    STATUS => self.hear_status(index),
                    PROCESS => self.collect(index),
                    _ => self.hear_network(),
                }
            }
        }
    }

    fn timeout(&self) -> Option<Duration> {
        if !self.burying.is_empty() {
            return Some(BURY_AGAIN);
        }
        if self.pool.is_paused() {
            return Some(PAUSED);
        }
        self.pool.shortage().map(|_| QUIET)
    }

    // What the engine asks.

    /// Handles the packets that wait; `false` when the engine is gone.
    fn receive(&mut self) -> Result<bool, String> {
        for _ in 0..64 {
            let packet = match packet::receive(self.socket.as_fd()) {
                Ok(packet) if packet.bytes.is_empty() => return Ok(false),
                Ok(packet) => packet,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) if e.kind() == io::ErrorKind::ConnectionReset => return Ok(false),
                Err(e) => return Err(format!("the engine's socket: {e}")),
            };
            let Some(request) = Request::decode(&packet.bytes) else {
                return Err("the engine sent a message that is none".to_owned());
            };
            match request {
                Request::MakeSlot { id, limits, network } => self.make_slot(id, limits, network),
                Request::Start { id, start } => self.start(id, &start, packet.fds),
                Request::Kill { id, slot } => self.kill(id, slot),
                Request::Remove { id, slot } => self.remove(id, slot),
                Request::Reap { id } => {
                    let reaped = std::mem::take(&mut self.reaped);
                    self.report(&Report::Reaped { id, reaped });
                }
            }
        }
        Ok(true)
    }

    fn make_slot(&mut self, id: u32, limits: SlotLimits, network: NetworkMode) {
        if self.slots.len() + self.waiting.len() >= self.settings.native.max_slots.into() {
            return self.refuse(id, RefusalKind::Slot, "every slot is in use");
        }
        match network {
            NetworkMode::None => match self.pool.take(&Linux, &self.tools.cgroups, &self.settings) {
                Ok(parts) => self.hand_out(id, limits, parts),
                Err(reason) => self.refuse(id, RefusalKind::Failed, &reason),
            },
            NetworkMode::Egress if self.network.is_none() => {
                self.refuse(id, RefusalKind::Unsupported, "no egress network is configured");
            }
            NetworkMode::Egress => match self.pool.take_egress() {
                Some(parts) => self.hand_out(id, limits, parts),
                None => {
                    self.waiting.push_back((id, limits));
                    self.attach_one();
                }
            },
        }
    }

    pub(super) fn hand_out(&mut self, id: u32, limits: SlotLimits, parts: Parts) {
        let index = parts.index;
        if let Err(e) = self.tools.cgroups.limit(&Linux, index, &limits) {
            self.refuse(id, RefusalKind::Failed, &e.to_string());
            return self.begin_burial(index, parts.network, Vec::new());
        }
        self.serial += 1;
        let slot = Slot { serial: self.serial, network: parts.network, state: State::Made { parts, limits } };
        self.slots.insert(index, slot);
        self.report(&Report::Made { id, slot: slot::number(self.serial, index) });
    }

    fn start(&mut self, id: u32, start: &Start, fds: Vec<OwnedFd>) {
        let fds = match StartFds::check(fds) {
            Ok(fds) => fds,
            Err(reason) => return self.refuse(id, RefusalKind::Slot, reason),
        };
        let Some((index, slot)) = find(&mut self.slots, start.slot) else {
            return self.refuse(id, RefusalKind::Slot, "no such slot");
        };
        let (parts, limits) = match std::mem::replace(&mut slot.state, State::Ended) {
            State::Made { parts, limits } => (parts, limits),
            other => {
                slot.state = other;
                return self.refuse(id, RefusalKind::Slot, "the slot was started already");
            }
        };
        let launched = launch::launch(&self.tools, &self.settings, &parts, &limits, start, &fds);
        let watched = launched.and_then(|launched| {
            let data = epoll::EventData::new_u64;
            let read = epoll::EventFlags::IN;
            let index = u64::from(index);
            epoll::add(&self.epoll, &launched.status, data(STATUS | index), read)?;
            epoll::add(&self.epoll, &launched.process.pidfd, data(PROCESS | index), read)?;
            Ok(launched)
        });
        match watched {
            Ok(launched) => {
                let launch::Launched { process, status } = launched;
                slot.state = State::Starting { process, status, id };
            }
            Err(e) => {
                // Where the clone worked but the watching did not, the group tells what to kill.
                let _ = self.tools.cgroups.kill_all(&Linux, index);
                self.refuse(id, RefusalKind::Failed, &format!("starting a process: {e}"));
            }
        }
    }

    fn kill(&mut self, id: u32, number: u64) {
        if let Some((index, slot)) = find(&mut self.slots, number)
            && let Some(process) = slot.process()
        {
            // The group first: it thaws what is frozen. The process may not be in it yet.
            let thawed = self.tools.cgroups.kill_all(&Linux, index);
            let killed = rustix::process::pidfd_send_signal(&process.pidfd, Signal::KILL);
            if let (Err(e), _) | (_, Err(e)) = (thawed, killed.map_err(io::Error::from))
                && e.raw_os_error() != Some(libc::ESRCH)
            {
                return self.refuse(id, RefusalKind::Failed, &format!("killing: {e}"));
            }
        }
        self.report(&Report::Done { id });
    }

    fn remove(&mut self, id: u32, number: u64) {
        let Some((index, slot)) = find(&mut self.slots, number) else {
            return self.report(&Report::Done { id });
        };
        let network = slot.network;
        match std::mem::replace(&mut slot.state, State::Ended) {
            State::Removing { process, mut ids } => {
                ids.push(id);
                slot.state = State::Removing { process, ids };
            }
            State::Made { .. } | State::Ended => {
                self.slots.remove(&index);
                self.begin_burial(index, network, vec![id]);
            }
            State::Starting { process, status, id: starting } => {
                let _ = epoll::delete(&self.epoll, &status);
                slot.state = State::Removing { process: Some(process), ids: vec![id] };
                self.refuse(starting, RefusalKind::Slot, "the slot was removed meanwhile");
                self.kill_for_removal(index);
            }
            State::Failing { process, id: starting, fault } => {
                slot.state = State::Removing { process: Some(process), ids: vec![id] };
                self.report(&Report::StartFault { id: starting, fault });
                self.kill_for_removal(index);
            }
            State::Running { process } => {
                slot.state = State::Removing { process: Some(process), ids: vec![id] };
                self.kill_for_removal(index);
            }
        }
    }

    pub(super) fn kill_for_removal(&mut self, index: u16) {
        let _ = self.tools.cgroups.kill_all(&Linux, index);
        if let Some(process) = self.slots.get(&index).and_then(Slot::process) {
            let _ = rustix::process::pidfd_send_signal(&process.pidfd, Signal::KILL);
        }
    }

    // What happens to processes.

    fn hear_status(&mut self, index: u16) {
        let Some(slot) = self.slots.get_mut(&index) else { return };
        let State::Starting { status, id, .. } = &slot.state else { return };
        let id = *id;
        let mut bytes = [0; 8];
        let Ok(told) = rustix::io::read(status, &mut bytes) else { return };
        let _ = epoll::delete(&self.epoll, status);
        let State::Starting { process, .. } = std::mem::replace(&mut slot.state, State::Ended) else {
            return;
        };
        match StartFault::from_bytes(&bytes[..told]) {
            Some(fault) => slot.state = State::Failing { process, id, fault },
            // Closed without a word: exec closed it, or the process was killed on its way, which
            // its end will tell.
            None => {
                slot.state = State::Running { process };
                self.report(&Report::Done { id });
            }
        }
    }

    fn collect(&mut self, index: u16) {
        self.hear_status(index);
        let Some(slot) = self.slots.get_mut(&index) else { return };
        let Some(process) = slot.process() else { return };
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        let status = match rustix::process::waitid(WaitId::PidFd(process.pidfd.as_fd()), options) {
            Ok(None) => return,
            Ok(Some(status)) => Some(status),
            Err(_) => None,
        };
        let _ = epoll::delete(&self.epoll, &process.pidfd);
        let serial = slot.serial;
        let network = slot.network;
        match std::mem::replace(&mut slot.state, State::Ended) {
            State::Failing { id, fault, .. } => self.report(&Report::StartFault { id, fault }),
            State::Removing { ids, .. } => {
                self.slots.remove(&index);
                self.begin_burial(index, network, ids);
            }
            _ => {
                let usage = self.tools.cgroups.usage(&Linux, index);
                let by = match status.as_ref() {
                    Some(s) if s.exited() => EndedBy::Exit(s.exit_status().unwrap_or(0)),
                    Some(s) => EndedBy::Signal(s.terminating_signal().unwrap_or(libc::SIGKILL)),
                    None => EndedBy::Signal(libc::SIGKILL),
                };
                let ended = Ended {
                    by,
                    out_of_memory: usage.out_of_memory,
                    memory_peak_bytes: usage.memory_peak_bytes,
                };
                self.report(&Report::Ended { slot: slot::number(serial, index), ended });
            }
        }
    }

    // Removal.

    pub(super) fn begin_burial(&mut self, index: u16, network: NetworkMode, ids: Vec<u32>) {
        if let (NetworkMode::Egress, Some(link)) = (network, &mut self.network) {
            link.detach(index);
        }
        self.burying.push((index, ids));
        self.bury();
    }

    pub(super) fn bury(&mut self) {
        for (index, ids) in std::mem::take(&mut self.burying) {
            match self.tools.cgroups.remove(&Linux, index) {
                Ok(true) => {
                    self.pool.release(index);
                    for id in ids {
                        self.report(&Report::Done { id });
                    }
                }
                Ok(false) => {
                    let _ = self.tools.cgroups.kill_all(&Linux, index);
                    self.burying.push((index, ids));
                }
                Err(e) => {
                    // The index stays out of use until the next start reaps it.
                    log(Level::Error, "spawner", &format!("removing cgroup s{index}: {e}"));
                    for id in ids {
                        self.refuse(id, RefusalKind::Failed, &format!("removing the cgroup: {e}"));
                    }
                }
            }
        }
    }

    // Answers.

    pub(super) fn refuse(&mut self, id: u32, kind: RefusalKind, text: &str) {
        self.report(&Report::Refused { id, kind, text: text.to_owned() });
    }

    fn report(&mut self, report: &Report) {
        self.unsent.push_back(report.encode());
        // A socket that is broken shows itself to the loop.
        let _ = self.send_unsent();
    }

    fn send_unsent(&mut self) -> Result<(), String> {
        while let Some(bytes) = self.unsent.front() {
            match packet::send(self.socket.as_fd(), bytes, &[]) {
                Ok(()) => {
                    self.unsent.pop_front();
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                // The engine is gone; reading the socket tells.
                Err(_) => self.unsent.clear(),
            }
        }
        if self.unsent.len() > MAX_UNSENT {
            return Err("the engine does not read".to_owned());
        }
        let mut events = epoll::EventFlags::IN;
        events.set(epoll::EventFlags::OUT, !self.unsent.is_empty());
        let data = epoll::EventData::new_u64(SOCKET);
        epoll::modify(&self.epoll, &self.socket, data, events).map_err(|e| format!("epoll: {e}"))
    }
}

fn find(slots: &mut BTreeMap<u16, Slot>, number: u64) -> Option<(u16, &mut Slot)> {
    let (serial, index) = slot::split(number);
    let slot = slots.get_mut(&index).filter(|slot| slot.serial == serial)?;
    Some((index, slot))
}
