//! The documents exchanged with Keystone (Identity API v3), reduced to what is used of them.

use jiff::Timestamp as Instant;
use picasso_types::{ProjectId, Timestamp};
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::caller::{self, Caller};
use crate::settings::ServiceCredentials;

/// The body of `POST /v3/auth/tokens` for our own token.
pub(crate) fn authentication(credentials: &ServiceCredentials) -> Value {
    match credentials {
        ServiceCredentials::Password { username, user_domain, password, project, project_domain } => json!({
            "auth": {
                "identity": {"methods": ["password"], "password": {"user": {
                    "name": username,
                    "domain": {"name": user_domain},
                    "password": password.expose_secret(),
                }}},
                "scope": {"project": {"name": project, "domain": {"name": project_domain}}},
            }
        }),
        ServiceCredentials::ApplicationCredential { id, secret } => json!({
            "auth": {"identity": {
                "methods": ["application_credential"],
                "application_credential": {"id": id, "secret": secret.expose_secret()},
            }}
        }),
    }
}

/// The body of both `POST` and `GET /v3/auth/tokens`.
///
/// `is_admin_project` is left out on purpose: it is true for ordinary users too.
#[derive(Deserialize)]
pub(crate) struct TokenDocument {
    token: Token,
}

#[derive(Deserialize)]
struct Token {
    expires_at: Instant,
    user: User,
    project: Option<Project>,
    domain: Option<Domain>,
    system: Option<Value>,
    #[serde(default)]
    roles: Vec<Role>,
    #[serde(rename = "OS-TRUST:trust")]
    trust: Option<Trust>,
    application_credential: Option<ApplicationCredential>,
}

#[derive(Deserialize)]
struct User {
    id: String,
    name: String,
    domain: Option<Domain>,
}

#[derive(Deserialize)]
struct Project {
    id: String,
    name: String,
    domain: Option<Domain>,
}

#[derive(Deserialize)]
struct Domain {
    /// Null in the domain of a project that is itself a domain.
    id: Option<String>,
    name: Option<String>,
}

#[derive(Deserialize)]
struct Role {
    name: String,
}

#[derive(Deserialize)]
struct Trust {
    id: String,
    impersonation: bool,
    trustor_user: Identified,
    trustee_user: Identified,
}

#[derive(Deserialize)]
struct Identified {
    id: String,
}

#[derive(Deserialize)]
struct ApplicationCredential {
    id: String,
    #[serde(default)]
    restricted: bool,
    /// Absent: everything is allowed; present: only what it lists, and nothing when it is empty.
    access_rules: Option<Value>,
}

/// The body of `GET /v3/auth/catalog`.
#[derive(Deserialize)]
pub(crate) struct Catalog {
    catalog: Vec<Service>,
}

#[derive(Deserialize)]
struct Service {
    r#type: String,
    #[serde(default)]
    endpoints: Vec<Endpoint>,
}

#[derive(Deserialize)]
struct Endpoint {
    interface: String,
    region_id: Option<String>,
    url: String,
}

