//! How slots end: killed, removed, ended by themselves; and their burial.

use std::io;
use std::os::fd::AsFd;

use picasso_types::NetworkMode;
use rustix::event::epoll;
use rustix::process::{Signal, WaitId, WaitIdOptions};

use super::serve::{Spawner, find};
use super::slot::{self, Parts, Slot, State};
use super::{Level, log};
use crate::native::child::StartFault;
use crate::native::packet;
use crate::native::protocol::{RefusalKind, Report};
use crate::native::sys::{Linux, PASSED};
use crate::oci::keeper;
use crate::{Ended, EndedBy};

impl Spawner {
    pub(super) fn kill(&mut self, id: u32, number: u64) {
        if let Some((index, slot)) = find(&mut self.slots, number)
            && slot.process().is_some()
            && !matches!(slot.state, State::Made { .. })
        {
            self.doomed.insert(index);
            if let Err(e) = self.hunt(index) {
                return self.refuse(id, RefusalKind::Failed, &format!("killing: {e}"));
            }
        }
        self.report(&Report::Done { id });
    }

    /// Thaws and kills a slot's processes. Whoever holds its freezer may freeze them before they
    /// die, so this is repeated until they have: [`Self::hunt_all`].
    fn hunt(&mut self, index: u16) -> io::Result<()> {
        let Some(process) = self.slots.get(&index).and_then(Slot::process) else { return Ok(()) };
        // The group first: it thaws what is frozen. The process may not be in it yet.
        let thawed = self.tools.cgroups.kill_all(&Linux, index);
        let killed = rustix::process::pidfd_send_signal(&process.pidfd, Signal::KILL);
        match (thawed, killed.map_err(io::Error::from)) {
            (Err(e), _) | (_, Err(e)) if e.raw_os_error() != Some(libc::ESRCH) => Err(e),
            _ => Ok(()),
        }
    }

    /// Kills again whatever was to die and has not.
    pub(super) fn hunt_all(&mut self) {
        for index in self.doomed.clone() {
            let _ = self.hunt(index);
        }
    }

    pub(super) fn terminate(&mut self, id: u32, number: u64) {
        if let Some((index, slot)) = find(&mut self.slots, number)
            && let State::Running { process } = &slot.state
        {
            let thawed = self.tools.cgroups.thaw(&Linux, index);
            let told = rustix::process::pidfd_send_signal(&process.pidfd, Signal::TERM);
            match (thawed, told.map_err(io::Error::from)) {
                (Err(e), _) | (_, Err(e)) if e.raw_os_error() != Some(libc::ESRCH) => {
                    return self.refuse(id, RefusalKind::Failed, &format!("sending SIGTERM: {e}"));
                }
                _ => {}
            }
        }
        self.report(&Report::Done { id });
    }

    pub(super) fn remove(&mut self, id: u32, number: u64) {
        let Some((index, slot)) = find(&mut self.slots, number) else {
            return self.report(&Report::Done { id });
        };
        let network = slot.network;
        match std::mem::replace(&mut slot.state, State::Ended) {
            State::Removing { process, mut ids } => {
                ids.push(id);
                slot.state = State::Removing { process, ids };
            }
            State::Ended => {
                self.slots.remove(&index);
                self.begin_burial(index, network, vec![id]);
            }
            State::Starting { process, line, id: starting, .. } => {
                let _ = epoll::delete(&self.epoll, &line);
                slot.state = State::Removing { process: Some(process), ids: vec![id] };
                self.refuse(starting, RefusalKind::Slot, "the slot was removed meanwhile");
                self.doom(index);
            }
            State::Failing { process, id: starting, fault } => {
                slot.state = State::Removing { process: Some(process), ids: vec![id] };
                self.report(&Report::StartFault { id: starting, fault });
                self.doom(index);
            }
            State::Running { process } | State::Made { parts: Parts { process, .. }, .. } => {
                slot.state = State::Removing { process: Some(process), ids: vec![id] };
                self.doom(index);
            }
        }
    }

