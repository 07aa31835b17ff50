//! The rules of a running server follow its files.

use std::sync::Arc;
use std::time::Duration;

use picasso_config::Settings;
use picasso_identity::policy::{Enforcer, FileFault, PolicyFiles, RuleSet, Stamp};
use tokio_util::sync::CancellationToken;

use super::{enforcer, unusable};
use crate::convert;
use crate::failure::ServerFailure;

/// The enforcer, and the files that its rules came from.
#[derive(Debug, Clone)]
pub(crate) struct PolicyInForce {
    enforcer: Arc<Enforcer>,
    files: PolicyFiles,
    read: Stamp,
    interval: Duration,
}

impl PolicyInForce {
    /// Reads the files for the first time; faults are a reason not to start.
    pub(crate) fn open(settings: &Settings) -> Result<Self, ServerFailure> {
        let files = convert::policy_files(settings);
        let read = files.stamp();
        let rules = files.read().map_err(|fault| unusable(&fault))?;
        warn_of(&rules);
        let overrides = rules.overrides().len();
        tracing::info!(overrides, file = %files.file.display(), "who may do what: policy rules are read");
        metrics::gauge!("picasso_policy_files_broken").set(0.0);
        let interval = Duration::from_secs(settings.policy.reload_s.into());
        Ok(Self { enforcer: enforcer(settings, rules)?, files, read, interval })
    }

    pub(crate) fn enforcer(&self) -> Arc<Enforcer> {
        self.enforcer.clone()
    }

    /// Puts what changed into force, until `stopping`.
    pub(crate) async fn follow(mut self, stopping: CancellationToken) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(self.interval) => {}
                () = stopping.cancelled() => return,
            }
            // Broken ones are read again in any case: a folder's permissions show in no stamp.
            let known = self.enforcer.fault().is_none().then(|| self.read.clone());
            let files = self.files.clone();
            let look = move || {
                let now = files.stamp();
                (known.as_ref() != Some(&now)).then(|| (now, files.read()))
            };
            if let Ok(Some((now, rules))) = tokio::task::spawn_blocking(look).await {
                self.read = now;
                self.put_into_force(rules);
            }
        }
    }

    fn put_into_force(&self, rules: Result<RuleSet, FileFault>) {
        let is_broken = rules.is_err();
        let outcome = if is_broken { "error" } else { "ok" };
        match rules {
            Ok(rules) => {
                warn_of(&rules);
                tracing::info!(overrides = rules.overrides().len(), "changed policy rules are in force");
                self.enforcer.replace(rules);
            }
            Err(fault) if self.enforcer.fault().is_some_and(|known| *known == fault) => return,
            Err(fault) => {
                tracing::error!(%fault, "the policy files cannot be used; the rules before them stay in force");
                self.enforcer.keep(fault);
            }
        }
        metrics::counter!("picasso_policy_reloads_total", "outcome" => outcome).increment(1);
        metrics::gauge!("picasso_policy_files_broken").set(f64::from(u8::from(is_broken)));
    }
}

fn warn_of(rules: &RuleSet) {
    for warning in rules.warnings() {
        tracing::warn!("policy: {warning}");
    }
}
