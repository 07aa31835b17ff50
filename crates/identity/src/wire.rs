//! The documents exchanged with Keystone (Identity API v3), reduced to what is used of them.

use std::sync::Arc;

use jiff::Timestamp as Instant;
use picasso_types::{ProjectId, Timestamp, TrustId};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::access_rules::AccessRules;
use crate::caller::{self, Caller};
use crate::limits::OurService;
use crate::settings::ServiceCredentials;
use crate::trusts::{NewTrust, ServiceEndpoint};
use crate::validated::{Restriction, Validated};

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

/// The body of `POST /v3/auth/tokens` for a token of a trust whose trustee we are; `None` where our own
/// credentials are good for no other scope than theirs.
pub(crate) fn trust_authentication(credentials: &ServiceCredentials, trust: &TrustId) -> Option<Value> {
    let ServiceCredentials::Password { .. } = credentials else { return None };
    let mut body = authentication(credentials);
    body["auth"]["scope"] = json!({"OS-TRUST:trust": {"id": trust.as_str()}});
    Some(body)
}

/// The body of `POST /v3/auth/tokens` for a token of an application credential.
pub(crate) fn credential_authentication(id: &str, secret: &SecretString) -> Value {
    json!({"auth": {"identity": {
        "methods": ["application_credential"],
        "application_credential": {"id": id, "secret": secret.expose_secret()},
    }}})
}

/// The body of `POST /v3/OS-TRUST/trusts`: a trust that ends with its deletion and goes no further.
pub(crate) fn new_trust(trust: &NewTrust<'_>, trustee: &str) -> Value {
    let roles: Vec<Value> = trust.roles.iter().map(|name| json!({"name": name})).collect();
    json!({"trust": {
        "trustor_user_id": trust.user_id,
        "trustee_user_id": trustee,
        "project_id": trust.project.as_str(),
        "impersonation": true,
        "allow_redelegation": false,
        "roles": roles,
    }})
}

/// The answer to it.
#[derive(Deserialize)]
pub(crate) struct TrustDocument {
    pub(crate) trust: TrustEntry,
}

/// The part that is used.
#[derive(Deserialize)]
pub(crate) struct TrustEntry {
    pub(crate) id: String,
}

/// What Keystone says of a refusal.
#[derive(Deserialize)]
pub(crate) struct RefusalDocument {
    pub(crate) error: RefusalEntry,
}

