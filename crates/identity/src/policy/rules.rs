//! The rules that are in force: the defaults of the code, and what files put in their place.

use std::collections::{BTreeMap, HashMap};

use super::check::Check;
use super::defaults::{BASE_RULES, DEFAULTS};
use super::parser::parse_text;

/// The rule that stands for names that no rule has.
const DEFAULT_RULE: &str = "default";

/// A rule of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// The rule as it was written; one in list form as JSON.
    pub text: String,
    /// What it means.
    pub check: Check,
    /// The file and the line it stands in: `/etc/picasso/policy.yaml:3`.
    pub place: String,
}

/// Rules by name.
#[derive(Debug, Clone, Default)]
pub struct RuleSet {
    checks: HashMap<String, Check>,
    overrides: BTreeMap<String, Override>,
}

impl RuleSet {
    /// The defaults with `overrides` in their place.
    pub fn new(overrides: BTreeMap<String, Override>) -> Self {
        let base = BASE_RULES.iter().map(|rule| (rule.name, rule.check));
        let mut set = Self::of(base.chain(DEFAULTS.iter().map(|rule| (rule.name, rule.check))));
        set.checks.extend(overrides.iter().map(|(name, rule)| (name.clone(), rule.check.clone())));
        Self { overrides, ..set }
    }

    /// Exactly these rules in the policy language.
    pub fn of<'a>(rules: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let checks = rules.into_iter().map(|(name, text)| (name.to_owned(), parse_text(text).0)).collect();
        Self { checks, overrides: BTreeMap::new() }
    }

    /// The rule of this name, else the one named `default`, else none.
    pub fn check(&self, name: &str) -> Option<&Check> {
        self.checks.get(name).or_else(|| self.checks.get(DEFAULT_RULE))
    }

    /// The files' rules by name.
    pub fn overrides(&self) -> &BTreeMap<String, Override> {
        &self.overrides
    }

    /// What an operator should look at: names that nothing asks for, and references to rules that
    /// there are not.
    pub fn warnings(&self) -> Vec<String> {
        let mut referred = Vec::new();
        for rule in self.overrides.values() {
            rule.check.names_of_rules(&mut referred);
        }
        let known = |name: &str| {
            DEFAULTS.iter().any(|rule| rule.name == name) || BASE_RULES.iter().any(|rule| rule.name == name)
        };
        let unknown = self
            .overrides
            .iter()
            .filter(|(name, _)| !known(name) && *name != DEFAULT_RULE && !referred.contains(&name.as_str()))
            .map(|(name, rule)| {
                format!("{}: {name:?} is no rule of Picasso's, and no rule refers to it", rule.place)
            });
        let dangling = self.overrides.iter().flat_map(|(name, rule)| {
            let mut names = Vec::new();
            rule.check.names_of_rules(&mut names);
            names.into_iter().filter(|wanted| !self.checks.contains_key(*wanted)).map(move |wanted| {
                format!("{}: {name:?} refers to the rule {wanted:?}, which there is not", rule.place)
            })
        });
        unknown.chain(dangling).collect()
    }
}
