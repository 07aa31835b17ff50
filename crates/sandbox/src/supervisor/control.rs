//! The engine's end of the control socket: where it gets the sockets of spawner and unpacker
//! from, at start and again whenever one of them was restarted.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use picasso_image::LayerUnpacker;
use picasso_types::InstanceId;

use crate::SandboxError;
use crate::native::NativeSandbox;

/// What the supervisor handed to the engine process.
#[derive(Debug)]
pub struct EngineSide {
    /// The bytes of `SupervisorSettings::engine`.
    pub settings: Vec<u8>,
    /// This data directory's id; names everything the server makes on the host.
    pub instance: InstanceId,
    native: bool,
    unpacker: bool,
    control: OwnedFd,
}

impl EngineSide {
    /// Takes over the inherited descriptors named in the arguments after the hidden subcommand's
    /// name. To be called once, before any thread is started.
    pub fn take(args: &[OsString]) -> Result<Self, SandboxError> {
        let _ = args;
        Err(SandboxError::Slot("no control socket".to_owned()))
    }

    /// Starts to listen to the supervisor; needs a tokio runtime. Waits (bounded) for the first
    /// sockets, so that a driver that is there works from the first call.
    pub async fn connect(self) -> Result<Control, SandboxError> {
        let _ = (self.native, self.unpacker, self.control);
        Err(SandboxError::Slot("no control socket".to_owned()))
    }
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
