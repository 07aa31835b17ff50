//! The rules in force, asked by handlers, replaced as a whole when files change.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use serde_json::{Map, Value};
use url::Url;

use super::credentials::Credentials;
use super::defaults::RuleDefault;
use super::evaluate::{Halt, Question, evaluate};
use super::file::FileFault;
use super::remote::{RemoteCheck, RemoteFault, RemoteFormat, is_yes, question_body};
use super::rules::RuleSet;

/// How many policy servers one decision may ask.
const MAX_REMOTE_CHECKS: usize = 8;

/// How policy servers are asked.
#[derive(Debug, Clone)]
pub struct RemoteSettings {
    /// How the question is written.
    pub format: RemoteFormat,
    /// Time for one question.
    pub timeout: Duration,
}

impl Default for RemoteSettings {
    fn default() -> Self {
        // oslo.policy's remote_timeout.
        Self { format: RemoteFormat::default(), timeout: Duration::from_mins(1) }
    }
}

/// Decides who may do what.
#[derive(Debug)]
pub struct Enforcer {
    rules: ArcSwap<RuleSet>,
    fault: ArcSwapOption<FileFault>,
    remote: Arc<dyn RemoteCheck>,
    settings: RemoteSettings,
}

impl Enforcer {
    /// An enforcer of these rules.
    pub fn new(rules: RuleSet, remote: Arc<dyn RemoteCheck>, settings: RemoteSettings) -> Self {
        Self { rules: ArcSwap::from_pointee(rules), fault: ArcSwapOption::empty(), remote, settings }
    }

    /// Puts other rules into force; a decision under way keeps those it began with.
    pub fn replace(&self, rules: RuleSet) {
        self.rules.store(Arc::new(rules));
        self.fault.store(None);
    }

    /// The files cannot be used any more; the rules in force stay.
    pub fn keep(&self, fault: FileFault) {
        self.fault.store(Some(Arc::new(fault)));
    }

    /// Why the rules in force are not what the files say, if they are not.
    pub fn fault(&self) -> Option<Arc<FileFault>> {
        self.fault.load_full()
    }

    /// The rules in force.
    pub fn rules(&self) -> Arc<RuleSet> {
        self.rules.load_full()
    }

    /// Whether a token of this scope may do what `rule` guards to `target`. A rule that cannot be
    /// evaluated allows nothing.
    pub async fn allows(
        &self,
        rule: &RuleDefault,
        target: &Map<String, Value>,
        credentials: &Credentials,
    ) -> Result<bool, RemoteFault> {
        let RuleDefault { name: rule, scope_types, .. } = *rule;
        if !scope_types.is_empty() && !scope_types.contains(&credentials.scope()) {
            return Ok(false);
        }
        let rules = self.rules.load_full();
        let Some(check) = rules.check(rule) else { return Ok(false) };
        let question = Question { target, credentials: credentials.attributes() };
        let mut answers = BTreeMap::new();
        loop {
            match evaluate(check, &rules, question, &answers) {
                Ok(verdict) => return Ok(verdict),
                Err(Halt::Ask(url)) if answers.len() < MAX_REMOTE_CHECKS => {
                    let answer = self.ask(&url, rule, question).await?;
                    answers.insert(url, answer);
                }
                Err(halt) => {
                    let reason = match halt {
                        Halt::MissingKey => "the target lacks a value of a policy server's URL",
                        Halt::Broken(reason) => reason,
                        Halt::Ask(_) => "it asks too many policy servers",
                    };
                    tracing::warn!(rule, reason, "a policy rule cannot be evaluated and allows nothing");
                    return Ok(false);
                }
            }
        }
    }

    async fn ask(&self, url: &str, rule: &str, question: Question<'_>) -> Result<bool, RemoteFault> {
        let fault =
            |host: &str, reason: &str| RemoteFault { host: host.to_owned(), reason: reason.to_owned() };
        let url = Url::parse(url).map_err(|_| fault("", "its URL is malformed"))?;
        let host = url.host_str().unwrap_or_default();
        let (content_type, body) = question_body(self.settings.format, rule, question);
        let asked = self.remote.post(&url, content_type, body);
        let answer = tokio::time::timeout(self.settings.timeout, asked)
            .await
            .unwrap_or_else(|_| Err("it did not answer in time".to_owned()));
        answer.map(|answer| is_yes(&answer)).map_err(|reason| fault(host, &reason))
    }
}
