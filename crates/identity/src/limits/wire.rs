//! Keystone's lists of limits (Identity API 3.14), reduced to what is used of them.

use std::collections::HashMap;

use picasso_types::Resource;
use serde::Deserialize;

/// Our service as limits name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OurService {
    pub(crate) id: String,
    /// Limits of this region count, and those of none; where it is not known, only the latter.
    pub(crate) region: Option<String>,
}

/// What is registered for our service.
#[derive(Debug)]
pub(super) struct Registered {
    /// `None`: the catalog does not know us.
    pub(super) service: Option<OurService>,
    /// By resource; `-1` is no limit.
    pub(super) limits: HashMap<Resource, i64>,
}

/// The answer to `GET /v3/registered_limits`.
#[derive(Deserialize)]
pub(super) struct RegisteredLimitList {
    registered_limits: Vec<RegisteredLimit>,
}

#[derive(Deserialize)]
struct RegisteredLimit {
    service_id: String,
    region_id: Option<String>,
    resource_name: String,
    default_limit: i64,
}

/// The answer to `GET /v3/limits`.
#[derive(Deserialize)]
pub(super) struct ProjectLimitList {
    limits: Vec<ProjectLimit>,
}

#[derive(Deserialize)]
struct ProjectLimit {
    service_id: String,
    region_id: Option<String>,
    /// Absent for a limit of a domain.
    project_id: Option<String>,
    resource_name: String,
    resource_limit: i64,
}

impl RegisteredLimitList {
    /// Those of our service.
    pub(super) fn of(&self, service: &OurService) -> HashMap<Resource, i64> {
        let ours = self.registered_limits.iter().filter(|one| one.service_id == service.id);
        pick(service, ours.map(|one| (&one.region_id, one.resource_name.as_str(), one.default_limit)))
    }
}

impl ProjectLimitList {
    /// Those of the project at our service.
    pub(super) fn of(&self, project: &str, service: &OurService) -> HashMap<Resource, i64> {
        // What the query asked for is looked at again: a limit of another project must not count.
        let ours = self
            .limits
            .iter()
            .filter(|one| one.service_id == service.id && one.project_id.as_deref() == Some(project));
        pick(service, ours.map(|one| (&one.region_id, one.resource_name.as_str(), one.resource_limit)))
    }
}

/// By resource; a limit of our region goes before one of no region.
fn pick<'a>(
    service: &OurService,
    limits: impl Iterator<Item = (&'a Option<String>, &'a str, i64)>,
) -> HashMap<Resource, i64> {
    let mut picked = HashMap::new();
    let mut of_no_region = HashMap::new();
    for (region, name, limit) in limits {
        let Some(resource) = Resource::of_name(name) else { continue };
        if region.is_none() {
            of_no_region.insert(resource, limit);
        } else if *region == service.region {
            picked.insert(resource, limit);
        }
    }
    for (resource, limit) in of_no_region {
        picked.entry(resource).or_insert(limit);
    }
    picked
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn service(region: Option<&str>) -> OurService {
        OurService { id: "s".to_owned(), region: region.map(str::to_owned) }
    }

    #[test]
    fn limits_of_other_regions_services_and_resources_do_not_count() {
        let limit = |service: &str, region: Option<&str>, name: &str, limit: i64| {
            json!({"id": "1", "service_id": service, "region_id": region, "resource_name": name,
                "default_limit": limit, "description": null, "links": {}})
        };
        let list: RegisteredLimitList = serde_json::from_value(json!({"registered_limits": [
            limit("s", Some("two"), "functions_apps", 2),
            limit("s", None, "functions_apps", 3),
            limit("s", Some("one"), "functions_apps", 1),
            limit("s", None, "functions_routes", -1),
            limit("other", Some("one"), "functions_routes", 9),
            limit("s", Some("one"), "cores", 9),
        ], "links": {}}))
        .unwrap();
        let apps_and_routes = |apps| HashMap::from([(Resource::Apps, apps), (Resource::Routes, -1)]);
        assert_eq!(list.of(&service(Some("one"))), apps_and_routes(1));
        assert_eq!(list.of(&service(Some("three"))), apps_and_routes(3));
    }

    #[test]
    fn a_limit_of_another_project_or_of_a_domain_does_not_count() {
        let limit = |project: Option<&str>, limit: i64| {
            json!({"id": "1", "service_id": "s", "region_id": null, "project_id": project, "domain_id": null,
                "resource_name": "functions_apps", "resource_limit": limit, "description": null})
        };
        let list = json!({"limits": [limit(Some("a"), 1), limit(Some("b"), 2), limit(None, 3)]});
        let list: ProjectLimitList = serde_json::from_value(list).unwrap();
        assert_eq!(list.of("b", &service(None)), HashMap::from([(Resource::Apps, 2)]));
        assert_eq!(list.of("c", &service(None)), HashMap::new());
    }
}
