//! Where the events of schedules go; tests put a fault between.

use async_trait::async_trait;
use picasso_types::trigger::{FiringOutcome, Trigger};

use crate::event::Event;
use crate::firing::{FireError, FireOptions, Fired, Firer};

/// Turns an event into a call.
#[async_trait]
pub(super) trait Fires: Send + Sync + std::fmt::Debug {
    /// See [`Firer::fire`].
    async fn fire(&self, trigger: &Trigger, event: &Event, options: FireOptions) -> Result<Fired, FireError>;

    /// Writes down that an event was passed over.
    fn note_skipped(&self, trigger: &Trigger, event: &Event, reason: String);
}

#[async_trait]
impl Fires for Firer {
    async fn fire(&self, trigger: &Trigger, event: &Event, options: FireOptions) -> Result<Fired, FireError> {
        Firer::fire(self, trigger, event, options).await
    }

    fn note_skipped(&self, trigger: &Trigger, event: &Event, reason: String) {
        self.note(trigger, event, FiringOutcome::Skipped, Some(reason), None);
    }
}
