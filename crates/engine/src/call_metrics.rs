//! What every ended call leaves: one log line and its metrics. The handles are looked up once,
//! because a look-up by name takes a lock that all calls share.

use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use picasso_types::{CallId, Failure, RequestId};

use crate::call_events::End;
use crate::catalog::Target;

/// Handles of the metrics of calls.
pub(crate) struct CallMetrics {
    succeeded: Counter,
    timed_out: Counter,
    cancelled: Counter,
    refused: Counter,
    failed: Counter,
    duration: Histogram,
    /// Calls that have begun and not ended.
    pub(crate) in_flight: Gauge,
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
            memory_promised: gauge!("picasso_memory_promised_mb"),
        }
    }
}

impl CallMetrics {
    /// Records a call, however it ended.
    pub(crate) fn record(
        &self,
        call_id: &CallId,
        request_id: &RequestId,
        target: &Target,
        end: &End,
        took: Duration,
    ) {
        let (outcome, counter) = match &end.failure {
            None => ("succeeded", &self.succeeded),
            Some(Failure::Timeout { .. }) => ("timed_out", &self.timed_out),
            Some(Failure::HungUp) => ("cancelled", &self.cancelled),
            Some(Failure::NoCapacity | Failure::NotReady { .. }) => ("refused", &self.refused),
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
