//! The real `picasso serve`, on free ports, in a temporary folder, with all of its processes.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::evidence::note_secret;
use crate::keystone::Keystone;
use crate::process::{Process, ProcessError, TestDir, free_port, run, wait_until};

/// How long a start may take, migrations and helper processes included.
const START: Duration = Duration::from_mins(1);

/// How a server is set up.
#[derive(Debug, Clone, Default)]
pub struct PicassoOptions {
    /// More TOML, put behind what the testkit writes (sections the testkit does not use).
    pub more_config: String,
    /// The address that the API and the functions listener have; default: loopback.
    pub address: Option<Ipv4Addr>,
    /// Whether the API listens on every address of this machine and not on loopback alone.
    pub all_addresses: bool,
    /// Puts the server's data on a disk of its own of so many MiB (a tmpfs), for tests that fill it.
    pub disk_mb: Option<u32>,
    /// Keystone's cache time in seconds, as the configuration takes it (`0` and `-1`: none).
    pub cache_seconds: Option<i64>,
    /// The memcached that it shares what Keystone says of tokens through.
    pub memcached: Option<String>,
    /// The network namespace it runs in; default: that of the test.
    pub namespace: Option<Namespace>,
    /// A program that becomes the server, with its own arguments: one that passes it sockets.
    pub parent: Vec<String>,
}

/// Which of the listeners is the one for metrics and health.
const ADMIN: usize = 2;

/// What servers of the tests seal their shared token cache with.
const SHARED_CACHE_KEY: &str = "the-shared-cache-key-of-the-tests-0123456789";

/// A network namespace for a server, which others have made (`ip netns add`) and which this test
/// can reach.
#[derive(Debug, Clone)]
pub struct Namespace {
    /// Its name.
    pub name: String,
    /// Its address: where the server listens.
    pub address: Ipv4Addr,
    /// Where Keystone is as seen from inside, with its version.
    pub auth_url: String,
}

/// A running server; stopped by SIGTERM when dropped.
#[derive(Debug)]
pub struct Picasso {
    // Dropped in this order: the processes, the disk that they used, its folder.
    process: Process,
    _disk: Option<Disk>,
    dir: TestDir,
    ports: [u16; 3],
    address: Option<Ipv4Addr>,
    namespace: Option<Namespace>,
    parent: Vec<String>,
}

impl Picasso {
    /// The binary under test: `PICASSO_BINARY`, or `picasso` beside the folder of the test program.
    pub fn binary() -> PathBuf {
        if let Some(path) = std::env::var_os("PICASSO_BINARY") {
            return PathBuf::from(path);
        }
        let test = std::env::current_exe().unwrap_or_default();
        let folders = test.ancestors().skip(1).take(2);
        let beside = folders.map(|folder| folder.join("picasso")).find(|path| path.is_file());
        beside.unwrap_or_else(|| PathBuf::from("picasso"))
    }

    /// Why no server can be started here; `None` when it can.
    pub fn missing() -> Option<String> {
        if !rustix::process::geteuid().is_root() {
            return Some("native sandboxes need root".to_owned());
        }
        if let Err(error) = run("id", ["-u", "picasso"]) {
            return Some(format!("{error}; make it: useradd --system --no-create-home picasso"));
        }
        run(&Self::binary().display().to_string(), ["--version"])
            .err()
            .map(|error| format!("{error}; build it: cargo build -p picasso"))
    }

    /// Starts a server with default options.
    pub async fn start(keystone: &Keystone) -> Result<Self, ProcessError> {
        Self::start_with(keystone, PicassoOptions::default()).await
    }

    /// Starts a server and waits until it is healthy.
    pub async fn start_with(keystone: &Keystone, options: PicassoOptions) -> Result<Self, ProcessError> {
        let io = |source| ProcessError::Start { program: "picasso".to_owned(), source };
        let dir = TestDir::new("server").map_err(io)?;
        let root = dir.path();
        // The unprivileged engine has to reach its data below this folder.
        run("chmod", ["711", &root.display().to_string()]).map_err(|e| io(std::io::Error::other(e)))?;
        for folder in ["etc", "data", "failpoint"] {
            std::fs::create_dir(root.join(folder)).map_err(io)?;
        }
        // The unprivileged engine removes the file that makes it end.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        std::fs::set_permissions(root.join("failpoint"), open).map_err(io)?;
        let disk = options.disk_mb.map(|mb| Disk::mount(&root.join("data"), mb)).transpose().map_err(io)?;
        std::fs::write(root.join("etc/service-password"), keystone.password("picasso")).map_err(io)?;
        if options.memcached.is_some() {
            note_secret(SHARED_CACHE_KEY);
            std::fs::write(root.join("etc/memcached.key"), SHARED_CACHE_KEY).map_err(io)?;
        }
        let ports = [free_port().map_err(io)?, free_port().map_err(io)?, free_port().map_err(io)?];
        let text = config(root, &keystone.auth_url(), ports, &options);
        std::fs::write(root.join("etc/picasso.toml"), text).map_err(io)?;
        let namespace = options.namespace;
        let parent = options.parent;
        let process = spawn(root, namespace.as_ref(), &parent)?;
        let address = options.address;
        let mut picasso = Self { process, _disk: disk, dir, ports, address, namespace, parent };
        picasso.healthy().await?;
        Ok(picasso)
    }

