//! The client side of the native driver: [`Sandbox`] over the spawner's socket.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use picasso_image::RootFs;
use rustix::pipe::{PipeFlags, pipe_with};
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, watch};

use super::blob;
use super::connection::{Connection, slot_number, unavailable, unexpected};
use super::endpoint;
use super::faults::start_error;
use super::mounts::MAX_LAYERS;
use super::protocol::{IDS, MAX_GROUPS, Report, Request, Start};
use crate::{
    Channel, Ended, Endpoint, Features, IdentityFolder, ProcessSpec, Reaped, Sandbox, SandboxError,
    SandboxIo, SlotId, SlotSpec,
};

/// How long a call waits for a spawner that is being restarted.
const RECONNECT: Duration = Duration::from_secs(3);
/// How long the spawner may take to answer.
const ANSWER: Duration = Duration::from_secs(30);

/// The native driver, as the engine holds it. Dropping the last one closes the socket, at which
/// the spawner ends everything.
#[derive(Debug)]
pub struct NativeSandbox {
    current: watch::Receiver<Option<Arc<Connection>>>,
    reader: tokio::task::JoinHandle<()>,
}

impl NativeSandbox {
    /// A driver over the sockets that come through `sockets`, each replacing the one before.
    /// Needs a tokio runtime.
    pub fn new(mut sockets: mpsc::Receiver<OwnedFd>) -> Self {
        let (connected, current) = watch::channel(None);
        let reader = tokio::spawn(async move {
            let mut generation = 0;
            while let Some(socket) = sockets.recv().await {
                generation = u16::wrapping_add(generation, 1);
                match Connection::open(socket, generation) {
                    Ok(connection) => connection.serve(&connected).await,
                    Err(e) => tracing::error!(error = %e, "the spawner's socket cannot be used"),
                }
                connected.send_replace(None);
            }
        });
        Self { current, reader }
    }

    /// Waits until a spawner is there.
    pub async fn ready(&self, patience: Duration) -> Result<(), SandboxError> {
        self.connection(patience).await.map(|_| ())
    }

    async fn connection(&self, patience: Duration) -> Result<Arc<Connection>, SandboxError> {
        let mut current = self.current.clone();
        let alive = |c: &Option<Arc<Connection>>| c.as_ref().is_some_and(|c| c.is_alive());
        let found = tokio::time::timeout(patience, current.wait_for(alive)).await;
        match found {
            Ok(Ok(connection)) => connection.clone().ok_or_else(|| unavailable("no spawner")),
            Ok(Err(_)) => Err(unavailable("the supervisor is gone")),
            Err(_) => Err(unavailable("the spawner is not running; the server's log tells why")),
        }
    }

    /// The connection a slot belongs to, if that spawner still lives.
    fn of_slot(&self, slot: SlotId) -> Result<Arc<Connection>, SandboxError> {
        let current = self.current.borrow().clone();
        current
            .filter(|connection| connection.owns(slot))
            .ok_or_else(|| unavailable("the spawner of this sandbox died, and the sandbox with it"))
    }

    /// Has something done to a slot that is fine when the slot is gone.
    async fn tell(
        &self,
        slot: SlotId,
        request: impl FnOnce(u32, u64) -> Request + Send,
    ) -> Result<(), SandboxError> {
        // A dead spawner's sandboxes are dead.
        let Ok(connection) = self.of_slot(slot) else { return Ok(()) };
        match connection.ask(|id| request(id, slot_number(slot)), &[], ANSWER).await? {
            (Report::Done { .. }, _) => Ok(()),
            (other, _) => Err(unexpected(&other)),
        }
    }
}

impl Drop for NativeSandbox {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

#[async_trait]
impl Sandbox for NativeSandbox {
    fn name(&self) -> &'static str {
        "native"
    }

    fn features(&self) -> Features {
        let egress = self.current.borrow().as_ref().is_some_and(|c| c.has_egress());
        Features { egress, socket_folder: true, ports: true }
    }

    /// Nothing to do: the layers are unpacked when a version is made.
    async fn prepare(&self, _rootfs: &RootFs) -> Result<(), SandboxError> {
        Ok(())
    }

    async fn make_slot(&self, spec: &SlotSpec) -> Result<SlotId, SandboxError> {
        let connection = self.connection(RECONNECT).await?;
        let SlotSpec { limits, network } = *spec;
        let make = |id| Request::MakeSlot { id, limits, network };
        match connection.ask(make, &[], ANSWER).await? {
            (Report::Made { slot, .. }, _) => Ok(connection.slot_id(slot)),
            (other, _) => Err(unexpected(&other)),
        }
    }

    async fn make_identity_folder(&self) -> Result<IdentityFolder, SandboxError> {
        let connection = self.connection(RECONNECT).await?;
        let folders =
            connection.identities().ok_or_else(|| unavailable("the spawner gave no place for identities"))?;
        folders.make().map_err(failed("making the folder of an identity"))
    }

