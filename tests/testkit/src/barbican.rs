//! A real Barbican with a database file of its own, in front of a Keystone of the tests.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use reqwest::Client;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::evidence::note_secret;
use crate::keystone::{Keystone, root, services_venv};
use crate::process::{Process, ProcessError, TestDir, free_port};

/// Python takes its time where the machine is busy.
const READY_WITHIN: Duration = Duration::from_mins(2);
/// The pipeline that Barbican brings along, for one face.
const PIPELINE: &str = "[composite:main]\nuse = egg:Paste#urlmap\n/: versions\n/v1: api\n\
    [pipeline:versions]\npipeline = request_id microversion versionapp\n\
    [pipeline:api]\npipeline = request_id authtoken context microversion apiapp\n\
    [app:apiapp]\npaste.app_factory = barbican.api.app:create_main_app\n\
    [app:versionapp]\npaste.app_factory = barbican.api.app:create_version_app\n\
    [filter:context]\npaste.filter_factory = barbican.api.middleware.context:ContextMiddleware.factory\n\
    [filter:microversion]\n\
    paste.filter_factory = barbican.api.middleware.microversion:MicroversionMiddleware.factory\n\
    [filter:authtoken]\npaste.filter_factory = keystonemiddleware.auth_token:filter_factory\n\
    [filter:request_id]\npaste.filter_factory = oslo_middleware.request_id:RequestId.factory\n";

/// A running Barbican; killed when dropped.
#[derive(Debug)]
pub struct Barbican {
    // Before the folder, so that it ends first.
    process: Process,
    _dir: TestDir,
    port: u16,
}

impl Barbican {
    /// Why it cannot run here; `None` when it can. For [`crate::process::require`].
    pub fn missing() -> Option<String> {
        Keystone::missing()
    }

    /// Starts one and waits until it answers.
    pub async fn start(keystone: &Keystone) -> Result<Self, ProcessError> {
        let dir = TestDir::new("barbican").map_err(cannot)?;
        let port = free_port().map_err(cannot)?;
        configure(dir.path(), port, keystone).map_err(cannot)?;
        let process = spawn(dir.path(), port)?;
        let mut barbican = Self { process, _dir: dir, port };
        let url = barbican.url();
        let http = Client::new();
        let answers = || async { http.get(&url).send().await.is_ok_and(|answer| answer.status() == 300) };
        barbican.process.ready(READY_WITHIN, "its list of versions", answers).await?;
        Ok(barbican)
    }

    /// Its endpoint, as catalogs have it.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Keeps a text in the project of the token; the id of the secret, empty when it was not taken.
    pub async fn keep_text(&self, token: &str, text: &str) -> String {
        note_secret(text);
        self.keep(token, json!({"payload": text, "payload_content_type": "text/plain"})).await
    }

    /// The same with bytes, which are sent in base64.
    pub async fn keep_base64(&self, token: &str, base64: &str) -> String {
        note_secret(base64);
        let kind = "application/octet-stream";
        let secret =
            json!({"payload": base64, "payload_content_type": kind, "payload_content_encoding": "base64"});
        self.keep(token, secret).await
    }

    async fn keep(&self, token: &str, secret: Value) -> String {
        let url = format!("{}/v1/secrets", self.url());
        let sent = Client::new().post(url).header("x-auth-token", token).json(&secret).send().await;
        let Ok(answer) = sent else { return String::new() };
        let kept: Value = answer.json().await.unwrap_or_default();
        let reference = kept["secret_ref"].as_str().unwrap_or_default();
        reference.rsplit('/').next().unwrap_or_default().to_owned()
    }

    /// Ends it; connections are refused from then on.
    pub async fn stop(&mut self) -> Result<(), ProcessError> {
        self.process.signal(Signal::TERM);
        self.process.wait(READY_WITHIN).await.map(drop)
    }
}

fn cannot(source: std::io::Error) -> ProcessError {
    ProcessError::Start { program: "barbican".to_owned(), source }
}

fn configure(dir: &Path, port: u16, keystone: &Keystone) -> std::io::Result<()> {
    let (url, password) = (keystone.auth_url(), keystone.password("picasso"));
    let text = format!(
        "[DEFAULT]\nhost_href = http://127.0.0.1:{port}\ndb_auto_create = true\nuse_stderr = true\n\
         [database]\nconnection = sqlite:///{}\n[queue]\nenable = false\n\
         [secretstore]\nenabled_secretstore_plugins = store_crypto\n\
         [crypto]\nenabled_crypto_plugins = simple_crypto\n\
         [simple_crypto_plugin]\nkek = dGVzdHMtb2YtcGljYXNzby1uZWVkLW5vLXNlY3JldCE=\n\
         [keystone_authtoken]\nauth_type = password\nauth_url = {url}\nwww_authenticate_uri = {url}\n\
         username = picasso\npassword = {password}\nproject_name = service\n\
         user_domain_id = default\nproject_domain_id = default\n",
        dir.join("barbican.sqlite").display()
    );
    std::fs::write(dir.join("barbican.conf"), text)?;
    std::fs::write(dir.join("barbican-api-paste.ini"), PIPELINE)
}

fn spawn(dir: &Path, port: u16) -> Result<Process, ProcessError> {
    let venv = services_venv().map_err(|error| cannot(std::io::Error::other(error)))?;
    let mut command = Command::new(venv.join("bin/gunicorn"));
    command
        .args(["--bind", &format!("127.0.0.1:{port}"), "--no-control-socket", "--workers", "1"])
        .args(["--graceful-timeout", "1", "--chdir"])
        .arg(dir)
        .arg("barbican_wsgi:application")
        .env("HOME", dir)
        .env("PYTHONPATH", root().join("scripts/barbican"))
        .env("PYTHONDONTWRITEBYTECODE", "1");
    Process::spawn("barbican", dir, command)
}
