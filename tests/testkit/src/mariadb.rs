//! A MariaDB server of the tests' own: initialised in a folder of its own, on a free port of
//! 127.0.0.1, with what makes it durable switched on.

use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use crate::evidence::note_secret;
use crate::process::{Process, ProcessError, TestDir, free_port};

/// The user of the tests, who may do what the documentation says and no more: everything in the
/// databases that [`MariaDbServer::create_database`] made.
const USER: &str = "picasso";
/// That user's password: not one that could be in a log by chance.
const PASSWORD: &str = "sesame-of-mariadb";
/// Where Debian's package has it, which is in no user's path.
const PROGRAM: &str = "/usr/sbin/mariadbd";
/// Small, so that a server of its own is cheap for a test.
const SIZES: [&str; 2] = ["--innodb-log-file-size=16M", "--innodb-buffer-pool-size=64M"];

/// A running server; stopped on drop, its folder removed.
#[derive(Debug)]
pub struct MariaDbServer {
    // Dropped in this order: the process, then its folder.
    process: Process,
    dir: TestDir,
    account: Option<(u32, u32)>,
    port: u16,
    options: Vec<String>,
}

impl MariaDbServer {
    /// Why no server can be started here; `None` when it can.
    pub fn missing() -> Option<String> {
        if !Path::new(PROGRAM).exists() {
            return Some("apt-get install mariadb-server".to_owned());
        }
        account().err()
    }

    /// Initialises and starts a server.
    pub async fn start() -> Result<Self, ProcessError> {
        Self::start_with(&[]).await
    }

    /// The same with further options of `mariadbd`.
    pub async fn start_with(options: &[&str]) -> Result<Self, ProcessError> {
        let failed = |reason: String| start_failed(std::io::Error::other(reason));
        let account = account().map_err(failed)?;
        note_secret(PASSWORD);
        let dir = TestDir::new("mariadb").map_err(start_failed)?;
        let users = dir.path().join("users.sql");
        let sql = format!("CREATE USER IF NOT EXISTS {USER}@'%' IDENTIFIED BY '{PASSWORD}';\n");
        std::fs::write(&users, sql).map_err(start_failed)?;
        // A server that starts removes the temporary tables of others that share its folder.
        let temporary = dir.path().join("tmp");
        std::fs::create_dir(&temporary).map_err(start_failed)?;
        if let Some((user, group)) = account {
            for path in [dir.path(), &users, &temporary] {
                chown(path, Some(user), Some(group)).map_err(start_failed)?;
            }
        }
        let mut install = Command::new("mariadb-install-db");
        install
            .arg("--no-defaults")
            .arg(format!("--datadir={}", dir.path().join("data").display()))
            .arg(format!("--tmpdir={}", temporary.display()))
            .args(["--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"])
            .args(SIZES);
        finish(as_account(install, account, dir.path())).map_err(failed)?;
        let port = free_port().map_err(start_failed)?;
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        let process = spawn(account, dir.path(), port, &options).await?;
        Ok(Self { process, dir, account, port, options })
    }

    /// The URL of one of its databases, with user and password.
    pub fn url(&self, database: &str) -> String {
        self.url_with_password(database, PASSWORD)
    }

    /// The same with another password.
    pub fn url_with_password(&self, database: &str, password: &str) -> String {
        format!("mysql://{USER}:{password}@127.0.0.1:{}/{database}", self.port)
    }

    /// The same through the server's socket instead of its port.
    pub fn url_of_socket(&self, database: &str) -> String {
        format!(
            "mysql://{USER}:{PASSWORD}@localhost/{database}?socket={}",
            self.dir.path().join("socket").display()
        )
    }

    /// Makes an empty database; its URL.
    pub fn create_database(&self, name: &str) -> Result<String, ProcessError> {
        self.run(&format!(
            "CREATE DATABASE {name} CHARACTER SET utf8mb4; \
             GRANT ALL PRIVILEGES ON {name}.* TO {USER}@'%'"
        ))?;
        Ok(self.url(name))
    }

    /// Runs SQL as the server's administrator.
    pub fn run(&self, sql: &str) -> Result<(), ProcessError> {
        let mut client = client("mariadb", self.dir.path());
        client.args(["--batch", "--execute", sql]);
        finish(client).map_err(|reason| start_failed(std::io::Error::other(reason)))
    }

    /// Ends it as a power cut would: SIGKILL, nothing written out.
    pub async fn kill(&mut self) -> Result<(), ProcessError> {
        self.process.signal(Signal::KILL);
        self.process.wait(Duration::from_secs(10)).await.map(drop)
    }

    /// Starts it again on what it left, at the same port.
    pub async fn start_again(&mut self) -> Result<(), ProcessError> {
        self.process = spawn(self.account, self.dir.path(), self.port, &self.options).await?;
        Ok(())
    }
}

async fn spawn(
    account: Option<(u32, u32)>,
    dir: &Path,
    port: u16,
    options: &[String],
) -> Result<Process, ProcessError> {
    let mut command = Command::new(PROGRAM);
    command
        .arg("--no-defaults")
        .arg(format!("--datadir={}", dir.join("data").display()))
        .arg(format!("--tmpdir={}", dir.join("tmp").display()))
        .arg(format!("--socket={}", dir.join("socket").display()))
        .arg(format!("--pid-file={}", dir.join("pid").display()))
        .arg(format!("--init-file={}", dir.join("users.sql").display()))
        .args([&format!("--port={port}"), "--bind-address=127.0.0.1", "--skip-name-resolve"])
        .args(["--innodb-flush-log-at-trx-commit=1", "--sync-binlog=1", "--max-connections=200"])
        .args(SIZES)
        .args(options);
    let mut process = Process::spawn("mariadb", dir, as_account(command, account, dir))?
        .stop_with(Signal::TERM, Duration::from_secs(20));
    let ready = || {
        let mut asked = client("mariadb-admin", dir);
        asked.args(["--silent", "ping"]);
        async move { asked.output().is_ok_and(|output| output.status.success()) }
    };
    process.ready(Duration::from_mins(1), "an answer to a ping", ready).await?;
    Ok(process)
}

/// A client of the server's administrator.
fn client(program: &str, dir: &Path) -> Command {
    let mut client = Command::new(program);
    client.args(["--no-defaults", "--user=root"]).arg(format!("--socket={}", dir.join("socket").display()));
    client
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
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("cannot run {program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let told = if output.stderr.is_empty() { &output.stdout } else { &output.stderr };
    Err(format!("{program}: {}: {}", output.status, String::from_utf8_lossy(told).trim()))
}

fn start_failed(source: std::io::Error) -> ProcessError {
    ProcessError::Start { program: "mariadbd".to_owned(), source }
}

/// Whom root runs it as; `None` where the tests run without root.
fn account() -> Result<Option<(u32, u32)>, String> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    crate::process::account("mysql").map(Some)
}
