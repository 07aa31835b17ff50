//! Whether a trigger takes an event.

use picasso_types::trigger::{Filter, Test};
use serde_json::Value;

use crate::event::Event;

/// Whether every condition holds.
pub fn is_taken(filter: &Filter, event: &Event) -> bool {
    filter.conditions().is_empty() || passes(filter, event, &event.json())
}

/// The same where the event's data have been parsed.
pub(crate) fn passes(filter: &Filter, event: &Event, data: &Value) -> bool {
    filter
        .conditions()
        .iter()
        .all(|condition| holds(&condition.test, event.at(&condition.field, data).as_ref()))
}

fn holds(test: &Test, value: Option<&Value>) -> bool {
    let as_text = value.and_then(Value::as_str);
    let number = value.and_then(Value::as_f64);
    match test {
        Test::Equals(wanted) => value.is_some_and(|value| is_equal(value, wanted)),
        Test::NotEquals(unwanted) => !value.is_some_and(|value| is_equal(value, unwanted)),
        Test::OneOf(wanted) => value.is_some_and(|value| wanted.iter().any(|one| is_equal(value, one))),
        Test::Glob(pattern) => as_text.is_some_and(|text| glob(pattern, text)),
        Test::Prefix(prefix) => as_text.is_some_and(|text| text.starts_with(prefix.as_str())),
        Test::Suffix(suffix) => as_text.is_some_and(|text| text.ends_with(suffix.as_str())),
        Test::Exists(wanted) => value.is_some() == *wanted,
        Test::AtLeast(bound) => number.is_some_and(|number| number >= *bound),
        Test::AtMost(bound) => number.is_some_and(|number| number <= *bound),
    }
}

/// Numbers are equal by their value: 1 and 1.0 are.
fn is_equal(one: &Value, other: &Value) -> bool {
    match (one.as_f64(), other.as_f64()) {
        #[expect(clippy::float_cmp, reason = "people compare with the number that they wrote")]
        (Some(one), Some(other)) => one == other,
        _ => one == other,
    }
}

/// Whether a pattern matches the whole text: `*` is any text, `?` any character. Takes time in the
/// product of both lengths at most.
pub fn glob(pattern: &str, text: &str) -> bool {
    let (mut p, mut t) = (pattern.chars(), text.chars());
    // Where to go on when what follows the last `*` did not fit.
    let mut retry = None;
    loop {
        let before = t.clone();
        match (p.next(), t.next()) {
            (Some('*'), _) => {
                retry = Some((p.clone(), before.clone()));
                t = before;
            }
            (Some('?'), Some(_)) => {}
            (Some(wanted), Some(found)) if wanted == found => {}
            (None, None) => return true,
            _ => {
                let Some((behind_star, mut from)) = retry.take() else { return false };
                if from.next().is_none() {
                    return false;
                }
                (p, t) = (behind_star.clone(), from.clone());
                retry = Some((behind_star, from));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn takes(condition: &Value) -> bool {
        let data = json!({"state": "stopped", "n": 5, "none": null, "list": [{"a": "x"}]});
        let mut event = Event::of_json("7".into(), "compute.instance.update".into(), "/s".into(), &data);
        event.subject = Some("in/cat.jpg".to_owned());
        is_taken(&Filter::parse(json!([condition])).unwrap(), &event)
    }

    #[test]
    fn each_test_holds_for_what_it_means() {
        for held in [
            json!({"field": "type", "glob": "compute.*"}),
            json!({"field": "subject", "prefix": "in/"}),
            json!({"field": "subject", "suffix": ".jpg"}),
            json!({"field": "data.state", "equals": "stopped"}),
            json!({"field": "data.state", "not_equals": "running"}),
            json!({"field": "data.missing", "not_equals": "running"}),
            json!({"field": "data.n", "equals": 5.0}),
            json!({"field": "data.n", "at_least": 5}),
            json!({"field": "data.n", "at_most": 5}),
            json!({"field": "data.none", "equals": null}),
            json!({"field": "data.none", "exists": true}),
            json!({"field": "data.missing", "exists": false}),
            json!({"field": "data.list[0].a", "one_of": ["y", "x"]}),
            json!({"field": "id", "equals": "7"}),
        ] {
            assert!(takes(&held), "{held}");
        }
        for not in [
            json!({"field": "type", "glob": "compute"}),
            json!({"field": "data.missing", "equals": null}),
            json!({"field": "data.state", "at_least": 1}),
            json!({"field": "data.n", "glob": "*"}),
            json!({"field": "data.n", "at_least": 5.5}),
            json!({"field": "data.list[1].a", "one_of": ["x"]}),
            json!({"field": "nothing", "exists": true}),
        ] {
            assert!(!takes(&not), "{not}");
        }
    }

    #[test]
    fn a_glob_matches_whole_texts() {
        for (pattern, text) in
            [("*", ""), ("a*c", "abbc"), ("a*c", "ac"), ("?b*", "ab"), ("*.x.*", "a.x.x.b"), ("", "")]
        {
            assert!(glob(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in
            [("a", "ab"), ("a*c", "acd"), ("?", ""), ("*b", "ba"), ("", "a"), ("a*b*c", "acb")]
        {
            assert!(!glob(pattern, text), "{pattern} {text}");
        }
        assert!(!glob(&"*a".repeat(50), &"a".repeat(49)), "ends in time");
    }
}
