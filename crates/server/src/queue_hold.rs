//! How long every driver of the queue holds a delivery: a broker, and the file that `database` opens.

use std::time::Duration;

use picasso_config::Settings;

/// A delivery is held for one claim of a row; the lease is ample for that.
pub(crate) fn visible_after(settings: &Settings) -> Duration {
    Duration::from_secs(settings.queue.lease_s.into())
}
