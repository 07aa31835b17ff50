//! A PostgreSQL server of the tests' own: initialised in a folder of its own, on a free port of
//! 127.0.0.1, with what makes it durable left on.

use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::evidence::note_secret;
use crate::process::{Process, ProcessError, TestDir, free_port};
use crate::tls::Certificates;

/// Its one user, who may do everything.
const USER: &str = "picasso";
/// That user's password: not one that could be in a log by chance.
const PASSWORD: &str = "sesame-of-postgres";

/// A running server; stopped on drop, its folder removed.
#[derive(Debug)]
pub struct PostgresServer {
    // Dropped in this order: the process, then its folder.
    process: Process,
    dir: TestDir,
    programs: PathBuf,
    account: Option<(u32, u32)>,
    port: u16,
    settings: Vec<String>,
}

impl PostgresServer {
    /// Why no server can be started here; `None` when it can.
    pub fn missing() -> Option<String> {
        programs().and_then(|_| account()).err()
    }

    /// Initialises and starts a server.
    pub async fn start() -> Result<Self, ProcessError> {
        Self::start_with(|_, _| Ok(Vec::new())).await
    }

    /// The same for clients with TLS, too.
    pub async fn start_with_tls(certificates: &Certificates) -> Result<Self, ProcessError> {
        Self::start_with(|dir, account| {
            // It takes no key that others can read.
            let key = dir.join("server.key");
            std::fs::copy(certificates.key(), &key)?;
            std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600))?;
            if let Some((user, group)) = account {
                chown(&key, Some(user), Some(group))?;
            }
            let certificate = certificates.certificate();
            Ok(vec![
                "ssl=on".to_owned(),
                format!("ssl_cert_file={}", certificate.display()),
                format!("ssl_key_file={}", key.display()),
            ])
        })
        .await
    }

    async fn start_with(
        settings: impl FnOnce(&Path, Option<(u32, u32)>) -> std::io::Result<Vec<String>>,
    ) -> Result<Self, ProcessError> {
        let failed = |reason: String| start_failed(std::io::Error::other(reason));
        let programs = programs().map_err(failed)?;
        let account = account().map_err(failed)?;
        note_secret(PASSWORD);
        let dir = TestDir::new("postgres").map_err(start_failed)?;
        let password = dir.path().join("password");
        std::fs::write(&password, PASSWORD).map_err(start_failed)?;
        if let Some((user, group)) = account {
            for path in [dir.path(), &password] {
                chown(path, Some(user), Some(group)).map_err(start_failed)?;
            }
        }
        let mut initdb = Command::new(programs.join("initdb"));
        initdb
            .args(["--username", USER, "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C"])
            .arg("--pwfile")
            .arg(&password)
            .arg("--pgdata")
            .arg(dir.path().join("data"));
        finish(as_account(initdb, account, dir.path())).map_err(failed)?;
        let port = free_port().map_err(start_failed)?;
        let settings = settings(dir.path(), account).map_err(start_failed)?;
        let process = spawn(&programs, account, dir.path(), port, &settings).await?;
        Ok(Self { process, dir, programs, account, port, settings })
    }

    /// The URL of one of its databases, with user and password.
    pub fn url(&self, database: &str) -> String {
        self.url_with_password(database, PASSWORD)
    }

    /// The same with another password.
    pub fn url_with_password(&self, database: &str, password: &str) -> String {
        format!("postgres://{USER}:{password}@127.0.0.1:{}/{database}", self.port)
    }

    /// Makes an empty database; its URL.
    pub fn create_database(&self, name: &str) -> Result<String, ProcessError> {
        let mut createdb = Command::new(self.programs.join("createdb"));
        createdb
            .args(["--host", "127.0.0.1", "--username", USER, "--port", &self.port.to_string(), name])
            .env("PGPASSWORD", PASSWORD);
        finish(createdb).map_err(|reason| start_failed(std::io::Error::other(reason)))?;
        Ok(self.url(name))
    }

    /// Ends it as a power cut would: SIGKILL, nothing written out.
    pub async fn kill(&mut self) -> Result<(), ProcessError> {
        self.process.signal(Signal::KILL);
        self.process.wait(Duration::from_secs(10)).await.map(drop)
    }

    /// Starts it again on what it left, at the same port.
    pub async fn start_again(&mut self) -> Result<(), ProcessError> {
        // The children of a killed server notice its death and end a moment later; until then
        // its memory is in use and a new one refuses.
        let began = Instant::now();
        loop {
            match spawn(&self.programs, self.account, self.dir.path(), self.port, &self.settings).await {
                Ok(process) => {
                    self.process = process;
                    return Ok(());
                }
                Err(ProcessError::EndedEarly { .. }) if began.elapsed() < Duration::from_secs(30) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

async fn spawn(
    programs: &Path,
    account: Option<(u32, u32)>,
    dir: &Path,
    port: u16,
    settings: &[String],
) -> Result<Process, ProcessError> {
    let mut command = Command::new(programs.join("postgres"));
    command.arg("-D").arg(dir.join("data")).args(["-p", &port.to_string(), "-k"]).arg(dir);
    command.args(["-c", "listen_addresses=127.0.0.1", "-c", "fsync=on", "-c", "max_connections=200"]);
    command.args(settings.iter().flat_map(|setting| ["-c", setting]));
    let mut process = Process::spawn("postgres", dir, as_account(command, account, dir))?
        .stop_with(Signal::INT, Duration::from_secs(20));
    let ready = || {
        let mut asked = Command::new(programs.join("pg_isready"));
        asked.args(["--quiet", "--host", "127.0.0.1", "--port", &port.to_string()]);
        async move { asked.status().is_ok_and(|status| status.success()) }
    };
    process.ready(Duration::from_mins(1), "an answer to pg_isready", ready).await?;
    Ok(process)
}

/// The server refuses to run as root.
fn as_account(mut command: Command, account: Option<(u32, u32)>, dir: &Path) -> Command {
    if let Some((user, group)) = account {
        command.uid(user).gid(group);
    }
    command.current_dir(dir).env("TZ", "UTC");
    command
}

fn finish(mut command: Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("cannot run {command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let program = command.get_program().to_string_lossy().into_owned();
    Err(format!("{program}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim()))
}

fn start_failed(source: std::io::Error) -> ProcessError {
    ProcessError::Start { program: "postgres".to_owned(), source }
}

/// Debian has a folder of programs for each version and none of them in the path.
fn programs() -> Result<PathBuf, String> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
    found.retain(|bin| bin.join("postgres").exists() && bin.join("initdb").exists());
    found.sort();
    found.pop().ok_or_else(|| "apt-get install postgresql".to_owned())
}

/// Whom root runs it as; `None` where the tests run without root.
fn account() -> Result<Option<(u32, u32)>, String> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    crate::process::account("postgres").map(Some)
}
