//! Functions as plain child processes of the test: real pipes, exits, signals and kills, no
//! walls. The real drivers have their own suite; here only HTTP is looked at.

use std::collections::HashMap;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use async_trait::async_trait;
use picasso_image::RootFs;
use picasso_sandbox::{
    Ended, EndedBy, Endpoint, Features, ProcessSpec, Reaped, Sandbox, SandboxError, SandboxIo, SlotId,
    SlotSpec,
};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};

#[derive(Debug, Default)]
pub struct ProcessSandbox {
    next: AtomicU64,
    children: Mutex<HashMap<SlotId, Running>>,
    running: AtomicUsize,
}

#[derive(Debug)]
struct Running {
    child: Option<Child>,
    group: Option<Pid>,
    killed: bool,
}

impl ProcessSandbox {
    /// Functions that were started and whose end was not yet seen.
    pub fn running(&self) -> usize {
        self.running.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Sandbox for ProcessSandbox {
    fn name(&self) -> &'static str {
        "process"
    }

    fn features(&self) -> Features {
        Features { egress: false, socket_folder: false, ports: false }
    }

    async fn prepare(&self, _: &RootFs) -> Result<(), SandboxError> {
        Ok(())
    }

    async fn make_slot(&self, _: &SlotSpec) -> Result<SlotId, SandboxError> {
        Ok(SlotId(self.next.fetch_add(1, Ordering::SeqCst)))
    }

    async fn start(
        &self,
        slot: SlotId,
        _: &RootFs,
        process: &ProcessSpec,
    ) -> Result<SandboxIo, SandboxError> {
        let mut child = Command::new(&process.argv[0])
            .args(&process.argv[1..])
            .env_clear()
            .envs(process.env.iter().cloned())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| SandboxError::CannotStart(error.to_string()))?;
        self.running.fetch_add(1, Ordering::SeqCst);
        let io = SandboxIo {
            stdin: Box::pin(child.stdin.take().unwrap()),
            stdout: Box::pin(child.stdout.take().unwrap()),
            stderr: Box::pin(child.stderr.take().unwrap()),
            fence: None,
            endpoint: Endpoint::Streams,
            freezer: None,
        };
        let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).unwrap()));
        let running = Running { child: Some(child), group, killed: false };
        self.children.lock().unwrap().insert(slot, running);
        Ok(io)
    }

    async fn wait(&self, slot: SlotId) -> Result<Ended, SandboxError> {
        let child = self.children.lock().unwrap().get_mut(&slot).and_then(|running| running.child.take());
        let mut child = child.ok_or_else(|| SandboxError::Slot("not started".to_owned()))?;
        let status = child.wait().await.unwrap();
        self.running.fetch_sub(1, Ordering::SeqCst);
        let killed_by_us = self.children.lock().unwrap().get(&slot).is_some_and(|running| running.killed);
        let by = match (status.code(), status.signal()) {
            (Some(code), _) => EndedBy::Exit(code),
            (None, signal) => EndedBy::Signal(signal.unwrap_or(9)),
        };
        // A function that kills itself with SIGKILL stands for the kernel's memory killer.
        let out_of_memory = by == EndedBy::Signal(9) && !killed_by_us;
        Ok(Ended { by, out_of_memory, memory_peak_bytes: None })
    }

    async fn terminate(&self, slot: SlotId) -> Result<(), SandboxError> {
        if let Some(group) = self.children.lock().unwrap().get(&slot).and_then(|running| running.group) {
            let _ = kill_process_group(group, Signal::TERM);
        }
        Ok(())
    }

    async fn kill(&self, slot: SlotId) -> Result<(), SandboxError> {
        if let Some(running) = self.children.lock().unwrap().get_mut(&slot) {
            running.killed = true;
            if let Some(group) = running.group {
                let _ = kill_process_group(group, Signal::KILL);
            }
        }
        Ok(())
    }

    async fn remove(&self, slot: SlotId) -> Result<(), SandboxError> {
        self.kill(slot).await?;
        self.children.lock().unwrap().remove(&slot);
        Ok(())
    }

    async fn reap(&self) -> Result<Reaped, SandboxError> {
        Ok(Reaped::default())
    }
}
