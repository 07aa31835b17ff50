//! Records of synchronous calls, written behind them: a call offers its record and goes on; a task
//! writes what has gathered in batches. A full buffer drops records and counts them, so that
//! recording never slows a call down and its cost each second is bounded.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use metrics::{Counter, counter};
use picasso_store::Store;
use picasso_types::{Call, CallDelivery, CallId, CallState, Clock, Failure, RequestId, RouteType, Trigger};
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;

use crate::call_events::End;
use crate::parts::EngineParts;
use crate::target::Target;

/// Records that may wait; with [`FLUSH_EVERY`], most that are written in a second.
const BUFFER: usize = 1024;
/// How often what has gathered is written.
const FLUSH_EVERY: Duration = Duration::from_secs(1);
/// Records of one transaction, so that accepted calls do not wait behind them.
const BATCH: usize = 128;

/// Takes the records of synchronous calls.
pub(crate) struct CallRecorder {
    sender: mpsc::Sender<Call>,
    receiver: Mutex<mpsc::Receiver<Call>>,
    percent: u64,
    offered: AtomicU64,
    node: String,
    clock: Arc<dyn Clock>,
    store: Arc<dyn Store>,
    dropped: Counter,
}

impl std::fmt::Debug for CallRecorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CallRecorder").field("percent", &self.percent).finish_non_exhaustive()
    }
}

/// A synchronous call that has ended.
pub(crate) struct EndedCall<'a> {
    pub(crate) id: &'a CallId,
    pub(crate) request_id: &'a RequestId,
    pub(crate) trigger: Trigger,
    pub(crate) target: &'a Target,
    pub(crate) end: &'a End,
    pub(crate) began: Instant,
    /// When it got its place; `None` when it never did.
    pub(crate) started: Option<Instant>,
}

impl CallRecorder {
    pub(crate) fn new(parts: &EngineParts) -> Self {
        let (sender, receiver) = mpsc::channel(BUFFER);
        Self {
            sender,
            receiver: Mutex::new(receiver),
            percent: parts.settings.calls.record_sync_percent.min(100).into(),
            offered: AtomicU64::new(0),
            node: parts.instance.to_string(),
            clock: parts.clock.clone(),
            store: parts.store.clone(),
            dropped: counter!("picasso_call_records_dropped_total"),
        }
    }

    /// Takes a record if it is one of those to be kept and there is room.
    pub(crate) fn offer(&self, call: &EndedCall<'_>) {
        if !self.is_sampled() {
            return;
        }
        let Some(version) = &call.target.version else { return };
        // Asked first: a record that finds no room costs nothing.
        let Ok(permit) = self.sender.try_reserve() else {
            self.dropped.increment(1);
            return;
        };
        let (target, end) = (call.target, call.end);
        let finished_at = self.clock.now();
        let ago = |then: Instant| {
            finished_at.plus_micros(-i64::try_from(then.elapsed().as_micros()).unwrap_or(i64::MAX))
        };
        let created_at = ago(call.began);
        permit.send(Call {
            id: call.id.clone(),
            project_id: target.app.project_id.clone(),
            app_id: target.app.id.clone(),
            route_id: target.route.id.clone(),
            version_id: version.id.clone(),
            app_name: target.app.full_name.to_string(),
            route_path: target.route.pattern.to_string(),
            version_number: version.number,
            trigger: call.trigger,
            call_type: RouteType::Sync,
            state: state_of(end.failure.as_ref()),
            request_id: call.request_id.to_string(),
            attempt: 1,
            lost_runs: 0,
            failed_runs: 0,
            cancel_requested: false,
            not_before: created_at,
            due_at: created_at,
            priority: 1,
            delivery: CallDelivery::default(),
            depth: 0,
            lease_until: None,
            node: Some(self.node.clone()),
            created_at,
            queued_at: created_at,
            started_at: call.started.map(ago),
            finished_at: Some(finished_at),
            failure: end.failure.clone(),
            exit_code: end.exit_code,
            http_status: end.status,
            cold_start: end.cold_start,
            memory_peak_bytes: end.memory_peak_bytes,
        });
    }

    /// Spreads the records that are kept evenly over the calls.
    fn is_sampled(&self) -> bool {
        match self.percent {
            0 => false,
            100 => true,
            percent => {
                let number = self.offered.fetch_add(1, Ordering::Relaxed);
                (number * percent) / 100 != ((number + 1) * percent) / 100
            }
        }
    }

    /// Writes records until the engine stops.
    pub(crate) async fn run(&self, stopping: &CancellationToken) {
        while !stopping.is_cancelled() {
            tokio::select! {
                () = tokio::time::sleep(FLUSH_EVERY) => self.flush().await,
                () = stopping.cancelled() => {}
            }
        }
    }

    /// Writes what has gathered.
    pub(crate) async fn flush(&self) {
        let mut receiver = self.receiver.lock().await;
        let mut batch = Vec::with_capacity(BATCH.min(receiver.len()));
        for _ in 0..BUFFER.div_ceil(BATCH) {
            while batch.len() < BATCH
                && let Ok(call) = receiver.try_recv()
            {
                batch.push(call);
            }
            if batch.is_empty() {
                return;
            }
            if let Err(error) = self.store.record_calls(&batch).await {
                self.dropped.increment(batch.len() as u64);
                tracing::warn!(
                    calls = batch.len(),
                    error = &error as &dyn std::error::Error,
                    "records of calls were lost"
                );
            }
            batch.clear();
        }
    }
}

/// The final state of a call that ended so.
pub(crate) fn state_of(failure: Option<&Failure>) -> CallState {
    match failure {
        None => CallState::Succeeded,
        Some(Failure::Timeout { .. }) => CallState::TimedOut,
        Some(Failure::HungUp) => CallState::Cancelled,
        Some(_) => CallState::Failed,
    }
}

#[cfg(test)]
mod tests {
    use metrics::{Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
    use picasso_types::CallFilter;

    use super::*;
    use crate::hot::tests::fake::Bench;
    use crate::testing;

    /// One number for all counters that are made while it is installed.
    #[derive(Default)]
    struct Counted(Arc<AtomicU64>);

    impl Recorder for Counted {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
            Counter::from_arc(self.0.clone())
        }
        fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::noop()
        }
        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::noop()
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_full_buffer_drops_records_and_counts_them_and_slows_no_call() {
        let bench = Bench::new().await;
        let target = bench.function(|_| ()).await;
        let counted = Counted::default();
        let recorder =
            metrics::with_local_recorder(&counted, || CallRecorder::new(&bench.engine.shared.parts));
        let invocation = testing::invocation("/f");
        let offer = || {
            recorder.offer(&EndedCall {
                id: &CallId::generate(),
                request_id: &invocation.request_id,
                trigger: invocation.trigger,
                target: &target,
                end: &End::success(),
                began: Instant::now(),
                started: None,
            });
        };
        let dropped = || counted.0.load(Ordering::Relaxed);
        // Nobody writes meanwhile, and still no offer waits.
        for _ in 0..BUFFER + 10 {
            offer();
        }
        assert_eq!(dropped(), 10);
        recorder.flush().await;
        let filter = CallFilter {
            project_id: target.app.project_id.clone(),
            app_name: None,
            route_path: None,
            state: None,
            since: None,
            after: None,
            limit: 10_000,
        };
        assert_eq!(bench.store.list_calls(&filter).await.unwrap().len(), BUFFER);
        offer();
        assert_eq!(dropped(), 10, "there is room again");
        bench.finish().await;
    }
}
