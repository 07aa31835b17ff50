//! The rules that the service asks for, with what they are without a file: who may do what.
//!
//! A handler names one of them by its type (`ListApps`); operators and the OpenAPI document by its
//! name (`functions:app:list`: service, resource, action). Whoever adds a handler adds its rule here,
//! or uses the one of another handler that does the same.

/// What a token may be scoped to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ScopeType {
    /// One project.
    Project,
    /// A domain.
    Domain,
    /// The deployment.
    System,
}

impl ScopeType {
    /// As oslo.policy writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Project => "project",
            Self::Domain => "domain",
            Self::System => "system",
        }
    }
}

/// A method of a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Operation {
    /// `GET`, `PUT`, …
    pub method: &'static str,
    /// The URL's template.
    pub path: &'static str,
}

/// A rule that other rules refer to; no handler asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BaseRule {
    /// Its name.
    pub name: &'static str,
    /// Its text in the policy language.
    pub check: &'static str,
    /// Whom it means.
    pub description: &'static str,
}

/// A rule that handlers ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuleDefault {
    /// Its name.
    pub name: &'static str,
    /// Its text in the policy language.
    pub check: &'static str,
    /// What a token must be scoped to; checked whatever a file says.
    pub scope_types: &'static [ScopeType],
    /// What it guards.
    pub operations: &'static [Operation],
    /// What it allows.
    pub description: &'static str,
}

impl RuleDefault {
    /// The least role that the default asks for, for people who were refused.
    pub fn least_role(&self) -> &'static str {
        match self.check {
            PROJECT_READER_OR_ADMIN => "reader",
            PROJECT_MEMBER_OR_ADMIN => "member",
            INVOKER => "member or service",
            SERVICE => "service",
            _ => "admin",
        }
    }
}

/// A rule as a type: what a handler names.
pub trait NamedRule: Send + Sync + 'static {
    /// The rule.
    const RULE: &'static RuleDefault;
}

/// What other rules are made of: the personas of OpenStack's secure RBAC. A role implies the lesser
/// ones (admin, manager, member, reader) by Keystone's own doing, so that a manager is a member, too.
pub const BASE_RULES: &[BaseRule] = &[
    BaseRule { name: "admin_api", check: "role:admin", description: "The operator, in every project" },
    BaseRule {
        name: "project_manager_api",
        check: "role:manager and project_id:%(project_id)s",
        description: "Who looks after the project; no default asks for it, as a manager is a member, too",
    },
    BaseRule {
        name: "project_member_api",
        check: "role:member and project_id:%(project_id)s",
        description: "Who works in the project",
    },
    BaseRule {
        name: "project_reader_api",
        check: "role:reader and project_id:%(project_id)s",
        description: "Who looks at the project",
    },
    BaseRule {
        name: "project_service_api",
        check: "role:service and project_id:%(project_id)s",
        description: "Another service, in its own project",
    },
    BaseRule {
        name: "project_member_or_admin",
        check: "rule:project_member_api or rule:admin_api",
        description: "Who works in the project, and the operator",
    },
    BaseRule {
        name: "project_reader_or_admin",
        check: "rule:project_reader_api or rule:admin_api",
        description: "Who looks at the project, and the operator",
    },
];

const PROJECT_READER_OR_ADMIN: &str = "rule:project_reader_or_admin";
const PROJECT_MEMBER_OR_ADMIN: &str = "rule:project_member_or_admin";
const SERVICE: &str = "role:service";
const ADMIN: &str = "rule:admin_api";
const INVOKER: &str = "rule:project_member_or_admin or rule:project_service_api";

