//! Limits of projects: Keystone's, or the settings' alone.

use std::sync::Arc;
use std::time::Duration;

use picasso_config::Settings;
use picasso_identity::{KeystoneLimits, KeystoneValidator, LimitsSettings};
use picasso_types::{
    FixedLimits, Limit, LimitSource, Limits, LimitsFuture, ProjectId, ProjectLimits, Resource,
};

/// Who tells the limits of projects; without Keystone the settings do.
pub(crate) fn open(settings: &Settings, keystone: Option<&Arc<KeystoneValidator>>) -> Arc<dyn Limits> {
    let quota = &settings.quota;
    let defaults = Arc::new(defaults(settings));
    let Some(keystone) = keystone.filter(|_| quota.keystone) else {
        return Arc::new(FixedLimits(defaults));
    };
    let seconds = |seconds: u32| Duration::from_secs(seconds.into());
    let settings = LimitsSettings {
        endpoint_id: quota.endpoint_id.clone(),
        region: quota.region.clone(),
        cache_time: seconds(quota.cache_s),
        keep_time: seconds(quota.keep_s),
        capacity: quota.max_projects as usize,
        defaults,
    };
    let own = FixedLimits(settings.defaults.clone());
    Arc::new(BesideKeystone { keystone: KeystoneLimits::new(keystone.clone(), settings), own })
}

/// Keystone's limits for its projects, the settings' for the apps of the IronFunctions face, of which
/// Keystone knows nothing.
#[derive(Debug)]
struct BesideKeystone {
    keystone: KeystoneLimits,
    own: FixedLimits,
}

impl BesideKeystone {
    fn who_knows(&self, project: &ProjectId) -> &dyn Limits {
        if project.is_ironfunctions() { &self.own } else { &self.keystone }
    }
}

impl Limits for BesideKeystone {
    fn of<'a>(&'a self, project: &'a ProjectId) -> LimitsFuture<'a> {
        self.who_knows(project).of(project)
    }

    fn known(&self, project: &ProjectId) -> Arc<ProjectLimits> {
        self.who_knows(project).known(project)
    }
}

fn defaults(settings: &Settings) -> ProjectLimits {
    let quota = &settings.quota;
    ProjectLimits::new(|resource| {
        let max = match resource {
            Resource::Apps => quota.apps,
            Resource::Routes => quota.routes,
            Resource::Triggers => quota.triggers,
            Resource::QueuedCalls => quota.queued_calls,
            Resource::ConcurrentCalls => quota.concurrent_calls,
            Resource::CallRate => quota.calls_per_second,
            Resource::Memory => quota.memory_mb,
            Resource::Images => quota.image_mb,
            Resource::Outputs => quota.output_mb,
        };
        Limit::from_signed(max, LimitSource::Default)
    })
}