    /// Starts it again with the same data, after it has ended.
    pub async fn start_again(&mut self) -> Result<(), ProcessError> {
        self.process.wait(START).await?;
        self.process = spawn(self.dir.path(), self.namespace.as_ref(), &self.parent)?;
        self.healthy().await
    }

    async fn healthy(&mut self) -> Result<(), ProcessError> {
        let url = format!("{}/healthcheck", self.admin_url());
        let client = reqwest::Client::new();
        let answers = || {
            let request = client.get(&url).timeout(Duration::from_secs(2)).send();
            async move { request.await.is_ok_and(|answer| answer.status().is_success()) }
        };
        self.process.ready(START, "an answer to /healthcheck", answers).await
    }

    fn url(&self, listener: usize) -> String {
        let own = self.namespace.as_ref().map_or(Ipv4Addr::LOCALHOST, |namespace| namespace.address);
        // What it measures is for this machine only.
        let host = self.address.filter(|_| listener != ADMIN).unwrap_or(own);
        format!("http://{host}:{}", self.ports[listener])
    }

    /// The OpenStack face, without a slash at the end.
    pub fn api_url(&self) -> String {
        self.url(0)
    }

    /// The functions listener, without a slash at the end.
    pub fn functions_url(&self) -> String {
        self.url(1)
    }

    /// The port of the OpenStack face.
    pub fn api_port(&self) -> u16 {
        self.ports[0]
    }

    /// Metrics and health.
    pub fn admin_url(&self) -> String {
        self.url(ADMIN)
    }

    /// The server's data folder.
    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// The configuration file.
    pub fn config_file(&self) -> PathBuf {
        self.dir.path().join("etc/picasso.toml")
    }

    /// What names this server's cgroups and interfaces; empty where it has not said so yet.
    pub fn instance(&self) -> String {
        let path = self.data_dir().join("instance");
        std::fs::read_to_string(path).unwrap_or_default().trim().to_owned()
    }

    /// Everything it logged, over all its starts.
    pub fn log(&self) -> String {
        self.process.output()
    }

    /// Loads an archive as a shared image, as an operator does.
    pub async fn load_image(&self, archive: &Path, name: &str) -> Result<String, ProcessError> {
        let config = self.config_file().display().to_string();
        let archive = archive.display().to_string();
        let binary = Self::binary().display().to_string();
        let name = name.to_owned();
        let load = move || run(&binary, ["image", "load", &archive, "--name", &name, "--config", &config]);
        tokio::task::spawn_blocking(load)
            .await
            .map_err(|error| error.to_string())
            .and_then(|outcome| outcome)
            .map_err(|error| ProcessError::Start {
                program: "picasso image load".to_owned(),
                source: std::io::Error::other(error),
            })
    }

    /// The process that was started: the supervisor.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The engine.
    pub fn engine_pid(&self) -> Option<u32> {
        self.child_with("internal-engine")
    }

    /// The spawner of native sandboxes.
    pub fn spawner_pid(&self) -> Option<u32> {
        self.child_with("internal-spawner")
    }

    /// Kills the engine with SIGKILL.
    pub fn kill_engine(&self) {
        kill(self.engine_pid());
    }

    /// Kills the spawner with SIGKILL.
    pub fn kill_spawner(&self) {
        kill(self.spawner_pid());
    }

    /// The engine ends with SIGKILL when it comes to this place (of `picasso_engine::failpoints`).
    pub fn arm(&self, place: &str) -> std::io::Result<()> {
        let (file, next) = (armed(self.dir.path()), self.dir.path().join("failpoint/next"));
        // At once or not at all: it is read all the time.
        std::fs::write(&next, place)?;
        std::fs::rename(next, file)
    }

    /// Whether the place that was armed has not been come to.
    pub fn is_armed(&self) -> bool {
        armed(self.dir.path()).exists()
    }