/// The part that is used.
#[derive(Deserialize)]
pub(crate) struct RefusalEntry {
    pub(crate) message: String,
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
    system: Option<System>,
    #[serde(default)]
    roles: Vec<Role>,
    #[serde(rename = "OS-TRUST:trust")]
    trust: Option<Trust>,
    application_credential: Option<ApplicationCredential>,
    #[serde(default)]
    catalog: Vec<Service>,
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
struct System {
    #[serde(default)]
    all: bool,
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
    access_rules: Option<AccessRules>,
}

/// Our own service's type in the catalog.
const SERVICE_TYPE: &str = "functions";
/// Its name there.
const SERVICE_NAME: &str = "picasso";

/// The body of `GET /v3/auth/catalog`.
#[derive(Deserialize)]
pub(crate) struct Catalog {
    catalog: Vec<Service>,
}

#[derive(Deserialize)]
struct Service {
    /// Keystone's catalog from a file (`[catalog] driver = templated`) has no ids.
    id: Option<String>,
    r#type: String,
    name: Option<String>,
    #[serde(default)]
    endpoints: Vec<Endpoint>,
}

#[derive(Deserialize)]
struct Endpoint {
    id: Option<String>,
    interface: String,
    region_id: Option<String>,
    url: String,
}

impl Catalog {
    /// Our own service, by the id of one of its endpoints, or by its type and, where there are
    /// several of it, its name; its region is `region`, or that of the endpoint, or the one that all
    /// its endpoints are in.
    pub(crate) fn functions(&self, endpoint_id: Option<&str>, region: Option<&str>) -> Option<OurService> {
        if let Some(id) = endpoint_id {
            let mut all = self.catalog.iter().flat_map(|one| one.endpoints.iter().map(move |at| (one, at)));
            let (service, endpoint) = all.find(|(_, endpoint)| endpoint.id.as_deref() == Some(id))?;
            return Some(OurService { id: service.id.clone()?, region: endpoint.region_id.clone() });
        }
        let of_type = || self.catalog.iter().filter(|one| one.r#type == SERVICE_TYPE);
        let service =
            of_type().find(|one| one.name.as_deref() == Some(SERVICE_NAME)).or_else(|| of_type().next())?;
        let its_region = || {
            let mut regions = service.endpoints.iter().map(|endpoint| endpoint.region_id.as_deref());
            let first = regions.next()??;
            regions.all(|region| region == Some(first)).then(|| first.to_owned())
        };
        let region = region.map(str::to_owned).or_else(its_region);
        Some(OurService { id: service.id.clone()?, region })
    }

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

impl TokenDocument {
    /// When the token ends.
    pub(crate) fn expires_at(&self) -> Timestamp {
        Timestamp(self.token.expires_at.as_microsecond())
    }

    /// Whom it stands for.
    pub(crate) fn user_id(&self) -> &str {
        &self.token.user.id
    }

    /// The public endpoint of each type of service that its catalog has, in `region` or, without one, in
    /// the region that comes first.
    pub(crate) fn public_endpoints(&self, region: Option<&str>) -> Vec<ServiceEndpoint> {
        let mut found: Vec<ServiceEndpoint> = Vec::new();
        for service in &self.token.catalog {
            let mut fitting = service.endpoints.iter().filter(|endpoint| {
                endpoint.interface == "public"
                    && region.is_none_or(|region| endpoint.region_id.as_deref() == Some(region))
            });
            let Some(endpoint) = fitting.next() else { continue };
            if found.iter().all(|other| other.service_type != service.r#type) {
                let service_type = service.r#type.clone();
                found.push(ServiceEndpoint { service_type, url: endpoint.url.clone() });
            }
        }
        found
    }

    /// Whether it comes from an application credential with access rules.
    pub(crate) fn has_access_rules(&self) -> bool {
        self.token.application_credential.as_ref().is_some_and(|one| one.access_rules.is_some())
    }

    /// What the token stands for; `at` is when Keystone said so, `service_type` is ours. An error
    /// names something that Keystone never says.
    pub(crate) fn into_validated(self, at: Timestamp, service_type: &str) -> Result<Validated, &'static str> {
        let expires_at = self.expires_at();
        let token = self.token;
        let scope = match (token.project, token.domain, token.system) {
            (Some(project), ..) => caller::Scope::Project(project.known()?),
            (None, Some(domain), _) => {
                caller::Scope::Domain(domain.known().ok_or("the token's domain has no id")?)
            }
            (None, None, Some(system)) if system.all => caller::Scope::System,
            (None, None, _) => caller::Scope::Unscoped,
        };
        let (application_credential, rules) = match token.application_credential {
            None => (None, None),
            Some(ApplicationCredential { id, restricted, access_rules }) => {
                (Some(caller::ApplicationCredential { id, restricted }), access_rules)
            }
        };
        let in_catalog = token.catalog.iter().any(|service| service.r#type == service_type);
        let caller = Caller {
            user_id: token.user.id,
            user_name: token.user.name,
            user_domain: token.user.domain.and_then(Domain::known),
            scope,
            roles: token.roles.into_iter().map(|role| role.name).collect(),
            expires_at,
            trust: token.trust.map(|trust| caller::Trust {
                id: trust.id,
                trustor_user_id: trust.trustor_user.id,
                trustee_user_id: trust.trustee_user.id,
                impersonation: trust.impersonation,
            }),
            application_credential,
            service: None,
        };
        let restriction = rules.map(|rules| Restriction { rules, in_catalog });
        Ok(Validated { caller: Arc::new(caller), restriction, at })
    }
}

impl Project {
    fn known(self) -> Result<caller::Project, &'static str> {
        let id = ProjectId::parse(&self.id).map_err(|_| "the id of the token's project is no project id")?;
        Ok(caller::Project { id, name: self.name, domain: self.domain.and_then(Domain::known) })
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
    fn document(change: impl FnOnce(&mut Value)) -> Result<Validated, &'static str> {
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
        document.into_validated(Timestamp(1), "functions")
    }

    fn caller(change: impl FnOnce(&mut Value)) -> Caller {
        Arc::unwrap_or_clone(document(change).unwrap().caller)
    }

    #[test]
    fn a_project_token_becomes_a_caller() {
        let caller = caller(|_| ());
        assert_eq!(caller.user_id, "ce6416d4011a41fc9772c6b6c1e20966");
        assert_eq!(caller.project_id().unwrap().as_str(), "968f523b6fec4a7694aaa27b300bb879");
        assert_eq!(caller.roles, ["Reader", "member"]);
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
    fn our_service_is_found_by_an_endpoint_or_by_type_and_name() {
        let endpoint = |id: &str, region: &str| json!({"id": id, "interface": "public", "region_id": region, "region": region, "url": "http://p"});
        let service = |id: &str, kind: &str, name: &str, endpoints: Value| json!({"id": id, "type": kind, "name": name, "endpoints": endpoints});
        let catalog: Catalog = serde_json::from_value(json!({"catalog": [
            service("a", "identity", "picasso", json!([endpoint("1", "one")])),
            service("b", "functions", "other", json!([endpoint("2", "one"), endpoint("3", "two")])),
            service("c", "functions", "picasso", json!([endpoint("4", "one"), endpoint("5", "one")])),
        ]}))
        .unwrap();
        let found = |id, region| {
            let service = catalog.functions(id, region)?;
            Some((service.id, service.region))
        };
        let one = |id: &str, region: Option<&str>| Some((id.to_owned(), region.map(str::to_owned)));
        assert_eq!(found(None, None), one("c", Some("one")));
        assert_eq!(found(None, Some("two")), one("c", Some("two")));
        assert_eq!(found(Some("3"), None), one("b", Some("two")));
        assert_eq!(found(Some("9"), None), None);
        let only_other: Catalog = serde_json::from_value(json!({"catalog": [
            service("b", "functions", "other", json!([endpoint("2", "one"), endpoint("3", "two")])),
        ]}))
        .unwrap();
        let found = only_other.functions(None, None).unwrap();
        assert_eq!((found.id.as_str(), found.region), ("b", None), "which region is ours cannot be told");
    }

    #[test]
    fn is_admin_project_gives_nothing() {
        let caller = caller(|token| token["is_admin_project"] = json!(true));
        assert!(!caller.roles.contains(&"admin".to_owned()));
    }

    #[test]
    fn every_scope_is_an_identity_of_its_own() {
        let without_project = |token: &mut Value| {
            token.as_object_mut().unwrap().remove("project");
        };
        assert_eq!(caller(without_project).scope, caller::Scope::Unscoped);
        let domain = |token: &mut Value| {
            without_project(token);
            token["domain"] = json!({"id": "default", "name": "Default"});
        };
        assert!(matches!(caller(domain).scope, caller::Scope::Domain(domain) if domain.id == "default"));
        let system = |all: Value| {
            caller(move |token| {
                without_project(token);
                token["system"] = all;
            })
        };
        assert_eq!(system(json!({"all": true})).scope, caller::Scope::System);
        assert_eq!(system(json!({})).scope, caller::Scope::Unscoped);
        let itself = caller(|token| token["project"]["domain"] = json!({"id": null, "name": null}));
        assert_eq!(itself.project().unwrap().domain, None);
    }

    #[test]
    fn a_trust_tells_who_trusts_whom() {
        let caller = caller(|token| {
            token["OS-TRUST:trust"] = json!({
                "id": "7da9", "impersonation": true,
                "trustee_user": {"id": "7451"}, "trustor_user": {"id": "ce64"},
            });
        });
        let trust = caller.trust.unwrap();
        assert_eq!((trust.trustor_user_id.as_str(), trust.trustee_user_id.as_str()), ("ce64", "7451"));
        assert!(trust.impersonation);
    }

    #[test]
    fn access_rules_restrict_even_when_the_list_is_empty() {
        for rules in [json!([]), json!([{"service": "functions", "method": "GET", "path": "/v1/**"}])] {
            let restricted = |token: &mut Value| {
                token["application_credential"] =
                    json!({"id": "9f", "name": "ac", "restricted": true, "access_rules": rules});
            };
            assert!(!document(restricted).unwrap().restriction.unwrap().in_catalog);
            let restriction = document(|token| {
                restricted(token);
                token["catalog"] = json!([{"type": "functions", "endpoints": []}]);
            });
            assert!(restriction.unwrap().restriction.unwrap().in_catalog);
        }
        let without = |token: &mut Value| {
            token["application_credential"] = json!({"id": "9f", "name": "ac", "restricted": true});
        };
        assert_eq!(document(without).unwrap().restriction, None);
        assert_eq!(caller(without).application_credential.unwrap().id, "9f");
    }

    #[test]
    fn a_project_id_that_is_none_is_never_let_through() {
        assert!(document(|token| token["project"]["id"] = json!("../../etc")).is_err());
    }
}