impl Catalog {
    /// The URL of the first endpoint of such a service; of any region where none is named.
    pub(crate) fn endpoint(&self, service: &str, interface: &str, region: Option<&str>) -> Option<&str> {
        let endpoints =
            self.catalog.iter().filter(|one| one.r#type == service).flat_map(|one| &one.endpoints);
        let mut fitting = endpoints.filter(|endpoint| {
            endpoint.interface == interface
                && region.is_none_or(|region| endpoint.region_id.as_deref() == Some(region))
        });
        fitting.next().map(|endpoint| endpoint.url.as_str())
    }
}

/// Why a document from Keystone gives no caller.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoCaller {
    /// The token is good for something else than us.
    Refused(&'static str),
    /// Keystone said something that it never says.
    Malformed(&'static str),
}

impl TokenDocument {
    /// When the token ends.
    pub(crate) fn expires_at(&self) -> Timestamp {
        Timestamp(self.token.expires_at.as_microsecond())
    }

    /// The caller that the token stands for, if it is scoped to a project and unrestricted.
    pub(crate) fn into_caller(self) -> Result<Caller, NoCaller> {
        let expires_at = self.expires_at();
        let token = self.token;
        if token.system.is_some() {
            return Err(NoCaller::Refused("The token is scoped to the system; use one scoped to a project"));
        }
        if token.domain.is_some() {
            return Err(NoCaller::Refused("The token is scoped to a domain; use one scoped to a project"));
        }
        let Some(project) = token.project else {
            return Err(NoCaller::Refused("The token is not scoped; use one scoped to a project"));
        };
        if token.application_credential.as_ref().is_some_and(|credential| credential.access_rules.is_some()) {
            return Err(NoCaller::Refused(
                "The token comes from an application credential with access rules, which this service does not enforce; use one without",
            ));
        }
        let Ok(project_id) = ProjectId::parse(&project.id) else {
            return Err(NoCaller::Malformed("the id of the token's project is no project id"));
        };
        Ok(Caller {
            user_id: token.user.id,
            user_name: token.user.name,
            user_domain: token.user.domain.and_then(Domain::known),
            scope: caller::Scope::Project(caller::Project {
                id: project_id,
                name: project.name,
                domain: project.domain.and_then(Domain::known),
            }),
            roles: token.roles.into_iter().map(|role| role.name).collect(),
            expires_at,
            trust: token.trust.map(|trust| caller::Trust {
                id: trust.id,
                trustor_user_id: trust.trustor_user.id,
                trustee_user_id: trust.trustee_user.id,
                impersonation: trust.impersonation,
            }),
            application_credential: token.application_credential.map(|credential| {
                caller::ApplicationCredential { id: credential.id, restricted: credential.restricted }
            }),
            service: None,
        })
    }
}

impl Domain {
    fn known(self) -> Option<caller::Domain> {
        Some(caller::Domain { id: self.id?, name: self.name? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer of Keystone 30 to `GET /v3/auth/tokens?nocatalog`, changed by `change`.
    fn document(change: impl FnOnce(&mut Value)) -> Result<Caller, NoCaller> {
        let mut body = json!({"token": {
            "audit_ids": ["TjWgIHWDSyKAevQhd8ED6g"],
            "expires_at": "2026-11-22T16:03:33.000000Z",
            "is_domain": false,
            "issued_at": "2026-11-22T15:03:33.000000Z",
            "methods": ["password"],
            "project": {"domain": {"id": "default", "name": "Default"}, "id": "968f523b6fec4a7694aaa27b300bb879", "name": "demo1"},
            "roles": [{"id": "0f11b51ad5e249818e18846205cf2787", "name": "Reader"}, {"id": "efab", "name": "member"}],
            "user": {"domain": {"id": "default", "name": "Default"}, "id": "ce6416d4011a41fc9772c6b6c1e20966", "name": "demo1_member", "password_expires_at": null}
        }});
        change(&mut body["token"]);
        let document: TokenDocument = serde_json::from_value(body).unwrap();
        document.into_caller()
    }

    #[test]
    fn a_project_token_becomes_a_caller() {
        let caller = document(|_| ()).unwrap();
        assert_eq!(caller.user_id, "ce6416d4011a41fc9772c6b6c1e20966");
        assert_eq!(caller.project_id().unwrap().as_str(), "968f523b6fec4a7694aaa27b300bb879");
        assert_eq!(caller.roles, ["Reader", "member"]);
        assert!(caller.has_role("reader"));
        assert_eq!(caller.expires_at, Timestamp(1_795_363_413_000_000));
    }

    #[test]
    fn an_endpoint_is_found_by_service_interface_and_region() {
        let endpoint = |interface: &str, region: &str, url: &str| json!({"id": "1", "interface": interface, "region_id": region, "region": region, "url": url});
        let catalog: Catalog = serde_json::from_value(json!({"catalog": [
            {"id": "a", "type": "identity", "name": "keystone", "endpoints": [endpoint("public", "one", "http://k")]},
            {"id": "b", "type": "messaging", "name": "zaqar", "endpoints": [
                endpoint("admin", "one", "http://a"), endpoint("public", "one", "http://one"),
                endpoint("public", "two", "http://two"), endpoint("internal", "two", "http://inner"),
            ]},
        ], "links": {}}))
        .unwrap();
        let found = |interface, region| catalog.endpoint("messaging", interface, region);
        assert_eq!(found("public", None), Some("http://one"));
        assert_eq!(found("public", Some("two")), Some("http://two"));
        assert_eq!(found("internal", Some("two")), Some("http://inner"));
        assert_eq!(found("internal", Some("one")), None);
        assert_eq!(catalog.endpoint("object-store", "public", None), None);
    }

    #[test]
    fn is_admin_project_gives_nothing() {
        let caller = document(|token| token["is_admin_project"] = json!(true)).unwrap();
        assert!(!caller.is_admin());
    }

    #[test]
    fn every_scope_but_a_project_is_refused_by_its_name() {
        let refused = |change: &dyn Fn(&mut Value)| match document(change) {
            Err(NoCaller::Refused(reason)) => reason,
            other => panic!("not refused: {other:?}"),
        };
        let without_project = |token: &mut Value| {
            token.as_object_mut().unwrap().remove("project");
        };
        assert!(refused(&without_project).contains("not scoped"));
        let domain = |token: &mut Value| {
            without_project(token);
            token["domain"] = json!({"id": "default", "name": "Default"});
        };
        assert!(refused(&domain).contains("domain"));
        let system = |token: &mut Value| {
            without_project(token);
            token["system"] = json!({"all": true});
        };
        assert!(refused(&system).contains("system"));
    }

    #[test]
    fn access_rules_are_refused_even_when_the_list_is_empty() {
        for rules in [json!([]), json!([{"service": "functions", "method": "GET", "path": "/v1/**"}])] {
            let answer = document(|token| {
                token["application_credential"] =
                    json!({"id": "9f", "name": "ac", "restricted": true, "access_rules": rules});
            });
            assert!(matches!(answer, Err(NoCaller::Refused(reason)) if reason.contains("access rules")));
        }
        let without = |token: &mut Value| {
            token["application_credential"] = json!({"id": "9f", "name": "ac", "restricted": true});
        };
        assert!(document(without).is_ok());
    }

    #[test]
    fn a_project_id_that_is_none_is_never_let_through() {
        let answer = document(|token| token["project"]["id"] = json!("../../etc"));
        assert!(matches!(answer, Err(NoCaller::Malformed(_))));
    }
}
