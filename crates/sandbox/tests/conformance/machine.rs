//! The machine the suite runs on: a network namespace, the drivers, and looking at processes from
//! outside.

use std::future::Future;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::pin::Pin;
use std::process::Command;
use std::sync::Arc;

use picasso_sandbox::ProcessSpec;
use picasso_sandbox::egress::EgressSettings;
use picasso_testkit::guest::static_binary;
use picasso_testkit::process::{TestDir, run};
use picasso_types::Digest;

use crate::bed::{Bed, probe};
use crate::docker::Docker;
use crate::images::probe_image;
use crate::native::{Kind, Native};
use crate::outside::Outside;

/// Set in the process that is inside the suite's network namespace.
const INSIDE: &str = "PICASSO_CONFORMANCE_INSIDE";

/// Starts this program again in a network namespace of its own and ends with its exit code;
/// returns in the inner one.
pub fn enter() -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("network namespaces need root".to_owned());
    }
    if std::env::var_os(INSIDE).is_some() {
        return run("ip", ["link", "set", "dev", "lo", "up"]).map(|_| ());
    }
    let me = std::env::current_exe().map_err(|error| error.to_string())?;
    let status = Command::new("unshare")
        .arg("--net")
        .arg("--")
        .arg(me)
        .args(std::env::args_os().skip(1))
        .env(INSIDE, "1")
        .status()
        .map_err(|error| format!("cannot run unshare: {error}"))?;
    std::process::exit(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)));
}

/// A random id of 8 hex digits, as instances have.
pub fn instance() -> String {
    let seed = format!("{:?} {:?}", std::time::SystemTime::now(), std::thread::current().id());
    Digest::of(seed.as_bytes()).hex()[..8].to_owned()
}

/// The egress settings of one driver: only the instance and the subnet differ.
pub fn egress_settings(instance: &str, subnet: &str) -> EgressSettings {
    EgressSettings {
        instance: instance.to_owned(),
        subnet: subnet.parse().unwrap(),
        dns: vec!["10.99.0.53".parse().unwrap()],
        allow: ["10.99.0.5:80", "192.0.2.0/24"].map(|text| text.parse().unwrap()).to_vec(),
        deny: vec!["192.175.48.78".parse().unwrap()],
        max_connections: 16,
        bytes_per_second: 1_000_000,
    }
}

/// Leaves sandboxes behind, as a server that is killed does, and starts anew.
pub type Restart =
    Box<dyn Fn(Arc<Bed>, ProcessSpec) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// Everything the cases need; the parts are stopped in this order.
pub struct Machine {
    pub beds: Vec<Arc<Bed>>,
    docker: Option<Docker>,
    spawned: Vec<Native>,
    _outside: Outside,
    dir: TestDir,
}

impl Machine {
    pub async fn start() -> Self {
        let dir = TestDir::new("conformance").unwrap();
        let program = static_binary("picasso-example-probe").unwrap();
        let outside = Outside::start(&program, dir.path()).await;
        let (store, rootfs) = probe_image(dir.path(), &program).await;
        let docker = Docker::start(&store, &rootfs).await;
        let mut spawned = Vec::new();
        for kind in [Some(Kind::native()), Kind::runc()].into_iter().flatten() {
            spawned.push(Native::start(kind, dir.path(), &rootfs).await);
        }
        let beds = docker.iter().map(|docker| Arc::clone(&docker.bed));
        let beds = beds.chain(spawned.iter().map(|native| Arc::clone(&native.bed))).collect();
        Self { beds, docker, spawned, _outside: outside, dir }
    }

    /// Ends everything; the logs stay where cases failed.
    pub async fn stop(self, failed: bool) {
        drop(self.beds);
        if let Some(docker) = self.docker {
            docker.stop().await;
        }
        for native in self.spawned {
            native.stop().await;
        }
        if failed {
            println!("kept for a look: {}", keep(self.dir.path()));
        }
    }
}

fn keep(dir: &Path) -> String {
    let kept = dir.with_extension("failed");
    match std::fs::create_dir_all(&kept) {
        Ok(()) => {
            for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
                if entry.path().extension().is_some_and(|extension| extension == "log") {
                    let _ = std::fs::copy(entry.path(), kept.join(entry.file_name()));
                }
            }
            kept.display().to_string()
        }
        Err(error) => error.to_string(),
    }
}

/// A process with a variable in its environment that nothing else has.
pub struct Marked(String);

/// The probe, marked.
pub fn mark(arguments: &[&str]) -> (Marked, ProcessSpec) {
    let value = format!("mark-{}-{}", instance(), instance());
    let mut process = probe(arguments);
    process.env.push(("PICASSO_MARK".to_owned(), value.clone()));
    (Marked(value), process)
}

impl Marked {
    /// The host's ids of the living processes that carry the mark.
    pub fn processes(&self) -> Vec<u32> {
        let entries = std::fs::read_dir("/proc").unwrap().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        pids.filter(|pid| {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.windows(self.0.len()).any(|window| window == self.0.as_bytes())
        })
        .collect()
    }
}