    /// Has a slot's process end.
    pub(super) fn doom(&mut self, index: u16) {
        self.doomed.insert(index);
        // What fails is tried again.
        let _ = self.hunt(index);
    }

    /// Ends parts that nobody was given.
    pub(super) fn discard(&mut self, parts: Parts) {
        let Parts { index, network, process, .. } = parts;
        let state = State::Removing { process: Some(process), ids: Vec::new() };
        self.slots.insert(index, Slot { serial: 0, network, freezer: None, netns: None, end: None, state });
        self.doom(index);
    }

    // What happens to processes.

    /// Hears what a process on its way says: its channel's descriptor, a fault, or by hanging up
    /// that it became the function.
    pub(super) fn hear_line(&mut self, index: u16) {
        let Some(slot) = self.slots.get_mut(&index) else { return };
        let State::Starting { line, channel, .. } = &mut slot.state else { return };
        let fault = loop {
            match packet::receive(line.as_fd()) {
                Ok(packet) if packet.bytes == PASSED => *channel = packet.fds.into_iter().next(),
                Ok(packet) => break StartFault::from_bytes(&packet.bytes),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                // Its end tells.
                Err(_) => break None,
            }
        };
        let _ = epoll::delete(&self.epoll, line);
        let State::Starting { process, channel, id, .. } = std::mem::replace(&mut slot.state, State::Ended)
        else {
            return;
        };
        match fault {
            Some(fault) => slot.state = State::Failing { process, id, fault },
            // Closed without a word: exec closed it, or the process was killed on its way, which
            // its end will tell.
            None => {
                slot.state = State::Running { process };
                let freezer = slot.freezer.take();
                let started = Report::Started {
                    id,
                    channel: channel.is_some(),
                    freezer: freezer.as_ref().map(|(kind, _)| *kind),
                };
                let fds = channel.into_iter().chain(freezer.map(|(_, fd)| fd)).collect();
                self.report_with(&started, fds);
            }
        }
    }

    pub(super) fn collect(&mut self, index: u16) {
        self.hear_line(index);
        let Some(slot) = self.slots.get_mut(&index) else { return self.lose_seat(index) };
        let Some(process) = slot.process() else { return };
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        let status = match rustix::process::waitid(WaitId::PidFd(process.pidfd.as_fd()), options) {
            Ok(None) => return,
            Ok(Some(status)) => Some(status),
            Err(_) => None,
        };
        let _ = epoll::delete(&self.epoll, &process.pidfd);
        self.doomed.remove(&index);
        let serial = slot.serial;
        let network = slot.network;
        let told = slot.end.take().and_then(|end| keeper::told(&end));
        match std::mem::replace(&mut slot.state, State::Ended) {
            State::Made { .. } => {}
            State::Failing { id, fault, .. } => self.report(&Report::StartFault { id, fault }),
            State::Removing { ids, .. } => {
                self.slots.remove(&index);
                self.begin_burial(index, network, ids);
            }
            _ => {
                let usage = self.tools.cgroups.usage(&Linux, index);
                let by = match status.as_ref() {
                    // A keeper that did not tell was killed with the function.
                    _ if self.tools.runtime.is_some() => told.unwrap_or(EndedBy::Signal(libc::SIGKILL)),
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

    /// A process died that sat ready: another takes its place.
    fn lose_seat(&mut self, index: u16) {
        let attaching = self.network.as_mut().and_then(|link| link.lose(index));
        if attaching.is_some() {
            self.pool.attaching(-1);
        }
        let Some(parts) = attaching.or_else(|| self.pool.lose(index)) else { return };
        let told = packet::receive(parts.line.as_fd()).ok();
        let fault = told.and_then(|packet| StartFault::from_bytes(&packet.bytes));
        let text = format!("the process of ready slot s{index} died: {fault:?}");
        log(Level::Error, "spawner", &text);
        self.pool.pause();
        self.discard(parts);
        self.collect(index);
        if !self.waiting.is_empty() {
            self.attach_one();
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
}
