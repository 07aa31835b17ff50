//! `picasso policy`: what an operator asks about the rules.

use std::fmt::Write as _;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method};
use picasso_config::{Inputs, Loaded, Settings};
use picasso_identity::policy::defaults::{BASE_RULES, DEFAULTS};
use picasso_identity::policy::{Credentials, Enforcer, RuleDefault, RuleSet, sample};
use picasso_identity::{AuthError, Caller, KeystoneValidator, Presented, TokenValidator as _};
use picasso_types::SystemClock;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value, json};

use super::{enforcer, rules};
use crate::convert;
use crate::failure::ServerFailure;

/// What is asked.
#[derive(Debug)]
pub enum PolicyTask {
    /// The sample file.
    Sample,
    /// The rules in force.
    List {
        /// As JSON.
        json: bool,
    },
    /// Which rules a token passes.
    Check(PolicyCheck),
}

/// A token and what it is to do.
#[derive(Debug)]
pub struct PolicyCheck {
    /// The token.
    pub token: SecretString,
    /// The one rule that matters; all where none is named.
    pub rule: Option<String>,
    /// The project of the URL; the token's own where none is named.
    pub project: Option<String>,
    /// What else the URL names: `app`, `route`, …
    pub target: Vec<(String, String)>,
}

/// The answer.
#[derive(Debug)]
pub struct PolicyReport {
    /// For standard output.
    pub text: String,
    /// For standard error.
    pub warnings: Vec<String>,
    /// Whether all is as it should be: nothing to warn of, and the named rule passed.
    pub is_good: bool,
}

pub(crate) fn report(inputs: &Inputs, task: &PolicyTask) -> Result<PolicyReport, ServerFailure> {
    match task {
        PolicyTask::Sample => Ok(PolicyReport { text: sample(), warnings: Vec::new(), is_good: true }),
        PolicyTask::List { json } => {
            let rules = rules(&Loaded::load_for_client(inputs)?.settings)?;
            let warnings = rules.warnings();
            let text = if *json { as_json(&rules) } else { as_yaml(&rules) };
            Ok(PolicyReport { text, is_good: warnings.is_empty(), warnings })
        }
        PolicyTask::Check(check) => {
            let named = check.rule.as_deref().map(find).transpose()?;
            let loaded = Loaded::load(inputs)?.with_secret_files()?;
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|error| ServerFailure::new("cannot start threads").because(error))?;
            runtime.block_on(passed(&loaded.settings, check, named))
        }
    }
}

/// The rule of this name.
fn find(name: &str) -> Result<&'static RuleDefault, ServerFailure> {
    if let Some(rule) = DEFAULTS.iter().find(|rule| rule.name == name) {
        return Ok(rule);
    }
    let failure = ServerFailure::new(format!("there is no rule {name:?}"));
    Err(match RuleSet::suggestion(name) {
        Some(meant) => failure.hint(format!("did you mean {meant:?}?")),
        None => failure.hint("`picasso policy list` tells all rules"),
    })
}

/// A rule in force: name, text, where it comes from.
fn in_force(rules: &RuleSet) -> Vec<(&str, &str, &str)> {
    let overrides = rules.overrides();
    let base = BASE_RULES.iter().map(|rule| (rule.name, rule.check));
    let defaults = || base.clone().chain(DEFAULTS.iter().map(|rule| (rule.name, rule.check)));
    let known = defaults().map(|(name, check)| match overrides.get(name) {
        Some(rule) => (name, rule.text.as_str(), rule.place.as_str()),
        None => (name, check, "default"),
    });
    let others = overrides.iter().filter(|(name, _)| defaults().all(|(known, _)| known != name.as_str()));
    known.chain(others.map(|(name, rule)| (name.as_str(), rule.text.as_str(), rule.place.as_str()))).collect()
}

/// A policy file that says what is in force, and where it comes from.
fn as_yaml(rules: &RuleSet) -> String {
    let mut out = String::new();
    for (name, text, source) in in_force(rules) {
        // A rule in list form is kept as JSON, which YAML takes as it is.
        let text = if text.starts_with('[') { text.to_owned() } else { Value::from(text).to_string() };
        // Writing to a string does not fail.
        let _ = writeln!(out, "{}: {text}  # {source}", Value::from(name));
    }
    out
}

