//! How a version of a function behaves on its connections, for all of its sandboxes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether a function ever said more than its answer: then none of its connections is used twice.
#[derive(Debug, Clone, Default)]
pub(crate) struct Conduct(Arc<AtomicBool>);

impl Conduct {
    /// Whether it did.
    pub(crate) fn said_more(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// It did.
    pub(crate) fn note_said_more(&self) {
        if !self.0.swap(true, Ordering::Relaxed) {
            tracing::info!("a function said more than its answer: its connections serve one call each now");
        }
    }
}
