//! The spawner's loop: requests, timers. What the engine asks for is
//! here; how slots end is in `ends`, what is answered in `answers`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use picasso_types::NetworkMode;
use rustix::event::epoll;

use super::network::Link;
use super::pool::Pool;
use super::seat::{StartFds, Tools};
use super::slot::{self, Parts, Slot, State};
use super::{Level, SpawnerSettings, log};
use crate::native::order::Order;
use crate::native::protocol::{RefusalKind, Report, Request, Start};
use crate::native::sys::Linux;
use crate::native::{netns, packet};
use crate::{Reaped, SlotLimits};

/// Quiet time before parts are made ahead, so that this does not slow a start that is under way.
const QUIET: Duration = Duration::from_millis(3);
/// Time without a quiet moment after which parts are made ahead between two starts.
const OVERDUE: Duration = Duration::from_millis(20);
/// Time between two looks at a cgroup that still has processes to bury or to kill.
pub(super) const BURY_AGAIN: Duration = Duration::from_millis(2);
/// Time between two looks whether making ahead may be tried again.
const PAUSED: Duration = Duration::from_millis(250);
pub(super) const SOCKET: u64 = 1 << 32;
const LINE: u64 = 2 << 32;
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
    pub(super) unsent: VecDeque<(Vec<u8>, Vec<OwnedFd>)>,
    /// Whether `unsent` waits for the socket to take more.
    pub(super) socket_is_full: bool,
    /// Slots whose process was told to end: it is thawed and killed until it has.
    pub(super) doomed: BTreeSet<u16>,
    hunt_at: Instant,
    /// When parts were last made ahead, or could have been.
    refilled: Instant,
    pub(super) reaped: Reaped,
    /// The folder of the folders with identities, until the engine has it.
    identities: Option<OwnedFd>,
}

