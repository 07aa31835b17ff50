//! The caller of a request: everything that a validated token says of whoever shows it.
//!
//! `is_admin_project` is left out on purpose: it is true for ordinary users too.

use std::sync::Arc;

use picasso_types::{ProjectId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Who is calling, in what scope, with which roles, and on whose behalf.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caller {
    /// Keystone's user id; of a trust with impersonation the trustor's.
    pub user_id: String,
    /// The user's name, for logs.
    pub user_name: String,
    /// The user's domain.
    pub user_domain: Option<Domain>,
    /// What the token is good for.
    pub scope: Scope,
    /// The roles in that scope, as Keystone writes them; role names differ in more than case.
    pub roles: Vec<String>,
    /// When the token ends; checked again on every request.
    pub expires_at: Timestamp,
    /// The trust that the token comes from.
    pub trust: Option<Trust>,
    /// The application credential that the token comes from.
    pub application_credential: Option<ApplicationCredential>,
    /// The service that passes the request on, where it came with a valid service token. It is of
    /// the request, not of the user's token.
    #[serde(skip)]
    pub service: Option<Arc<Self>>,
}

/// What a token is good for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scope {
    /// One project.
    Project(Project),
    /// One domain.
    Domain(Domain),
    /// The whole system.
    System,
    /// Nothing but to tell who shows it.
    Unscoped,
}

/// A project of Keystone's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Project {
    /// Its id.
    pub id: ProjectId,
    /// Its name.
    pub name: String,
    /// Its domain; absent only for a project that is itself a domain.
    pub domain: Option<Domain>,
}

/// A domain of Keystone's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Domain {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
}

/// A trust, by which one user acts with the roles of another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trust {
    /// Its id.
    pub id: String,
    /// The id of the user who trusts.
    pub trustor_user_id: String,
    /// The id of the user who is trusted.
    pub trustee_user_id: String,
    /// Whether [`Caller::user_id`] is the trustor's.
    pub impersonation: bool,
}

/// An application credential.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApplicationCredential {
    /// Its id.
    pub id: String,
    /// Whether its tokens may not make application credentials and trusts.
    pub restricted: bool,
}

impl Caller {
    /// The project that the token is scoped to, where it is scoped to one.
    pub fn project(&self) -> Option<&Project> {
        match &self.scope {
            Scope::Project(project) => Some(project),
            Scope::Domain(_) | Scope::System | Scope::Unscoped => None,
        }
    }

    /// The id of that project.
    pub fn project_id(&self) -> Option<&ProjectId> {
        self.project().map(|project| &project.id)
    }

    /// The credentials that oslo.policy's rules are checked against, under the names of
    /// oslo.context's `to_policy_values()` and Keystone's `trust_id`, `trustor_id`, `trustee_id`;
    /// what the token does not say is null. `is_admin_project` is missing, so no rule finds it true.
    pub fn policy_values(&self) -> Map<String, Value> {
        let mut values = Map::new();
        self.identity_values("", &mut values);
        let (domain, system) = match &self.scope {
            Scope::Domain(domain) => (Some(domain.id.as_str()), None),
            Scope::System => (None, Some("all")),
            Scope::Project(_) | Scope::Unscoped => (None, None),
        };
        values.insert("domain_id".to_owned(), domain.into());
        values.insert("system_scope".to_owned(), system.into());
        let of_trust = |field: fn(&Trust) -> &str| Value::from(self.trust.as_ref().map(field));
        values.insert("trust_id".to_owned(), of_trust(|trust| &trust.id));
        values.insert("trustor_id".to_owned(), of_trust(|trust| &trust.trustor_user_id));
        values.insert("trustee_id".to_owned(), of_trust(|trust| &trust.trustee_user_id));
        if let Some(service) = &self.service {
            service.identity_values("service_", &mut values);
        } else {
            for name in ["user_id", "user_domain_id", "project_id", "project_domain_id"] {
                values.insert(format!("service_{name}"), Value::Null);
            }
            values.insert("service_roles".to_owned(), Value::Array(Vec::new()));
        }
        values
    }

    fn identity_values(&self, prefix: &str, values: &mut Map<String, Value>) {
        let id_of = |domain: Option<&Domain>| Value::from(domain.map(|domain| domain.id.as_str()));
        let project = self.project();
        let mut insert = |name: &str, value: Value| values.insert(format!("{prefix}{name}"), value);
        insert("user_id", self.user_id.as_str().into());
        insert("user_domain_id", id_of(self.user_domain.as_ref()));
        insert("project_id", project.map(|project| project.id.as_str()).into());
        insert("project_domain_id", id_of(project.and_then(|project| project.domain.as_ref())));
        insert("roles", self.roles.clone().into());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn domain(id: &str) -> Domain {
        Domain { id: id.to_owned(), name: id.to_uppercase() }
    }

    fn caller(user: &str, scope: Scope, role: &str) -> Caller {
        Caller {
            user_id: user.to_owned(),
            user_name: user.to_owned(),
            user_domain: Some(domain("users")),
            scope,
            roles: vec![role.to_owned()],
            expires_at: Timestamp(i64::MAX),
            trust: None,
            application_credential: None,
            service: None,
        }
    }

    fn project(id: &str) -> Scope {
        Scope::Project(Project {
            id: ProjectId::parse(id).unwrap(),
            name: id.to_owned(),
            domain: Some(domain("projects")),
        })
    }

    #[test]
    fn policy_values_have_the_names_of_oslo_context() {
        let mut caller = caller("u", project("p"), "Member");
        assert_eq!(
            Value::Object(caller.policy_values()),
            json!({
                "user_id": "u", "user_domain_id": "users", "system_scope": null, "domain_id": null,
                "project_id": "p", "project_domain_id": "projects", "roles": ["Member"],
                "service_user_id": null, "service_user_domain_id": null, "service_project_id": null,
                "service_project_domain_id": null, "service_roles": [],
                "trust_id": null, "trustor_id": null, "trustee_id": null,
            })
        );
        caller.service = Some(Arc::new(self::caller("s", project("services"), "service")));
        caller.trust = Some(Trust {
            id: "t".to_owned(),
            trustor_user_id: "u".to_owned(),
            trustee_user_id: "e".to_owned(),
            impersonation: true,
        });
        let values = caller.policy_values();
        assert_eq!(values["service_user_id"], "s");
        assert_eq!(values["service_project_id"], "services");
        assert_eq!(values["service_roles"], json!(["service"]));
        assert_eq!((&values["trust_id"], &values["trustee_id"]), (&json!("t"), &json!("e")));
        assert_eq!(values["user_id"], "u");
    }

    #[test]
    fn each_scope_shows_in_its_own_policy_value() {
        let system = caller("u", Scope::System, "reader").policy_values();
        assert_eq!((&system["system_scope"], &system["project_id"]), (&json!("all"), &Value::Null));
        let in_domain = caller("u", Scope::Domain(domain("d")), "reader").policy_values();
        assert_eq!((&in_domain["domain_id"], &in_domain["system_scope"]), (&json!("d"), &Value::Null));
    }
}
