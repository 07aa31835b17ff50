//! Tokens that are their own meaning. The matrix with real tokens is in `tenant_matrix.rs`.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use picasso_identity::policy::RemoteCheck;
use picasso_identity::{AuthError, Caller, Presented, Project, Scope, TokenValidator};
use picasso_types::{ProjectId, Timestamp};
use secrecy::ExposeSecret;

use super::{OTHER, PROJECT};

/// A network without policy servers.
#[derive(Debug)]
pub struct NoPolicyServer;

#[async_trait]
impl RemoteCheck for NoPolicyServer {
    async fn post(&self, _: &url::Url, _: &'static str, _: Vec<u8>) -> Result<String, String> {
        Err("there is none".to_owned())
    }
}

#[derive(Debug)]
pub struct FixedTokens;

#[async_trait]
impl TokenValidator for FixedTokens {
    async fn validate(&self, request: &Presented) -> Result<Arc<Caller>, AuthError> {
        let (project, role) = match request.user_token().expose_secret() {
            "reader" => (PROJECT, "reader"),
            "member" => (PROJECT, "member"),
            "admin" => (PROJECT, "admin"),
            "manager" => (PROJECT, "manager"),
            "service" => (PROJECT, "service"),
            "stranger" => (PROJECT, "operator"),
            "other" => (OTHER, "member"),
            "keystone-down" => {
                return Err(AuthError::Unavailable { retry_after: Duration::from_secs(5) });
            }
            "fault" => panic!("internal-text"),
            _ => return Err(AuthError::Unauthorized { reason: "the token is not valid" }),
        };
        Ok(Arc::new(Caller {
            user_id: format!("user-{role}"),
            user_name: role.to_owned(),
            user_domain: None,
            scope: Scope::Project(Project {
                id: ProjectId::parse(project).unwrap(),
                name: project.to_owned(),
                domain: None,
            }),
            roles: with_implied(role),
            expires_at: Timestamp(i64::MAX),
            trust: None,
            application_credential: None,
            service: None,
        }))
    }

    fn auth_uri(&self) -> &'static str {
        "http://keystone.example.org/v3"
    }
}

/// A role and those that Keystone's bootstrap makes it imply.
fn with_implied(role: &str) -> Vec<String> {
    let personas = ["admin", "manager", "member", "reader"];
    match personas.iter().position(|persona| *persona == role) {
        Some(at) => personas[at..].iter().map(|&role| role.to_owned()).collect(),
        None => vec![role.to_owned()],
    }
}
