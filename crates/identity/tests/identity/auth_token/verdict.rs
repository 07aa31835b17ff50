//! A verdict on a request: its status and, where it is let in, the identity.

use std::collections::BTreeMap;
use std::sync::Arc;

use picasso_identity::{AuthError, Caller, Domain, Scope};
use picasso_testkit::keystone::Reached;

/// Whether the user's token was found good; `Confirmed` or `Invalid`.
pub const USER_STATUS: &str = "HTTP_X_IDENTITY_STATUS";
/// The same of the service's.
pub const SERVICE_STATUS: &str = "HTTP_X_SERVICE_IDENTITY_STATUS";
/// Where the scope of a token for the system shows.
pub const SYSTEM_SCOPE: &str = "HTTP_OPENSTACK_SYSTEM_SCOPE";
/// What is told of the user as `X-…` and of the service as `X-Service-…`.
const OF_BOTH: [&str; 11] = [
    "ROLES",
    "DOMAIN_ID",
    "DOMAIN_NAME",
    "PROJECT_ID",
    "PROJECT_NAME",
    "PROJECT_DOMAIN_ID",
    "PROJECT_DOMAIN_NAME",
    "USER_ID",
    "USER_NAME",
    "USER_DOMAIN_ID",
    "USER_DOMAIN_NAME",
];

/// Status and identity, under the names that keystonemiddleware gives to each part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub status: u16,
    pub identity: BTreeMap<String, String>,
}

impl Verdict {
    /// Whether the one who asks is known and no service token is bad.
    pub fn is_confirmed(&self) -> bool {
        let status = |name| self.identity.get(name).map(String::as_str);
        status(USER_STATUS) == Some("Confirmed") && matches!(status(SERVICE_STATUS), None | Some("Confirmed"))
    }
}

impl From<Reached> for Verdict {
    fn from(reached: Reached) -> Self {
        let is_identity = |name: &str| {
            [USER_STATUS, SERVICE_STATUS, SYSTEM_SCOPE].contains(&name)
                || ["HTTP_X_SERVICE_", "HTTP_X_"]
                    .iter()
                    .any(|prefix| name.strip_prefix(prefix).is_some_and(|rest| OF_BOTH.contains(&rest)))
        };
        let identity = reached.headers.into_iter().filter(|(name, _)| is_identity(name)).collect();
        Self { status: reached.status, identity }
    }
}

impl From<Result<Arc<Caller>, AuthError>> for Verdict {
    fn from(answer: Result<Arc<Caller>, AuthError>) -> Self {
        let caller = match answer {
            Ok(caller) => caller,
            Err(AuthError::Unauthorized { .. }) => return Self { status: 401, identity: BTreeMap::new() },
            Err(AuthError::Unavailable { .. }) => return Self { status: 503, identity: BTreeMap::new() },
        };
        let mut identity = BTreeMap::from([(USER_STATUS.to_owned(), "Confirmed".to_owned())]);
        tell("HTTP_X_", &caller, &mut identity);
        if caller.scope == Scope::System {
            identity.insert(SYSTEM_SCOPE.to_owned(), "all".to_owned());
        }
        if let Some(service) = &caller.service {
            identity.insert(SERVICE_STATUS.to_owned(), "Confirmed".to_owned());
            tell("HTTP_X_SERVICE_", service, &mut identity);
        }
        Self { status: 200, identity }
    }
}

fn tell(prefix: &str, caller: &Caller, identity: &mut BTreeMap<String, String>) {
    let mut tell = |name: &str, value: &str| identity.insert(format!("{prefix}{name}"), value.to_owned());
    tell("USER_ID", &caller.user_id);
    tell("USER_NAME", &caller.user_name);
    tell("ROLES", &caller.roles.join(","));
    let project = caller.project();
    if let Some(project) = project {
        tell("PROJECT_ID", project.id.as_str());
        tell("PROJECT_NAME", &project.name);
    }
    let in_domain = match &caller.scope {
        Scope::Domain(domain) => Some(domain),
        Scope::Project(_) | Scope::System | Scope::Unscoped => None,
    };
    for (name, domain) in [
        ("USER_DOMAIN", caller.user_domain.as_ref()),
        ("PROJECT_DOMAIN", project.and_then(|project| project.domain.as_ref())),
        ("DOMAIN", in_domain),
    ] {
        if let Some(Domain { id, name: its_name }) = domain {
            tell(&format!("{name}_ID"), id);
            tell(&format!("{name}_NAME"), its_name);
        }
    }
}
