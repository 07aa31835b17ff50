//! What every ended call leaves: one log line and its metrics. The handles are looked up once,
//! because a look-up by name takes a lock that all calls share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use picasso_types::{CallId, Failure, RequestId};

use crate::call_events::End;
use crate::target::Target;

/// Handles of the metrics of calls.
pub(crate) struct CallMetrics {
    succeeded: Counter,
    timed_out: Counter,
    cancelled: Counter,
    refused: Counter,
    failed: Counter,
    duration: Histogram,
    /// Calls that have begun and not ended.
    in_flight: Gauge,
    /// Of those and of ended ones, how many are of the IronFunctions face.
    ironfunctions: Tally,
    /// MiB promised to sandboxes.
    pub(crate) memory_promised: Gauge,
}

impl std::fmt::Debug for CallMetrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CallMetrics")
    }
}

impl Default for CallMetrics {
    fn default() -> Self {
        let calls = |outcome: &'static str| counter!("picasso_calls_total", "outcome" => outcome);
        Self {
            succeeded: calls("succeeded"),
            timed_out: calls("timed_out"),
            cancelled: calls("cancelled"),
            refused: calls("refused"),
            failed: calls("failed"),
            duration: histogram!("picasso_call_duration_seconds"),
            in_flight: gauge!("picasso_calls_in_flight"),
            ironfunctions: Tally::default(),
            memory_promised: gauge!("picasso_memory_promised_mb"),
        }
    }
}

/// Calls of one namespace in this process.
#[derive(Default)]
struct Tally {
    running: AtomicU64,
    complete: AtomicU64,
}

/// How many calls of the IronFunctions face there are in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IronFunctionsCalls {
    /// Begun and not ended.
    pub running: u64,
    /// Ended since the start, however they ended.
    pub complete: u64,
}

impl CallMetrics {
    /// A call has begun; [`CallMetrics::record`] follows.
    pub(crate) fn began(&self, target: &Target) {
        self.in_flight.increment(1.0);
        if target.app.project_id.is_ironfunctions() {
            self.ironfunctions.running.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The calls of the IronFunctions face.
    pub(crate) fn ironfunctions(&self) -> IronFunctionsCalls {
        let Tally { running, complete } = &self.ironfunctions;
        IronFunctionsCalls {
            running: running.load(Ordering::Relaxed),
            complete: complete.load(Ordering::Relaxed),
        }
    }

    /// Records a call, however it ended.
    pub(crate) fn record(
        &self,
        call_id: &CallId,
        request_id: &RequestId,
        target: &Target,
        end: &End,
        took: Duration,
    ) {
        self.in_flight.decrement(1.0);
        if target.app.project_id.is_ironfunctions() {
            self.ironfunctions.running.fetch_sub(1, Ordering::Relaxed);
            self.ironfunctions.complete.fetch_add(1, Ordering::Relaxed);
        }
        let (outcome, counter) = match &end.failure {
            None => ("succeeded", &self.succeeded),
            Some(Failure::Timeout { .. }) => ("timed_out", &self.timed_out),
            Some(Failure::HungUp) => ("cancelled", &self.cancelled),
            Some(Failure::NoCapacity | Failure::OverLimit { .. } | Failure::NotReady { .. }) => {
                ("refused", &self.refused)
            }
            Some(_) => ("failed", &self.failed),
        };
        counter.increment(1);
        self.duration.record(took.as_secs_f64());
        tracing::info!(
            target: "picasso::call",
            call_id = call_id.as_str(),
            request_id = request_id.as_str(),
            project = target.app.project_id.as_str(),
            app = target.app.full_name.as_str(),
            route = target.route.pattern.as_str(),
            version = target.version.as_ref().map(|v| v.number),
            outcome,
            status = end.status,
            failure = end.failure.as_ref().map(tracing::field::display),
            exit_code = end.exit_code,
            memory_peak_bytes = end.memory_peak_bytes,
            duration_ms = took.as_secs_f64() * 1000.0,
            "call ended"
        );
    }
}
