//! Writes events down; hangs, or refuses those of a trigger, when told to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;
use picasso_trigger::notification::EventSink;
use picasso_trigger::{Event, FireError, Fired};
use picasso_types::CallId;
use picasso_types::trigger::Trigger;
use tokio::sync::watch;

#[derive(Debug)]
pub struct Written {
    state: Mutex<State>,
    hangs: watch::Sender<bool>,
    hanging: AtomicUsize,
}

#[derive(Debug, Default)]
struct State {
    /// By the trigger's name; an event's id makes one, as in the store.
    events: BTreeMap<String, Vec<Event>>,
    asked: BTreeMap<String, usize>,
    refusing: BTreeSet<String>,
    given_up: Vec<String>,
}

impl Default for Written {
    fn default() -> Self {
        Self { state: Mutex::default(), hangs: watch::Sender::new(false), hanging: AtomicUsize::new(0) }
    }
}

impl Written {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn events(&self, name: &str) -> Vec<Event> {
        self.state().events.get(name).cloned().unwrap_or_default()
    }

    /// How many events of a trigger came without being refused, the same one again among them.
    pub fn asked(&self, name: &str) -> usize {
        self.state().asked.get(name).copied().unwrap_or_default()
    }

    /// From now on nothing is finished.
    pub fn hang(&self) {
        self.hangs.send_replace(true);
    }

    pub fn go_on(&self) {
        self.hangs.send_replace(false);
    }

    /// How many hang now.
    pub fn hanging(&self) -> usize {
        self.hanging.load(Ordering::SeqCst)
    }

    pub fn refuse(&self, name: &str) {
        self.state().refusing.insert(name.to_owned());
    }

    pub fn accept(&self, name: &str) {
        self.state().refusing.remove(name);
    }

    /// `TRIGGER EVENT_TYPE` of what was given up.
    pub fn given_up(&self) -> Vec<String> {
        self.state().given_up.clone()
    }
}

/// Counts while it is there.
struct Hanging<'a>(&'a AtomicUsize);

impl Drop for Hanging<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl EventSink for Written {
    async fn fire(&self, trigger: &Trigger, event: &Event) -> Result<Fired, FireError> {
        if *self.hangs.borrow() {
            self.hanging.fetch_add(1, Ordering::SeqCst);
            let _hanging = Hanging(&self.hanging);
            self.hangs.subscribe().wait_for(|hangs| !hangs).await.unwrap();
        }
        let name = trigger.spec.name.to_string();
        let mut state = self.state();
        if state.refusing.contains(&name) {
            return Err(FireError::Later("the project's queue is full".to_owned()));
        }
        *state.asked.entry(name.clone()).or_default() += 1;
        let events = state.events.entry(name).or_default();
        if events.iter().any(|known| known.id == event.id) {
            return Ok(Fired::Duplicate(CallId::generate()));
        }
        events.push(event.clone());
        Ok(Fired::Accepted(CallId::generate()))
    }

    fn give_up(&self, trigger: &Trigger, event: &Event, _reason: &str) {
        self.state().given_up.push(format!("{} {}", trigger.spec.name, event.kind));
    }
}
