//! The examples of `examples/openstack`, run as a person runs them: each has a script, `run`, which
//! gets the variables of an openrc file and nothing else.

#![expect(clippy::missing_errors_doc, reason = "what cannot be set up is told as it came")]

use std::path::Path;
use std::process::{Command, ExitStatus, Output, Stdio};
use std::sync::Arc;

use picasso_testkit::keystone::{install_tls_provider, python};
use picasso_testkit::openstack::OpenStack;
use picasso_testkit::picasso::Picasso;

/// An OpenStack with a Picasso that stands in its catalog.
#[derive(Debug)]
pub struct Testbed {
    // First, so that it ends before what it uses.
    picasso: Picasso,
    openstack: Arc<OpenStack>,
}

/// What went wrong, for people.
type Fault = Box<dyn std::error::Error + Send + Sync>;

impl Testbed {
    /// Why it cannot run here; `None` when it can. For [`picasso_testkit::process::require`].
    pub fn missing() -> Option<String> {
        OpenStack::missing().or_else(Picasso::missing)
    }

    /// Starts both.
    pub async fn start() -> Result<Self, Fault> {
        install_tls_provider();
        let openstack = OpenStack::shared().await?;
        let options = openstack.picasso_options()?;
        let picasso = Picasso::start_with(&openstack.keystone, options).await?;
        openstack.keystone.set_functions_url(&picasso.api_url()).await?;
        Ok(Self { picasso, openstack })
    }

    /// The cloud.
    pub fn openstack(&self) -> &OpenStack {
        &self.openstack
    }

    /// The server.
    pub fn picasso(&self) -> &Picasso {
        &self.picasso
    }

    /// Starts what an example needs of OpenStack, with something in it to be found.
    pub async fn prepare(&self, example: &str) -> Result<(), Fault> {
        let keystone = &self.openstack.keystone;
        match example {
            "nova" | "nova-payload" => {
                let project = keystone.project_id("demo1").await?;
                let user = keystone.user_id("demo1-member").await?;
                self.openstack.nova().await?.add_servers(&project, &user, &["web-1", "web-2"]).await?;
            }
            "aodh" => drop(self.openstack.aodh().await?),
            "swift" => drop(self.openstack.swift().await?),
            _ => {}
        }
        Ok(())
    }

    /// Runs an example's script; what it printed.
    pub async fn run(&self, example: &str) -> Result<Output, Fault> {
        let mut command = self.command(example)?;
        Ok(tokio::task::spawn_blocking(move || command.output()).await??)
    }

    /// Runs an example's script on this terminal.
    pub async fn show(&self, example: &str) -> Result<ExitStatus, Fault> {
        let mut command = self.command(example)?;
        Ok(tokio::task::spawn_blocking(move || command.status()).await??)
    }

    /// The script, as a user of the project `demo1`: one who may do what the example is about.
    fn command(&self, example: &str) -> Result<Command, Fault> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let keystone = &self.openstack.keystone;
        let user = if example == "keystone" { "demo1-admin" } else { "demo1-member" };
        let bin = python()?.parent().map(Path::to_owned).unwrap_or_default();
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new(root.join("examples/openstack").join(example).join("run"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("OS_") {
                command.env_remove(name);
            }
        }
        command
            .env("PATH", format!("{}:{path}", bin.display()))
            .env("OS_AUTH_URL", keystone.auth_url())
            .env("OS_IDENTITY_API_VERSION", "3")
            .env("OS_USERNAME", user)
            .env("OS_PASSWORD", keystone.password(user))
            .env("OS_PROJECT_NAME", "demo1")
            .env("OS_USER_DOMAIN_NAME", "Default")
            .env("OS_PROJECT_DOMAIN_NAME", "Default")
            .env("OS_REGION_NAME", "RegionOne")
            .env("EXAMPLE_EVENT", root.join("scripts/aodh/publish_event.py"))
            .env("TRANSPORT_URL", self.openstack.broker_url().replacen("amqp:", "rabbit:", 1))
            .stdin(Stdio::null());
        Ok(command)
    }
}
