//! Limits of projects: Keystone's, or the settings' alone.

use std::sync::Arc;
use std::time::Duration;

use picasso_config::Settings;
use picasso_identity::{KeystoneLimits, KeystoneValidator, LimitsSettings};
use picasso_types::{FixedLimits, Limit, LimitSource, Limits, ProjectLimits, Resource};

/// Who tells the limits of projects.
pub(crate) fn open(settings: &Settings, keystone: &Arc<KeystoneValidator>) -> Arc<dyn Limits> {
    let quota = &settings.quota;
    let defaults = Arc::new(defaults(settings));
    if !quota.keystone {
        return Arc::new(FixedLimits(defaults));
    }
    let seconds = |seconds: u32| Duration::from_secs(seconds.into());
    let settings = LimitsSettings {
        endpoint_id: quota.endpoint_id.clone(),
        region: quota.region.clone(),
        cache_time: seconds(quota.cache_s),
        keep_time: seconds(quota.keep_s),
        capacity: quota.max_projects as usize,
        defaults,
    };
    Arc::new(KeystoneLimits::new(keystone.clone(), settings))
}

fn defaults(settings: &Settings) -> ProjectLimits {
    let quota = &settings.quota;
    ProjectLimits::new(|resource| {
        let max = match resource {
            Resource::Apps => quota.apps,
            Resource::Routes => quota.routes,
            Resource::QueuedCalls => quota.queued_calls,
        };
        Limit::from_signed(max, LimitSource::Default)
    })
}
