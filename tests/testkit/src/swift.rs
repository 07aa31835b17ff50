//! A real Swift from PyPI in one process, with its S3 face: `scripts/swift/serve_swift.py`. A filter of
//! ours can stand in its proxy's pipeline.

use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;

use crate::keystone::{Keystone, root, services_venv};
use crate::place::Place;
use crate::process::{Process, ProcessError, TestDir};

/// How long a start may take.
const START: Duration = Duration::from_mins(1);

/// The key of the S3 face; its account is there already.
pub const S3_KEY: (&str, &str) = ("test:tester", "testing");

/// A filter for the pipeline of Swift's proxy: behind authentication, in front of `copy`, `slo` and
/// `dlo`, so that it sees what clients ask for.
#[derive(Debug, Clone)]
pub struct Filter {
    /// Its name in the pipeline.
    pub name: String,
    /// What stands in its section: lines of `key = value`, `paste.filter_factory` being one.
    pub settings: String,
    /// The folder that its Python package is in.
    pub python_path: PathBuf,
}

/// A running Swift; killed when dropped.
#[derive(Debug)]
pub struct Swift {
    // Dropped in this order.
    process: Process,
    keystone: [String; 2],
    filter: Option<Filter>,
    place: Place,
    dir: TestDir,
    port: u16,
}

impl Swift {
    /// Starts one that takes tokens of this Keystone. Its users with the role member or service may
    /// write to the account of their project.
    pub async fn start(keystone: &Keystone) -> Result<Self, ProcessError> {
        Self::start_at(&Place::default(), keystone, None).await
    }

    /// The same with a filter in its pipeline.
    pub async fn with_filter(keystone: &Keystone, filter: Filter) -> Result<Self, ProcessError> {
        Self::start_at(&Place::default(), keystone, Some(filter)).await
    }

    /// Starts one elsewhere than on loopback.
    pub async fn start_at(
        place: &Place,
        keystone: &Keystone,
        filter: Option<Filter>,
    ) -> Result<Self, ProcessError> {
        let io = |source| ProcessError::Start { program: "swift".to_owned(), source };
        let (dir, port) = (TestDir::new("swift").map_err(io)?, place.port(8080).map_err(io)?);
        let keystone = [keystone.auth_url(), keystone.password("picasso")];
        let process = spawn(&dir, place, port, &keystone, filter.as_ref())?;
        let mut swift = Self { process, keystone, filter, place: place.clone(), dir, port };
        swift.healthy().await?;
        Ok(swift)
    }

    /// Where it is, without a path; the S3 face is there, too.
    pub fn url(&self) -> String {
        format!("http://{}:{}", self.place.address(), self.port)
    }

    /// Its endpoint as catalogs have it: with a place for the project's id.
    pub fn endpoint(&self) -> String {
        format!("{}/v1/AUTH_$(project_id)s", self.url())
    }

    /// What it and its filter have logged, over all starts.
    pub fn log(&self) -> String {
        self.process.output()
    }

    /// Kills it; connections are refused from then on.
    pub fn kill(&mut self) {
        self.process.signal(Signal::KILL);
        self.process.stop();
    }

    /// Starts it again with what it had stored.
    pub async fn start_again(&mut self) -> Result<(), ProcessError> {
        self.process = spawn(&self.dir, &self.place, self.port, &self.keystone, self.filter.as_ref())?;
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

fn spawn(
    dir: &TestDir,
    place: &Place,
    port: u16,
    [auth_url, password]: &[String; 2],
    filter: Option<&Filter>,
) -> Result<Process, ProcessError> {
    let cannot = |source| ProcessError::Start { program: "swift".to_owned(), source };
    let venv = services_venv().map_err(|error| cannot(std::io::Error::other(error)))?;
    let mut command = place.command(venv.join("bin/python"));
    command
        .arg(root().join("scripts/swift/serve_swift.py"))
        .arg(dir.path())
        .arg(port.to_string())
        .arg(auth_url)
        .env("SWIFT_HOST", place.address().to_string())
        .env("SWIFT_USER", "picasso")
        .env("SWIFT_PASSWORD", password)
        .env("SWIFT_PROJECT", "service");
    if let Some(Filter { name, settings, python_path }) = filter {
        // A file, as its settings hold a password.
        let file = dir.path().join("filter.conf");
        std::fs::write(&file, format!("[filter:{name}]\n{settings}\n")).map_err(cannot)?;
        command.env("SWIFT_FILTER", name).env("SWIFT_FILTER_FILE", file).env("PYTHONPATH", python_path);
    }
    Ok(Process::spawn("swift", dir.path(), command)?.stop_with(Signal::KILL, Duration::from_secs(5)))
}
