//! The right to give one call to one sandbox, and what becomes of the sandbox after it.

use std::sync::Arc;

/// Whose sandbox a lease is of: takes it back.
pub(crate) trait Holder: Send + Sync + std::fmt::Debug {
    /// The call is over. `kept` says that the sandbox is fit for another; otherwise it takes no
    /// new calls and ends as soon as the other calls it holds are over - at once where it serves
    /// one at a time.
    fn returned(&self, kept: bool);
}

/// The right to give one call to one sandbox. Unless it is given back by [`Lease::keep`], the
/// sandbox is not used again: whatever cuts a call off - an error, a deadline, a dropped future -
/// leaves no sandbox behind whose next answer might belong to this call.
#[derive(Debug)]
pub(crate) struct Lease {
    holder: Option<Arc<dyn Holder>>,
}

impl Lease {
    /// A lease of `holder`'s sandbox.
    pub(crate) fn new(holder: Arc<dyn Holder>) -> Self {
        Self { holder: Some(holder) }
    }

    /// Gives the sandbox back for further calls: the exchange ended as its contract says, no byte
    /// is missing and none too many.
    pub(crate) fn keep(mut self) {
        if let Some(holder) = self.holder.take() {
            holder.returned(true);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(holder) = self.holder.take() {
            holder.returned(false);
        }
    }
}
