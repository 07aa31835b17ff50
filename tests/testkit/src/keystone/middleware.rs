//! The real keystonemiddleware: its `auth_token` before an application that answers what reached it,
//! under gunicorn (`scripts/keystone/echo_identity.py`).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Map, Value};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{KeystoneError, root, venv};
use crate::process::{Process, ProcessError, TestDir, free_port};

/// How long a start may take.
const READY_WITHIN: Duration = Duration::from_mins(2);

/// A running application behind `auth_token`; ends when dropped.
#[derive(Debug)]
pub struct Middleware {
    // Before the folder, so that it ends first.
    _process: Process,
    _dir: TestDir,
    port: u16,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    /// The status of the answer.
    pub status: u16,
    /// The identity headers that reached the application, as WSGI names them (`HTTP_X_USER_ID`);
    /// those without a value are left out. Empty where the request did not reach it.
    pub headers: BTreeMap<String, String>,
}

impl Middleware {
    /// Starts it with named sets of options of `[keystone_authtoken]`.
    pub async fn start(settings: &Map<String, Value>) -> Result<Self, KeystoneError> {
        let start = |source| ProcessError::Start { program: "gunicorn".to_owned(), source };
        let dir = TestDir::new("middleware").map_err(start)?;
        let port = free_port().map_err(start)?;
        let file = dir.path().join("settings.json");
        // It holds the password of the service's user.
        let mut private =
            File::options().write(true).create_new(true).mode(0o600).open(&file).map_err(start)?;
        private.write_all(Value::Object(settings.clone()).to_string().as_bytes()).map_err(start)?;
        let venv = venv().map_err(|error| start(std::io::Error::other(error)))?;
        let mut command = Command::new(venv.join("bin/python"));
        command
            .args(["-m", "gunicorn", "--workers", "1", "--threads", "4"])
            .args(["--bind", &format!("127.0.0.1:{port}")])
            .arg("--chdir")
            .arg(root().join("scripts/keystone"))
            .arg("echo_identity:application")
            .env("AUTH_TOKEN_SETTINGS", &file)
            .env("PYTHONDONTWRITEBYTECODE", "1");
        let process = Process::spawn("middleware", dir.path(), command)?;
        let mut process = process.stop_with(Signal::TERM, Duration::from_secs(5));
        let answers = async || TcpStream::connect(("127.0.0.1", port)).await.is_ok();
        process.ready(READY_WITHIN, "a listener", answers).await?;
        Ok(Self { _process: process, _dir: dir, port })
    }

    /// Sends a request with exactly these headers to the application with the settings of that name.
    pub async fn send(
        &self,
        settings: &str,
        (method, target): (&str, &str),
        headers: &[(&str, &str)],
    ) -> Result<Reached, KeystoneError> {
        let answer = self.exchange(settings, method, target, headers);
        let answer = answer.await.map_err(|error| wrong(method, target, &error))?;
        let text = String::from_utf8_lossy(&answer);
        let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| wrong(method, target, &text))?;
        if status != 200 {
            return Ok(Reached { status, headers: BTreeMap::new() });
        }
        let echo = text.lines().find_map(|line| line.strip_prefix("Echo: ")).unwrap_or_default();
        let all: BTreeMap<String, Option<String>> =
            serde_json::from_str(echo).map_err(|error| wrong(method, target, &error))?;
        let headers = all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        Ok(Reached { status, headers })
    }

    async fn exchange(
        &self,
        settings: &str,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
    ) -> std::io::Result<Vec<u8>> {
        let mut request = format!(
            "{method} {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nEcho-Settings: {settings}\r\n"
        );
        for (name, value) in headers {
            request.extend([*name, ": ", *value, "\r\n"]);
        }
        request.push_str("\r\n");
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok(answer)
    }
}

fn wrong(method: &str, target: &str, answer: &dyn std::fmt::Display) -> KeystoneError {
    KeystoneError::Answer { what: format!("{method} {target} (auth_token)"), answer: answer.to_string() }
}
