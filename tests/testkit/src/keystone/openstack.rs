//! The real `openstack` command of python-openstackclient, logged in at a test's Keystone; also with our
//! own client in it (`clients/python-picassoclient`).

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use super::{Keystone, KeystoneError, root, venv};

/// The Python environment with the `openstack` command and our client, made where it is missing.
pub fn client_venv() -> Result<PathBuf, String> {
    let made = crate::process::run("bash", [root().join("scripts/client-venv")])?;
    Ok(PathBuf::from(made.trim()))
}

impl Keystone {
    /// Runs `openstack ARGUMENTS` as `user` in the project of that name.
    ///
    /// The environment is the one of the machine without any `OS_` variable of its own; the
    /// password goes in by the environment, as an openrc file does it.
    pub async fn openstack(
        &self,
        user: &str,
        project: &str,
        arguments: &[&str],
    ) -> Result<Output, KeystoneError> {
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let login = self.login(user, project);
        self.run("openstack", arguments, login).await
    }

    /// Runs a Python script where OpenStack's clients are, with these variables and none of the
    /// machine's that begin with `OS_`.
    pub async fn python(&self, script: &str, env: Vec<(String, String)>) -> Result<Output, KeystoneError> {
        self.run("python", vec!["-c".to_owned(), script.to_owned()], env).await
    }

    /// A program of the environment with our client (`openstack`, `python`), logged in as `user` in the
    /// project of that name, to be started as the test wishes.
    pub fn client_command(&self, program: &str, user: &str, project: &str) -> Result<Command, KeystoneError> {
        let venv = client_venv().map_err(|error| self.answer("scripts/client-venv", &error))?;
        Ok(with_no_login_but(venv.join("bin").join(program), self.login(user, project)))
    }

    /// What an openrc file sets.
    fn login(&self, user: &str, project: &str) -> Vec<(String, String)> {
        let login = [
            ("OS_AUTH_URL", self.auth_url()),
            ("OS_IDENTITY_API_VERSION", "3".to_owned()),
            ("OS_USERNAME", user.to_owned()),
            ("OS_PASSWORD", self.password(user)),
            ("OS_PROJECT_NAME", project.to_owned()),
            ("OS_USER_DOMAIN_NAME", "Default".to_owned()),
            ("OS_PROJECT_DOMAIN_NAME", "Default".to_owned()),
            ("OS_REGION_NAME", "RegionOne".to_owned()),
        ];
        login.map(|(name, value)| (name.to_owned(), value)).into()
    }

    async fn run(
        &self,
        program: &'static str,
        arguments: Vec<String>,
        env: Vec<(String, String)>,
    ) -> Result<Output, KeystoneError> {
        let finished = tokio::task::spawn_blocking(move || {
            let mut command = with_no_login_but(venv()?.join("bin").join(program), env);
            command.args(arguments).stdin(Stdio::null()).output().map_err(|error| error.to_string())
        });
        match finished.await {
            Ok(output) => output.map_err(|error| self.answer(program, &error)),
            Err(error) => Err(self.answer(program, &error)),
        }
    }
}

/// A program whose environment has these variables and none of the machine's that begin with `OS_`.
fn with_no_login_but(program: PathBuf, env: Vec<(String, String)>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("OS_") {
            command.env_remove(name);
        }
    }
    command.envs(env);
    command
}