macro_rules! rules {
    ($($(#[doc = $description:literal])+ $type:ident = $name:literal, $check:expr, [$($method:ident $path:literal),+ $(,)?];)+) => {
        $(
            $(#[doc = $description])+
            #[derive(Debug, Clone, Copy)]
            pub struct $type;

            impl NamedRule for $type {
                const RULE: &'static RuleDefault = &RuleDefault {
                    name: $name,
                    check: $check,
                    scope_types: &[ScopeType::Project],
                    operations: &[$(Operation { method: stringify!($method), path: $path }),+],
                    description: concat!($($description),+).trim_ascii_start(),
                };
            }
        )+

        /// All rules that handlers ask for, in the order of the sample file.
        pub const DEFAULTS: &[&RuleDefault] = &[$($type::RULE),+];
    };
}

rules! {
    /// List the apps of a project.
    ListApps = "functions:app:list", PROJECT_READER_OR_ADMIN, [GET "/v1/{project_id}/apps"];
    /// Make an app.
    CreateApp = "functions:app:create", PROJECT_MEMBER_OR_ADMIN, [POST "/v1/{project_id}/apps"];
    /// Show an app.
    GetApp = "functions:app:get", PROJECT_READER_OR_ADMIN, [GET "/v1/{project_id}/apps/{app}"];
    /// Change an app.
    UpdateApp = "functions:app:update", PROJECT_MEMBER_OR_ADMIN, [PUT "/v1/{project_id}/apps/{app}"];
    /// Delete an app.
    DeleteApp = "functions:app:delete", PROJECT_MEMBER_OR_ADMIN, [DELETE "/v1/{project_id}/apps/{app}"];
    /// Make a new key that signs what an app sends.
    RotateSigningKey = "functions:app:rotate_signing_key", PROJECT_MEMBER_OR_ADMIN,
        [POST "/v1/{project_id}/apps/{app}/signing-key"];

    /// List the routes of an app.
    ListRoutes = "functions:route:list", PROJECT_READER_OR_ADMIN, [GET "/v1/{project_id}/apps/{app}/routes"];
    /// Make a route.
    CreateRoute = "functions:route:create", PROJECT_MEMBER_OR_ADMIN,
        [POST "/v1/{project_id}/apps/{app}/routes"];
    /// Show a route.
    GetRoute = "functions:route:get", PROJECT_READER_OR_ADMIN,
        [GET "/v1/{project_id}/apps/{app}/routes/{route}"];
    /// Change a route.
    UpdateRoute = "functions:route:update", PROJECT_MEMBER_OR_ADMIN,
        [PUT "/v1/{project_id}/apps/{app}/routes/{route}"];
    /// Delete a route.
    DeleteRoute = "functions:route:delete", PROJECT_MEMBER_OR_ADMIN,
        [DELETE "/v1/{project_id}/apps/{app}/routes/{route}"];

    /// List the versions of a route.
    ListVersions = "functions:version:list", PROJECT_READER_OR_ADMIN,
        [GET "/v1/{project_id}/routes/{route_id}/versions"];
    /// Show a version of a route.
    GetVersion = "functions:version:get", PROJECT_READER_OR_ADMIN,
        [GET "/v1/{project_id}/routes/{route_id}/versions/{version}"];
    /// Roll a route back to a version.
    RollBack = "functions:version:roll_back", PROJECT_MEMBER_OR_ADMIN,
        [POST "/v1/{project_id}/routes/{route_id}/rollback"];

    /// List the aliases of a route.
    ListAliases = "functions:alias:list", PROJECT_READER_OR_ADMIN,
        [GET "/v1/{project_id}/routes/{route_id}/aliases"];
    /// Make an alias of a route.
    CreateAlias = "functions:alias:create", PROJECT_MEMBER_OR_ADMIN,
        [POST "/v1/{project_id}/routes/{route_id}/aliases"];
    /// Show an alias of a route.
    GetAlias = "functions:alias:get", PROJECT_READER_OR_ADMIN,
        [GET "/v1/{project_id}/routes/{route_id}/aliases/{alias}"];
    /// Change an alias of a route.
    UpdateAlias = "functions:alias:update", PROJECT_MEMBER_OR_ADMIN,
        [PUT "/v1/{project_id}/routes/{route_id}/aliases/{alias}"];
    /// Delete an alias of a route.
    DeleteAlias = "functions:alias:delete", PROJECT_MEMBER_OR_ADMIN,
        [DELETE "/v1/{project_id}/routes/{route_id}/aliases/{alias}"];

    /// List the triggers of a project.
    ListTriggers = "functions:trigger:list", PROJECT_READER_OR_ADMIN,
        [GET "/v1/{project_id}/triggers"];
    /// Make a trigger.
    CreateTrigger = "functions:trigger:create", PROJECT_MEMBER_OR_ADMIN,
        [POST "/v1/{project_id}/triggers"];
    /// Show a trigger.
    GetTrigger = "functions:trigger:get", PROJECT_READER_OR_ADMIN,
        [GET "/v1/{project_id}/triggers/{trigger}"];
    /// Change a trigger.
    UpdateTrigger = "functions:trigger:update", PROJECT_MEMBER_OR_ADMIN,
        [PUT "/v1/{project_id}/triggers/{trigger}"];
    /// Delete a trigger.
    DeleteTrigger = "functions:trigger:delete", PROJECT_MEMBER_OR_ADMIN,
        [DELETE "/v1/{project_id}/triggers/{trigger}"];
    /// Pause a trigger.
    PauseTrigger = "functions:trigger:pause", PROJECT_MEMBER_OR_ADMIN,
        [POST "/v1/{project_id}/triggers/{trigger}/pause"];
    /// Make a trigger act again.
    ResumeTrigger = "functions:trigger:resume", PROJECT_MEMBER_OR_ADMIN,
        [POST "/v1/{project_id}/triggers/{trigger}/resume"];
    /// Try a trigger with an event.
    FireTrigger = "functions:trigger:fire", PROJECT_MEMBER_OR_ADMIN,
        [POST "/v1/{project_id}/triggers/{trigger}/fire"];
    /// Show what became of the last events of a trigger.
    ListFirings = "functions:trigger:list_firings", PROJECT_READER_OR_ADMIN,
        [GET "/v1/{project_id}/triggers/{trigger}/firings"];
    /// Give a webhook a new URL and signing key.
    RotateTriggerSecret = "functions:trigger:rotate_secret", PROJECT_MEMBER_OR_ADMIN,
        [POST "/v1/{project_id}/triggers/{trigger}/secret"];
    /// Subscribe to notifications of all projects, as an option of a trigger.
    SubscribeToAllProjects = "functions:trigger:all_projects", ADMIN,
        [POST "/v1/{project_id}/triggers", PUT "/v1/{project_id}/triggers/{trigger}"];
    /// Show whom a function is in OpenStack.
    GetIdentity = "functions:identity:get", PROJECT_READER_OR_ADMIN,
        [GET "/v1/{project_id}/routes/{route_id}/identity"];
    /// Grant a function an identity: it is the caller's own.
    SetIdentity = "functions:identity:set", PROJECT_MEMBER_OR_ADMIN,
        [PUT "/v1/{project_id}/routes/{route_id}/identity"];
    /// Consent to what others changed of a function. Beside the rule: only who granted its identity.
    ConsentToIdentity = "functions:identity:consent", PROJECT_MEMBER_OR_ADMIN,
        [POST "/v1/{project_id}/routes/{route_id}/identity/consent"];
    /// Take a function's identity away.
    DeleteIdentity = "functions:identity:delete", PROJECT_MEMBER_OR_ADMIN,
        [DELETE "/v1/{project_id}/routes/{route_id}/identity"];

    /// Tell of changes of objects: for the filter in Swift's proxies.
    CreateObjectEvents = "functions:object_event:create", SERVICE,
        [POST "/v1/object-events"];

    /// Give a route a new secret that its webhooks show.
    RotateWebhookSecret = "functions:webhook_secret:rotate", PROJECT_MEMBER_OR_ADMIN,
        [POST "/v1/{project_id}/routes/{route_id}/webhook-secrets/{kind}"];
    /// Take a secret of a route's webhooks away.
    DeleteWebhookSecret = "functions:webhook_secret:delete", PROJECT_MEMBER_OR_ADMIN,
        [DELETE "/v1/{project_id}/routes/{route_id}/webhook-secrets/{kind}"];

    /// Run a function with a token. Public routes need none on their public URLs.
    InvokeFunction = "functions:function:invoke", INVOKER, [
        POST "/v1/r/{project_id}/{app}/{route}",
        GET "/v1/f/{project_id}/{app}/{route}",
        HEAD "/v1/f/{project_id}/{app}/{route}",
        POST "/v1/f/{project_id}/{app}/{route}",
        PUT "/v1/f/{project_id}/{app}/{route}",
        PATCH "/v1/f/{project_id}/{app}/{route}",
        DELETE "/v1/f/{project_id}/{app}/{route}",
        OPTIONS "/v1/f/{project_id}/{app}/{route}",
    ];

    /// List the calls of a project.
    ListCalls = "functions:call:list", PROJECT_READER_OR_ADMIN, [GET "/v1/{project_id}/calls"];
    /// Show a call.
    GetCall = "functions:call:get", PROJECT_READER_OR_ADMIN, [GET "/v1/{project_id}/calls/{call_id}"];
    /// Read what a call answered.
    GetResult = "functions:call:get_result", PROJECT_READER_OR_ADMIN,
        [GET "/v1/{project_id}/calls/{call_id}/result"];
    /// Read what a call logged.
    GetLog = "functions:call:get_log", PROJECT_READER_OR_ADMIN,
        [GET "/v1/{project_id}/calls/{call_id}/log"];
    /// Cancel a call.
    CancelCall = "functions:call:cancel", PROJECT_MEMBER_OR_ADMIN,
        [POST "/v1/{project_id}/calls/{call_id}/cancel"];
    /// Run ended calls again.
    RetryCall = "functions:call:retry", PROJECT_MEMBER_OR_ADMIN, [
        POST "/v1/{project_id}/calls/{call_id}/retry",
        POST "/v1/{project_id}/calls/retry",
    ];

    /// List the images that a project may use.
    ListImages = "functions:image:list", PROJECT_READER_OR_ADMIN, [GET "/v1/{project_id}/images"];
    /// Load an image for a project.
    LoadImage = "functions:image:load", PROJECT_MEMBER_OR_ADMIN, [PUT "/v1/{project_id}/images/{name}"];
    /// Delete an image of a project.
    DeleteImage = "functions:image:delete", PROJECT_MEMBER_OR_ADMIN,
        [DELETE "/v1/{project_id}/images/{name}"];

    /// Show the limits of a project, and what it has of them.
    GetLimits = "functions:limit:get", PROJECT_READER_OR_ADMIN, [GET "/v1/{project_id}/limits"];
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::policy::{Question, RuleSet, evaluate};

    /// The roles of a persona's token, as Keystone hands them out with the implied ones.
    const PERSONAS: [(&str, &[&str]); 6] = [
        ("admin", &["admin", "manager", "member", "reader"]),
        ("manager", &["manager", "member", "reader"]),
        ("member", &["member", "reader"]),
        ("reader", &["reader"]),
        ("service", &["service"]),
        ("nobody", &["other"]),
    ];

    /// Whom a rule is for, by what its name says that it does.
    fn may(persona: &str, rule: &str, is_own: bool) -> bool {
        match rule {
            "functions:object_event:create" => return persona == "service",
            "functions:trigger:all_projects" => return persona == "admin",
            _ => {}
        }
        let action = rule.rsplit(':').next().unwrap();
        let lesser: &[&str] = match action {
            "list" | "get" | "get_result" | "get_log" | "list_firings" => &["manager", "member", "reader"],
            "invoke" => &["manager", "member", "service"],
            _ => &["manager", "member"],
        };
        persona == "admin" || is_own && lesser.contains(&persona)
    }

    #[test]
    fn each_persona_passes_exactly_the_rules_that_are_for_it_in_its_own_and_another_project() {
        let rules = RuleSet::new(BTreeMap::new());
        for rule in DEFAULTS {
            assert!(!rule.operations.is_empty(), "{} guards nothing", rule.name);
            for (persona, roles) in PERSONAS {
                for project in ["own", "other"] {
                    let target = json!({"project_id": project});
                    let credentials = json!({"project_id": "own", "roles": roles});
                    let question = Question {
                        target: target.as_object().unwrap(),
                        credentials: credentials.as_object().unwrap(),
                    };
                    let check = rules.check(rule.name).unwrap();
                    assert_eq!(
                        evaluate(check, &rules, question, &BTreeMap::new()),
                        Ok(may(persona, rule.name, project == "own")),
                        "{}: {persona}, {project} project",
                        rule.name
                    );
                }
            }
        }
    }
}