impl Spawner {
    pub(super) fn new(
        settings: SpawnerSettings,
        socket: OwnedFd,
        kept: Vec<OwnedFd>,
        network: Option<Link>,
        tools: Tools,
        left: u32,
        identities: OwnedFd,
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
            socket_is_full: false,
            doomed: BTreeSet::new(),
            hunt_at: Instant::now(),
            refilled: Instant::now(),
            reaped,
            identities: Some(identities),
        })
    }

    /// Serves until the engine is gone, then ends everything.
    pub(super) fn run(mut self) -> Result<(), String> {
        let identities = self.identities.take().into_iter().collect();
        self.report_with(&Report::Hello { egress: self.network.is_some() }, identities);
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
            self.hunt_due();
            if events.is_empty() || self.refill_is_overdue() {
                self.refilled = Instant::now();
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
                    LINE => self.hear_line(index),
                    PROCESS => self.collect(index),
                    _ => self.hear_network(),
                }
            }
        }
    }

    /// Whether it was never quiet for so long that what is short is made all the same.
    fn refill_is_overdue(&self) -> bool {
        self.refilled.elapsed() > OVERDUE && self.pool.shortage().is_some()
    }

    fn hunt_due(&mut self) {
        let now = Instant::now();
        if !self.doomed.is_empty() && now >= self.hunt_at {
            self.hunt_at = now + BURY_AGAIN;
            self.hunt_all();
        }
    }

    fn timeout(&self) -> Option<Duration> {
        if !self.burying.is_empty() || !self.doomed.is_empty() {
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
                Request::Terminate { id, slot } => self.terminate(id, slot),
                Request::Sockets { id, slot, count } => self.make_sockets(id, slot, count)?,
            }
        }
        Ok(true)
    }

    fn make_slot(&mut self, id: u32, limits: SlotLimits, network: NetworkMode) {
        if self.slots.len() + self.waiting.len() >= self.settings.native.max_slots.into() {
            return self.refuse(id, RefusalKind::Slot, "every slot is in use");
        }
        match network {
            NetworkMode::None => match self.take_parts() {
                Ok(parts) => self.hand_out(id, limits, parts),
                Err(reason) => self.refuse(id, RefusalKind::Failed, &reason),
            },
            NetworkMode::Egress if self.network.is_none() => {
                self.refuse(id, RefusalKind::Unsupported, "no egress network is configured");
            }
            NetworkMode::Egress => match self.pool.take(NetworkMode::Egress) {
                Some(parts) => self.hand_out(id, limits, parts),
                None => {
                    self.waiting.push_back((id, limits));
                    self.attach_one();
                }
            },
        }
    }

    /// Ready parts without network, or new ones where none are.
    pub(super) fn take_parts(&mut self) -> Result<Parts, String> {
        match self.pool.take(NetworkMode::None) {
            Some(parts) => Ok(parts),
            None => self.make_parts(),
        }
    }

    /// Makes the parts of one slot, whose process is watched from here on.
    pub(super) fn make_parts(&mut self) -> Result<Parts, String> {
        let parts = self.pool.make(&Linux, &self.tools, &self.settings)?;
        let data = epoll::EventData::new_u64(PROCESS | u64::from(parts.index));
        match epoll::add(&self.epoll, &parts.process.pidfd, data, epoll::EventFlags::IN) {
            Ok(()) => Ok(parts),
            Err(e) => {
                self.discard(parts);
                Err(format!("watching a process: {e}"))
            }
        }
    }

    pub(super) fn hand_out(&mut self, id: u32, limits: SlotLimits, parts: Parts) {
        let index = parts.index;
        if let Err(e) = self.tools.cgroups.limit(&Linux, index, &limits) {
            self.refuse(id, RefusalKind::Failed, &e.to_string());
            return self.discard(parts);
        }
        self.serial += 1;
        let slot = Slot {
            serial: self.serial,
            network: parts.network,
            freezer: None,
            netns: None,
            end: None,
            state: State::Made { parts, limits },
        };
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
            State::Ended if slot.netns.is_none() => {
                return self.refuse(id, RefusalKind::Failed, "the slot's process died before its start");
            }
            other => {
                slot.state = other;
                return self.refuse(id, RefusalKind::Slot, "the slot was started already");
            }
        };
        let Parts { network, freezer, netns, process, line, end, .. } = parts;
        let order = Order::encode(network, &limits, start);
        let watched = fds.send(&line, &order).and_then(|()| {
            let data = epoll::EventData::new_u64(LINE | u64::from(index));
            Ok(epoll::add(&self.epoll, &line, data, epoll::EventFlags::IN)?)
        });
        (slot.freezer, slot.netns, slot.end) = (freezer, Some(netns), end);
        match watched {
            Ok(()) => slot.state = State::Starting { process, line, channel: None, id },
            Err(e) => {
                slot.state = State::Running { process };
                self.refuse(id, RefusalKind::Failed, &format!("starting a process: {e}"));
                self.doom(index);
            }
        }
    }

    /// Makes sockets of a started slot's network namespace. An error is the spawner's end: it is in
    /// that namespace for good.
    fn make_sockets(&mut self, id: u32, number: u64, count: u8) -> Result<(), String> {
        let slot = find(&mut self.slots, number);
        let Some(netns) = slot.and_then(|(_, slot)| slot.netns.as_ref()) else {
            self.refuse(id, RefusalKind::Slot, "no such started slot");
            return Ok(());
        };
        match netns::sockets(self.pool.home(), netns, count).map_err(|away| away.to_string())? {
            Ok(sockets) => self.report_with(&Report::Sockets { id }, sockets),
            Err(e) => self.refuse(id, RefusalKind::Failed, &format!("making sockets: {e}")),
        }
        Ok(())
    }
}

pub(super) fn find(slots: &mut BTreeMap<u16, Slot>, number: u64) -> Option<(u16, &mut Slot)> {
    let (serial, index) = slot::split(number);
    let slot = slots.get_mut(&index).filter(|slot| slot.serial == serial)?;
    Some((index, slot))
}