    async fn start(
        &self,
        slot: SlotId,
        rootfs: &RootFs,
        process: &ProcessSpec,
    ) -> Result<SandboxIo, SandboxError> {
        let connection = self.of_slot(slot)?;
        let start = start_message(slot_number(slot), rootfs, process)?;
        let strings = blob::encode(process).map_err(|fault| SandboxError::CannotStart(fault.to_string()))?;
        let strings = blob::sealed(&strings).map_err(failed("writing the process's strings"))?;
        let pipe = || pipe_with(PipeFlags::CLOEXEC).map_err(failed("making a pipe"));
        let ((stdin, to), (from, stdout), (err, stderr)) = (pipe()?, pipe()?, pipe()?);
        let stream = failed("opening a stream");
        let (to, from, fence) = crate::fenced_pipes(to, from).map_err(&stream)?;
        let mut io = SandboxIo {
            stdin: Box::pin(to),
            stdout: Box::pin(from),
            fence: Some(fence),
            stderr: Box::pin(pipe::Receiver::from_owned_fd(err).map_err(&stream)?),
            endpoint: Endpoint::Streams,
            freezer: None,
        };
        let fds = [stdin.as_fd(), stdout.as_fd(), stderr.as_fd(), strings.as_fd()];
        let request = |id| Request::Start { id, start };
        match connection.ask(request, &fds, ANSWER).await? {
            (Report::Started { channel, freezer, .. }, fds) => {
                connection.started(slot);
                let mut fds = fds.into_iter();
                let channel = if channel { fds.next() } else { None };
                io.endpoint = endpoint::endpoint(&connection, slot, process.channel, channel)?;
                io.freezer = freezer.zip(fds.next()).map(|(kind, fd)| endpoint::freezer(kind, fd));
                Ok(io)
            }
            (Report::StartFault { fault, .. }, _) => Err(start_error(fault, process)),
            (other, _) => Err(unexpected(&other)),
        }
    }

    async fn wait(&self, slot: SlotId) -> Result<Ended, SandboxError> {
        self.of_slot(slot)?.ended(slot).await
    }

    async fn terminate(&self, slot: SlotId) -> Result<(), SandboxError> {
        self.tell(slot, |id, slot| Request::Terminate { id, slot }).await
    }

    async fn kill(&self, slot: SlotId) -> Result<(), SandboxError> {
        self.tell(slot, |id, slot| Request::Kill { id, slot }).await
    }

    async fn remove(&self, slot: SlotId) -> Result<(), SandboxError> {
        self.tell(slot, |id, slot| Request::Remove { id, slot }).await?;
        if let Ok(connection) = self.of_slot(slot) {
            connection.forget(slot);
        }
        Ok(())
    }

    /// What the supervisor and the spawner removed when they started; told once.
    async fn reap(&self) -> Result<Reaped, SandboxError> {
        let connection = self.connection(RECONNECT).await?;
        match connection.ask(|id| Request::Reap { id }, &[], ANSWER).await? {
            (Report::Reaped { reaped, .. }, _) => Ok(reaped),
            (other, _) => Err(unexpected(&other)),
        }
    }
}

fn start_message(slot: u64, rootfs: &RootFs, process: &ProcessSpec) -> Result<Start, SandboxError> {
    let refuse = |text: String| Err(SandboxError::CannotStart(text));
    if rootfs.layers.is_empty() {
        return refuse("the image has no layers, so there is no program in it".to_owned());
    }
    if rootfs.layers.len() > MAX_LAYERS {
        let count = rootfs.layers.len();
        return refuse(format!("the image has {count} layers; {MAX_LAYERS} is the most possible"));
    }
    let mut ids = process.groups.iter().chain([&process.uid, &process.gid]);
    if let Some(id) = ids.find(|id| **id >= IDS) {
        return refuse(format!("user or group id {id} is not below {IDS}, as all in a sandbox are"));
    }
    if process.groups.len() > MAX_GROUPS {
        return refuse(format!("the process has more than {MAX_GROUPS} supplementary groups"));
    }
    let layers = rootfs.layers.iter().map(|digest| unhex(digest.hex())).collect();
    let groups = process.groups.clone();
    let channel = process.channel;
    if matches!(channel, Channel::Listener { port: 0 } | Channel::Port { port: 0 }) {
        return refuse("port 0 is none".to_owned());
    }
    let files = !process.files.is_empty();
    let identity = process.identity;
    Ok(Start { slot, uid: process.uid, gid: process.gid, groups, layers, channel, files, identity })
}

/// The bytes of a digest's 64 hex digits, which its type guarantees.
fn unhex(hex: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
        *byte = nibble(pair[0]) << 4 | nibble(pair[1]);
    }
    bytes
}

fn nibble(digit: u8) -> u8 {
    if digit.is_ascii_digit() { digit - b'0' } else { digit.wrapping_sub(b'a' - 10) & 15 }
}

fn failed<E: std::fmt::Display>(context: &str) -> impl Fn(E) -> SandboxError + use<'_, E> {
    move |e| SandboxError::Failed { context: context.to_owned(), reason: e.to_string() }
}

#[cfg(test)]
mod tests {
    use picasso_types::Digest;

    use super::unhex;

    #[test]
    fn a_digests_bytes_are_those_its_digits_name() {
        let digest = Digest::from_hash(&(100..132).collect::<Vec<u8>>());
        assert!(unhex(digest.hex()).into_iter().eq(100..132));
    }
}
