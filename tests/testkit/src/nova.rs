//! A real nova-api: the API alone over SQLite, with a Keystone of the tests in front.
//!
//! It lists what is in its databases; [`Nova::add_servers`] writes servers there, as no hypervisor
//! runs beside it. `GET /servers` needs nothing else; details of servers would need Neutron.

use std::path::Path;
use std::time::Duration;

use reqwest::Client;

use crate::keystone::{Keystone, root, services_venv};
use crate::place::Place;
use crate::process::{Process, ProcessError, TestDir, run};
use crate::saved::{restore, saved};

/// Python takes its time where the machine is busy.
const READY_WITHIN: Duration = Duration::from_mins(2);
/// Relative, so that a copy of the folder works as the folder did: everything is started in it.
const CONFIG: &str = "[DEFAULT]\nlog_dir =\nuse_stderr = true\nstate_path = .\ntransport_url = fake:/\n\
     [api]\nauth_strategy = keystone\n\
     [api_database]\nconnection = sqlite:///nova_api.db\n\
     [database]\nconnection = sqlite:///nova.db\n\
     [oslo_concurrency]\nlock_path = .\n";
/// What makes the databases, a command of `nova-manage` a line.
const PREPARE: &str = "api_db sync\n\
     cell_v2 map_cell0 --database_connection sqlite:///nova_cell0.db\n\
     db sync\n\
     cell_v2 create_cell --name cell1 --database_connection sqlite:///nova.db --transport-url fake:/";

/// A running nova-api; ends when dropped.
#[derive(Debug)]
pub struct Nova {
    // Before the folder, so that it ends first.
    process: Process,
    dir: TestDir,
    place: Place,
    port: u16,
}

impl Nova {
    /// Why it cannot run here; `None` when it can. For [`crate::process::require`].
    pub fn missing() -> Option<String> {
        Keystone::missing()
    }

    /// Starts one and waits until it answers. It validates tokens as the user `picasso`.
    pub async fn start(place: &Place, keystone: &Keystone) -> Result<Self, ProcessError> {
        let dir = TestDir::new("nova").map_err(cannot)?;
        let prepared = tokio::task::spawn_blocking(|| saved("nova", &format!("{CONFIG}{PREPARE}"), prepare));
        let prepared = prepared.await.map_err(|error| cannot(std::io::Error::other(error)))?;
        let prepared = prepared.map_err(|error| cannot(std::io::Error::other(error)))?;
        restore(&prepared, dir.path()).map_err(cannot)?;
        let text = format!("{CONFIG}{}", keystone.authtoken("picasso"));
        std::fs::write(dir.path().join("nova.conf"), text).map_err(cannot)?;
        let port = place.port(8774).map_err(cannot)?;
        let mut command = place.command(services_venv().map_err(told)?.join("bin/gunicorn"));
        command
            .args(["--bind", &format!("{}:{port}", place.address()), "--no-control-socket"])
            .args(["--workers", "1", "--worker-class", "gthread", "--threads", "2"])
            .args(["--graceful-timeout", "1", "--chdir"])
            .arg(dir.path())
            .arg("nova_wsgi:application")
            .envs(environment(dir.path()))
            .env("PYTHONPATH", root().join("scripts/nova"));
        let process = Process::spawn("nova", dir.path(), command)?;
        let mut nova = Self { process, dir, place: place.clone(), port };
        let (url, http) = (nova.url(), Client::new());
        let answers =
            || async { http.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) };
        nova.process.ready(READY_WITHIN, "its list of versions", answers).await?;
        Ok(nova)
    }

    /// Where it is, without a path.
    pub fn url(&self) -> String {
        format!("http://{}:{}", self.place.address(), self.port)
    }

    /// Its endpoint as catalogs have it.
    pub fn endpoint(&self) -> String {
        format!("{}/v2.1", self.url())
    }

    /// Gives a project servers of these names that run; their ids.
    pub async fn add_servers(
        &self,
        project_id: &str,
        user_id: &str,
        names: &[&str],
    ) -> Result<Vec<String>, ProcessError> {
        let mut command = tokio::process::Command::new(services_venv().map_err(told)?.join("bin/python"));
        command
            .args(["-W", "ignore"])
            .arg(root().join("scripts/nova/add_server.py"))
            .args([project_id, user_id])
            .args(names)
            .current_dir(self.dir.path())
            .envs(environment(self.dir.path()));
        let output = command.output().await.map_err(cannot)?;
        if !output.status.success() {
            return Err(told(String::from_utf8_lossy(&output.stderr).into_owned()));
        }
        let printed = String::from_utf8_lossy(&output.stdout);
        Ok(printed.lines().map(str::to_owned).collect())
    }
}

fn prepare(folder: &Path) -> Result<(), String> {
    let venv = services_venv()?;
    let written = |error: std::io::Error| format!("{}: {error}", folder.display());
    std::fs::write(folder.join("nova.conf"), CONFIG).map_err(written)?;
    std::fs::copy(venv.join("etc/nova/api-paste.ini"), folder.join("api-paste.ini")).map_err(written)?;
    let program = venv.join("bin/nova-manage").display().to_string();
    for line in PREPARE.lines() {
        let words = ["--chdir", &folder.display().to_string(), &program, "--config-file", "nova.conf"]
            .map(str::to_owned);
        run("env", words.into_iter().chain(line.split(' ').map(str::to_owned)))?;
    }
    Ok(())
}

fn environment(dir: &Path) -> [(&'static str, String); 3] {
    [
        ("OS_NOVA_CONFIG_DIR", dir.display().to_string()),
        ("OS_NOVA_DISABLE_EVENTLET_PATCHING", "1".to_owned()),
        ("PYTHONDONTWRITEBYTECODE", "1".to_owned()),
    ]
}

fn cannot(source: std::io::Error) -> ProcessError {
    ProcessError::Start { program: "nova-api".to_owned(), source }
}

fn told(error: String) -> ProcessError {
    cannot(std::io::Error::other(error))
}
