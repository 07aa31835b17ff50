//! What changing endpoints are called on the bus: as the policy rule that they enforce.

use super::audit::is_call;

/// Whether requests of an endpoint change things of tenants, and are told for it. Calls have records.
pub(super) fn changes(method: &str, template: &str) -> bool {
    matches!(method, "POST" | "PUT" | "PATCH" | "DELETE") && !is_call(template)
}

/// `function.app.create` of the rule `functions:app:create`; `.start`, `.end` or `.error` follow it.
pub(super) fn name(rule: &str) -> String {
    let of_service = rule.strip_prefix("functions:").unwrap_or(rule);
    format!("function.{}", of_service.replace(':', "."))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::endpoints::endpoints;

    /// The events of all endpoints that change something.
    fn events() -> BTreeSet<String> {
        let changing = endpoints().into_iter().filter(|it| changes(it.method, &it.path));
        let named = |it: crate::Endpoint| {
            let rule = it.rule.as_deref();
            name(rule.unwrap_or_else(|| panic!("{} {} enforces no rule", it.method, it.path)))
        };
        changing.map(named).collect()
    }

    #[test]
    fn every_endpoint_that_changes_something_names_its_event() {
        let events = events();
        for event in &events {
            let parts: Vec<_> = event.split('.').collect();
            let is_word = |part: &&str| part.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
            assert!(parts.len() == 3 && parts[0] == "function" && parts.iter().all(is_word), "{event}");
        }
        // An event is of changes alone, so that who listens is told of no reading.
        for endpoint in endpoints().iter().filter(|it| !changes(it.method, &it.path)) {
            let event = endpoint.rule.as_deref().map(name);
            assert!(
                !event.is_some_and(|event| events.contains(&event)),
                "{} {}",
                endpoint.method,
                endpoint.path
            );
        }
    }

    #[test]
    fn the_documentation_has_exactly_the_events_there_are() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/notifications.md");
        let text = std::fs::read_to_string(path).unwrap();
        let rows = text.lines().filter_map(|line| line.strip_prefix("| `function.")?.split('`').next());
        let told: BTreeSet<String> = rows.map(|event| format!("function.{event}")).collect();
        assert_eq!(told, events());
    }
}
