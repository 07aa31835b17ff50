//! The engine's link to the unpacker process.

use std::fs::File;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use picasso_image::{LayerFile, LayerUnpacker, UnpackBounds, UnpackError, UnpackedLayer};
use picasso_types::Digest;
use rustix::cmsg_space;
use rustix::fs::MemfdFlags;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{Mutex, mpsc};

use super::protocol::{AccountFile, Answer, MAX_ANSWER, Operation, Request};
use super::raw;

/// How long a new unpacker process may take to appear after the old one died.
const RESTART: Duration = Duration::from_secs(10);
/// What answering takes beside the time that the request allows: syncing the disk, cleaning up.
const MARGIN: Duration = Duration::from_mins(1);

/// Sends requests to the unpacker process, one at a time. Clones share the link.
#[derive(Debug, Clone)]
pub struct UnpackerClient(Arc<Mutex<Link>>);

#[derive(Debug)]
struct Link {
    connection: Option<AsyncFd<OwnedFd>>,
    sockets: mpsc::Receiver<OwnedFd>,
}

impl UnpackerClient {
    /// Takes a socket for each process that was started: an end of a `SOCK_SEQPACKET` pair whose
    /// other end [`unpacker_main`](super::unpacker_main) serves. The newest one counts; a request
    /// that a process which died did not answer is sent to the next one, once.
    pub fn new(sockets: mpsc::Receiver<OwnedFd>) -> Self {
        Self(Arc::new(Mutex::new(Link { connection: None, sockets })))
    }

    /// Runs in a task of its own: a caller that goes away must not leave an answer behind for
    /// the next one.
    async fn ask(&self, request: Request, blob: Option<File>) -> Result<(Answer, Option<File>), UnpackError> {
        let link = Arc::clone(&self.0);
        tokio::spawn(async move { link.lock().await.ask(&request, blob.as_ref()).await })
            .await
            .map_err(|error| UnpackError::Failed(error.to_string()))?
    }

    async fn ask_simple(&self, operation: Operation, diff_id: &Digest) -> Result<bool, UnpackError> {
        match self.ask(Request { operation, diff_id: diff_id.clone() }, None).await?.0 {
            Answer::Done(yes) => Ok(yes),
            other => Err(unexpected(other)),
        }
    }
}

impl Link {
    async fn ask(
        &mut self,
        request: &Request,
        blob: Option<&File>,
    ) -> Result<(Answer, Option<File>), UnpackError> {
        let mut last = String::new();
        for _ in 0..2 {
            let socket = self.connected().await?;
            match exchange(socket, request, blob).await {
                Ok(answer) => return Ok(answer),
                Err(error) => {
                    self.connection = None;
                    last = error.to_string();
                    // A process that hangs is not asked the same again.
                    if error.kind() == io::ErrorKind::TimedOut {
                        break;
                    }
                }
            }
        }
        Err(UnpackError::Failed(format!("the unpacker process did not answer: {last}")))
    }

    async fn connected(&mut self) -> Result<&AsyncFd<OwnedFd>, UnpackError> {
        let failed = |error: io::Error| UnpackError::Failed(format!("connecting to the unpacker: {error}"));
        let mut newest = None;
        while let Ok(socket) = self.sockets.try_recv() {
            newest = Some(socket);
        }
        if newest.is_none() && self.connection.is_none() {
            newest = tokio::time::timeout(RESTART, self.sockets.recv()).await.ok().flatten();
        }
        if let Some(socket) = newest {
            rustix::io::ioctl_fionbio(&socket, true).map_err(|e| failed(e.into()))?;
            self.connection = Some(raw::register(socket).map_err(failed)?);
        }
        self.connection
            .as_ref()
            .ok_or_else(|| UnpackError::Failed("the unpacker process is not running".to_owned()))
    }
}

async fn exchange(
    socket: &AsyncFd<OwnedFd>,
    request: &Request,
    blob: Option<&File>,
) -> io::Result<(Answer, Option<File>)> {
    let packet = request.encode().map_err(io::Error::other)?;
    let accounts = match blob {
        Some(_) => Some(File::from(rustix::fs::memfd_create("picasso-accounts", MemfdFlags::CLOEXEC)?)),
        None => None,
    };
    let limit = match request.operation {
        Operation::Unpack(bounds) => bounds.timeout + MARGIN,
        Operation::Has | Operation::Remove => MARGIN,
    };
    let answer = tokio::time::timeout(limit, async {
        socket.async_io(Interest::WRITABLE, |socket| send(socket, &packet, blob, accounts.as_ref())).await?;
        let mut buffer = [0; MAX_ANSWER];
        let length = socket
            .async_io(Interest::READABLE, |socket| {
                Ok(rustix::net::recv(socket, &mut buffer[..], RecvFlags::empty())?.0)
            })
            .await?;
        if length == 0 {
            return Err(io::Error::from(io::ErrorKind::ConnectionReset));
        }
        Answer::decode(&buffer[..length]).map_err(io::Error::other)
    })
    .await
    .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    Ok((answer, accounts))
}

fn send(socket: &OwnedFd, packet: &[u8], blob: Option<&File>, accounts: Option<&File>) -> io::Result<()> {
    let descriptors: Vec<_> = blob.into_iter().chain(accounts).map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(2))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    sendmsg(socket, &[IoSlice::new(packet)], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

#[async_trait]
impl LayerUnpacker for UnpackerClient {
    async fn unpack(
        &self,
        blob: File,
        diff_id: &Digest,
        bounds: UnpackBounds,
    ) -> Result<UnpackedLayer, UnpackError> {
        let request = Request { operation: Operation::Unpack(bounds), diff_id: diff_id.clone() };
        let (answer, accounts) = self.ask(request, Some(blob)).await?;
        let Answer::Unpacked { bytes, inodes, tar_bytes, passwd, group } = answer else {
            return Err(unexpected(answer));
        };
        let read = |file, offset| account_file(accounts.as_ref(), file, offset);
        Ok(UnpackedLayer {
            diff_id: diff_id.clone(),
            bytes,
            inodes,
            tar_bytes,
            passwd: read(passwd, 0)?,
            group: read(group, u64::from(passwd.length()))?,
        })
    }

    async fn has(&self, diff_id: &Digest) -> Result<bool, UnpackError> {
        self.ask_simple(Operation::Has, diff_id).await
    }

    async fn remove(&self, diff_id: &Digest) -> Result<(), UnpackError> {
        self.ask_simple(Operation::Remove, diff_id).await.map(drop)
    }
}

fn account_file(accounts: Option<&File>, file: AccountFile, offset: u64) -> Result<LayerFile, UnpackError> {
    let length = match file {
        AccountFile::Absent => return Ok(LayerFile::Absent),
        AccountFile::Hidden => return Ok(LayerFile::Hidden),
        AccountFile::Content(length) => length,
    };
    let accounts = accounts.ok_or_else(|| UnpackError::Failed("no account files".to_owned()))?;
    let mut content = vec![0; usize::try_from(length).unwrap_or_default()];
    accounts
        .read_exact_at(&mut content, offset)
        .map_err(|error| UnpackError::Failed(format!("reading the account files: {error}")))?;
    Ok(LayerFile::Content(content))
}

fn unexpected(answer: Answer) -> UnpackError {
    match answer {
        Answer::Refused(reason) => UnpackError::Refused(reason),
        Answer::Failed(reason) => UnpackError::Failed(reason),
        Answer::Unpacked { .. } | Answer::Done(_) => {
            UnpackError::Failed("the unpacker answered another question".to_owned())
        }
    }
}
