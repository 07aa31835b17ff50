//! The engine's end of the control socket: where it gets the sockets of spawner and unpacker
//! from, at start and again whenever one of them was restarted.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use picasso_image::LayerUnpacker;
use picasso_types::InstanceId;
use serde::{Deserialize, Serialize};
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;

use super::sockets::ListeningSocket;
use crate::SandboxError;
use crate::native::{NativeSandbox, raw, read_sealed, receive};
use crate::unpacker::UnpackerClient;

/// A message with the socket of a spawner.
pub(super) const SPAWNER: u8 = 1;
/// A message with the socket of an unpacker.
pub(super) const UNPACKER: u8 = 2;

/// Longest settings handed over, bytes.
const MAX_SETTINGS: usize = 4 << 20;
/// How long the engine waits for a helper process to be ready at start.
const FIRST: Duration = Duration::from_secs(30);

/// What the supervisor says beside the server's own settings.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Handover {
    pub(super) instance: InstanceId,
    pub(super) native: bool,
    pub(super) unpacker: bool,
    /// Names of the listening sockets, in the order of their descriptors.
    pub(super) sockets: Vec<String>,
}

/// What the supervisor handed to the engine process.
#[derive(Debug)]
pub struct EngineSide {
    /// The bytes of `SupervisorSettings::engine`.
    pub settings: Vec<u8>,
    /// This data directory's id; names everything the server makes on the host.
    pub instance: InstanceId,
    /// Listening sockets that were made for the engine.
    pub sockets: Vec<ListeningSocket>,
    native: bool,
    unpacker: bool,
    control: OwnedFd,
}

impl EngineSide {
    /// Takes over the inherited descriptors named in the arguments after the hidden subcommand's
    /// name. To be called once, before any thread is started.
    pub fn take(args: &[OsString]) -> Result<Self, SandboxError> {
        let refuse = |reason: &str| SandboxError::Failed {
            context: "this subcommand is started by `picasso serve` only".to_owned(),
            reason: reason.to_owned(),
        };
        let fds: Option<Vec<OwnedFd>> =
            args.iter().map(|arg| raw::inherited(arg.to_str()?.parse().ok()?)).collect();
        let mut fds = fds.unwrap_or_default().into_iter();
        let (Some(control), Some(handover), Some(settings)) = (fds.next(), fds.next(), fds.next()) else {
            return Err(refuse("it takes three inherited descriptors and more"));
        };
        let read = |fd: OwnedFd| {
            read_sealed(fd.as_fd(), MAX_SETTINGS).map_err(|e| refuse(&format!("settings: {e}")))
        };
        let handover: Handover =
            serde_json::from_slice(&read(handover)?).map_err(|e| refuse(&format!("settings: {e}")))?;
        let Handover { instance, native, unpacker, sockets: names } = handover;
        if names.len() != fds.len() {
            return Err(refuse("it takes a descriptor for each listening socket"));
        }
        let sockets = names.into_iter().zip(fds).map(|(name, socket)| ListeningSocket { name, socket });
        let sockets = sockets.collect();
        Ok(Self { settings: read(settings)?, instance, sockets, native, unpacker, control })
    }

    /// Starts to listen to the supervisor; needs a tokio runtime. Waits (bounded) for the first
    /// sockets, so that a driver that is there works from the first call.
    pub async fn connect(self) -> Result<Control, SandboxError> {
        let (spawners, spawner_sockets) = mpsc::channel(4);
        let (unpackers, unpacker_sockets) = mpsc::channel(4);
        let failed = |e: io::Error| SandboxError::Failed {
            context: "listening to the supervisor".to_owned(),
            reason: e.to_string(),
        };
        rustix::io::ioctl_fionbio(&self.control, true).map_err(|e| failed(e.into()))?;
        let control = raw::watched(self.control).map_err(failed)?;
        tokio::spawn(listen(control, spawners, unpackers));
        let native = self.native.then(|| Arc::new(NativeSandbox::new(spawner_sockets)));
        let unpacker = self
            .unpacker
            .then(|| -> Arc<dyn LayerUnpacker> { Arc::new(UnpackerClient::new(unpacker_sockets)) });
        if let Some(native) = &native {
            native.ready(FIRST).await?;
        }
        Ok(Control { native, unpacker })
    }
}

/// Passes sockets on until the supervisor is gone.
async fn listen(
    control: AsyncFd<OwnedFd>,
    spawners: mpsc::Sender<OwnedFd>,
    unpackers: mpsc::Sender<OwnedFd>,
) {
    loop {
        let packet = control.async_io(tokio::io::Interest::READABLE, |socket| receive(socket.as_fd())).await;
        let Ok(mut packet) = packet else { break };
        let (kind, socket) = (packet.bytes.first().copied(), packet.fds.pop());
        let sent = match (kind, socket) {
            (Some(SPAWNER), Some(socket)) => spawners.send(socket).await,
            (Some(UNPACKER), Some(socket)) => unpackers.send(socket).await,
            _ => break,
        };
        // A driver that is not used is no reason to stop listening for the other.
        drop(sent);
    }
    tracing::error!("the supervisor is gone");
}

/// The engine's link to its helper processes.
#[derive(Debug, Clone)]
pub struct Control {
    native: Option<Arc<NativeSandbox>>,
    unpacker: Option<Arc<dyn LayerUnpacker>>,
}

impl Control {
    /// The native driver; `None` where it is switched off or the server was not started as root.
    /// It reconnects by itself when the supervisor restarted the spawner: what was in flight
    /// fails with [`SandboxError::Unavailable`].
    pub fn native(&self) -> Option<Arc<NativeSandbox>> {
        self.native.clone()
    }

    /// The layer unpacker; `None` where the server was not started as root. Reconnects likewise.
    pub fn unpacker(&self) -> Option<Arc<dyn LayerUnpacker>> {
        self.unpacker.clone()
    }
}
