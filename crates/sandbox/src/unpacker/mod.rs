//! The unpacker: a confined process that writes layers, and the engine's link to it.
//!
//! Layers are archives from strangers, and their owners and modes need root to write. So a
//! process of its own does it: its root is the layer folder, it has no network, few
//! capabilities and few system calls, and all it gets is an open blob and a fixed message. The
//! logic is `picasso_image::unpack`.

mod client;
mod confine;
mod filter;
mod protocol;
mod raw;
mod serve;

use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::ExitCode;

pub use client::UnpackerClient;

/// Runs the unpacker over `socket` (`SOCK_SEQPACKET`) until its other end is closed; to be called
/// as root, in a process of its own, before any thread is started. `layers_dir` is made with mode
/// 0700 where it is missing and is all that the process can see from then on.
#[expect(clippy::needless_pass_by_value, reason = "its end of the socket is the process's own")]
pub fn unpacker_main(socket: OwnedFd, layers_dir: &Path) -> ExitCode {
    match confine::confine(layers_dir).and_then(|layers| serve::serve(&socket, layers)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let line = format!("picasso unpacker: {error}\n");
            // Nobody is left to tell when even this fails.
            let _ = rustix::io::write(rustix::stdio::stderr(), line.as_bytes());
            ExitCode::FAILURE
        }
    }
}

/// A message as each side of the unpacker's protocol reads it. For the fuzz target.
#[cfg(fuzzing)]
pub fn fuzz(bytes: &[u8]) {
    let _ = protocol::Request::decode(bytes);
    let _ = protocol::Answer::decode(bytes);
}
