//! Policy files and rules: each is read or told to be broken, and has a verdict or a fault, within
//! bounds; a rule and its negation are never both fulfilled.
#![no_main]

use std::collections::BTreeMap;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use picasso_identity::policy::{Check, Question, RuleSet, evaluate, parse_file, parse_text};
use serde_json::{Map, Value, json};

fuzz_target!(|text: &str| {
    // As a file.
    if let Ok(rules) = parse_file(Path::new("policy.yaml"), text) {
        let rules = RuleSet::new(rules);
        let _ = rules.warnings();
        for name in rules.overrides().keys() {
            decide(rules.check(name).expect("it is there"), &rules);
        }
    }
    // As a rule that others refer to.
    let (check, _) = parse_text(text);
    let rules = RuleSet::of([("it", text), ("default", "rule:it")]);
    let negated = Check::Not(Box::new(Check::Rule("it".to_owned())));
    assert!(!(decide(&check, &rules) && decide(&negated, &rules)));
});

fn map(value: &Value) -> &Map<String, Value> {
    value.as_object().expect("it is a map")
}

fn decide(check: &Check, rules: &RuleSet) -> bool {
    let target = json!({"project_id": "p1", "a": [1.5, null], "role": "x%(y)s"});
    let credentials = json!({"project_id": "p1", "roles": ["admin"], "user": {"groups": [{"id": "g"}]}});
    let question = Question { target: map(&target), credentials: map(&credentials) };
    evaluate(check, rules, question, &BTreeMap::new()) == Ok(true)
}
