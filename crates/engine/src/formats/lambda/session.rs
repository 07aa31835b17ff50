//! The state of one sandbox's runtime: it asks, is told, answers, asks again.
//!
//! Without HTTP and without time. One call at a time; an answer is taken only for the id of the
//! call that the runtime holds, so that a late or repeated one can never reach another caller.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::HeaderMap;
use picasso_types::{CallId, Trigger};
use tokio::sync::{Notify, oneshot};

use super::fault::Fault;
use crate::hot::link::{HotAnswer, LinkFault};

/// How a call went, up to the head of its answer.
pub(super) type Reply = Result<HotAnswer, LinkFault>;
/// Whether the runtime became ready; a sentence where it said that it cannot.
pub(super) type Initialised = Result<(), String>;

/// One call, as a runtime holds it.
pub(super) struct Held {
    /// Its id, which the runtime repeats in its answer.
    pub(super) id: CallId,
    /// Which way it came in: decides what its answer means.
    pub(super) trigger: Trigger,
    /// Takes the head of the answer, or why there is none.
    pub(super) reply: oneshot::Sender<Reply>,
    /// Told when the runtime has answered well and asks again; dropped when it never will.
    pub(super) over: oneshot::Sender<()>,
}

/// The answer of `/runtime/invocation/next`.
#[derive(Debug)]
pub(super) struct Event {
    /// Its headers.
    pub(super) headers: HeaderMap,
    /// Its body.
    pub(super) body: Bytes,
}

/// Which of the two answers a call gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AnswerKind {
    /// `/response`.
    Response,
    /// `/error`.
    Error,
}

enum State {
    /// It has not asked for a call yet.
    Started(oneshot::Sender<Initialised>),
    /// It said that it cannot start.
    InitFailed,
    /// It asks; the event goes where it waits. Closed where its connection is gone.
    Asking(oneshot::Sender<Event>),
    /// It holds a call.
    Running(Held),
    /// Its answer is being read.
    Answering { id: CallId, kind: AnswerKind, over: oneshot::Sender<()> },
    /// It has answered and not asked again.
    Answered { over: oneshot::Sender<()> },
    /// It broke the contract: nothing more is taken from it.
    Broken,
}

impl State {
    /// The state's name in refusals, as AWS's runtime interface emulator has them.
    fn name(&self) -> &'static str {
        match self {
            Self::Started(_) => "Started",
            Self::InitFailed => "InitError",
            Self::Asking(_) => "Ready",
            Self::Running(_) => "Running",
            Self::Answering { kind, .. } => kind.state_name(),
            Self::Answered { .. } => "ResponseSent",
            Self::Broken => "Broken",
        }
    }

    fn refused(&self, to: &'static str) -> Fault {
        Fault::InvalidStateTransition { from: self.name(), to }
    }
}

impl AnswerKind {
    fn state_name(self) -> &'static str {
        match self {
            Self::Response => "InvocationResponse",
            Self::Error => "InvocationErrorResponse",
        }
    }
}

/// The runtime of one sandbox.
pub(super) struct Session {
    /// Largest answer that is not streamed, bytes.
    pub(super) max_answer: usize,
    state: Mutex<State>,
    asked: Notify,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("state", &self.state().name()).finish_non_exhaustive()
    }
}

impl Session {
    /// A runtime that was just started, and what tells when it is ready.
    pub(super) fn new(max_answer: usize) -> (Arc<Self>, oneshot::Receiver<Initialised>) {
        let (initialised, receiver) = oneshot::channel();
        let state = Mutex::new(State::Started(initialised));
        (Arc::new(Self { max_answer, state, asked: Notify::new() }), receiver)
    }

    /// The runtime asks for its next call. What it gets comes later; a closed channel means that
    /// it has asked again meanwhile. The newest question counts: a client that lost its
    /// connection asks on another before we know of the loss.
    pub(super) fn ask(&self) -> Result<oneshot::Receiver<Event>, Fault> {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.state();
        if !matches!(*state, State::Started(_) | State::Asking(_) | State::Answered { .. }) {
            return Err(state.refused("Ready"));
        }
        let before = std::mem::replace(&mut *state, State::Asking(sender));
        drop(state);
        match before {
            // Nobody waits any more where the start took too long.
            State::Started(initialised) => drop(initialised.send(Ok(()))),
            State::Answered { over } => drop(over.send(())),
            _ => {}
        }
        self.asked.notify_one();
        Ok(receiver)
    }

