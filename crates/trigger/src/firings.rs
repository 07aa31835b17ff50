//! Writes down what became of events, behind the events' backs: nobody waits for it, and where more
//! happens than can be written, the oldest notes of the busiest moment are what is missing.

use std::sync::Arc;

use metrics::counter;
use picasso_store::Store;
use picasso_types::trigger::NewFiring;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Firings that wait to be written.
const WAITING: usize = 4096;
/// Most firings of one transaction.
const BATCH: usize = 256;
/// Firings that are kept of each trigger.
pub(crate) const KEPT: u32 = 100;

/// Takes firings to be written down.
#[derive(Debug)]
pub struct Firings {
    sender: mpsc::Sender<NewFiring>,
}

impl Firings {
    /// Starts writing into `store`. What is noted before `stopping` is written before the task ends.
    pub fn start(
        store: Arc<dyn Store>,
        stopping: CancellationToken,
    ) -> (Arc<Self>, tokio::task::JoinHandle<()>) {
        let (sender, receiver) = mpsc::channel(WAITING);
        let writing = tokio::spawn(write_all(store, receiver, stopping));
        (Arc::new(Self { sender }), writing)
    }

    /// Takes a firing; drops it where too many wait.
    pub fn note(&self, firing: NewFiring) {
        counter!("picasso_trigger_firings_total", "outcome" => firing.outcome.as_str()).increment(1);
        if self.sender.try_send(firing).is_err() {
            counter!("picasso_trigger_firings_unwritten_total").increment(1);
        }
    }
}

async fn write_all(
    store: Arc<dyn Store>,
    mut receiver: mpsc::Receiver<NewFiring>,
    stopping: CancellationToken,
) {
    let mut batch = Vec::new();
    loop {
        let taken = tokio::select! {
            biased;
            taken = receiver.recv_many(&mut batch, BATCH) => taken,
            () = stopping.cancelled() => 0,
        };
        if taken == 0 {
            return;
        }
        if let Err(error) = store.record_firings(&batch, KEPT).await {
            counter!("picasso_trigger_firings_unwritten_total").increment(batch.len() as u64);
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                firings = batch.len(),
                "what became of events could not be written down; their calls are not affected"
            );
        }
        batch.clear();
    }
}
