//! Slots' parts made ahead, one at a time while nothing else is to do.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use picasso_types::NetworkMode;

use super::SpawnerSettings;
use super::seat::{self, Place, Seated, Tools};
use super::slot::Parts;
use crate::native::sys::Kernel;
use crate::native::{linux, netns, userns};

/// Free indexes and ready parts.
#[derive(Debug)]
pub(super) struct Pool {
    /// Used in turn, so that an index rests as long as possible.
    free: VecDeque<u16>,
    ready: VecDeque<Parts>,
    ready_egress: VecDeque<Parts>,
    /// Parts whose network is being attached.
    attaching: usize,
    want: usize,
    want_egress: usize,
    /// After a failure, so that a host that cannot is not asked a hundred times a second.
    paused_until: Option<Instant>,
    home: OwnedFd,
}

const PAUSE: Duration = Duration::from_secs(1);

impl Pool {
    pub(super) fn new(settings: &SpawnerSettings, egress: bool) -> Result<Self, String> {
        let want_egress = if egress { settings.native.ready_egress_slots.into() } else { 0 };
        Ok(Self {
            free: (0..settings.indexes()).collect(),
            ready: VecDeque::new(),
            ready_egress: VecDeque::new(),
            attaching: 0,
            want: settings.native.ready_slots.into(),
            want_egress,
            paused_until: None,
            home: linux::own_network().map_err(|e| format!("own network namespace: {e}"))?,
        })
    }

    /// The spawner's own network namespace.
    pub(super) fn home(&self) -> &OwnedFd {
        &self.home
    }

    /// Ready parts.
    pub(super) fn take(&mut self, network: NetworkMode) -> Option<Parts> {
        match network {
            NetworkMode::None => self.ready.pop_front(),
            NetworkMode::Egress => self.ready_egress.pop_front(),
        }
    }

    /// Takes out the parts with this index: their process died.
    pub(super) fn lose(&mut self, index: u16) -> Option<Parts> {
        [&mut self.ready, &mut self.ready_egress].into_iter().find_map(|ready| {
            let at = ready.iter().position(|parts| parts.index == index)?;
            ready.remove(at)
        })
    }

    /// Makes the parts of one slot. Nothing is left behind where that fails.
    pub(super) fn make(
        &mut self,
        k: &dyn Kernel,
        tools: &Tools,
        settings: &SpawnerSettings,
    ) -> Result<Parts, String> {
        let index = self.free.pop_front().ok_or("every slot is in use")?;
        match self.make_at(k, tools, settings, index) {
            Ok(parts) => Ok(parts),
            Err(reason) => {
                let _ = tools.cgroups.remove(k, index);
                self.free.push_back(index);
                Err(reason)
            }
        }
    }

    fn make_at(
        &self,
        k: &dyn Kernel,
        tools: &Tools,
        settings: &SpawnerSettings,
        index: u16,
    ) -> Result<Parts, String> {
        let group = tools.cgroups.make(k, index).map_err(|e| e.to_string())?;
        let netns = netns::make(&self.home).map_err(|e| format!("network namespace: {e}"))?;
        let base_id = settings.base_id(index);
        let userns = userns::make(base_id).map_err(|e| format!("user namespace: {e}"))?;
        let place = Place { settings, index, group: &group, netns: &netns, userns: &userns };
        let Seated { process, line, end } =
            seat::take_seat(tools, &place).map_err(|e| format!("cloning a process: {e}"))?;
        let freezer = group.freezer;
        Ok(Parts { index, freezer, netns, process, line, end, network: NetworkMode::None })
    }

    /// Which pool is short of parts, if one is and an index is free.
    pub(super) fn shortage(&self) -> Option<NetworkMode> {
        if self.is_paused() || self.free.is_empty() {
            None
        } else if self.ready.len() < self.want {
            Some(NetworkMode::None)
        } else if self.ready_egress.len() + self.attaching < self.want_egress {
            Some(NetworkMode::Egress)
        } else {
            None
        }
    }

    /// There is no egress network any more.
    pub(super) fn without_egress(&mut self) -> Vec<Parts> {
        self.want_egress = 0;
        self.ready_egress.drain(..).collect()
    }

    /// Makes nothing ahead for a while.
    pub(super) fn pause(&mut self) {
        self.paused_until = Some(Instant::now() + PAUSE);
    }

    pub(super) fn is_paused(&self) -> bool {
        self.paused_until.is_some_and(|until| Instant::now() < until)
    }

    pub(super) fn put_back(&mut self, parts: Parts) {
        match parts.network {
            NetworkMode::None => self.ready.push_back(parts),
            NetworkMode::Egress => self.ready_egress.push_back(parts),
        }
    }

    pub(super) fn attaching(&mut self, change: isize) {
        self.attaching = self.attaching.saturating_add_signed(change);
    }

    /// The index may be used again: its cgroup and its interface are gone.
    pub(super) fn release(&mut self, index: u16) {
        self.free.push_back(index);
    }

    /// Stops refilling and gives the parts that were ready.
    pub(super) fn drain(&mut self) -> Vec<Parts> {
        (self.want, self.want_egress) = (0, 0);
        self.ready.drain(..).chain(self.ready_egress.drain(..)).collect()
    }
}
