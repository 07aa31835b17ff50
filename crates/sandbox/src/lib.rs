//! Sandboxes: where a function's process runs, walled off from the host and from all others.
//!
//! [`Sandbox`] is the driver trait; `native` (Linux namespaces through a root spawner process),
//! `oci` (any OCI runtime through the same spawner) and `docker` (Docker Engine API) implement it
//! and pass one conformance suite. All `unsafe`
//! and all privileged code of the project lives in this crate.

mod dialer;
pub mod docker;
pub mod egress;
mod error;
mod fence;
mod freezer;
mod identity_folder;
pub mod native;
pub mod oci;
pub mod seccomp;
mod socket_folder;
pub mod supervisor;
pub mod unpacker;

use std::pin::Pin;

use async_trait::async_trait;
use picasso_image::RootFs;
use picasso_types::NetworkMode;
use tokio::io::{AsyncRead, AsyncWrite};

pub use dialer::{Dial, Dialer};
pub use error::SandboxError;
pub use fence::{Fence, StdinPipe, StdoutPipe, fenced_pipes};
pub use freezer::Freezer;
pub use identity_folder::{
    IDENTITY_FOLDER, IdentityFolder, IdentityFolderId, IdentityFolders, MAX_IDENTITY_BYTES,
    MAX_IDENTITY_WRITES,
};
pub use socket_folder::{FolderSocket, FolderWatch, SocketFolder};

/// A slot: one set of namespaces, cgroup and network that exactly one function process gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SlotId(pub u64);

/// Limits of one sandbox, enforced by the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotLimits {
    /// Memory including tmpfs and page tables, bytes; no swap.
    pub memory_bytes: u64,
    /// CPU time per second of wall time, thousandths of one CPU.
    pub cpu_millis: u32,
    /// Processes and threads.
    pub pids: u32,
    /// Size of `/tmp`, bytes (charged to the memory limit).
    pub tmp_bytes: u64,
    /// Inodes of `/tmp`.
    pub tmp_inodes: u64,
    /// Open files of one process.
    pub nofile: u64,
}

/// What a slot is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotSpec {
    /// Its limits.
    pub limits: SlotLimits,
    /// What it can reach.
    pub network: NetworkMode,
}

/// The process to start in a slot. Its environment and files hold secrets, which `Debug` leaves out.
#[derive(Clone, PartialEq, Eq)]
pub struct ProcessSpec {
    /// Program and arguments; the program is looked up in the environment's `PATH`.
    pub argv: Vec<String>,
    /// The whole environment.
    pub env: Vec<(String, String)>,
    /// Working directory.
    pub cwd: String,
    /// User id inside the sandbox, below 65,536.
    pub uid: u32,
    /// Group id inside the sandbox, below 65,536.
    pub gid: u32,
    /// Supplementary groups inside the sandbox.
    pub groups: Vec<u32>,
    /// How calls reach the process beside its standard streams.
    pub channel: Channel,
    /// Files in [`SECRET_FOLDER`].
    pub files: Vec<SecretFile>,
    /// The folder that it finds at [`IDENTITY_FOLDER`], read-only; an empty one where there is none.
    pub identity: Option<IdentityFolderId>,
}

impl std::fmt::Debug for ProcessSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let env: Vec<&str> = self.env.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("ProcessSpec")
            .field("argv", &self.argv)
            .field("env", &env)
            .field("cwd", &self.cwd)
            .field("uid", &self.uid)
            .field("gid", &self.gid)
            .field("channel", &self.channel)
            .field("files", &self.files)
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

/// A secret that a process finds as a file, which it alone reads, in a folder that is read-only.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretFile {
    /// The file's name: letters, digits and `_`.
    pub name: String,
    /// What is in it.
    pub content: Vec<u8>,
}

impl std::fmt::Debug for SecretFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SecretFile").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Where a process finds its [`SecretFile`]s.
pub const SECRET_FOLDER: &str = "/run/secrets";

/// How calls reach a process beside its standard streams. Made before the process starts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Channel {
    /// Only the standard streams.
    #[default]
    Streams,
    /// A folder that the process may write to, [`SOCKET_FOLDER`], in which it makes a Unix socket.
    SocketFolder,
    /// A TCP listener of ours on this port of the sandbox's own loopback, made inside its
    /// network namespace before the process starts: the process connects to us.
    Listener {
        /// The port on 127.0.0.1.
        port: u16,
    },
    /// The process listens on this port of the sandbox's own loopback and we connect.
    Port {
        /// The port on 127.0.0.1.
        port: u16,
    },
}

