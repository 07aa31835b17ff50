//! What a function is handed of an identity: variables and files that every language can read.
//!
//! The same places for both kinds: `token`, a plain `X-Auth-Token`, and `clouds.yaml` for OpenStack's own
//! clients. Keystone makes no other token of a trust's: there the file names the token itself and the
//! endpoint of every service, so that a client has nothing to ask for.

use picasso_types::IdentityKind;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};

use crate::trusts::IssuedToken;

/// The folder that functions find the files in.
const FOLDER: &str = "/run/picasso/identity";
/// The name of the entry in `clouds.yaml`.
const CLOUD: &str = "picasso";

/// Where functions reach OpenStack.
#[derive(Debug, Clone)]
pub struct Place {
    /// Keystone's `/v3`, as functions reach it.
    pub auth_url: String,
    /// The region, where there are several.
    pub region: Option<String>,
}

/// An identity that was just had from Keystone.
#[derive(Debug, Clone, Copy)]
pub enum HandedIdentity<'a> {
    /// By a trust.
    Trust,
    /// By an application credential.
    ApplicationCredential {
        /// Its id.
        id: &'a str,
        /// Its secret.
        secret: &'a SecretString,
    },
}

impl HandedIdentity<'_> {
    /// Of which kind it is.
    pub const fn kind(self) -> IdentityKind {
        match self {
            Self::Trust => IdentityKind::Trust,
            Self::ApplicationCredential { .. } => IdentityKind::ApplicationCredential,
        }
    }
}

/// Variables and files. There is no `Debug`: nothing may show it.
pub struct Handed {
    /// `OS_…`
    pub env: Vec<(String, String)>,
    /// Plain names and contents.
    pub files: Vec<(String, Vec<u8>)>,
}

impl Handed {
    /// What a function gets of an identity with this token.
    pub fn of(identity: HandedIdentity<'_>, token: &IssuedToken, place: &Place) -> Self {
        let clouds = json!({"clouds": {CLOUD: cloud(identity, token, place)}});
        // Every JSON document is one of YAML, and nothing in it needs YAML's own rules of quoting.
        let clouds = format!("{clouds:#}\n").into_bytes();
        let files = vec![
            ("token".to_owned(), token.secret.expose_secret().as_bytes().to_vec()),
            ("clouds.yaml".to_owned(), clouds),
        ];
        Self { env: variables(identity, token, place), files }
    }
}

fn variables(identity: HandedIdentity<'_>, token: &IssuedToken, place: &Place) -> Vec<(String, String)> {
    let mut env = vec![
        ("OS_AUTH_URL".to_owned(), place.auth_url.clone()),
        ("OS_CLIENT_CONFIG_FILE".to_owned(), format!("{FOLDER}/clouds.yaml")),
        ("OS_CLOUD".to_owned(), CLOUD.to_owned()),
        ("OS_IDENTITY_API_VERSION".to_owned(), "3".to_owned()),
    ];
    env.extend(place.region.clone().map(|region| ("OS_REGION_NAME".to_owned(), region)));
    match identity {
        HandedIdentity::Trust => {
            let project = token.caller.project_id().map(|project| project.as_str().to_owned());
            env.extend(project.map(|project| ("OS_PROJECT_ID".to_owned(), project)));
        }
        // Its project is its own: keystoneauth refuses both together.
        HandedIdentity::ApplicationCredential { id, secret } => {
            env.push(("OS_AUTH_TYPE".to_owned(), "v3applicationcredential".to_owned()));
            env.push(("OS_APPLICATION_CREDENTIAL_ID".to_owned(), id.to_owned()));
            let secret = secret.expose_secret().to_owned();
            env.push(("OS_APPLICATION_CREDENTIAL_SECRET".to_owned(), secret));
        }
    }
    env.sort();
    env
}

