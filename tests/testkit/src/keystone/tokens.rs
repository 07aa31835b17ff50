//! Tokens, application credentials and trusts.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::{Method, Response};
use serde_json::{Value, json};

use super::{Keystone, KeystoneError, keystonectl, lock};
use crate::evidence::note_secret;
use crate::process::wait_until;

/// What a token is scoped to.
#[derive(Debug, Clone, Copy)]
pub enum Scope<'a> {
    /// A project, by name.
    Project(&'a str),
    /// The domain `Default`.
    Domain,
    /// The whole system.
    System,
    /// Nothing.
    Unscoped,
    /// A trust, by id; the user is its trustee.
    Trust(&'a str),
}

/// An application credential.
#[derive(Debug, Clone)]
pub struct ApplicationCredential {
    /// Its id.
    pub id: String,
    /// Its secret.
    pub secret: String,
    owner: String,
}

impl Keystone {
    /// A token of `user` scoped to the project of that name.
    pub async fn token(&self, user: &str, project: &str) -> Result<String, KeystoneError> {
        self.scoped_token(user, Scope::Project(project)).await
    }

    /// A token of `user` with any scope.
    pub async fn scoped_token(&self, user: &str, scope: Scope<'_>) -> Result<String, KeystoneError> {
        self.authenticate(&self.authentication(user, scope)).await
    }

    /// A token of `user` that ends after `seconds`, whatever the lifetime of all others is.
    pub async fn short_lived_token(
        &self,
        user: &str,
        project: &str,
        seconds: u32,
    ) -> Result<String, KeystoneError> {
        let body = self.authentication(user, Scope::Project(project)).to_string();
        let mut command = Command::new(keystonectl());
        command.arg("issue-token").arg(self.data()).args(["--seconds", &seconds.to_string()]);
        let issued = tokio::task::spawn_blocking(move || {
            let mut child =
                command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
            // Taken, so that it is closed after the body.
            if let Some(mut stdin) = child.stdin.take() {
                stdin.write_all(body.as_bytes())?;
            }
            child.wait_with_output()
        });
        let output = match issued.await {
            Ok(Ok(output)) if output.status.success() => output,
            Ok(Ok(output)) => {
                return Err(self.answer("issue-token", &String::from_utf8_lossy(&output.stderr)));
            }
            Ok(Err(error)) => return Err(self.answer("issue-token", &error)),
            Err(error) => return Err(self.answer("issue-token", &error)),
        };
        let token = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        note_secret(&token);
        Ok(token)
    }

    /// A token of `user` that has ended; it was good for a second.
    pub async fn expired_token(&self, user: &str, project: &str) -> Result<String, KeystoneError> {
        let token = self.short_lived_token(user, project, 1).await?;
        let admin = self.admin_token().await?;
        wait_until(Duration::from_secs(30), "the end of a token", async || {
            let look_up = self.http.get(format!("{}/v3/auth/tokens", self.url));
            let answer =
                look_up.header("x-auth-token", &admin).header("x-subject-token", &token).send().await;
            answer.is_ok_and(|answer| answer.status() == 404)
        })
        .await?;
        Ok(token)
    }

    /// Revokes `token`.
    pub async fn revoke(&self, token: &str) -> Result<(), KeystoneError> {
        let request = self.http.delete(format!("{}/v3/auth/tokens", self.url));
        let answer = request.header("x-auth-token", token).header("x-subject-token", token).send().await?;
        if answer.status().is_success() { Ok(()) } else { Err(self.answer("DELETE token", &answer.status())) }
    }

    /// Makes an application credential of `user` for `project`; `access_rules` is Keystone's list
    /// of `{service, method, path}`, absent for none.
    pub async fn create_application_credential(
        &self,
        user: &str,
        project: &str,
        access_rules: Option<Value>,
    ) -> Result<ApplicationCredential, KeystoneError> {
        let token = self.token(user, project).await?;
        let owner = self.user_id(user).await?;
        let mut credential = json!({"name": self.unique_name("ac")});
        if let Some(rules) = access_rules {
            credential["access_rules"] = rules;
        }
        let path = format!("/v3/users/{owner}/application_credentials");
        let body = json!({"application_credential": credential});
        let made: Value = self.request(Method::POST, &path, Some(&token), Some(&body)).await?.json().await?;
        let field = |name: &str| text(&made["application_credential"][name]);
        let made = ApplicationCredential { id: field("id"), secret: field("secret"), owner };
        note_secret(&made.secret);
        Ok(made)
    }

    /// A token of an application credential.
    pub async fn token_of(&self, credential: &ApplicationCredential) -> Result<String, KeystoneError> {
        let body = json!({"auth": {"identity": {
            "methods": ["application_credential"],
            "application_credential": {"id": credential.id, "secret": credential.secret},
        }}});
        self.authenticate(&body).await
    }

    /// Deletes an application credential, and with it its tokens.
    pub async fn delete_application_credential(
        &self,
        credential: &ApplicationCredential,
    ) -> Result<(), KeystoneError> {
        let path = format!("/v3/users/{}/application_credentials/{}", credential.owner, credential.id);
        self.request(Method::DELETE, &path, Some(&self.admin_token().await?), None).await.map(drop)
    }

    /// Has `trustor` trust `trustee` with one of its roles in `project`, with impersonation.
    pub async fn create_trust(
        &self,
        trustor: &str,
        trustee: &str,
        project: &str,
        role: &str,
    ) -> Result<String, KeystoneError> {
        let token = self.token(trustor, project).await?;
        let body = json!({"trust": {
            "impersonation": true,
            "trustor_user_id": self.user_id(trustor).await?,
            "trustee_user_id": self.user_id(trustee).await?,
            "project_id": self.project_id(project).await?,
            "roles": [{"name": role}],
        }});
        let path = "/v3/OS-TRUST/trusts";
        let made: Value = self.request(Method::POST, path, Some(&token), Some(&body)).await?.json().await?;
        Ok(text(&made["trust"]["id"]))
    }

    /// Deletes a trust as its trustor, and with it its tokens.
    pub async fn delete_trust(&self, trustor: &str, project: &str, id: &str) -> Result<(), KeystoneError> {
        let token = self.token(trustor, project).await?;
        self.request(Method::DELETE, &format!("/v3/OS-TRUST/trusts/{id}"), Some(&token), None).await.map(drop)
    }

    /// A token of the administrator, the same one as long as it is sure to live.
    pub(super) async fn admin_token(&self) -> Result<String, KeystoneError> {
        let kept = lock(&self.admin_token).clone();
        if let Some((token, made)) = kept
            && made.elapsed().as_secs() < u64::from(self.options.token_expiration / 2)
        {
            return Ok(token);
        }
        let made = Instant::now();
        let token = self.scoped_token("admin", Scope::System).await?;
        *lock(&self.admin_token) = Some((token.clone(), made));
        Ok(token)
    }

    fn authentication(&self, user: &str, scope: Scope<'_>) -> Value {
        let domain = json!({"id": "default"});
        let mut body = json!({"auth": {"identity": {"methods": ["password"], "password": {"user": {
            "name": user, "domain": domain, "password": self.password(user),
        }}}}});
        body["auth"]["scope"] = match scope {
            Scope::Project(name) => json!({"project": {"name": name, "domain": domain}}),
            Scope::Domain => json!({"domain": domain}),
            Scope::System => json!({"system": {"all": true}}),
            Scope::Unscoped => json!("unscoped"),
            Scope::Trust(id) => json!({"OS-TRUST:trust": {"id": id}}),
        };
        body
    }

    async fn authenticate(&self, body: &Value) -> Result<String, KeystoneError> {
        let answer: Response = self.request(Method::POST, "/v3/auth/tokens", None, Some(body)).await?;
        let token = answer.headers().get("x-subject-token").and_then(|value| value.to_str().ok());
        let token =
            token.ok_or_else(|| self.answer("POST /v3/auth/tokens", "no X-Subject-Token"))?.to_owned();
        note_secret(&token);
        Ok(token)
    }
}

pub(super) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
