//! A real Swift from PyPI in one process, with its S3 face: `scripts/swift/serve_swift.py`, and with our
//! filter of `clients/swift-middleware` where a test asks for it.

use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use crate::keystone::Keystone;
use crate::process::{Process, ProcessError, TestDir, free_port, run};

/// How long a start may take.
const START: Duration = Duration::from_mins(1);

/// The key of the S3 face; its account is there already.
pub const S3_KEY: (&str, &str) = ("test:tester", "testing");

/// A running Swift; killed when dropped.
#[derive(Debug)]
pub struct Swift {
    // Dropped in this order.
    process: Process,
    keystone: [String; 2],
    dir: TestDir,
    filter: Option<Filter>,
    port: u16,
}

/// Our filter in the pipeline.
#[derive(Debug)]
struct Filter {
    /// Its section, in the folder of this Swift.
    section: PathBuf,
    /// Events that wait; apart from Swift's own files, so that they are searched for secrets.
    spool: TestDir,
}

impl Swift {
    /// Starts one that takes tokens of this Keystone. Its users with the role member or service may
    /// write to the account of their project.
    pub async fn start(keystone: &Keystone) -> Result<Self, ProcessError> {
        Self::launch(keystone, None).await
    }

    /// Starts one with our filter, which tells the Picasso at this URL of changes, as the user `picasso`.
    /// `options` are more lines of its section (`clients/swift-middleware/README.md`).
    pub async fn start_with_filter(
        keystone: &Keystone,
        picasso: &str,
        options: &str,
    ) -> Result<Self, ProcessError> {
        Self::launch(keystone, Some((picasso, options))).await
    }

    async fn launch(keystone: &Keystone, filter: Option<(&str, &str)>) -> Result<Self, ProcessError> {
        let io = |source| ProcessError::Start { program: "swift".to_owned(), source };
        let (dir, port) = (TestDir::new("swift").map_err(io)?, free_port().map_err(io)?);
        let keystone = [keystone.auth_url(), keystone.password("picasso")];
        let filter = filter
            .map(|(picasso, options)| Filter::write(dir.path(), &keystone, picasso, options))
            .transpose()
            .map_err(io)?;
        let process = spawn(&dir, port, &keystone, filter.as_ref())?;
        let mut swift = Self { process, keystone, dir, filter, port };
        swift.healthy().await?;
        Ok(swift)
    }

    /// What waits in the filter's spool; empty where nothing does, or where there is no filter.
    pub fn spooled(&self) -> String {
        let Some(filter) = &self.filter else { return String::new() };
        let files = std::fs::read_dir(filter.spool.path()).into_iter().flatten().flatten();
        files.filter_map(|file| std::fs::read_to_string(file.path()).ok()).collect()
    }

    /// What it has written to its log.
    pub fn log(&self) -> String {
        self.process.output()
    }

    /// `http://127.0.0.1:PORT`; the S3 face is there, too.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Kills it; connections are refused from then on.
    pub fn kill(&mut self) {
        self.process.signal(Signal::KILL);
        self.process.stop();
    }

    /// Starts it again with what it had stored.
    pub async fn start_again(&mut self) -> Result<(), ProcessError> {
        self.process = spawn(&self.dir, self.port, &self.keystone, self.filter.as_ref())?;
        self.healthy().await
    }

    async fn healthy(&mut self) -> Result<(), ProcessError> {
        let url = format!("{}/healthcheck", self.url());
        let client = reqwest::Client::new();
        let answers = || {
            let request = client.get(&url).timeout(Duration::from_secs(2)).send();
            async move { request.await.is_ok_and(|answer| answer.status().is_success()) }
        };
        self.process.ready(START, "an answer to /healthcheck", answers).await
    }
}

impl Filter {
    fn write(
        dir: &Path,
        [auth_url, password]: &[String; 2],
        picasso: &str,
        options: &str,
    ) -> std::io::Result<Self> {
        let (section, spool) = (dir.join("filter.conf"), TestDir::new("spool")?);
        let text = format!(
            "[filter:picasso]\npaste.filter_factory = picasso_swift:filter_factory\nendpoint = {picasso}\n\
             auth_url = {auth_url}\nusername = picasso\npassword = {password}\nproject_name = service\n\
             spool_dir = {}\nretry_max = 1\n{options}\n",
            spool.path().display(),
        );
        let mut file =
            std::fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(&section)?;
        std::io::Write::write_all(&mut file, text.as_bytes())?;
        Ok(Self { section, spool })
    }
}

fn spawn(
    dir: &TestDir,
    port: u16,
    [auth_url, password]: &[String; 2],
    filter: Option<&Filter>,
) -> Result<Process, ProcessError> {
    let root = crate::keystone::root();
    let venv = run("bash", [root.join("scripts/openstack-venv")]).map_err(|error| ProcessError::Start {
        program: "scripts/openstack-venv".to_owned(),
        source: std::io::Error::other(error),
    })?;
    let mut command = Command::new(format!("{}/bin/python", venv.trim()));
    command
        .arg(root.join("scripts/swift/serve_swift.py"))
        .arg(dir.path())
        .arg(port.to_string())
        .arg(auth_url)
        .env("SWIFT_USER", "picasso")
        .env("SWIFT_PASSWORD", password)
        .env("SWIFT_PROJECT", "service");
    if let Some(filter) = filter {
        command
            .env("SWIFT_FILTER", "picasso")
            .env("SWIFT_FILTER_FILE", &filter.section)
            .env("PYTHONPATH", root.join("clients/swift-middleware"));
    }
    Ok(Process::spawn("swift", dir.path(), command)?.stop_with(Signal::KILL, Duration::from_secs(5)))
}
