//! What the calls of one project share on this node: places for calls, memory for sandboxes, and a
//! rate.
//!
//! How wide they are is the project's limits, looked at again at most once a second by a call that
//! comes: what is known of them, so that no call waits for Keystone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use picasso_types::{Limits, ProjectId, RateLimit, Resource};

use crate::bucket::Bucket;
use crate::gate::Gate;

/// How long the limits are not looked at again, nanoseconds.
const LOOK_AGAIN: u64 = 1_000_000_000;
/// Seconds' worth of calls that a project may make at once.
const BURST_S: u32 = 2;

/// The gates of one project.
#[derive(Debug)]
pub struct ProjectGates {
    /// Calls, those that wait for a place included.
    pub(crate) calls: Arc<Gate>,
    /// MiB of sandboxes: no more than its limit, nor than its share of the node.
    pub(crate) memory: Arc<Gate>,
    bucket: Bucket,
    /// How many calls may begin in a second.
    rate: AtomicU64,
    /// The limit of memory, MiB.
    memory_limit: AtomicU64,
    share_mb: u64,
    looked: AtomicU64,
}

/// Where the limits of projects come from, and the clock that their rates are counted by.
#[derive(Debug)]
pub(crate) struct ProjectLimitSource {
    limits: Arc<dyn Limits>,
    began: Instant,
}

impl ProjectLimitSource {
    pub(crate) fn new(limits: Arc<dyn Limits>) -> Self {
        Self { limits, began: Instant::now() }
    }

    /// Nanoseconds since the engine was made; never 0.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX).max(1)
    }
}

impl ProjectGates {
    /// As wide as the limits of `project` that are known, and its share of the node.
    pub(crate) fn new(
        source: &ProjectLimitSource,
        project: &ProjectId,
        share_mb: u64,
        max_waiting: usize,
    ) -> Self {
        let gates = Self {
            calls: Gate::new(u64::MAX, max_waiting),
            memory: Gate::new(share_mb, max_waiting),
            bucket: Bucket::default(),
            rate: AtomicU64::new(u64::MAX),
            memory_limit: AtomicU64::new(u64::MAX),
            share_mb,
            looked: AtomicU64::new(0),
        };
        gates.renew(source, project);
        gates
    }

    /// Looks at the limits again where that is a while ago.
    pub(crate) fn renew(&self, source: &ProjectLimitSource, project: &ProjectId) {
        let (looked, now) = (self.looked.load(Relaxed), source.now());
        let is_old = looked == 0 || now.saturating_sub(looked) >= LOOK_AGAIN;
        if !is_old || self.looked.compare_exchange(looked, now, Relaxed, Relaxed).is_err() {
            return;
        }
        let limits = source.limits.known(project);
        let of = |resource| limits.of(resource).max_u64();
        self.rate.store(of(Resource::CallRate), Relaxed);
        self.memory_limit.store(of(Resource::Memory), Relaxed);
        self.calls.set_capacity(of(Resource::ConcurrentCalls));
        self.memory.set_capacity(of(Resource::Memory).min(self.share_mb));
    }

    /// Counts one call that begins; where it is one too many, the rate and when there is room.
    pub(crate) fn begin_call(&self, now: u64) -> Result<(), (RateLimit, std::time::Duration)> {
        let limit = self.rate.load(Relaxed);
        let Ok(calls) = u32::try_from(limit) else { return Ok(()) };
        let rate = RateLimit { calls, seconds: 1, burst: calls.saturating_mul(BURST_S) };
        if calls == 0 {
            return Err((rate, std::time::Duration::from_secs(1)));
        }
        self.bucket.take(&rate, now).map_err(|wait| (rate, wait))
    }

    /// The limit of memory, where somebody waits for memory because of it.
    pub(crate) fn short_of_memory(&self) -> Option<u64> {
        let limit = self.memory_limit.load(Relaxed);
        (limit < self.share_mb && self.memory.waiting() > 0).then_some(limit)
    }

    /// Whether nobody would notice if they were made anew.
    pub(crate) fn is_idle(&self, now: u64) -> bool {
        self.calls.is_idle() && self.memory.is_idle() && self.bucket.is_full(now)
    }
}
