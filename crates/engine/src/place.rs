//! Where the calls of a target run: found with its first call, so that further ones take no lock
//! that calls of other functions take.

use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwapOption;
use picasso_types::{ProjectId, RouteVersion};

use crate::admission::{Admission, Gates};
use crate::hot::pool::Pool;

/// The gates and the warm pool of a target. A clone has found nothing yet.
#[derive(Debug, Default)]
pub(crate) struct Place {
    gates: OnceLock<Gates>,
    pool: ArcSwapOption<Pool>,
}

impl Clone for Place {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Place {
    /// The gates of the target's route, which is one of `project`.
    pub(crate) fn gates(&self, admission: &Admission, project: &ProjectId, version: &RouteVersion) -> &Gates {
        self.gates.get_or_init(|| admission.gates(project, version))
    }

    /// The warm pool, found by `find` the first time.
    pub(crate) fn pool(&self, find: impl FnOnce() -> Option<Arc<Pool>>) -> Option<Arc<Pool>> {
        if let Some(pool) = self.pool.load_full() {
            return Some(pool);
        }
        let pool = find()?;
        self.pool.store(Some(pool.clone()));
        Some(pool)
    }

    /// Forgets a pool that is no longer in use.
    pub(crate) fn forget_pool(&self) {
        self.pool.store(None);
    }
}
