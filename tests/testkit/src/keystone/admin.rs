//! Users, roles, projects and the catalog, changed as the administrator.

use std::sync::atomic::{AtomicU32, Ordering};

use reqwest::Method;
use serde_json::{Value, json};

use super::tokens::text;
use super::{Keystone, KeystoneError, lock};
use crate::evidence::note_secret;

/// A user that a test made for itself.
#[derive(Debug, Clone)]
pub struct User {
    /// Its name; [`Keystone::token`] takes it.
    pub name: String,
    /// Its id.
    pub id: String,
}

impl Keystone {
    /// Makes a user with `roles` in the project of that name.
    pub async fn create_user(&self, project: &str, roles: &[&str]) -> Result<User, KeystoneError> {
        let name = self.unique_name("user");
        let password = picasso_types::random::uuid();
        note_secret(&password);
        let body = json!({"user": {"name": name, "domain_id": "default", "password": password}});
        let made = self.as_admin(Method::POST, "/v3/users", Some(&body)).await?;
        lock(&self.passwords).insert(name.clone(), password);
        for role in roles {
            self.add_role(&name, project, role).await?;
        }
        Ok(User { id: text(&made["user"]["id"]), name })
    }

    /// Disables or enables a user.
    pub async fn set_user_enabled(&self, user: &str, enabled: bool) -> Result<(), KeystoneError> {
        let path = format!("/v3/users/{}", self.user_id(user).await?);
        let body = json!({"user": {"enabled": enabled}});
        self.as_admin(Method::PATCH, &path, Some(&body)).await.map(drop)
    }

    /// Deletes a user.
    pub async fn delete_user(&self, user: &str) -> Result<(), KeystoneError> {
        let path = format!("/v3/users/{}", self.user_id(user).await?);
        self.as_admin(Method::DELETE, &path, None).await.map(drop)
    }

    /// Makes a project; its name.
    pub async fn create_project(&self) -> Result<String, KeystoneError> {
        let name = self.unique_name("project");
        let body = json!({"project": {"name": name, "domain_id": "default"}});
        self.as_admin(Method::POST, "/v3/projects", Some(&body)).await?;
        Ok(name)
    }

    /// Makes a project with a token of `user` in `project`, who must be an administrator.
    pub async fn create_project_as(&self, user: &str, project: &str) -> Result<(), KeystoneError> {
        let token = self.token(user, project).await?;
        let body = json!({"project": {"name": self.unique_name("project"), "domain_id": "default"}});
        let answer = self.request(Method::POST, "/v3/projects", Some(&token), Some(&body)).await?;
        answer.error_for_status()?;
        Ok(())
    }

    /// Disables or enables a project.
    pub async fn set_project_enabled(&self, project: &str, enabled: bool) -> Result<(), KeystoneError> {
        let path = format!("/v3/projects/{}", self.project_id(project).await?);
        let body = json!({"project": {"enabled": enabled}});
        self.as_admin(Method::PATCH, &path, Some(&body)).await.map(drop)
    }

    /// Gives `user` a role in the project of that name.
    pub async fn add_role(&self, user: &str, project: &str, role: &str) -> Result<(), KeystoneError> {
        let path = self.assignment(user, project, role).await?;
        self.as_admin(Method::PUT, &path, None).await.map(drop)
    }

    /// Takes a role in the project of that name from `user`.
    pub async fn remove_role(&self, user: &str, project: &str, role: &str) -> Result<(), KeystoneError> {
        let path = self.assignment(user, project, role).await?;
        self.as_admin(Method::DELETE, &path, None).await.map(drop)
    }

    /// Gives `user` a role in the domain `Default`.
    pub async fn add_domain_role(&self, user: &str, role: &str) -> Result<(), KeystoneError> {
        let (user, role) = (self.user_id(user).await?, self.id_of("roles", role).await?);
        let path = format!("/v3/domains/default/users/{user}/roles/{role}");
        self.as_admin(Method::PUT, &path, None).await.map(drop)
    }

    /// The id of the user of that name.
    pub async fn user_id(&self, name: &str) -> Result<String, KeystoneError> {
        self.id_of("users", name).await
    }