    /// Sends the supervisor a signal.
    pub fn signal(&mut self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Waits for the end of the supervisor; its exit code, `None` where a signal ended it.
    pub async fn wait(&mut self, deadline: Duration) -> Result<Option<i32>, ProcessError> {
        Ok(self.process.wait(deadline).await?.code())
    }

    /// Waits until the log holds `text`.
    pub async fn logged(&self, text: &str, deadline: Duration) -> Result<(), ProcessError> {
        wait_until(deadline, format!("a log line with {text:?}"), || async { self.log().contains(text) })
            .await
    }

    fn child_with(&self, command: &str) -> Option<u32> {
        let parent = format!("PPid:\t{}\n", self.pid());
        let entries = std::fs::read_dir("/proc").ok()?;
        let pids = entries.flatten().filter_map(|e| e.file_name().to_string_lossy().parse::<u32>().ok());
        pids.into_iter().find(|pid| {
            let read =
                |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
            read("status").contains(&parent) && read("cmdline").contains(command)
        })
    }
}

/// Most complaints that a failed test shows of its server's log.
const MAX_COMPLAINTS: usize = 20;

impl Drop for Picasso {
    /// Where the test failed, shows what the server complained about last: its folder stays, but on a
    /// machine that nobody can look at.
    #[expect(clippy::print_stderr, reason = "people look for the cause of a failed test")]
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let log = self.log();
        let complaints: Vec<&str> =
            log.lines().filter(|line| line.contains("ERROR") || line.contains("WARN")).collect();
        let last = complaints.len().saturating_sub(MAX_COMPLAINTS);
        eprintln!("the last warnings and errors of the server ({}):", self.dir.path().display());
        for line in &complaints[last..] {
            eprintln!("  {line}");
        }
    }
}

/// A tmpfs; unmounted when dropped.
#[derive(Debug)]
struct Disk(PathBuf);

impl Disk {
    fn mount(folder: &Path, mb: u32) -> std::io::Result<Self> {
        let size = format!("size={mb}m");
        let words = ["-t", "tmpfs", "-o", &size, "picasso-test", &folder.display().to_string()];
        run("mount", words).map_err(std::io::Error::other)?;
        Ok(Self(folder.to_owned()))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a sandbox that is still ending may have it in use.
        let _ = run("umount", ["--lazy", &self.0.display().to_string()]);
    }
}

fn kill(pid: Option<u32>) {
    let pid = pid.and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    if let Some(pid) = pid {
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// The file that says at which place the engine ends.
fn armed(root: &Path) -> PathBuf {
    root.join("failpoint/armed")
}

fn spawn(root: &Path, namespace: Option<&Namespace>, parent: &[String]) -> Result<Process, ProcessError> {
    let mut command = match namespace {
        None => match parent {
            [] => Command::new(Picasso::binary()),
            [program, arguments @ ..] => {
                let mut command = Command::new(program);
                command.args(arguments).arg(Picasso::binary());
                command
            }
        },
        Some(namespace) => {
            // `ip netns exec` would hide the cgroups behind a new /sys.
            let mut command = Command::new("nsenter");
            command.arg(format!("--net=/run/netns/{}", namespace.name)).arg("--").arg(Picasso::binary());
            command
        }
    };
    command.arg("serve").arg("--config").arg(root.join("etc/picasso.toml"));
    // Settings of the test's own environment must not reach the server under test.
    for (name, _) in std::env::vars() {
        if name.starts_with("PICASSO_") {
            command.env_remove(name);
        }
    }
    command.env("FAILPOINT_FILE", armed(root));
    Ok(Process::spawn("picasso", root, command)?.stop_with(Signal::TERM, Duration::from_secs(20)))
}

fn config(root: &Path, auth_url: &str, ports: [u16; 3], options: &PicassoOptions) -> String {
    let [api, functions, admin] = ports;
    let root = root.display();
    let own = options.namespace.as_ref().map_or(Ipv4Addr::LOCALHOST, |namespace| namespace.address);
    let at = options.address.unwrap_or(own);
    let host = if options.all_addresses { Ipv4Addr::UNSPECIFIED } else { at };
    let auth_url = options.namespace.as_ref().map_or(auth_url, |namespace| &namespace.auth_url);
    let mut cache = options.cache_seconds.map(|s| format!("cache_s = {s}\n")).unwrap_or_default();
    if let Some(address) = &options.memcached {
        let shared = format!(
            "memcached_servers = [\"{address}\"]\nmemcached_key_file = \"{root}/etc/memcached.key\"\n\
             memcached_timeout_ms = 5000\n"
        );
        cache.push_str(&shared);
    }
    format!(
        "[server]\ndata_dir = \"{root}/data\"\n\n\
         [listeners.api]\nhost = \"{host}\"\nport = {api}\n\n\
         [listeners.functions]\nhost = \"{at}\"\nport = {functions}\n\n\
         [listeners.admin]\nhost = \"{own}\"\nport = {admin}\n\n\
         [keystone]\nauth_url = \"{auth_url}\"\nusername = \"picasso\"\n\
         password_file = \"{root}/etc/service-password\"\n{cache}\n{}",
        options.more_config
    )
}
