//! The examples of `examples/openstack`, run as a person runs them: each has a script, `run`, which
//! gets the variables of an openrc file and nothing else.

#![expect(clippy::missing_errors_doc, reason = "what cannot be set up is told as it came")]

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Weak};

use picasso_testkit::keystone::{install_tls_provider, python};
use picasso_testkit::openstack::OpenStack;
use picasso_testkit::picasso::Picasso;
use picasso_testkit::process::TestDir;
use picasso_testkit::swift::Filter;
use tokio::sync::{Mutex, OnceCell};

/// An OpenStack with a Picasso that stands in its catalog.
#[derive(Debug)]
pub struct Testbed {
    // First, so that it ends before what it uses.
    picasso: Picasso,
    openstack: Arc<OpenStack>,
    spool: TestDir,
    /// The servers that the examples with Nova find; made by the first of them.
    servers: OnceCell<()>,
}

/// The checkout's root.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// What went wrong, for people.
type Fault = Box<dyn std::error::Error + Send + Sync>;

impl Testbed {
    /// Why it cannot run here; `None` when it can. For [`picasso_testkit::process::require`].
    pub fn missing() -> Option<String> {
        OpenStack::missing().or_else(Picasso::missing)
    }

    /// The one that the tests of one binary share while any of them holds it.
    pub async fn shared() -> Result<Arc<Self>, Fault> {
        static SHARED: Mutex<Weak<Testbed>> = Mutex::const_new(Weak::new());
        let mut shared = SHARED.lock().await;
        if let Some(testbed) = shared.upgrade() {
            return Ok(testbed);
        }
        let testbed = Arc::new(Self::start().await?);
        *shared = Arc::downgrade(&testbed);
        Ok(testbed)
    }

    /// Starts both.
    pub async fn start() -> Result<Self, Fault> {
        install_tls_provider();
        let openstack = OpenStack::shared().await?;
        let mut options = openstack.picasso_options()?;
        // The message bus that the services of this cloud notify.
        let bus = openstack.broker_url().replacen("amqp:", "rabbit:", 1);
        let section = ["[events]\nenabled = true\ntransport_url = \"", &bus, "\"\n"].concat();
        options.more_config.push_str(&section);
        let picasso = Picasso::start_with(&openstack.keystone, options).await?;
        openstack.keystone.set_functions_url(&picasso.api_url()).await?;
        Ok(Self { picasso, openstack, spool: TestDir::new("spool")?, servers: OnceCell::new() })
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
                let nova = self.openstack.nova().await?;
                let made = self.servers.get_or_try_init(async || {
                    let project = keystone.project_id("demo1").await?;
                    let user = keystone.user_id("demo1-member").await?;
                    nova.add_servers(&project, &user, &["web-1", "web-2"]).await?;
                    Ok::<_, Fault>(())
                });
                made.await?;
            }
            "aodh" => drop(self.openstack.aodh().await?),
            "swift" => drop(self.openstack.swift_with(Some(self.filter())).await?),
            _ => {}
        }
        Ok(())
    }

    /// Our filter for Swift's proxy, which tells this server of uploads.
    fn filter(&self) -> Filter {
        let keystone = &self.openstack.keystone;
        Filter {
            name: "picasso".to_owned(),
            settings: format!(
                "paste.filter_factory = picasso_swift:filter_factory\nendpoint = {}\nauth_url = {}\n\
                 username = picasso\npassword = {}\nproject_name = service\nspool_dir = {}\n",
                self.picasso.api_url(),
                keystone.auth_url(),
                keystone.password("picasso"),
                self.spool.path().display()
            ),
            python_path: root().join("clients/swift-middleware"),
        }
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
        let root = root();
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
