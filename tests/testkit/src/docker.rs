//! A Docker Engine of the tests' own: `dockerd` with its own socket and folders.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::mount::{UnmountFlags, unmount};
use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::process::{Process, ProcessError, TestDir, run};

const DOCKERD: &str = "/usr/sbin/dockerd";

/// Which network namespace an Engine runs in.
#[derive(Debug, Clone, Copy)]
enum Network {
    Own,
    Callers,
}

/// A running `dockerd`; stopped, and everything of it removed, on drop.
#[derive(Debug)]
pub struct DockerEngine {
    // Dropped in this order: the process, what it left mounted, the folder.
    process: Process,
    mounts: Mounts,
    dir: TestDir,
}

impl DockerEngine {
    /// Why no Engine can be started here; `None` when it can.
    pub fn missing() -> Option<String> {
        if !rustix::process::geteuid().is_root() {
            return Some("dockerd needs root".to_owned());
        }
        run(DOCKERD, ["--version"]).err()
    }

    /// Starts an Engine in a network namespace of its own and waits until it answers.
    ///
    /// The machine's firewall and forwarding stay as they are, and several can run beside each
    /// other. It has no default bridge and no way out.
    pub async fn start() -> Result<Self, ProcessError> {
        Self::start_with(Network::Own, "none").await
    }

    /// The same with the default bridge `docker0` that people have. For comparisons with
    /// `docker run`.
    pub async fn start_with_default_bridge() -> Result<Self, ProcessError> {
        Self::start_with(Network::Own, "").await
    }

    /// Starts an Engine in the network namespace of the caller, whose firewall it changes and
    /// leaves changed: for tests that are in one of their own.
    pub async fn start_in_callers_network() -> Result<Self, ProcessError> {
        Self::start_with(Network::Callers, "none").await
    }

    async fn start_with(network: Network, bridge: &str) -> Result<Self, ProcessError> {
        let start = |source| ProcessError::Start { program: "dockerd".to_owned(), source };
        let dir = TestDir::new("docker").map_err(start)?;
        let root = dir.path().to_owned();
        let mut command = match network {
            Network::Callers => Command::new(DOCKERD),
            Network::Own => {
                // Becomes dockerd, under the same process id.
                let mut command = Command::new("unshare");
                command.args(["--net", "--", DOCKERD]);
                command
            }
        };
        command
            .arg("--data-root")
            .arg(root.join("data"))
            .arg("--exec-root")
            .arg(root.join("exec"))
            .arg("--pidfile")
            .arg(root.join("pid"))
            .arg("--host")
            .arg(format!("unix://{}", root.join("docker.sock").display()))
            .args(["--bridge", bridge, "--config-file"])
            .arg(root.join("daemon.json"));
        let config = root.join("daemon.json");
        std::fs::write(config, "{}").map_err(start)?;
        let process =
            Process::spawn("dockerd", &root, command)?.stop_with(Signal::TERM, Duration::from_secs(20));
        let mut engine = Self { process, mounts: Mounts(root.clone()), dir };
        let socket = engine.socket();
        let answers = || {
            let socket = socket.clone();
            async move { ping(&socket).await.unwrap_or(false) }
        };
        engine.process.ready(Duration::from_mins(1), "an answer to /_ping", answers).await?;
        Ok(engine)
    }

    /// Its Unix socket.
    pub fn socket(&self) -> PathBuf {
        self.mounts.0.join("docker.sock")
    }

    /// Runs the `docker` client against it; its stdout.
    pub fn docker(&self, arguments: &[&str]) -> Result<String, String> {
        let host = format!("unix://{}", self.socket().display());
        run("docker", [&["--host", &host][..], arguments].concat())
    }

    /// What it logged.
    pub fn output(&self) -> String {
        self.process.output()
    }

    /// The folder everything of it is in.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
}

async fn ping(socket: &Path) -> std::io::Result<bool> {
    let mut stream = UnixStream::connect(socket).await?;
    stream.write_all(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n").await?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await?;
    Ok(answer.ends_with(b"200"))
}

/// Unmounts what is mounted below a folder.
#[derive(Debug)]
struct Mounts(PathBuf);

impl Drop for Mounts {
    fn drop(&mut self) {
        let table = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let points = table.lines().filter_map(|line| line.split(' ').nth(1)).map(Path::new);
        let mut points: Vec<&Path> = points.filter(|point| point.starts_with(&self.0)).collect();
        points.reverse();
        for point in points {
            let _ = unmount(point, UnmountFlags::DETACH);
        }
    }
}
