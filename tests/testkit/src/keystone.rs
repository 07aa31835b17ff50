//! A real Keystone: started from a saved copy in a folder of its own, with the demo projects and
//! users, and everything a test does to users, roles, tokens and trusts.
//!
//! Every password and token it hands out is noted as evidence.

mod admin;
mod middleware;
mod openstack;
mod tokens;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use reqwest::{Client, Method, Response};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;

use crate::evidence::note_secret;
use crate::place::Place;
use crate::process::{Process, ProcessError, TestDir};

pub use admin::User;
pub use middleware::{Middleware, Reached};
pub use openstack::client_venv;
pub use tokens::{ApplicationCredential, Scope};

/// The first start on a machine makes a Python environment and the saved copy.
const READY_WITHIN: Duration = Duration::from_mins(10);

/// Why a test cannot go on with Keystone.
#[derive(Debug, thiserror::Error)]
pub enum KeystoneError {
    /// It did not start.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// A file of it cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It does not answer.
    #[error("Keystone does not answer: {0}")]
    Http(#[from] reqwest::Error),
    /// It answers something else than the test needs.
    #[error("{what}: {answer}")]
    Answer {
        /// What was asked.
        what: String,
        /// What came back.
        answer: String,
    },
}

/// How a Keystone is set up.
#[derive(Debug, Clone)]
pub struct KeystoneOptions {
    /// The endpoint of the catalog's `functions` entry.
    pub functions_url: String,
    /// The lifetime of its tokens, seconds.
    pub token_expiration: u32,
    /// Where it runs.
    pub place: Place,
    /// The broker (`amqp://…`) that it sends its notifications to, in CADF; none: it sends none.
    pub broker_url: Option<String>,
}

impl Default for KeystoneOptions {
    fn default() -> Self {
        Self {
            functions_url: "http://127.0.0.1:10001".to_owned(),
            token_expiration: 3600,
            place: Place::default(),
            broker_url: None,
        }
    }
}

/// A running Keystone; ends when dropped.
#[derive(Debug)]
pub struct Keystone {
    // Before the folder, so that it ends first.
    process: Mutex<Process>,
    dir: TestDir,
    url: String,
    passwords: Mutex<BTreeMap<String, String>>,
    admin_token: Mutex<Option<(String, Instant)>>,
    http: Client,
    options: KeystoneOptions,
}

/// Makes `ring` the TLS provider of this process, as the server does; tests that build HTTP
/// clients call it first.
pub fn install_tls_provider() {
    // An error only says that another test was first.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

impl Keystone {
    /// Why Keystone cannot run here, if it cannot; for [`crate::process::require`].
    pub fn missing() -> Option<String> {
        let found = ["/usr/bin/python3", "python3"]
            .iter()
            .any(|python| crate::process::run(python, ["-c", "import ensurepip, venv"]).is_ok());
        (!found).then(|| "no Python 3 with the venv module (apt-get install python3-venv)".to_owned())
    }

    /// A Keystone with default options.
    pub async fn start() -> Result<Self, KeystoneError> {
        Self::start_with(KeystoneOptions::default()).await
    }

    /// The Keystone that the tests of one binary share while any of them holds it. A test that
    /// uses it changes only users, roles and trusts that it made itself.
    pub async fn shared() -> Result<Arc<Self>, KeystoneError> {
        static SHARED: tokio::sync::Mutex<Weak<Keystone>> = tokio::sync::Mutex::const_new(Weak::new());
        let mut shared = SHARED.lock().await;
        if let Some(keystone) = shared.upgrade() {
            return Ok(keystone);
        }
        let keystone = Arc::new(Self::start().await?);
        *shared = Arc::downgrade(&keystone);
        Ok(keystone)
    }

    /// A Keystone with the given options.
    pub async fn start_with(options: KeystoneOptions) -> Result<Self, KeystoneError> {
        install_tls_provider();
        let dir = TestDir::new("keystone").map_err(|source| file_error(Path::new("TMPDIR"), source))?;
        // No idle connections: tests that share it have a runtime each.
        let http =
            Client::builder().pool_max_idle_per_host(0).tls_certs_only([]).timeout(READY_WITHIN).build()?;
        let cannot = |source| file_error(Path::new("a port"), source);
        let port =
            if options.place == Place::default() { 0 } else { options.place.port(5000).map_err(cannot)? };
        let (process, url) = launch(dir.path(), port, &options, &http).await?;
        let mut keystone = Self {
            process: Mutex::new(process),
            dir,
            url,
            passwords: Mutex::default(),
            admin_token: Mutex::default(),
            http,
            options,
        };
        let passwords = read_json(&keystone.data().join("credentials.json"))?;
        let passwords: BTreeMap<String, String> =
            serde_json::from_value(passwords).map_err(|error| keystone.answer("credentials.json", &error))?;
        for password in passwords.values() {
            note_secret(password);
        }
        keystone.passwords = Mutex::new(passwords);
        Ok(keystone)
    }

    /// `http://127.0.0.1:PORT`, or its address and port in its place.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The same with `/v3` behind it, as clients want it.
    pub fn auth_url(&self) -> String {
        format!("{}/v3", self.url)
    }

    /// The password of a user; empty where there is none of that name.
    pub fn password(&self, user: &str) -> String {
        lock(&self.passwords).get(user).cloned().unwrap_or_default()
    }

    /// The openrc file of `demo1-member`, `demo1-reader`, `demo1-admin` or `demo2-member`.
    pub fn openrc(&self, user: &str) -> PathBuf {
        self.data().join(format!("openrc-{user}"))
    }

    /// Ends it; connections are refused from then on.
    pub fn stop(&self) -> ExitStatus {
        lock(&self.process).stop()
    }

    /// Starts it again at the same address after [`Self::stop`].
    pub async fn restart(&self) -> Result<(), KeystoneError> {
        let port = self.url.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or_default();
        let (process, _) = launch(self.dir.path(), port, &self.options, &self.http).await?;
        *lock(&self.process) = process;
        Ok(())
    }

    /// Freezes it: connections are taken but nothing answers.
    pub fn pause(&self) {
        self.signal_group(Signal::STOP);
    }

    /// Thaws it.
    pub fn resume(&self) {
        self.signal_group(Signal::CONT);
    }

    fn signal_group(&self, signal: Signal) {
        let pid = i32::try_from(lock(&self.process).pid()).ok().and_then(Pid::from_raw);
        if let Some(group) = pid {
            let _ = kill_process_group(group, signal);
        }
    }

    fn data(&self) -> PathBuf {
        data(self.dir.path())
    }

    fn answer(&self, what: &str, answer: &(impl ToString + ?Sized)) -> KeystoneError {
        KeystoneError::Answer { what: format!("{what} ({})", self.url), answer: answer.to_string() }
    }

    /// One request; an error where the answer is no success.
    async fn request(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Option<&Value>,
    ) -> Result<Response, KeystoneError> {
        let what = format!("{method} {path}");
        let mut request = self.http.request(method, format!("{}{path}", self.url));
        if let Some(token) = token {
            request = request.header("x-auth-token", token);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status();
        Err(self.answer(&what, &format!("{status}: {}", answer.text().await?)))
    }
}

/// The checkout's root.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The Python environment of Keystone, made where it is missing.
pub(crate) fn venv() -> Result<PathBuf, String> {
    let made = crate::process::run("bash", [root().join("scripts/openstack-venv")])?;
    Ok(PathBuf::from(made.trim()))
}

/// The same with the other services in it, which take as long to install again.
pub(crate) fn services_venv() -> Result<PathBuf, String> {
    let script = root().join("scripts/openstack-venv");
    let made = crate::process::run("bash", [script.as_path(), Path::new("--services")])?;
    Ok(PathBuf::from(made.trim()))
}

/// The Python of that environment, which knows OpenStack's libraries and clients: for tests that hold
/// ours against them.
pub fn python() -> Result<PathBuf, String> {
    Ok(services_venv()?.join("bin/python"))
}

fn data(dir: &Path) -> PathBuf {
    dir.join("data")
}

fn keystonectl() -> PathBuf {
    root().join("scripts/keystone/keystonectl")
}

/// Starts Keystone on `port` (0: any) and waits until it answers; with its URL.
async fn launch(
    dir: &Path,
    port: u16,
    options: &KeystoneOptions,
    http: &Client,
) -> Result<(Process, String), KeystoneError> {
    let mut command = options.place.command(keystonectl());
    if let Some(url) = &options.broker_url {
        let (_, address) = url.split_once("://").unwrap_or(("", url));
        command.env("KEYSTONE_TRANSPORT_URL", format!("rabbit://{address}/"));
    }
    command
        .arg("serve")
        .arg(data(dir))
        .arg("--saved")
        .arg(root().join("target/testkit/keystone"))
        .args(["--host", &options.place.address().to_string(), "--port", &port.to_string()])
        .args(["--functions-url", &options.functions_url])
        .args(["--token-expiration", &options.token_expiration.to_string()]);
    let mut process = Process::spawn("keystone", dir, command)?;
    let state = data(dir).join("state.json");
    let url = || read_json(&state).map(|state| state["url"].as_str().unwrap_or_default().to_owned());
    let answers = async || match url() {
        Ok(url) => {
            http.get(format!("{url}/v3")).send().await.is_ok_and(|answer| answer.status().is_success())
        }
        Err(_) => false,
    };
    process.ready(READY_WITHIN, "an answer", answers).await?;
    Ok((process, url()?))
}

fn read_json(path: &Path) -> Result<Value, KeystoneError> {
    let text = std::fs::read(path).map_err(|source| file_error(path, source))?;
    serde_json::from_slice(&text).map_err(|error| file_error(path, error.into()))
}

fn file_error(path: &Path, source: std::io::Error) -> KeystoneError {
    KeystoneError::File { path: path.display().to_string(), source }
}

/// A test that panicked while it held the lock does not spoil it for the others.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
