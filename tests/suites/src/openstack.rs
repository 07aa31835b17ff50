//! The `openstack` command with our own client in it, as people run it.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a client that does not run fails the test that needs it"
)]

use std::process::{Output, Stdio};

use picasso_testkit::keystone::client_venv;
use picasso_testkit::process::require;
use serde_json::Value;

use crate::cloud::Cloud;

/// What a command printed, and how it ended.
#[derive(Debug)]
pub struct Said {
    /// Whether it succeeded.
    pub ok: bool,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub err: String,
}

impl Said {
    fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { ok: output.status.success(), out: text(&output.stdout), err: text(&output.stderr) }
    }
}

/// Whether the environment with the client can be made; a missing one fails in CI.
pub fn client_ready() -> bool {
    require("the environment of the Python client", client_venv().err().as_deref())
}

impl Cloud {
    /// Runs `openstack ARGUMENTS` with the client, as `demo1-member`.
    ///
    /// # Panics
    /// When it cannot be run at all.
    pub async fn client(&self, arguments: &[&str]) -> Said {
        self.client_as("demo1-member", arguments).await
    }

    /// Runs it as another user, in the project of that user's name.
    ///
    /// # Panics
    /// When it cannot be run at all.
    pub async fn client_as(&self, user: &str, arguments: &[&str]) -> Said {
        let project = user.split('-').next().unwrap_or_default();
        self.run_client("openstack", user, project, arguments).await
    }

    /// Runs `openstack ARGUMENTS -f json`; what it prints.
    ///
    /// # Panics
    /// When it fails, or prints something else.
    pub async fn client_json(&self, arguments: &[&str]) -> Value {
        let words: Vec<&str> = arguments.iter().copied().chain(["-f", "json"]).collect();
        let said = self.client(&words).await;
        assert!(said.ok, "openstack {words:?}: {}", said.err);
        serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{words:?}: {error}: {}", said.out))
    }

    /// Runs `openstack ARGUMENTS`, which have nothing to print.
    ///
    /// # Panics
    /// When it fails, or prints something.
    pub async fn client_done(&self, arguments: &[&str]) {
        let said = self.client(arguments).await;
        assert!(said.ok && said.out.is_empty(), "openstack {arguments:?}: {}{}", said.out, said.err);
    }

    /// Runs Python code that finds the client and the login of `demo1-member`; what it prints.
    ///
    /// # Panics
    /// When it fails.
    pub async fn client_python(&self, code: &str) -> String {
        let said = self.run_client("python", "demo1-member", "demo1", &["-c", code]).await;
        assert!(said.ok, "{}", said.err);
        said.out
    }

    async fn run_client(&self, program: &str, user: &str, project: &str, arguments: &[&str]) -> Said {
        let mut command =
            self.keystone.client_command(program, user, project).expect("the client's environment");
        command.args(arguments).stdin(Stdio::null());
        let finished = tokio::task::spawn_blocking(move || command.output()).await;
        Said::of(&finished.expect("the program runs").expect("the program runs"))
    }
}
