//! Child processes of tests, and waiting for what they do.
//!
//! A [`Process`] writes its output to a file in a folder the test names, is killed with its whole
//! process group when dropped, and leaves its log behind where the test failed. [`wait_until`] is
//! how a test waits: for a condition, with a deadline.

use std::ffi::OsStr;
use std::fs::File;
use std::future::Future;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tempfile::TempDir;

/// Why a service or process of a test is not there.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// It could not be started.
    #[error("cannot start {program}: {source}")]
    Start {
        /// What was to be started.
        program: String,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// A condition did not come true in time.
    #[error("waited {waited:?} in vain for: {what}")]
    Deadline {
        /// What was waited for.
        what: String,
        /// For how long.
        waited: Duration,
    },
    /// It ended before it was ready.
    #[error("{name} ended early ({status}); its last output:\n{tail}")]
    EndedEarly {
        /// Its name.
        name: String,
        /// How it ended.
        status: ExitStatus,
        /// The end of its log.
        tail: String,
    },
}

/// Calls `condition` until it is true; an error when `deadline` has passed first.
///
/// The pauses start at 2 ms and grow to 50 ms.
pub async fn wait_until<F, C>(
    deadline: Duration,
    what: impl Into<String>,
    mut condition: F,
) -> Result<(), ProcessError>
where
    F: FnMut() -> C,
    C: Future<Output = bool>,
{
    let started = Instant::now();
    let mut pause = Duration::from_millis(2);
    loop {
        if condition().await {
            return Ok(());
        }
        if started.elapsed() >= deadline {
            return Err(ProcessError::Deadline { what: what.into(), waited: started.elapsed() });
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// Ports that tests take: below those that the kernel gives to outgoing connections
/// (`net.ipv4.ip_local_port_range`), so that none of them takes one between here and its use.
const TEST_PORTS: std::ops::Range<u16> = 20_000..30_000;

/// A TCP port of 127.0.0.1 that nothing listens on, and that no other test gets while this
/// process lives: each is reserved by a lock in the system's temporary folder.
pub fn free_port() -> std::io::Result<u16> {
    let locks = std::env::temp_dir().join("picasso-test-ports");
    std::fs::create_dir_all(&locks)?;
    // Processes begin at different places, so that they rarely meet.
    let first = u16::try_from(std::process::id() % 10_000).unwrap_or(0);
    for step in 0..TEST_PORTS.end - TEST_PORTS.start {
        let port = TEST_PORTS.start + (first + step) % (TEST_PORTS.end - TEST_PORTS.start);
        let lock = File::options().create(true).append(true).open(locks.join(port.to_string()))?;
        if lock.try_lock().is_ok() && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            // Held until the process ends.
            std::mem::forget(lock);
            return Ok(port);
        }
    }
    Err(std::io::Error::other("every port for tests is taken"))
}

/// A folder of a test; removed at the end, kept (and named) where the test failed or
/// `PICASSO_TEST_KEEP` is set, and kept for the last test where evidence is collected.
#[derive(Debug)]
pub struct TestDir {
    dir: Option<TempDir>,
}

impl TestDir {
    /// Makes a folder below the system's temporary folder, or in that of the run's evidence.
    pub fn new(name: &str) -> std::io::Result<Self> {
        let prefix = format!("picasso-{name}-");
        let mut builder = tempfile::Builder::new();
        let builder = builder.prefix(&prefix);
        let dir = match crate::evidence::folder() {
            Some(folder) => builder.disable_cleanup(true).tempdir_in(folder)?,
            None => builder.tempdir()?,
        };
        Ok(Self { dir: Some(dir) })
    }

    /// Where it is.
    #[expect(clippy::missing_panics_doc, reason = "the folder is there until drop")]
    #[expect(clippy::expect_used, reason = "the folder is there until drop")]
    pub fn path(&self) -> &Path {
        self.dir.as_ref().expect("the folder is there until drop").path()
    }
}

impl Drop for TestDir {
    #[expect(clippy::print_stderr, reason = "people look for the logs of a failed test")]
    fn drop(&mut self) {
        let keep = std::thread::panicking() || std::env::var_os("PICASSO_TEST_KEEP").is_some();
        if let (true, Some(dir)) = (keep, self.dir.take()) {
            eprintln!("kept for a look: {}", dir.keep().display());
        }
    }
}

/// A child process in a process group of its own, its stdout and stderr in one log file.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    status: Option<ExitStatus>,
    stop: Signal,
    patience: Duration,
}

impl Process {
    /// Starts `command` with its output in `<dir>/<name>.log` and stdin closed.
    pub fn spawn(name: &str, dir: &Path, mut command: Command) -> Result<Self, ProcessError> {
        let program = command.get_program().to_string_lossy().into_owned();
        let start = |source| ProcessError::Start { program: program.clone(), source };
        let log = dir.join(format!("{name}.log"));
        let file = File::options().create(true).append(true).open(&log).map_err(start)?;
        let errors = file.try_clone().map_err(start)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(errors)
            .process_group(0)
            .spawn()
            .map_err(start)?;
        Ok(Self {
            name: name.to_owned(),
            child,
            log,
            status: None,
            stop: Signal::KILL,
            patience: Duration::from_secs(10),
        })
    }

    /// On drop, ask by this signal first and kill only after `patience`.
    #[must_use]
    pub fn stop_with(mut self, signal: Signal, patience: Duration) -> Self {
        self.stop = signal;
        self.patience = patience;
        self
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The file its output goes to.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// What it has written so far; empty where nothing can be read.
    pub fn output(&self) -> String {
        std::fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.child.try_wait().ok().flatten();
        }
        self.status
    }

    /// Sends the process (not its group) a signal; nothing where it has ended.
    pub fn signal(&mut self, signal: Signal) {
        if self.ended().is_none() {
            let _ = kill_process(Pid::from_child(&self.child), signal);
        }
    }

    /// Waits until `condition` holds, failing at once when the process ends before.
    pub async fn ready<F, C>(
        &mut self,
        deadline: Duration,
        what: &str,
        mut condition: F,
    ) -> Result<(), ProcessError>
    where
        F: FnMut() -> C,
        C: Future<Output = bool>,
    {
        let started = Instant::now();
        let mut pause = Duration::from_millis(2);
        loop {
            if condition().await {
                return Ok(());
            }
            if let Some(status) = self.ended() {
                return Err(ProcessError::EndedEarly {
                    name: self.name.clone(),
                    status,
                    tail: tail(&self.output()),
                });
            }
            if started.elapsed() >= deadline {
                let what = format!("{}: {what}; its last output:\n{}", self.name, tail(&self.output()));
                return Err(ProcessError::Deadline { what, waited: started.elapsed() });
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }

    /// Waits for its end.
    pub async fn wait(&mut self, deadline: Duration) -> Result<ExitStatus, ProcessError> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.ended() {
                return Ok(status);
            }
            if started.elapsed() >= deadline {
                let what = format!("the end of {}", self.name);
                return Err(ProcessError::Deadline { what, waited: started.elapsed() });
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Ends it: by its stop signal, then, or where that is SIGKILL, the whole group.
    pub fn stop(&mut self) -> ExitStatus {
        if self.stop != Signal::KILL && self.ended().is_none() {
            let _ = kill_process(Pid::from_child(&self.child), self.stop);
            let started = Instant::now();
            while self.ended().is_none() && started.elapsed() < self.patience {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        // What it started may outlive it. Its group's number is not given away while one of them
        // lives; where none does, the system takes the whole range before it comes round again.
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        if let Some(status) = self.ended() {
            return status;
        }
        let status = self.child.wait().unwrap_or_else(|_| ExitStatus::from_raw(9));
        self.status = Some(status);
        status
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Runs a short command to its end; its stdout, or what it complained about.
pub fn run<S: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = S>) -> Result<String, String> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot run {program}: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(format!("{program}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim()))
    }
}

/// User and group of an account of this machine; services that refuse to run as root run as theirs.
pub fn account(name: &str) -> Result<(u32, u32), String> {
    let table = std::fs::read_to_string("/etc/passwd").map_err(|error| format!("/etc/passwd: {error}"))?;
    table
        .lines()
        .filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .find_map(|rest| {
            let mut fields = rest.split(':').skip(1);
            Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
        })
        .ok_or_else(|| format!("there is no user {name}"))
}

/// What a test does when `service` is missing: with `PICASSO_TEST_REQUIRE=all` it fails, else it
/// prints a line and gets `false`, and should return.
///
/// # Panics
/// When a service is missing that the environment demands.
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
pub fn require(service: &str, reason: Option<&str>) -> bool {
    let Some(reason) = reason else { return true };
    assert!(
        std::env::var("PICASSO_TEST_REQUIRE").as_deref() != Ok("all"),
        "{service} is required (PICASSO_TEST_REQUIRE=all) but missing: {reason}"
    );
    eprintln!("skipped: needs {service}: {reason}");
    false
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}
