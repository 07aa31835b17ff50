//! A driver under test and how the cases use it.

use std::sync::Arc;
use std::time::Duration;

use picasso_image::RootFs;
use picasso_sandbox::{
    Channel, Ended, EndedBy, ProcessSpec, Sandbox, SandboxError, SandboxIo, SlotId, SlotLimits, SlotSpec,
};
use picasso_types::NetworkMode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// How long anything may take before a case fails.
pub const DEADLINE: Duration = Duration::from_mins(1);
const MIB: u64 = 1 << 20;

/// A driver, an image whose only program is the probe, and the world around.
pub struct Bed {
    pub driver: &'static str,
    pub sandbox: Arc<dyn Sandbox>,
    pub rootfs: Arc<RootFs>,
    /// The address sandboxes reach their own host at.
    pub gateway: std::net::Ipv4Addr,
    /// What leaves sandboxes behind and then looks at them as the next process would.
    pub restart: crate::machine::Restart,
}

/// What came of one run.
#[derive(Debug)]
pub struct Run {
    pub ended: Ended,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    /// The lines of stdout, after the function exited well.
    pub fn lines(&self) -> Vec<&str> {
        assert_eq!(self.ended.by, EndedBy::Exit(0), "{self:?}");
        self.stdout.lines().collect()
    }

    /// What stands after `start` in the first line that has it.
    pub fn after(&self, start: &str) -> &str {
        let line = self.stdout.lines().find_map(|line| line.strip_prefix(start));
        line.unwrap_or_else(|| panic!("no line {start:?} in {self:?}")).trim()
    }
}

/// Limits that let the probe do its work.
pub fn spec() -> SlotSpec {
    SlotSpec {
        limits: SlotLimits {
            memory_bytes: 64 * MIB,
            cpu_millis: 1000,
            pids: 32,
            tmp_bytes: 8 * MIB,
            tmp_inodes: 200,
            nofile: 128,
        },
        network: NetworkMode::None,
    }
}

/// The same with network access.
pub fn egress() -> SlotSpec {
    SlotSpec { network: NetworkMode::Egress, ..spec() }
}

/// The probe with these arguments.
pub fn probe(arguments: &[&str]) -> ProcessSpec {
    let argv = ["/bin/probe"].iter().chain(arguments).map(|word| (*word).to_owned()).collect();
    ProcessSpec {
        argv,
        env: vec![("PATH".to_owned(), "/bin".to_owned())],
        cwd: "/".to_owned(),
        uid: 0,
        gid: 0,
        groups: Vec::new(),
        channel: Channel::Streams,
        files: Vec::new(),
        identity: None,
    }
}

/// A started sandbox; the case removes it.
pub struct Started {
    pub slot: SlotId,
    pub io: SandboxIo,
}

impl Bed {
    pub async fn start(&self, spec: &SlotSpec, process: &ProcessSpec) -> Result<Started, SandboxError> {
        self.sandbox.prepare(&self.rootfs).await?;
        let slot = self.sandbox.make_slot(spec).await?;
        match within("a start", self.sandbox.start(slot, &self.rootfs, process)).await {
            Ok(io) => Ok(Started { slot, io }),
            Err(error) => {
                self.sandbox.remove(slot).await?;
                Err(error)
            }
        }
    }

    pub async fn wait(&self, slot: SlotId) -> Ended {
        within("an end", self.sandbox.wait(slot)).await.unwrap()
    }

    pub async fn remove(&self, slot: SlotId) {
        within("a removal", self.sandbox.remove(slot)).await.unwrap();
    }

    /// Starts a process, gives it `input`, reads what it says and waits for its end.
    pub async fn run_with(&self, spec: &SlotSpec, process: &ProcessSpec, input: &[u8]) -> Run {
        let Started { slot, io } = self.start(spec, process).await.unwrap();
        let run = within("a run", self.collect(slot, io, input)).await;
        self.remove(slot).await;
        run
    }

    async fn collect(&self, slot: SlotId, io: SandboxIo, input: &[u8]) -> Run {
        let SandboxIo { mut stdin, mut stdout, mut stderr, .. } = io;
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let write = async {
            // A function that does not read its input is not the case's concern.
            let _ = stdin.write_all(input).await;
            let _ = stdin.shutdown().await;
        };
        let ((), out_read, err_read) =
            tokio::join!(write, stdout.read_to_end(&mut out), stderr.read_to_end(&mut err));
        out_read.unwrap();
        err_read.unwrap();
        let ended = self.wait(slot).await;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Run { ended, stdout: text(&out), stderr: text(&err) }
    }

    /// The probe's check under the usual limits.
    pub async fn check(&self, arguments: &[&str]) -> Run {
        self.run_with(&spec(), &probe(arguments), b"").await
    }
}

/// Fails a case that would hang.
pub async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    let Ok(done) = tokio::time::timeout(DEADLINE, work).await else {
        panic!("{what} took longer than {DEADLINE:?}");
    };
    done
}

/// Reads one line.
pub async fn line(reader: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut bytes = Vec::new();
    within("a line", async {
        loop {
            match reader.read_u8().await {
                Ok(b'\n') | Err(_) => break,
                Ok(byte) => bytes.push(byte),
            }
        }
    })
    .await;
    String::from_utf8(bytes).unwrap()
}
