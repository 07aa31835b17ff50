//! Which versions this process prepares: each once at a time.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use picasso_types::VersionId;

/// The versions that this process prepares now.
#[derive(Debug, Default)]
pub(crate) struct PreparingHere(Mutex<HashSet<VersionId>>);

/// Takes a version out of the set when dropped.
pub(crate) struct Begun<'a>(&'a PreparingHere, VersionId);

impl PreparingHere {
    /// Adds a version; `None` where it is in the set.
    pub(crate) fn begin(&self, id: &VersionId) -> Option<Begun<'_>> {
        self.set().insert(id.clone()).then(|| Begun(self, id.clone()))
    }

    fn set(&self) -> MutexGuard<'_, HashSet<VersionId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        self.0.set().remove(&self.1);
    }
}