    /// The id of the project of that name.
    pub async fn project_id(&self, name: &str) -> Result<String, KeystoneError> {
        self.id_of("projects", name).await
    }

    /// Points the catalog's `functions` endpoints at `url`.
    pub async fn set_functions_url(&self, url: &str) -> Result<(), KeystoneError> {
        let service = self.id_of("services", "picasso").await?;
        let listed = self.as_admin(Method::GET, &format!("/v3/endpoints?service_id={service}"), None).await?;
        for endpoint in listed["endpoints"].as_array().into_iter().flatten() {
            let path = format!("/v3/endpoints/{}", text(&endpoint["id"]));
            self.as_admin(Method::PATCH, &path, Some(&json!({"endpoint": {"url": url}}))).await?;
        }
        Ok(())
    }

    /// Takes the service of that name and its endpoints out of the catalog.
    pub async fn delete_service(&self, name: &str) -> Result<(), KeystoneError> {
        let path = format!("/v3/services/{}", self.id_of("services", name).await?);
        self.as_admin(Method::DELETE, &path, None).await.map(drop)
    }

    /// Puts a service of this type into the catalog, with one endpoint for each interface.
    pub async fn add_service(&self, kind: &str, url: &str) -> Result<(), KeystoneError> {
        self.add_service_named(kind, &self.unique_name(kind), url).await
    }

    /// The same under the name that others look for it by.
    pub async fn add_service_named(&self, kind: &str, name: &str, url: &str) -> Result<(), KeystoneError> {
        let body = json!({"service": {"name": name, "type": kind}});
        let made = self.as_admin(Method::POST, "/v3/services", Some(&body)).await?;
        for interface in ["public", "internal"] {
            let body = json!({"endpoint": {
                "service_id": made["service"]["id"], "interface": interface, "url": url,
                "region_id": "RegionOne",
            }});
            self.as_admin(Method::POST, "/v3/endpoints", Some(&body)).await?;
        }
        Ok(())
    }

    /// Gives a service of the catalog, by type, one endpoint for each interface, and no others.
    pub async fn set_endpoint(&self, kind: &str, url: &str) -> Result<(), KeystoneError> {
        let path = format!("/v3/services?type={kind}");
        let services = self.as_admin(Method::GET, &path, None).await?;
        for service in services["services"].as_array().into_iter().flatten() {
            let path = format!("/v3/services/{}", text(&service["id"]));
            self.as_admin(Method::DELETE, &path, None).await?;
        }
        self.add_service(kind, url).await
    }

    /// What a service's configuration says of how it validates tokens as `user` of the project
    /// `service`: the section `[keystone_authtoken]`.
    pub fn authtoken(&self, user: &str) -> String {
        format!(
            "[keystone_authtoken]\nauth_type = password\nauth_url = {url}\n\
             www_authenticate_uri = {url}\nusername = {user}\npassword = {password}\n\
             project_name = service\nuser_domain_id = default\nproject_domain_id = default\n",
            url = self.auth_url(),
            password = self.password(user)
        )
    }

    async fn assignment(&self, user: &str, project: &str, role: &str) -> Result<String, KeystoneError> {
        let (project, user) = (self.project_id(project).await?, self.user_id(user).await?);
        let role = self.id_of("roles", role).await?;
        Ok(format!("/v3/projects/{project}/users/{user}/roles/{role}"))
    }

    async fn id_of(&self, collection: &str, name: &str) -> Result<String, KeystoneError> {
        let path = format!("/v3/{collection}?name={name}");
        let listed = self.as_admin(Method::GET, &path, None).await?;
        match listed[collection][0]["id"].as_str() {
            Some(id) => Ok(id.to_owned()),
            None => Err(self.answer(&path, "none of that name")),
        }
    }

    async fn as_admin(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, KeystoneError> {
        let token = self.admin_token().await?;
        let answer = self.request(method, path, Some(&token), body).await?.bytes().await?;
        // Assignments and deletions answer nothing.
        if answer.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&answer).map_err(|error| self.answer(path, &error))
    }

    /// A name that no other test of this process uses.
    #[expect(clippy::unused_self, reason = "names are taken from the Keystone they are used in")]
    pub(super) fn unique_name(&self, prefix: &str) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        format!("{prefix}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
    }
}
