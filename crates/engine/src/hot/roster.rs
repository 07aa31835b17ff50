//! The book of one pool: its sandboxes, which of them have room, and the line of calls that wait
//! for one. No I/O and no clock: who decides hands in both.

use std::collections::VecDeque;

use slab::Slab;
use tokio::time::Instant;

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

    /// Calls that one sandbox serves at one time.
    pub(super) fn concurrency(&self) -> usize {
        self.concurrency
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_newest_with_room_is_taken_first() {
        let now = Instant::now();
        let mut roster: Roster<u32, ()> = Roster::new(2);
        roster.add(|_| 1, now);
        roster.add(|_| 2, now);
        let handles: Vec<_> = std::iter::from_fn(|| roster.take().map(|taken| taken.handle)).collect();
        assert_eq!(handles, [2, 2, 1, 1]);
    }

    #[test]
    fn a_key_is_not_given_anew_while_a_call_of_the_lost_sandbox_runs() {
        let now = Instant::now();
        let mut roster: Roster<usize, ()> = Roster::new(1);
        let lost = roster.add(|key| key, now);
        roster.take().unwrap();
        assert_eq!(roster.remove(lost), Removed { unasked: true, running: true });
        let new = roster.add(|key| key, now);
        assert_ne!(new, lost);
        assert_eq!(roster.give_back(lost, true, now), Now::Unchanged);
        assert_eq!(roster.take().unwrap().handle, new);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Add,
        Join,
        Leave(usize),
        Serve,
        Return(usize, bool),
        Condemn(usize),
        Die(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            2 => Just(Step::Add),
            4 => Just(Step::Join),
            1 => any::<usize>().prop_map(Step::Leave),
            6 => Just(Step::Serve),
            6 => (any::<usize>(), any::<bool>()).prop_map(|(which, kept)| Step::Return(which, kept)),
            1 => any::<usize>().prop_map(Step::Condemn),
            1 => any::<usize>().prop_map(Step::Die),
        ]
    }

    proptest! {
        /// Whatever happens in whatever order: calls are served in order of arrival, no sandbox
        /// has more calls than it may, none that is condemned or gone gets one, and no call waits
        /// beside a sandbox with room.
        #[test]
        fn calls_and_sandboxes_meet_by_the_rules(
            concurrency in 1usize..4,
            steps in proptest::collection::vec(step(), 1..200),
        ) {
            let now = Instant::now();
            let mut roster: Roster<usize, u64> = Roster::new(concurrency);
            let (mut next_call, mut left) = (0u64, std::collections::HashSet::new());
            let mut last_served = None;
            // Sandboxes by serial number: key, whether it takes calls.
            let mut sandboxes: Vec<(usize, bool)> = Vec::new();
            let mut running: Vec<usize> = Vec::new();
            for step in steps {
                match step {
                    Step::Add => {
                        let serial = sandboxes.len();
                        let mut at = 0;
                        roster.add(|key| { at = key; serial }, now);
                        sandboxes.push((at, true));
                    }
                    Step::Join => {
                        roster.line.push_back(next_call);
                        next_call += 1;
                    }
                    Step::Leave(which) => {
                        if let Some(call) = roster.line.get(which % roster.line.len().max(1)) {
                            left.insert(*call);
                        }
                    }
                    Step::Serve => {
                        while let Some((call, taken)) = roster.next(|call| left.contains(call)) {
                            prop_assert!(!left.contains(&call));
                            prop_assert!(last_served.is_none_or(|last| call > last), "out of turn");
                            last_served = Some(call);
                            prop_assert!(sandboxes[taken.handle].1, "it takes no calls");
                            running.push(taken.handle);
                            let held = running.iter().filter(|serial| **serial == taken.handle).count();
                            prop_assert!(held <= concurrency);
                            prop_assert_eq!(taken.first, held == 1);
                        }
                        let room = sandboxes.iter().enumerate().any(|(serial, (_, takes))| {
                            *takes && running.iter().filter(|held| **held == serial).count() < concurrency
                        });
                        let waits = roster.line.iter().any(|call| !left.contains(call));
                        prop_assert!(!(room && waits), "a call waits beside a sandbox with room");
                    }
                    Step::Return(which, kept) if !running.is_empty() => {
                        let serial = running.swap_remove(which % running.len());
                        roster.give_back(sandboxes[serial].0, kept, now);
                        sandboxes[serial].1 &= kept;
                    }
                    Step::Condemn(which) | Step::Die(which) if !sandboxes.is_empty() => {
                        let serial = which % sandboxes.len();
                        let (key, takes) = sandboxes[serial];
                        // A key may be another sandbox's once its own is gone.
                        if takes {
                            if matches!(step, Step::Die(_)) {
                                roster.remove(key);
                            } else {
                                roster.condemn(key);
                            }
                            sandboxes[serial].1 = false;
                        }
                    }
                    Step::Return(..) | Step::Condemn(_) | Step::Die(_) => {}
                }
                prop_assert_eq!(roster.running(), running.len());
                prop_assert_eq!(roster.live(), sandboxes.iter().filter(|(_, takes)| *takes).count());
            }
        }
    }
}
