//! The book of one pool: its sandboxes, which of them have room, and the line of calls that wait
//! for one. No I/O and no clock: who decides hands in both.

use std::collections::VecDeque;
use std::time::Instant;

use slab::Slab;

/// A sandbox of the pool.
#[derive(Debug)]
struct Member<M> {
    handle: M,
    running: usize,
    /// Takes no new calls.
    condemned: bool,
    /// Its process is gone; the entry waits for the last of its calls.
    gone: bool,
    frozen: bool,
    idle_since: Instant,
}

/// A call was given to a sandbox.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Taken<M> {
    /// The sandbox.
    pub(super) handle: M,
    /// It is frozen and must be thawed.
    pub(super) frozen: bool,
    /// It has no other call.
    pub(super) first: bool,
}

/// What became of a sandbox by a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Now {
    /// It has calls still, or is gone already.
    Unchanged,
    /// It has room; others call it too.
    Shared,
    /// It has no call and may take one.
    Idle,
    /// It has no call and takes none: it is to be ended.
    Spent,
}

/// What a sandbox was whose process is gone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Removed {
    /// It took calls.
    pub(super) unasked: bool,
    /// It had calls.
    pub(super) running: bool,
}

/// Sandboxes `M` and the line of calls `W`.
#[derive(Debug)]
pub(super) struct Roster<M, W> {
    concurrency: usize,
    members: Slab<Member<M>>,
    /// Members with room, the one that was used last at the end.
    free: Vec<usize>,
    live: usize,
    running: usize,
    /// Calls that wait, in order of arrival.
    pub(super) line: VecDeque<W>,
    /// Sandboxes on their way.
    pub(super) starting: usize,
}

impl<M: Clone, W> Roster<M, W> {
    /// An empty book; each sandbox serves `concurrency` calls at one time.
    pub(super) fn new(concurrency: usize) -> Self {
        Self {
            concurrency: concurrency.max(1),
            members: Slab::new(),
            free: Vec::new(),
            live: 0,
            running: 0,
            line: VecDeque::new(),
            starting: 0,
        }
    }

    /// Adds a sandbox that takes calls; `make` gets its key.
    pub(super) fn add(&mut self, make: impl FnOnce(usize) -> M, now: Instant) -> M {
        let entry = self.members.vacant_entry();
        let key = entry.key();
        let handle = make(key);
        entry.insert(Member {
            handle: handle.clone(),
            running: 0,
            condemned: false,
            gone: false,
            frozen: false,
            idle_since: now,
        });
        self.live += 1;
        self.free.push(key);
        handle
    }

    /// Gives a call to the sandbox that was used last of those with room.
    pub(super) fn take(&mut self) -> Option<Taken<M>> {
        let key = *self.free.last()?;
        let member = &mut self.members[key];
        member.running += 1;
        self.running += 1;
        if member.running == self.concurrency {
            self.free.pop();
        }
        let frozen = std::mem::take(&mut member.frozen);
        Some(Taken { handle: member.handle.clone(), frozen, first: member.running == 1 })
    }

    /// A call of a sandbox is over.
    pub(super) fn give_back(&mut self, key: usize, kept: bool, now: Instant) -> Now {
        let Some(member) = self.members.get_mut(key) else { return Now::Unchanged };
        let was_full = member.running == self.concurrency;
        member.running -= 1;
        self.running -= 1;
        if member.gone {
            if member.running == 0 {
                self.members.remove(key);
            }
            return Now::Unchanged;
        }
        if !kept {
            self.condemn(key);
        }
        let member = &mut self.members[key];
        if member.condemned {
            return if member.running == 0 { Now::Spent } else { Now::Unchanged };
        }
        member.idle_since = now;
        let idle = member.running == 0;
        if was_full {
            self.free.push(key);
        }
        if idle { Now::Idle } else { Now::Shared }
    }

    /// The sandbox takes no new calls from now on. `Spent` when it has none either.
    pub(super) fn condemn(&mut self, key: usize) -> Now {
        let Some(member) = self.members.get_mut(key) else { return Now::Unchanged };
        if member.condemned {
            return Now::Unchanged;
        }
        member.condemned = true;
        let spent = member.running == 0;
        self.live -= 1;
        self.free.retain(|free| *free != key);
        if spent { Now::Spent } else { Now::Unchanged }
    }

    /// The process of a sandbox is gone.
    pub(super) fn remove(&mut self, key: usize) -> Removed {
        let Some(member) = self.members.get(key) else { return Removed::default() };
        let removed = Removed { unasked: !member.condemned, running: member.running > 0 };
        self.condemn(key);
        if let Some(member) = self.members.get_mut(key) {
            member.gone = true;
            if member.running == 0 {
                self.members.remove(key);
            }
        }
        removed
    }

    /// The next call of the line with the sandbox it gets. Calls that `is_gone` says so of are
    /// dropped from the line.
    pub(super) fn next(&mut self, is_gone: impl Fn(&W) -> bool) -> Option<(W, Taken<M>)> {
        while self.line.front().is_some_and(&is_gone) {
            self.line.pop_front();
        }
        if self.line.is_empty() || self.free.is_empty() {
            return None;
        }
        let taken = self.take()?;
        self.line.pop_front().map(|call| (call, taken))
    }

    /// Idle sandboxes, longest idle first: key, handle, since when, frozen or not.
    pub(super) fn idle(&self) -> impl Iterator<Item = (usize, &M, Instant, bool)> {
        let members = self.free.iter().map(|key| (*key, &self.members[*key]));
        members
            .filter(|(_, member)| member.running == 0)
            .map(|(key, member)| (key, &member.handle, member.idle_since, member.frozen))
    }

    /// Says whether a sandbox is frozen.
    pub(super) fn set_frozen(&mut self, key: usize) {
        if let Some(member) = self.members.get_mut(key) {
            member.frozen = true;
        }
    }

    /// Whether a sandbox is frozen.
    pub(super) fn is_frozen(&self, key: usize) -> bool {
        self.members.get(key).is_some_and(|member| member.frozen)
    }

    /// Whether a sandbox takes calls and has none.
    pub(super) fn is_idle(&self, key: usize) -> bool {
        self.members.get(key).is_some_and(|member| member.running == 0 && !member.condemned)
    }

    /// A sandbox by its key.
    pub(super) fn handle(&self, key: usize) -> Option<&M> {
        self.members.get(key).map(|member| &member.handle)
    }

    /// All sandboxes, also those that take no calls any more.
    pub(super) fn all(&self) -> impl Iterator<Item = (usize, &M)> {
        self.members.iter().filter(|(_, member)| !member.gone).map(|(key, member)| (key, &member.handle))
    }

    /// Sandboxes that take calls.
    pub(super) fn live(&self) -> usize {
        self.live
    }

    /// Calls that run.
    pub(super) fn running(&self) -> usize {
        self.running
    }

    /// Whether there is nothing: no sandbox, none on its way, no call.
    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty() && self.starting == 0 && self.line.is_empty()
    }
}
