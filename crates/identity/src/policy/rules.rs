//! The rules that are in force: the defaults of the code, and what files put in their place.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

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

    /// The name of a rule that handlers ask for which `name` may have been meant to be.
    pub fn suggestion(name: &str) -> Option<&'static str> {
        nearest(name, DEFAULTS.iter().map(|rule| rule.name))
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

    /// What an operator should look at: names that nothing asks for, references to rules that there
    /// are not, and rules that refer to each other in a circle.
    pub fn warnings(&self) -> Vec<String> {
        let references = self.references();
        let referred: HashSet<_> = self
            .overrides
            .keys()
            .filter_map(|name| references.get(name.as_str()))
            .flatten()
            .copied()
            .collect();
        let unknown = self
            .overrides
            .iter()
            .filter(|(name, _)| !is_known(name) && *name != DEFAULT_RULE && !referred.contains(name.as_str()))
            .map(|(name, rule)| {
                let hint = hint(nearest(name, known_names()));
                format!("{}: {name:?} is no rule of Picasso's, and no rule refers to it{hint}", rule.place)
            });
        let dangling = self.overrides.iter().flat_map(|(name, rule)| {
            let wanted = references.get(name.as_str()).into_iter().flatten();
            wanted.filter(|wanted| !self.checks.contains_key(**wanted)).map(move |wanted| {
                let hint = hint(nearest(wanted, self.checks.keys().map(String::as_str)));
                format!("{}: {name:?} refers to the rule {wanted:?}, which there is not{hint}", rule.place)
            })
        });
        let circles = circles(references.clone());
        let circular =
            self.overrides.iter().filter(|(name, _)| circles.contains(name.as_str())).map(|(name, rule)| {
                format!("{}: {name:?} refers to itself in a circle, and allows nothing", rule.place)
            });
        unknown.chain(dangling).chain(circular).collect()
    }

    /// The rules that each rule refers to.
    fn references(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        self.checks
            .iter()
            .map(|(name, check)| {
                let mut names = Vec::new();
                check.names_of_rules(&mut names);
                (name.as_str(), names.into_iter().collect())
            })
            .collect()
    }
}

/// The rules on a circle, or between two: what is left where whatever refers to nothing that is left,
/// and whatever nothing left refers to, is taken away as long as there is such a rule.
fn circles<'a>(mut references: BTreeMap<&'a str, BTreeSet<&'a str>>) -> BTreeSet<&'a str> {
    loop {
        let referred: HashSet<&str> = references.values().flatten().copied().collect();
        let left: BTreeMap<_, BTreeSet<_>> = references
            .iter()
            .filter(|(name, _)| referred.contains(*name))
            .map(|(name, to)| (*name, to.iter().copied().filter(|to| references.contains_key(to)).collect()))
            .filter(|(_, to): &(_, BTreeSet<_>)| !to.is_empty())
            .collect();
        if left.len() == references.len() {
            return left.into_keys().collect();
        }
        references = left;
    }
}

fn known_names() -> impl Iterator<Item = &'static str> {
    DEFAULTS.iter().map(|rule| rule.name).chain(BASE_RULES.iter().map(|rule| rule.name))
}

fn is_known(name: &str) -> bool {
    known_names().any(|known| known == name)
}

/// The one of `names` that `name` may have been meant to be.
fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let distances = names.map(|known| (strsim::damerau_levenshtein(name, known), known));
    let (distance, nearest) = distances.min()?;
    (distance <= (name.chars().count() / 3).max(2)).then_some(nearest)
}

fn hint(nearest: Option<&str>) -> String {
    nearest.map(|name| format!("; did you mean {name:?}?")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warnings(rules: &[(&str, &str)]) -> Vec<String> {
        let overrides = rules.iter().enumerate().map(|(line, (name, text))| {
            let place = format!("p.yaml:{}", line + 1);
            ((*name).to_owned(), Override { text: (*text).to_owned(), check: parse_text(text).0, place })
        });
        RuleSet::new(overrides.collect()).warnings()
    }

    #[test]
    fn rules_that_are_known_or_referred_to_are_no_reason_to_warn() {
        let rules = [
            ("functions:app:list", "rule:auditor or rule:project_reader_or_admin"),
            ("auditor", "role:auditor"),
            ("default", "!"),
            ("admin_api", "role:cloud_admin"),
        ];
        assert_eq!(warnings(&rules), Vec::<String>::new());
        assert_eq!(RuleSet::new(BTreeMap::new()).warnings(), Vec::<String>::new());
    }

    #[test]
    fn unknown_names_and_missing_rules_are_told_with_what_may_be_meant() {
        let rules =
            [("functions:apps:list", "role:x"), ("functions:app:get", "rule:admin_apy"), ("zzz", "@")];
        let told = warnings(&rules);
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(told[0].starts_with("p.yaml:1: \"functions:apps:list\" is no rule"), "{}", told[0]);
        assert!(told[0].ends_with("did you mean \"functions:app:list\"?"), "{}", told[0]);
        assert!(told[1].starts_with("p.yaml:3: \"zzz\"") && told[1].ends_with("refers to it"), "{}", told[1]);
        let expected = "p.yaml:2: \"functions:app:get\" refers to the rule \"admin_apy\", which there is not; \
                        did you mean \"admin_api\"?";
        assert_eq!(told[2], expected);
    }

    #[test]
    fn rules_in_a_circle_are_told_and_those_that_only_lead_to_it_are_not() {
        let rules = [
            ("functions:app:get", "rule:a"),
            ("a", "rule:b or rule:c"),
            ("b", "not rule:a"),
            ("c", "role:x"),
            ("self", "rule:self"),
        ];
        let told = warnings(&rules);
        let circular: Vec<_> = told.iter().filter(|line| line.contains("circle")).collect();
        assert_eq!(circular.len(), 3, "{told:?}");
        for (line, place) in circular.iter().zip(["p.yaml:2", "p.yaml:3", "p.yaml:5"]) {
            assert!(line.starts_with(place), "{line}");
        }
    }
}
