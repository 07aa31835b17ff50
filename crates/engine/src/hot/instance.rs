//! One hot sandbox as its calls see it.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use picasso_sandbox::{Ended, EndedBy, Freezer};
use picasso_types::Failure;
use tokio::sync::{SetOnce, watch};
use tokio::time::Instant;

use super::lease::Holder;
use super::link::Link;
use super::pool::Pool;
use crate::admission::Room;
use crate::function_log::FunctionLog;
use crate::gate::Pass;

/// How long a call whose sandbox broke off waits to hear how its process ended.
const OBITUARY: Duration = Duration::from_millis(250);

/// How a sandbox is asked to end. A later word only counts when it is stronger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stop {
    /// It may go on.
    No,
    /// SIGTERM, and SIGKILL after this time.
    Gently(Duration),
    /// A call broke off: SIGKILL, after a moment in which a dying process can say how it died.
    Soon,
    /// SIGKILL.
    Kill,
}

/// How a sandbox ended.
#[derive(Debug, Clone)]
pub(super) struct Obituary {
    /// What the driver said; `None` when it lost the sandbox.
    pub(super) ended: Option<Ended>,
    /// We ended it.
    pub(super) ours: bool,
    /// The end of its stderr.
    pub(super) stderr_tail: Vec<u8>,
}

/// One hot sandbox.
#[derive(Debug)]
pub(crate) struct Instance {
    pub(super) pool: Arc<Pool>,
    /// Its key in the pool's roster.
    pub(super) key: usize,
    pub(super) link: Arc<dyn Link>,
    pub(super) log: Arc<FunctionLog>,
    /// When it could take its first call.
    pub(super) ready_at: Instant,
    pub(super) freezer: Option<Freezer>,
    pub(super) room: Weak<Room>,
    /// CPU of the calls it holds.
    pub(super) cpu: Mutex<Option<Pass>>,
    pub(super) stop: watch::Sender<Stop>,
    pub(super) ended: SetOnce<Obituary>,
}

impl Instance {
    /// Asks it to end.
    pub(super) fn stop(&self, how: Stop) {
        if let Some(room) = self.room.upgrade() {
            room.leave();
        }
        self.stop.send_if_modified(|stop| {
            let stronger = how > *stop;
            if stronger {
                *stop = how;
            }
            stronger
        });
    }

    pub(super) fn set_cpu(&self, pass: Option<Pass>) -> Option<Pass> {
        std::mem::replace(&mut *self.cpu.lock().unwrap_or_else(PoisonError::into_inner), pass)
    }

    /// Why a call failed that its sandbox broke off, and the end of stderr: the way its process
    /// ended where it did, else `reason`.
    pub(super) async fn why(&self, reason: String) -> (Failure, Option<i32>, Vec<u8>) {
        let Ok(obituary) = tokio::time::timeout(OBITUARY, self.ended.wait()).await else {
            return (Failure::BadAnswer { reason }, None, self.log.tail());
        };
        let tail = obituary.stderr_tail.clone();
        let limit_mb = self.pool.spec().memory_mb;
        match obituary.ended {
            Some(Ended { out_of_memory: true, .. }) => (Failure::OutOfMemory { limit_mb }, None, tail),
            Some(Ended { by: EndedBy::Exit(code), .. }) if !obituary.ours && code != 0 => {
                (Failure::Exit { code }, Some(code), tail)
            }
            Some(Ended { by: EndedBy::Signal(signal), .. }) if !obituary.ours => {
                (Failure::Signal { signal }, None, tail)
            }
            _ => (Failure::BadAnswer { reason }, None, tail),
        }
    }
}

impl Holder for Instance {
    fn returned(&self, kept: bool) {
        self.pool.returned(self.key, kept);
    }
}
