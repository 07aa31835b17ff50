//! Where events go: to the [`Firer`], behind a trait so that tests can make it fail.

use async_trait::async_trait;
use picasso_types::trigger::{FiringOutcome, Trigger};

use crate::event::Event;
use crate::firing::{FireError, FireOptions, Fired, Firer};

/// Takes events of triggers.
#[async_trait]
pub trait EventSink: Send + Sync + std::fmt::Debug {
    /// Returns when the call of an event is on disk, or why there is none.
    async fn fire(&self, trigger: &Trigger, event: &Event) -> Result<Fired, FireError>;

    /// Writes down that an event was given up.
    fn give_up(&self, trigger: &Trigger, event: &Event, reason: &str);
}

#[async_trait]
impl EventSink for Firer {
    async fn fire(&self, trigger: &Trigger, event: &Event) -> Result<Fired, FireError> {
        Self::fire(self, trigger, event, FireOptions::default()).await
    }

    fn give_up(&self, trigger: &Trigger, event: &Event, reason: &str) {
        self.note(trigger, event, FiringOutcome::Refused, Some(reason.to_owned()), None);
    }
}
