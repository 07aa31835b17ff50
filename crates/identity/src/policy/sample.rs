//! The sample file: every rule with what it guards, commented out, as oslopolicy-sample-generator
//! writes it.

use std::fmt::Write as _;

use super::defaults::{BASE_RULES, DEFAULTS, ScopeType};

/// A policy file that changes nothing: what an operator starts from.
pub fn sample() -> String {
    let mut out = String::new();
    for rule in BASE_RULES {
        paragraph(&mut out, rule.description);
        let _ = writeln!(out, "#{}: {}\n", quoted(rule.name), quoted(rule.check));
    }
    for rule in DEFAULTS {
        paragraph(&mut out, rule.description);
        for operation in rule.operations {
            let _ = writeln!(out, "# {}  {}", operation.method, operation.path);
        }
        let scopes: Vec<_> = rule.scope_types.iter().copied().map(ScopeType::as_str).collect();
        let _ = writeln!(out, "# Intended scope(s): {}", scopes.join(", "));
        let _ = writeln!(out, "#{}: {}\n", quoted(rule.name), quoted(rule.check));
    }
    out
}

/// A text of YAML in double quotes, which those of JSON are, too.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn paragraph(out: &mut String, text: &str) {
    let mut width = usize::MAX;
    for word in text.split_whitespace() {
        let lead = if width == usize::MAX {
            "# "
        } else if width + word.len() >= 80 {
            "\n# "
        } else {
            " "
        };
        width = if lead == " " { width + 1 + word.len() } else { 2 + word.len() };
        // Writing to a string does not fail.
        let _ = write!(out, "{lead}{word}");
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::policy::{RuleSet, parse_file};

    #[test]
    fn the_sample_changes_nothing_until_its_rules_are_uncommented() {
        let text = sample();
        assert!(parse_file(Path::new("sample"), &text).unwrap().is_empty());
        let uncommented = text.replace("\n#\"", "\n\"");
        let rules = parse_file(Path::new("sample"), &uncommented).unwrap();
        assert_eq!(rules.len(), BASE_RULES.len() + DEFAULTS.len());
        for rule in DEFAULTS {
            assert_eq!(rules[rule.name].text, rule.check);
        }
        assert_eq!(RuleSet::new(rules).warnings(), Vec::<String>::new());
        assert!(text.lines().all(|line| line.is_empty() || line.starts_with('#')));
    }

    #[test]
    fn a_rule_is_written_with_description_operations_and_scope() {
        let expected = "# Make an app.\n# POST  /v1/{project_id}/apps\n# Intended scope(s): project\n\
                        #\"functions:app:create\": \"rule:project_member_or_admin\"\n";
        assert!(sample().contains(expected), "{}", sample());
    }
}
