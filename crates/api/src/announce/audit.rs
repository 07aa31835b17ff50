//! What CADF calls a request: its action and its target, by the rules of keystonemiddleware's audit
//! filter, taken from the endpoint's template, so that no tenant's name is taken for a keyword.

use super::AuditSettings;

/// The service in CADF's taxonomy of resources.
const SERVICE: &str = "service/functions";

/// Whether an endpoint calls functions.
pub(super) fn is_call(template: &str) -> bool {
    ["/v1/r/", "/r/", "/v1/f/", "/f/", "/t/", "/v1/object-events"]
        .iter()
        .any(|prefix| template.starts_with(prefix))
}

/// Which requests of an endpoint are audited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coverage {
    /// All.
    Full,
    /// Those that were refused: the others have records.
    Refusals,
}

impl AuditSettings {
    /// Which requests of an endpoint are audited; `None`: none.
    pub(super) fn covers(&self, method: &str, template: &str) -> Option<Coverage> {
        let plain = template.replace("{*", "{");
        let is_ignored = self.ignore_methods.iter().any(|ignored| ignored.eq_ignore_ascii_case(method))
            || self.ignore_paths.contains(&plain);
        let coverage = if is_call(template) { Coverage::Refusals } else { Coverage::Full };
        (!is_ignored).then_some(coverage)
    }
}

/// `create`, `read`, `read/list`, `update`, `update/<action>`, `delete`, `start` (a call) or `unknown`.
pub(super) fn action(method: &str, template: &str) -> String {
    if is_call(template) {
        return "start".to_owned();
    }
    let last = template.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    match method {
        "POST" if is_collection(last) => "create".to_owned(),
        "POST" if !last.is_empty() && !is_parameter(last) => format!("update/{last}"),
        "POST" | "PUT" | "PATCH" => "update".to_owned(),
        "GET" if is_collection(last) => "read/list".to_owned(),
        "GET" | "HEAD" => "read".to_owned(),
        "DELETE" => "delete".to_owned(),
        _ => picasso_notify::cadf::UNKNOWN.to_owned(),
    }
}

/// `service/functions/apps/app/routes`.
pub(super) fn type_uri(template: &str) -> String {
    let mut uri = SERVICE.to_owned();
    let mut before = "";
    for segment in template.split('/') {
        if is_collection(segment) {
            uri.push('/');
            uri.push_str(segment);
        } else if is_collection(before) && !segment.is_empty() {
            uri.push('/');
            uri.push_str(member(before));
        }
        before = segment;
    }
    uri
}

fn is_parameter(segment: &str) -> bool {
    segment.starts_with('{')
}

/// Collections are plurals.
fn is_collection(segment: &str) -> bool {
    !is_parameter(segment) && segment.len() > 1 && segment.ends_with('s')
}

fn member(collection: &str) -> &str {
    match collection {
        "aliases" => "alias",
        plural => plural.strip_suffix('s').unwrap_or(plural),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_and_targets_follow_from_the_endpoint() {
        for (method, template, wanted, uri) in [
            ("POST", "/v1/{project_id}/apps", "create", "/apps"),
            ("GET", "/v1/{project_id}/apps", "read/list", "/apps"),
            ("GET", "/v1/{project_id}/apps/{app}", "read", "/apps/app"),
            ("PUT", "/v1/{project_id}/apps/{app}/routes/{*route}", "update", "/apps/app/routes/route"),
            ("PUT", "/v1/{project_id}/apps/{app}/routes/", "update", "/apps/app/routes"),
            ("DELETE", "/v1/{project_id}/images/{*name}", "delete", "/images/image"),
            ("POST", "/v1/{project_id}/apps/{app}/signing-key", "update/signing-key", "/apps/app"),
            ("POST", "/v1/{project_id}/calls/{call_id}/cancel", "update/cancel", "/calls/call"),
            ("TRACE", "/v1/{project_id}/apps", "unknown", "/apps"),
            ("GET", "/v1/f/{project_id}/{app}/{*route}", "start", ""),
        ] {
            assert_eq!(action(method, template), wanted, "{method} {template}");
            assert_eq!(type_uri(template), format!("service/functions{uri}"), "{template}");
        }
    }

    #[test]
    fn of_calls_the_refused_are_audited_and_nothing_of_what_the_operator_excludes() {
        let settings = AuditSettings {
            ignore_methods: vec!["get".to_owned()],
            ignore_paths: vec!["/v1/{project_id}/images/{name}".to_owned()],
        };
        assert_eq!(settings.covers("PUT", "/v1/{project_id}/apps/{app}"), Some(Coverage::Full));
        assert_eq!(settings.covers("GET", "/v1/{project_id}/apps/{app}"), None);
        assert_eq!(settings.covers("PUT", "/v1/{project_id}/images/{*name}"), None);
        assert_eq!(settings.covers("POST", "/v1/r/{project_id}/{app}/{*route}"), Some(Coverage::Refusals));
    }
}
