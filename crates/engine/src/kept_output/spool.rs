//! One output on its way to where it is kept: its head in memory, the rest in parts.
//!
//! Whoever writes calls [`Spool::push`], which never waits, and then [`Spool::relieve`], which
//! stores what is full. So a function that writes faster than the store takes it is slowed down, and
//! memory holds little more than one part.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use picasso_types::KeptObject;
use tokio::sync::Mutex as Turn;

use crate::large_outputs::{ObjectRef, ObjectWriter, PART_BYTES};

/// How much of an output goes where, bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct SpoolBounds {
    /// An output of up to this size lies in the database; of one that could not be stored
    /// elsewhere, so much of its beginning.
    pub(super) inline: usize,
    /// What is remembered of its beginning.
    pub(super) head: usize,
    /// What is kept of it in all.
    pub(super) max: usize,
}

/// Where an output lies in the end.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// In the database.
    pub(super) inline: Vec<u8>,
    /// Or else here.
    pub(super) object: Option<ObjectRef>,
}

#[derive(Debug)]
pub(super) struct Spool {
    bounds: SpoolBounds,
    /// Whether there is an object store.
    spills: bool,
    state: Mutex<State>,
    /// Held by whoever stores a part.
    writer: Turn<ObjectWriter>,
}

#[derive(Debug, Default)]
struct State {
    head: Vec<u8>,
    /// What is in no full part yet.
    buffer: Vec<u8>,
    full: VecDeque<Vec<u8>>,
    kept: usize,
    total: u64,
    /// Nothing is stored any more.
    lost: bool,
    closed: bool,
}

impl Spool {
    pub(super) fn new(bounds: SpoolBounds, spills: bool, writer: ObjectWriter) -> Self {
        Self { bounds, spills, state: Mutex::default(), writer: Turn::new(writer) }
    }

    /// Whether so many bytes more are kept whole.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        let state = self.state();
        !state.lost && state.kept + bytes <= self.bounds.max
    }

    /// Takes bytes, as far as there is room.
    pub(super) fn push(&self, bytes: &[u8]) {
        let mut state = self.state();
        if state.closed {
            return;
        }
        state.total += bytes.len() as u64;
        let mut bytes = &bytes[..bytes.len().min(self.bounds.max - state.kept)];
        state.kept += bytes.len();
        let room = self.bounds.head - state.head.len();
        state.head.extend_from_slice(&bytes[..bytes.len().min(room)]);
        if !self.spills || state.lost {
            return;
        }
        while !bytes.is_empty() {
            let room = PART_BYTES - state.buffer.len();
            let (now, rest) = bytes.split_at(bytes.len().min(room));
            state.buffer.extend_from_slice(now);
            bytes = rest;
            if state.buffer.len() == PART_BYTES {
                let part = std::mem::take(&mut state.buffer);
                state.full.push_back(part);
            }
        }
    }

    /// Stores the parts that are full.
    pub(super) async fn relieve(&self) {
        if self.state().full.is_empty() {
            return;
        }
        let mut writer = self.writer.lock().await;
        self.store_full(&mut writer).await;
    }

    async fn store_full(&self, writer: &mut ObjectWriter) {
        loop {
            let Some(part) = self.state().full.pop_front() else { return };
            if !writer.put(&part).await {
                self.state().lose();
                writer.abandon().await;
            }
        }
    }

    /// What was written in all, and what of it begins it.
    pub(super) fn head(&self) -> (u64, Vec<u8>) {
        let state = self.state();
        (state.total, state.head.clone())
    }

    /// Stores the rest. Nothing is taken any more.
    pub(super) async fn close(&self) -> Kept {
        let mut writer = self.writer.lock().await;
        self.state().closed = true;
        self.store_full(&mut writer).await;
        let (rest, kept) = {
            let mut state = self.state();
            (std::mem::take(&mut state.buffer), state.kept)
        };
        if kept > self.bounds.inline && self.spills && !self.state().lost {
            // An output of whole parts has no rest.
            let stored = if rest.is_empty() { writer.is_whole() } else { writer.put(&rest).await };
            if stored {
                return Kept { inline: Vec::new(), object: writer.take(kept as u64) };
            }
            writer.abandon().await;
        }
        let mut inline = self.state().head.clone();
        inline.truncate(self.bounds.inline);
        Kept { inline, object: None }
    }

    /// Nobody wants it.
    pub(super) async fn abandon(&self) {
        let mut writer = self.writer.lock().await;
        self.state().lose();
        self.state().closed = true;
        writer.abandon().await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every update leaves the state whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn lose(&mut self) {
        self.lost = true;
        self.full = VecDeque::new();
        self.buffer = Vec::new();
    }
}

impl Kept {
    /// The object as the store is told of it.
    pub(super) fn object(&self) -> Option<KeptObject> {
        let ObjectRef { id, parts, bytes } = self.object.clone()?;
        Some(KeptObject { id, parts, bytes })
    }
}
