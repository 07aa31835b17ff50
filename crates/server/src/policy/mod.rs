//! Policy: its rules from code and files, and policy servers asked through the guarded client.

mod command;
mod follow;
mod servers;

pub(crate) use command::report;
pub use command::{PolicyCheck, PolicyReport, PolicyTask};
pub(crate) use follow::PolicyInForce;

use std::sync::Arc;

use picasso_config::Settings;
use picasso_identity::policy::{Enforcer, FileFault, RuleSet};

use crate::convert;
use crate::failure::ServerFailure;
use servers::PolicyServers;

/// The rules of code and files.
pub(crate) fn rules(settings: &Settings) -> Result<RuleSet, ServerFailure> {
    convert::policy_files(settings).read().map_err(|fault| unusable(&fault))
}

fn unusable(fault: &FileFault) -> ServerFailure {
    ServerFailure::new(format!("the policy files cannot be used: {fault}")).hint(
        "docs/policy.md explains the language; `picasso policy list` reads the files and tells their rules",
    )
}

/// An enforcer of these rules.
fn enforcer(settings: &Settings, rules: RuleSet) -> Result<Arc<Enforcer>, ServerFailure> {
    let servers = PolicyServers::new(convert::policy_client(settings)?);
    Ok(Arc::new(Enforcer::new(rules, Arc::new(servers), convert::policy_remote(settings))))
}
