//! One spawner's socket: requests matched with their answers, ends kept until asked for.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::io::unix::AsyncFd;
use tokio::sync::{oneshot, watch};

use super::packet;
use super::protocol::{RefusalKind, Report, Request, SpawnerSlot};
use super::raw;
use crate::{Ended, IdentityFolders, SandboxError, SlotId};

/// Bits of a slot id below the connection's generation.
const SLOT_BITS: u32 = 48;

/// An answer, and the descriptors that came with it.
pub(super) type Answer = (Report, Vec<OwnedFd>);

/// The connection to one spawner process.
#[derive(Debug)]
pub(super) struct Connection {
    socket: AsyncFd<OwnedFd>,
    /// Tells the slots of this spawner from those of one before.
    generation: u16,
    egress: AtomicBool,
    next_id: AtomicU32,
    /// `None` once the spawner is gone.
    asked: Mutex<Option<HashMap<u32, oneshot::Sender<Answer>>>>,
    ends: Mutex<HashMap<SpawnerSlot, watch::Sender<Option<Ended>>>>,
    identities: OnceLock<Arc<IdentityFolders>>,
}

/// The error of everything that needs a spawner when there is none.
pub(super) fn unavailable(reason: &str) -> SandboxError {
    SandboxError::Unavailable { driver: "native", reason: reason.to_owned() }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every update is a single insertion or removal: a panic elsewhere leaves nothing half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Connection {
    pub(super) fn open(socket: OwnedFd, generation: u16) -> io::Result<Arc<Self>> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(Arc::new(Self {
            socket: raw::watched(socket)?,
            generation,
            egress: AtomicBool::new(false),
            next_id: AtomicU32::new(1),
            asked: Mutex::new(Some(HashMap::new())),
            ends: Mutex::default(),
            identities: OnceLock::new(),
        }))
    }

    /// Reads until the spawner is gone; `connected` shows the connection from its first message
    /// on. All that waits then is told.
    pub(super) async fn serve(self: &Arc<Self>, connected: &watch::Sender<Option<Arc<Self>>>) {
        let reason = loop {
            match self.receive().await {
                Ok(Some((Report::Hello { egress }, fds))) => {
                    if let Some(folder) = fds.into_iter().next() {
                        self.identities.get_or_init(|| IdentityFolders::new(folder));
                    }
                    self.egress.store(egress, Ordering::Relaxed);
                    connected.send_replace(Some(Arc::clone(self)));
                }
                Ok(Some(answer)) => self.dispatch(answer),
                Ok(None) => break "it ended".to_owned(),
                Err(e) => break e.to_string(),
            }
        };
        tracing::error!(reason, "the spawner is gone");
        // In this order: who learns that an end will not come finds the spawner gone.
        lock(&self.asked).take();
        lock(&self.ends).clear();
    }

    async fn receive(&self) -> io::Result<Option<Answer>> {
        let packet = self
            .socket
            .async_io(tokio::io::Interest::READABLE, |socket| packet::receive(socket.as_fd()))
            .await?;
        if packet.bytes.is_empty() {
            return Ok(None);
        }
        let report = Report::decode(&packet.bytes);
        report
            .map(|report| Some((report, packet.fds)))
            .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
    }

    fn dispatch(self: &Arc<Self>, answer: Answer) {
        let id = match &answer.0 {
            Report::Ended { slot, ended } => {
                self.end_of(*slot).send_replace(Some(*ended));
                return;
            }
            Report::Hello { .. } => return,
            Report::Made { id, .. }
            | Report::Done { id }
            | Report::Started { id, .. }
            | Report::Sockets { id }
            | Report::Reaped { id, .. }
            | Report::StartFault { id, .. }
            | Report::Refused { id, .. } => *id,
        };
        let waiter = lock(&self.asked).as_mut().and_then(|asked| asked.remove(&id));
        let unheard = match waiter {
            Some(waiter) => waiter.send(answer).err(),
            None => Some(answer),
        };
        // Whoever asked for the slot went away meanwhile, and nobody knows its number.
        if let Some((Report::Made { slot, .. }, _)) = unheard {
            let connection = Arc::clone(self);
            tokio::spawn(async move {
                let remove = |id| Request::Remove { id, slot };
                if connection.ask(remove, &[], Duration::from_secs(30)).await.is_ok() {
                    lock(&connection.ends).remove(&slot);
                }
            });
        }
    }

    /// Sends a request and waits for its answer; a refusal becomes the error it names.
    pub(super) async fn ask(
        &self,
        request: impl FnOnce(u32) -> Request,
        fds: &[BorrowedFd<'_>],
        patience: Duration,
    ) -> Result<Answer, SandboxError> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        match lock(&self.asked).as_mut() {
            Some(asked) => asked.insert(id, answer),
            None => return Err(unavailable("the spawner died")),
        };
        let bytes = request(id).encode();
        let sent = self
            .socket
            .async_io(tokio::io::Interest::WRITABLE, |socket| packet::send(socket.as_fd(), &bytes, fds));
        let answered = async {
            sent.await.map_err(|e| unavailable(&format!("the spawner's socket: {e}")))?;
            answered.await.map_err(|_| unavailable("the spawner died"))
        };
        match tokio::time::timeout(patience, answered).await {
            Ok(Ok((Report::Refused { kind, text, .. }, _))) => Err(refusal(kind, text)),
            Ok(answer) => answer,
            Err(_) => Err(SandboxError::Failed {
                context: "waiting for the spawner".to_owned(),
                reason: format!("no answer within {} seconds", patience.as_secs()),
            }),
        }
    }

    fn end_of(&self, slot: SpawnerSlot) -> watch::Sender<Option<Ended>> {
        lock(&self.ends).entry(slot).or_insert_with(|| watch::channel(None).0).clone()
    }

    /// A slot's process runs: its end can be waited for.
    pub(super) fn started(&self, slot: SlotId) {
        self.end_of(slot_number(slot));
    }

    /// Waits for the end of a started process.
    pub(super) async fn ended(&self, slot: SlotId) -> Result<Ended, SandboxError> {
        let number = slot_number(slot);
        let subscribed = lock(&self.ends).get(&number).map(watch::Sender::subscribe);
        let Some(mut end) = subscribed else {
            return Err(SandboxError::Slot("the slot was not started, or is removed".to_owned()));
        };
        let ended = end.wait_for(Option::is_some).await.map(|ended| *ended);
        match ended {
            Ok(Some(ended)) => Ok(ended),
            _ if !self.is_alive() => Err(unavailable("the spawner died")),
            _ => Err(SandboxError::Slot("the slot was removed meanwhile".to_owned())),
        }
    }

    /// A removed slot's end is of no interest any more.
    pub(super) fn forget(&self, slot: SlotId) {
        lock(&self.ends).remove(&slot_number(slot));
    }

    /// Where this spawner's sandboxes have their identities.
    pub(super) fn identities(&self) -> Option<&Arc<IdentityFolders>> {
        self.identities.get()
    }

    pub(super) fn has_egress(&self) -> bool {
        self.egress.load(Ordering::Relaxed)
    }

    pub(super) fn slot_id(&self, slot: SpawnerSlot) -> SlotId {
        SlotId(u64::from(self.generation) << SLOT_BITS | slot)
    }

    pub(super) fn owns(&self, slot: SlotId) -> bool {
        slot.0 >> SLOT_BITS == u64::from(self.generation) && self.is_alive()
    }

    pub(super) fn is_alive(&self) -> bool {
        lock(&self.asked).is_some()
    }
}

/// The number by which its spawner knows a slot.
pub(super) fn slot_number(slot: SlotId) -> SpawnerSlot {
    slot.0 & ((1 << SLOT_BITS) - 1)
}

/// The spawner answered something that fits no question.
pub(super) fn unexpected(report: &Report) -> SandboxError {
    tracing::error!(?report, "the spawner gave an answer that does not fit the question");
    SandboxError::Failed {
        context: "asking the spawner".to_owned(),
        reason: "it answered something else".to_owned(),
    }
}

fn refusal(kind: RefusalKind, text: String) -> SandboxError {
    match kind {
        RefusalKind::Unsupported => SandboxError::Unsupported { driver: "native", reason: text },
        RefusalKind::Slot => SandboxError::Slot(text),
        RefusalKind::Failed => SandboxError::Failed { context: "native sandbox".to_owned(), reason: text },
    }
}
