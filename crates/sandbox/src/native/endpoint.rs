//! Our ends of a started process's channel and freezer, made of the descriptors the spawner passed.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::net::{TcpListener, TcpSocket};

use super::connection::{Connection, slot_number, unexpected};
use super::protocol::{FreezerKind, MAX_SOCKETS, Report, Request};
use crate::{Channel, Dial, Dialer, Endpoint, Freezer, SandboxError, SlotId, SocketFolder};

/// How long the spawner may take to make sockets.
const ANSWER: Duration = Duration::from_secs(30);
/// Sockets left at which more are asked for, so that a connection seldom waits for the spawner.
const FEW: usize = 4;

/// Our end of the channel that a process was started with; `fd` is what was made for it inside.
pub(super) fn endpoint(
    connection: &Arc<Connection>,
    slot: SlotId,
    channel: Channel,
    fd: Option<OwnedFd>,
) -> Result<Endpoint, SandboxError> {
    // A process that was killed on its way may have made none.
    let made = || fd.ok_or_else(|| failed("it ended before its channel was made"));
    match channel {
        Channel::Streams => Ok(Endpoint::Streams),
        Channel::SocketFolder => Ok(Endpoint::SocketFolder(SocketFolder::new(made()?))),
        Channel::Listener { .. } => {
            let listener = TcpListener::from_std(std::net::TcpListener::from(made()?));
            Ok(Endpoint::Listener(listener.map_err(|e| failed(&e.to_string()))?))
        }
        Channel::Port { port } => {
            let sockets = Sockets { connection: Arc::clone(connection), slot, spare: Arc::default() };
            Ok(Endpoint::Dialer(Dialer::new(Arc::new(sockets), port)))
        }
    }
}

/// The freezer whose file the spawner opened.
pub(super) fn freezer(kind: FreezerKind, file: OwnedFd) -> Freezer {
    match kind {
        FreezerKind::V1 => Freezer::v1(File::from(file)),
        FreezerKind::V2 => Freezer::v2(File::from(file)),
    }
}

fn failed(reason: &str) -> SandboxError {
    SandboxError::Failed { context: "the channel of a process".to_owned(), reason: reason.to_owned() }
}

/// Sockets of one sandbox's network namespace, asked for in batches.
#[derive(Debug)]
struct Sockets {
    connection: Arc<Connection>,
    slot: SlotId,
    spare: Arc<Mutex<Spare>>,
}

#[derive(Debug, Default)]
struct Spare {
    sockets: Vec<OwnedFd>,
    /// Whether somebody asks for more ahead.
    asking: bool,
}

#[async_trait]
impl Dial for Sockets {
    async fn socket(&self) -> Result<TcpSocket, SandboxError> {
        let (found, short) = {
            let mut spare = self.spare();
            let found = spare.sockets.pop();
            let short = found.is_some() && spare.sockets.len() < FEW && !spare.asking;
            spare.asking |= short;
            (found, short)
        };
        if short {
            self.ask_ahead();
        }
        let socket = match found {
            Some(socket) => socket,
            None => {
                let mut batch = batch(&self.connection, self.slot).await?;
                let first = batch.pop().ok_or_else(|| failed("the spawner made no socket"))?;
                self.spare().sockets.append(&mut batch);
                first
            }
        };
        Ok(TcpSocket::from_std_stream(std::net::TcpStream::from(socket)))
    }
}

impl Sockets {
    fn spare(&self) -> std::sync::MutexGuard<'_, Spare> {
        // Every update is a single step: a panic elsewhere leaves nothing half done.
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask_ahead(&self) {
        let (connection, slot) = (Arc::clone(&self.connection), self.slot);
        let spare = Arc::clone(&self.spare);
        tokio::spawn(async move {
            // What fails here is told to whom it concerns: the next who needs a socket.
            let mut made = batch(&connection, slot).await.unwrap_or_default();
            let mut spare = spare.lock().unwrap_or_else(PoisonError::into_inner);
            spare.sockets.append(&mut made);
            spare.asking = false;
        });
    }
}

async fn batch(connection: &Connection, slot: SlotId) -> Result<Vec<OwnedFd>, SandboxError> {
    let make = |id| Request::Sockets { id, slot: slot_number(slot), count: MAX_SOCKETS };
    match connection.ask(make, &[], ANSWER).await? {
        (Report::Sockets { .. }, sockets) => Ok(sockets),
        (other, _) => Err(unexpected(&other)),
    }
}
