//! What is counted of hot sandboxes. The handles are looked up once: a look-up by name for every
//! call would take a lock that all calls share.

use metrics::{Counter, Gauge, Histogram, counter, describe_counter, describe_gauge, describe_histogram};
use metrics::{gauge, histogram};

/// Handles of the metrics of hot sandboxes.
pub(crate) struct HotMetrics {
    /// Sandboxes on their way.
    pub(super) starting: Gauge,
    /// Sandboxes without a call, not frozen.
    pub(super) idle: Gauge,
    /// Sandboxes with calls.
    pub(super) busy: Gauge,
    /// Sandboxes without a call, frozen.
    pub(super) frozen: Gauge,
    /// Sandboxes that became ready.
    pub(super) cold_starts: Counter,
    /// Sandboxes that did not become ready.
    pub(super) failed_starts: Counter,
    /// From the memory for a sandbox to its being ready.
    pub(super) cold_start_seconds: Histogram,
    /// Idle sandboxes ended because others needed their memory.
    pub(super) evictions: Counter,
    /// MiB promised to sandboxes.
    pub(super) memory_promised: Gauge,
    /// Calls that found no sandbox ready.
    pub(super) waits: Counter,
}

impl std::fmt::Debug for HotMetrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HotMetrics")
    }
}

impl Default for HotMetrics {
    fn default() -> Self {
        describe_gauge!("picasso_hot_sandboxes", "Hot sandboxes by state: starting, idle, busy, frozen");
        describe_counter!("picasso_cold_starts_total", "Hot sandboxes started, by outcome: ready, failed");
        describe_histogram!(
            "picasso_cold_start_seconds",
            "From having memory for a hot sandbox to its being ready for calls"
        );
        describe_counter!(
            "picasso_evictions_total",
            "Hot sandboxes that were ended because others needed their memory"
        );
        describe_gauge!("picasso_memory_promised_mb", "MiB promised to sandboxes, idle ones included");
        describe_counter!("picasso_sandbox_waits_total", "Calls that found no hot sandbox ready and waited");
        let sandboxes = |state: &'static str| gauge!("picasso_hot_sandboxes", "state" => state);
        Self {
            starting: sandboxes("starting"),
            idle: sandboxes("idle"),
            busy: sandboxes("busy"),
            frozen: sandboxes("frozen"),
            cold_starts: counter!("picasso_cold_starts_total", "outcome" => "ready"),
            failed_starts: counter!("picasso_cold_starts_total", "outcome" => "failed"),
            cold_start_seconds: histogram!("picasso_cold_start_seconds"),
            evictions: counter!("picasso_evictions_total"),
            memory_promised: gauge!("picasso_memory_promised_mb"),
            waits: counter!("picasso_sandbox_waits_total"),
        }
    }
}
