//! A container registry of the tests' own: Debian's `docker-registry` on a free port of 127.0.0.1.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder, StatusCode};

use crate::process::{Process, ProcessError, TestDir, free_port, run};

const PROGRAM: &str = "/usr/bin/docker-registry";

/// A running registry; stopped on drop, its folder removed.
#[derive(Debug)]
pub struct Registry {
    // Dropped in this order: the process, then its folder.
    process: Process,
    dir: TestDir,
    port: u16,
    login: Option<(String, String)>,
    http: Client,
}

/// Why a push did not work.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// The registry was not reached.
    #[error(transparent)]
    Http(#[from] reqwest::Error),
    /// It refused.
    #[error("the registry answered {0} to a push")]
    Refused(StatusCode),
}

impl Registry {
    /// Why no registry can be started here; `None` when it can.
    pub fn missing() -> Option<String> {
        run(PROGRAM, ["--version"]).err()
    }

    /// Starts a registry that everybody may use, over plain HTTP.
    pub async fn start() -> Result<Self, ProcessError> {
        Self::start_as(None).await
    }

    /// Starts a registry that wants this user name and password (HTTP Basic).
    pub async fn start_with_login(user: &str, password: &str) -> Result<Self, ProcessError> {
        Self::start_as(Some((user.to_owned(), password.to_owned()))).await
    }

    async fn start_as(login: Option<(String, String)>) -> Result<Self, ProcessError> {
        let start = |source| ProcessError::Start { program: PROGRAM.to_owned(), source };
        let mut attempts = 3;
        loop {
            attempts -= 1;
            let dir = TestDir::new("registry").map_err(start)?;
            let port = free_port().map_err(start)?;
            let config = write_config(&dir, port, login.as_ref()).map_err(start)?;
            let mut command = Command::new(PROGRAM);
            command.arg("serve").arg(config);
            let mut process = Process::spawn("registry", dir.path(), command)?;
            crate::keystone::install_tls_provider();
            // The tests' own services are on loopback; no proxy of the environment is for them.
            let http =
                Client::builder().no_proxy().build().map_err(|error| start(std::io::Error::other(error)))?;
            let url = format!("http://127.0.0.1:{port}/v2/");
            let ready = process
                .ready(Duration::from_secs(20), "an answer on /v2/", || {
                    let request = http.get(&url);
                    async move { request.send().await.is_ok() }
                })
                .await;
            match ready {
                Ok(()) => return Ok(Self { process, dir, port, login, http }),
                // Another process may have taken the port meanwhile.
                Err(ProcessError::EndedEarly { .. }) if attempts > 0 => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// `127.0.0.1:port`, as image references name it.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Where it keeps its content.
    pub fn folder(&self) -> PathBuf {
        self.dir.path().join("content")
    }

    /// What it has logged; requests come with their method, path and status.
    pub fn log(&self) -> String {
        self.process.output()
    }

    /// Pushes a blob into a repository (OCI distribution-spec 1.1, monolithic upload) whose
    /// digest is `digest` (`sha256:…`).
    pub async fn push_blob(&self, repository: &str, digest: &str, bytes: Vec<u8>) -> Result<(), PushError> {
        let begun = self.request(Method::POST, &format!("{repository}/blobs/uploads/")).send().await?;
        let location = begun.headers().get("location").and_then(|value| value.to_str().ok());
        let Some(location) = location else { return Err(PushError::Refused(begun.status())) };
        let mark = if location.contains('?') { '&' } else { '?' };
        let url = if location.starts_with('/') {
            format!("http://{}{location}{mark}digest={digest}", self.host())
        } else {
            format!("{location}{mark}digest={digest}")
        };
        let put = self.authorized(self.http.put(url)).header("content-type", "application/octet-stream");
        accepted(put.body(bytes).send().await?.status())
    }

    /// Pushes a manifest or index under a tag or digest.
    pub async fn push_manifest(
        &self,
        repository: &str,
        reference: &str,
        media_type: &str,
        bytes: Vec<u8>,
    ) -> Result<(), PushError> {
        let put = self.request(Method::PUT, &format!("{repository}/manifests/{reference}"));
        accepted(put.header("content-type", media_type).body(bytes).send().await?.status())
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.authorized(self.http.request(method, format!("http://{}/v2/{path}", self.host())))
    }

    fn authorized(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.login {
            Some((user, password)) => request.basic_auth(user, Some(password)),
            None => request,
        }
    }
}

fn accepted(status: StatusCode) -> Result<(), PushError> {
    if status == StatusCode::CREATED { Ok(()) } else { Err(PushError::Refused(status)) }
}

fn write_config(dir: &TestDir, port: u16, login: Option<&(String, String)>) -> std::io::Result<PathBuf> {
    let folder = dir.path().display();
    let mut auth = String::new();
    if let Some((user, password)) = login {
        let hash = bcrypt::hash(password, 4).map_err(std::io::Error::other)?;
        std::fs::write(dir.path().join("htpasswd"), format!("{user}:{hash}\n"))?;
        auth = format!("auth:\n  htpasswd:\n    realm: tests\n    path: {folder}/htpasswd\n");
    }
    let config = format!(
        "version: 0.1\nlog:\n  level: info\nstorage:\n  filesystem:\n    rootdirectory: {folder}/content\n\
         http:\n  addr: 127.0.0.1:{port}\n{auth}"
    );
    let path = dir.path().join("registry.yml");
    std::fs::write(&path, config)?;
    Ok(path)
}