fn as_json(rules: &RuleSet) -> String {
    let list: Vec<_> = in_force(rules)
        .into_iter()
        .map(|(name, text, source)| {
            let default = DEFAULTS.iter().find(|rule| rule.name == name);
            let operations: Vec<_> = default
                .iter()
                .flat_map(|rule| rule.operations)
                .map(|it| json!({"method": it.method, "path": it.path}))
                .collect();
            let scopes: Vec<_> =
                default.iter().flat_map(|rule| rule.scope_types).map(|scope| scope.as_str()).collect();
            let description = default.map(|rule| rule.description);
            json!({
                "name": name, "rule": text, "source": source, "scope_types": scopes,
                "operations": operations, "description": description,
            })
        })
        .collect();
    format!("{:#}\n", Value::from(list))
}

/// Which rules the token passes, or whether it passes the one that is named.
async fn passed(
    settings: &Settings,
    check: &PolicyCheck,
    named: Option<&'static RuleDefault>,
) -> Result<PolicyReport, ServerFailure> {
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        return Err(ServerFailure::new("another TLS provider is installed already"));
    }
    let rules = rules(settings)?;
    let warnings = rules.warnings();
    let enforcer = enforcer(settings, rules)?;
    let tokens = KeystoneValidator::new(convert::keystone(settings)?, Arc::new(SystemClock))
        .map_err(|error| ServerFailure::new("the settings of Keystone cannot be used").because(error))?;
    tokens
        .log_in()
        .await
        .map_err(|error| ServerFailure::new("Keystone does not take our service user").because(error))?;
    let mut out = String::new();
    let (mut is_valid, mut is_good) = (false, true);
    let mut refusal = None;
    for rule in named.map_or_else(|| DEFAULTS.to_vec(), |rule| vec![rule]) {
        let passes = match caller(&tokens, check, rule).await {
            Ok(caller) => {
                is_valid = true;
                allows(&enforcer, rule, check, &caller).await?
            }
            // Access rules may let the token do something else.
            Err(reason) => {
                refusal = Some(reason);
                false
            }
        };
        is_good &= passes || named.is_none();
        let _ = writeln!(out, "{}: {}", if passes { "passed" } else { "failed" }, rule.name);
    }
    match refusal {
        Some(error) if !is_valid => {
            Err(ServerFailure::new("Keystone does not take the token").because(error))
        }
        _ => Ok(PolicyReport { text: out, warnings, is_good }),
    }
}

/// Who the token is, for a request that the rule guards.
async fn caller(
    tokens: &KeystoneValidator,
    check: &PolicyCheck,
    rule: &RuleDefault,
) -> Result<Arc<Caller>, AuthError> {
    let malformed = |_| AuthError::Unauthorized { reason: "the token is malformed" };
    let token = HeaderValue::from_str(check.token.expose_secret()).map_err(malformed)?;
    let headers = HeaderMap::from_iter([(http::HeaderName::from_static("x-auth-token"), token)]);
    let mut refusal = AuthError::Unauthorized { reason: "the rule guards nothing" };
    for operation in rule.operations {
        let mut path = operation.path.to_owned();
        for (name, value) in named_values(check) {
            path = path.replace(&format!("{{{name}}}"), value);
        }
        let method = Method::from_bytes(operation.method.as_bytes()).unwrap_or_default();
        match tokens.validate(&Presented::new(&headers, &method, &path)?).await {
            Ok(caller) => return Ok(caller),
            Err(error) => refusal = error,
        }
    }
    Err(refusal)
}

fn named_values(check: &PolicyCheck) -> impl Iterator<Item = (&str, &str)> {
    let project = check.project.iter().map(|project| ("project_id", project.as_str()));
    check.target.iter().map(|(name, value)| (name.as_str(), value.as_str())).chain(project)
}

/// As a handler asks: a token without a project passes nothing.
async fn allows(
    enforcer: &Enforcer,
    rule: &RuleDefault,
    check: &PolicyCheck,
    caller: &Caller,
) -> Result<bool, ServerFailure> {
    let Some(own) = caller.project_id() else { return Ok(false) };
    let mut target = Map::from_iter([("project_id".to_owned(), Value::from(own.as_str()))]);
    target.extend(named_values(check).map(|(name, value)| (name.to_owned(), Value::from(value))));
    enforcer
        .allows(rule, &target, &Credentials::from(caller))
        .await
        .map_err(|fault| ServerFailure::new(format!("{} cannot be decided", rule.name)).because(fault))
}
