//! What makes functions run by itself: the clock, notifications of OpenStack services, webhooks,
//! changes of objects and messages of queues.
//!
//! Each kind turns what it hears into an [`Event`]; the [`Firer`] turns an event into a call that the
//! durable queue holds. Whoever told us of the event is answered only after that.

mod event;
mod filter;
mod firing;
mod firings;
mod input;
pub mod notification;
pub mod object;
mod queue;
mod rounds;
mod schedule;
#[cfg(test)]
mod testing;
pub mod webhook;

pub use event::Event;
pub use filter::is_taken;
pub use firing::{FireError, FireOptions, Fired, Firer};
pub use firings::Firings;
pub use queue::{Queues, TokenError, TriggerTokens};
pub use schedule::{ScheduleSettings, Schedules};