    /// The runtime says that it cannot start; `reason` is made only where that is allowed now.
    pub(super) fn fail_init(&self, reason: impl FnOnce() -> String) -> Result<(), Fault> {
        let mut state = self.state();
        if !matches!(*state, State::Started(_)) {
            return Err(state.refused("InitError"));
        }
        if let State::Started(initialised) = std::mem::replace(&mut *state, State::InitFailed) {
            drop(initialised.send(Err(reason())));
        }
        Ok(())
    }

    /// A request that only runtimes of restored snapshots may make.
    pub(super) fn refuse_restore(&self, to: &'static str) -> Fault {
        self.state().refused(to)
    }

    /// Waits until the runtime asks, and gives it a call; `false` where it never will.
    pub(super) async fn give(&self, call: Held, event: Event) -> bool {
        let mut waiting = Some((call, event));
        while let Some((call, event)) = waiting.take() {
            waiting = self.try_give(call, event);
            if waiting.is_some() {
                if matches!(*self.state(), State::Broken) {
                    return false;
                }
                self.asked.notified().await;
            }
        }
        true
    }

    /// Gives a call to a runtime that asks for one; else the call comes back.
    fn try_give(&self, call: Held, event: Event) -> Option<(Held, Event)> {
        let mut state = self.state();
        match std::mem::replace(&mut *state, State::Broken) {
            State::Asking(asker) => match asker.send(event) {
                Ok(()) => {
                    *state = State::Running(call);
                    None
                }
                // Its connection is gone: nothing was sent, and it has to ask again.
                Err(event) => {
                    *state = State::Asking(oneshot::channel().0);
                    Some((call, event))
                }
            },
            other => {
                *state = other;
                Some((call, event))
            }
        }
    }

    /// The runtime begins to answer the call with that id.
    pub(super) fn begin_answer(self: &Arc<Self>, id: &str, kind: AnswerKind) -> Result<Answering, Fault> {
        let mut state = self.state();
        match std::mem::replace(&mut *state, State::Broken) {
            State::Running(Held { id: held, trigger, reply, over }) if held.as_str() == id => {
                *state = State::Answering { id: held, kind, over };
                Ok(Answering { session: self.clone(), trigger, reply: Some(reply), finished: false })
            }
            other => {
                *state = other;
                Err(match &*state {
                    State::Answering { id: held, .. } if held.as_str() == id => {
                        state.refused(kind.state_name())
                    }
                    _ => Fault::InvalidRequestId,
                })
            }
        }
    }

    /// The runtime is gone: the call it holds has no answer, and none is taken any more.
    pub(super) fn break_off(&self) {
        let before = std::mem::replace(&mut *self.state(), State::Broken);
        // Tells whoever waits for the call.
        drop(before);
        self.asked.notify_one();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every update leaves the state whole: a panic elsewhere harms nothing.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An answer that is being read. Dropped unfinished - its connection broke, or it broke the
/// contract - it fails its call and the runtime is not used again.
pub(super) struct Answering {
    session: Arc<Session>,
    trigger: Trigger,
    reply: Option<oneshot::Sender<Reply>>,
    finished: bool,
}

impl Answering {
    /// Which way the call came in.
    pub(super) fn trigger(&self) -> Trigger {
        self.trigger
    }

    /// Largest answer that is not streamed, bytes.
    pub(super) fn limit(&self) -> usize {
        self.session.max_answer
    }

    /// Tells the caller the head of the answer, or why there is none. The caller may be gone.
    pub(super) fn reply(&mut self, reply: Reply) {
        if let Some(sender) = self.reply.take() {
            drop(sender.send(reply));
        }
    }

    /// The answer was read whole: the runtime may ask again.
    pub(super) fn finish(mut self) {
        self.finished = true;
        let mut state = self.session.state();
        if let State::Answering { over, .. } = std::mem::replace(&mut *state, State::Broken) {
            *state = State::Answered { over };
        }
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        if !self.finished {
            *self.session.state() = State::Broken;
            self.reply(Err(LinkFault::BrokenOff("its answer broke off".to_owned())));
        }
    }
}
