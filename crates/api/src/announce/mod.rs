//! What requests do, told on OpenStack's bus: lifecycle notifications and audit events.
//!
//! All of it is made in one place, from a request's endpoint, its caller and its outcome: the request
//! layer begins an [`Announcement`], the authorization of the caller starts it, the layer ends it -
//! also where the handler failed or panicked, or the client left.
//!
//! **A new endpoint that changes something** is named by the policy rule that it enforces (`events.rs`)
//! and gets a row in `docs/notifications.md`, which a test demands. Its handler may say which thing it
//! is about, as soon as it knows: `auth.about(&app)`; a new kind of thing implements [`Subject`]. Never
//! tell configuration values, secrets or bodies.

mod announcement;
mod audit;
mod events;
mod strangers;
mod subject;

use std::sync::Arc;

use picasso_notify::Notifier;

pub(crate) use announcement::{Announcement, End};
use strangers::Strangers;
pub(crate) use subject::{SourceVersion, Subject};

/// What is told, and to whom.
#[derive(Debug)]
pub struct Announcer {
    notifier: Arc<dyn Notifier>,
    settings: AnnounceSettings,
    strangers: Strangers,
}

/// What is told.
#[derive(Debug, Clone, Default)]
pub struct AnnounceSettings {
    /// Whether lifecycle notifications are sent (`function.app.create.start`, …).
    pub lifecycle: bool,
    /// Which requests are audited; `None`: none.
    pub audit: Option<AuditSettings>,
    /// The API's public URL, which audit events name as their target.
    pub public_url: Option<String>,
}

/// Which requests are audited: those that need a token, whether it was a good one or not. Calls of
/// functions have records of their own; of them those are audited that were refused.
#[derive(Debug, Clone, Default)]
pub struct AuditSettings {
    /// Not those of these methods, `GET`.
    pub ignore_methods: Vec<String>,
    /// Nor those of these URLs, as templates of the API's reference: `/v1/{project_id}/calls/retry`.
    pub ignore_paths: Vec<String>,
}

impl Announcer {
    /// Tells `notifier` what `settings` ask for.
    pub fn new(notifier: Arc<dyn Notifier>, settings: AnnounceSettings) -> Self {
        Self { notifier, settings, strangers: Strangers::default() }
    }

    /// Tells nobody.
    pub fn silent() -> Self {
        Self::new(Arc::new(picasso_notify::FanOut::default()), AnnounceSettings::default())
    }
}