fn cloud(identity: HandedIdentity<'_>, token: &IssuedToken, place: &Place) -> Value {
    let mut cloud = Map::new();
    cloud.insert("identity_api_version".to_owned(), "3".into());
    if let Some(region) = &place.region {
        cloud.insert("region_name".to_owned(), region.as_str().into());
    }
    let (auth_type, auth) = match identity {
        HandedIdentity::Trust => {
            for endpoint in &token.endpoints {
                let service = endpoint.service_type.replace('-', "_");
                cloud.insert(format!("{service}_endpoint_override"), endpoint.url.as_str().into());
            }
            let auth = json!({"endpoint": place.auth_url, "token": token.secret.expose_secret()});
            ("admin_token", auth)
        }
        HandedIdentity::ApplicationCredential { id, secret } => {
            let auth = json!({
                "auth_url": place.auth_url,
                "application_credential_id": id,
                "application_credential_secret": secret.expose_secret(),
            });
            ("v3applicationcredential", auth)
        }
    };
    cloud.insert("auth_type".to_owned(), auth_type.into());
    cloud.insert("auth".to_owned(), auth);
    Value::Object(cloud)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use picasso_types::{ProjectId, Timestamp};

    use super::*;
    use crate::caller::{Caller, Project, Scope};
    use crate::trusts::ServiceEndpoint;

    fn token() -> IssuedToken {
        let endpoint = |kind: &str, url: &str| ServiceEndpoint { service_type: kind.into(), url: url.into() };
        let project = Project { id: ProjectId::parse("968f").unwrap(), name: "demo".into(), domain: None };
        IssuedToken {
            secret: "gAAAAAtoken".to_owned().into(),
            caller: Arc::new(Caller {
                user_id: "ce64".into(),
                user_name: "someone".into(),
                user_domain: None,
                scope: Scope::Project(project),
                roles: vec!["reader".into()],
                expires_at: Timestamp(1),
                trust: None,
                application_credential: None,
                service: None,
            }),
            issued_at: Timestamp(0),
            expires_at: Timestamp(1),
            endpoints: vec![
                endpoint("compute", "http://nova/v2.1"),
                endpoint("object-store", "http://swift/v1/AUTH_968f"),
            ],
        }
    }

    fn handed(identity: HandedIdentity<'_>, region: Option<&str>) -> (Vec<String>, Vec<(String, String)>) {
        let place = Place { auth_url: "http://keystone/v3".into(), region: region.map(str::to_owned) };
        let Handed { env, files } = Handed::of(identity, &token(), &place);
        let env = env.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        let files = files.into_iter().map(|(name, bytes)| (name, String::from_utf8(bytes).unwrap()));
        (env, files.collect())
    }

    #[test]
    fn a_trust_is_handed_over_as_a_token_and_the_endpoints_that_take_it() {
        let (env, files) = handed(HandedIdentity::Trust, Some("RegionOne"));
        let expected = [
            "OS_AUTH_URL=http://keystone/v3",
            "OS_CLIENT_CONFIG_FILE=/run/picasso/identity/clouds.yaml",
            "OS_CLOUD=picasso",
            "OS_IDENTITY_API_VERSION=3",
            "OS_PROJECT_ID=968f",
            "OS_REGION_NAME=RegionOne",
        ];
        assert_eq!(env, expected);
        assert_eq!(files[0], ("token".to_owned(), "gAAAAAtoken".to_owned()));
        let clouds = r#"{
  "clouds": {
    "picasso": {
      "auth": {
        "endpoint": "http://keystone/v3",
        "token": "gAAAAAtoken"
      },
      "auth_type": "admin_token",
      "compute_endpoint_override": "http://nova/v2.1",
      "identity_api_version": "3",
      "object_store_endpoint_override": "http://swift/v1/AUTH_968f",
      "region_name": "RegionOne"
    }
  }
}
"#;
        assert_eq!(files[1], ("clouds.yaml".to_owned(), clouds.to_owned()));
    }

    #[test]
    fn an_application_credential_is_handed_over_so_that_clients_log_in_by_themselves() {
        let secret = SecretString::from("s\"ecret".to_owned());
        let (env, files) =
            handed(HandedIdentity::ApplicationCredential { id: "9f0c", secret: &secret }, None);
        let expected = [
            "OS_APPLICATION_CREDENTIAL_ID=9f0c",
            "OS_APPLICATION_CREDENTIAL_SECRET=s\"ecret",
            "OS_AUTH_TYPE=v3applicationcredential",
            "OS_AUTH_URL=http://keystone/v3",
            "OS_CLIENT_CONFIG_FILE=/run/picasso/identity/clouds.yaml",
            "OS_CLOUD=picasso",
            "OS_IDENTITY_API_VERSION=3",
        ];
        assert_eq!(env, expected);
        assert_eq!(files[0].1, "gAAAAAtoken");
        let clouds = r#"{
  "clouds": {
    "picasso": {
      "auth": {
        "application_credential_id": "9f0c",
        "application_credential_secret": "s\"ecret",
        "auth_url": "http://keystone/v3"
      },
      "auth_type": "v3applicationcredential",
      "identity_api_version": "3"
    }
  }
}
"#;
        assert_eq!(files[1].1, clouds);
    }
}