/// Where [`Channel::SocketFolder`] is for the process (Fn's place for it).
pub const SOCKET_FOLDER: &str = "/tmp/iofs";

/// Our ends of a started process.
pub struct SandboxIo {
    /// Writes to the function's stdin; closed by shutdown or drop.
    pub stdin: Pin<Box<dyn AsyncWrite + Send>>,
    /// Reads the function's stdout.
    pub stdout: Pin<Box<dyn AsyncRead + Send>>,
    /// Reads the function's stderr.
    pub stderr: Pin<Box<dyn AsyncRead + Send>>,
    /// Tells what the process has read and written, where its stdin and stdout are pipes of ours.
    pub fence: Option<Fence>,
    /// Our end of the [`Channel`] the process was started with.
    pub endpoint: Endpoint,
    /// Stops and continues the sandbox's processes, where the driver can within microseconds.
    pub freezer: Option<Freezer>,
}

/// Our end of a [`Channel`].
#[derive(Debug)]
pub enum Endpoint {
    /// Only the standard streams.
    Streams,
    /// The folder in which the process makes its socket.
    SocketFolder(SocketFolder),
    /// Takes the connections of the process.
    Listener(tokio::net::TcpListener),
    /// Opens connections to the process.
    Dialer(Dialer),
}

impl std::fmt::Debug for SandboxIo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SandboxIo")
    }
}

/// How a process came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndedBy {
    /// It exited with this code.
    Exit(i32),
    /// This signal ended it.
    Signal(i32),
}

/// The end of a sandbox's process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// Exit code or signal.
    pub by: EndedBy,
    /// Whether the kernel killed any process of it at the memory limit.
    pub out_of_memory: bool,
    /// Most memory it used, bytes, where it was measured.
    pub memory_peak_bytes: Option<u64>,
}

/// What a driver on this machine can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Features {
    /// Whether `NetworkMode::Egress` works.
    pub egress: bool,
    /// Whether [`Channel::SocketFolder`] works.
    pub socket_folder: bool,
    /// Whether [`Channel::Listener`] and [`Channel::Port`] work.
    pub ports: bool,
}

/// What [`Sandbox::reap`] found and removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Reaped {
    /// Sandboxes (cgroups or containers) of an earlier process.
    pub sandboxes: u32,
    /// Network interfaces or networks of an earlier process.
    pub networks: u32,
}

/// A sandbox driver. Slots are made, started once, waited for and removed; a slot that tenant
/// code has touched is never used again.
#[async_trait]
pub trait Sandbox: Send + Sync + std::fmt::Debug {
    /// The driver's name in configuration and logs.
    fn name(&self) -> &'static str;

    /// What it can do on this machine.
    fn features(&self) -> Features;

    /// Makes an image ready for this driver (Docker: loads it). Called before its first start;
    /// cheap when it is ready already.
    async fn prepare(&self, rootfs: &RootFs) -> Result<(), SandboxError>;

    /// Makes a slot: namespaces, cgroup with its limits, network.
    async fn make_slot(&self, spec: &SlotSpec) -> Result<SlotId, SandboxError>;

    /// Makes an empty folder for the files of one sandbox's identity, in memory and closed to all
    /// others: a process that is started with its id finds it at [`IDENTITY_FOLDER`].
    async fn make_identity_folder(&self) -> Result<IdentityFolder, SandboxError> {
        Err(SandboxError::Unsupported {
            driver: self.name(),
            reason: "it shows sandboxes no identities".to_owned(),
        })
    }

    /// Gives a slot its root filesystem and starts the process.
    async fn start(
        &self,
        slot: SlotId,
        rootfs: &RootFs,
        process: &ProcessSpec,
    ) -> Result<SandboxIo, SandboxError>;

    /// Waits for the end of a started process; all processes of the sandbox are gone then.
    async fn wait(&self, slot: SlotId) -> Result<Ended, SandboxError>;

    /// Asks a started slot's first process to end, with SIGTERM; thaws it first. Like process 1
    /// anywhere, one that has no handler for the signal does not get it. Nothing happens to a slot
    /// without a process.
    async fn terminate(&self, slot: SlotId) -> Result<(), SandboxError>;

    /// Ends the slot's processes with SIGKILL; fine to repeat and on an ended one.
    async fn kill(&self, slot: SlotId) -> Result<(), SandboxError>;

    /// Removes a slot and everything of it, killing first where needed.
    async fn remove(&self, slot: SlotId) -> Result<(), SandboxError>;

    /// Removes what an earlier process with the same state folder left on this machine.
    async fn reap(&self) -> Result<Reaped, SandboxError>;
}
