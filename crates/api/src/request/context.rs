//! What is known of a request from its first line on: its ids, and whom and what it is about.

use std::convert::Infallible;
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use axum::extract::FromRequestParts;
use http::request::Parts;
use http::{HeaderMap, HeaderName};
use picasso_engine::Target;
use picasso_identity::Caller;
use picasso_identity::policy::RuleDefault;
use picasso_types::{CallId, ProjectId, RequestId};

use crate::announce::{Announcement, End, Subject};

/// The header of request ids, as every OpenStack service writes it.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-openstack-request-id");

/// What is known of one request; shared by everything that works on it.
#[derive(Debug, Clone)]
pub(crate) struct RequestContext(Arc<RequestNotes>);

/// The ids of one request, and what handlers learn of it for its log line. Never bodies, never
/// tokens.
#[derive(Debug)]
pub(crate) struct RequestNotes {
    /// Ours, new for every request.
    pub(crate) id: RequestId,
    /// The caller's own.
    pub(crate) global_id: Option<String>,
    /// The client's address, behind all proxies that are trusted.
    pub(crate) client: Option<IpAddr>,
    /// Who asks.
    pub(crate) caller: OnceLock<Arc<Caller>>,
    /// The function that is asked for.
    pub(crate) target: OnceLock<Arc<Target>>,
    /// The call that the request became.
    pub(crate) call: OnceLock<CallId>,
    /// What is told of it on OpenStack's bus.
    announcement: Option<Announcement>,
}

impl RequestContext {
    /// A context with a fresh id.
    pub(crate) fn new(
        global_id: Option<String>,
        client: Option<IpAddr>,
        announcement: Option<Announcement>,
    ) -> Self {
        Self(Arc::new(RequestNotes {
            id: RequestId::generate(),
            global_id,
            client,
            caller: OnceLock::new(),
            target: OnceLock::new(),
            call: OnceLock::new(),
            announcement,
        }))
    }
}

impl RequestNotes {
    /// The project whose function or resource it is.
    pub(crate) fn project(&self) -> Option<&str> {
        let of_target = self.target.get().map(|target| target.app.project_id.as_str());
        of_target.or_else(|| Some(self.caller.get()?.project_id()?.as_str()))
    }

    /// Notes who asks.
    pub(crate) fn note_caller(&self, caller: &Arc<Caller>) {
        // A request is authorized once; a second note says the same.
        let first = self.caller.set(caller.clone()).is_ok();
        if let Some(announcement) = self.announcement.as_ref().filter(|_| first) {
            announcement.known(&self.id, self.global_id.as_deref(), caller);
        }
    }

    /// Notes that this rule allows it, in this project.
    pub(crate) fn note_authorized(&self, rule: &'static RuleDefault, project: &ProjectId) {
        if let Some(announcement) = &self.announcement {
            announcement.authorized(rule.name, project);
        }
    }

    /// Notes that this rule does not allow it.
    pub(crate) fn note_refused(&self, rule: &'static RuleDefault) {
        if let Some(announcement) = &self.announcement {
            announcement.refused(rule.name, &self.id, self.global_id.as_deref());
        }
    }

    /// Notes that the system's administrator does what this rule guards.
    pub(crate) fn note_administrator(&self, rule: &'static RuleDefault) {
        if let Some(announcement) = &self.announcement {
            announcement.by_administrator(rule.name, &self.id, self.global_id.as_deref());
        }
    }

    /// Notes what it is about, for what is told of it.
    pub(crate) fn about(&self, subject: &impl Subject) {
        if let Some(announcement) = &self.announcement {
            announcement.about(subject);
        }
    }

    /// Notes its end.
    pub(crate) fn note_end(&self, end: End) {
        if let Some(announcement) = &self.announcement {
            announcement.ended(end, &self.id, self.global_id.as_deref());
        }
    }

    /// Notes the call that the request became.
    pub(crate) fn note_call(&self, call: &CallId, target: &Arc<Target>) {
        // A request becomes one call.
        let _ = self.call.set(call.clone());
        let _ = self.target.set(target.clone());
    }
}

impl Deref for RequestContext {
    type Target = RequestNotes;

    fn deref(&self) -> &RequestNotes {
        &self.0
    }
}

impl<S: Sync> FromRequestParts<S> for RequestContext {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts
            .extensions
            .get::<Self>()
            .cloned()
            // Only a router without the request layer comes here; its ids stay consistent anyway.
            .unwrap_or_else(|| Self::new(None, None, None)))
    }
}

/// The caller's own request id (oslo.middleware's *global* request id), where it is well formed:
/// `req-` and a UUID.
pub(crate) fn global_request_id(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(REQUEST_ID)?.to_str().ok()?;
    let uuid = text.strip_prefix("req-")?;
    let well_formed = uuid.len() == 36
        && uuid.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
        });
    well_formed.then_some(text)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn global(text: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST_ID, HeaderValue::from_str(text).unwrap());
        global_request_id(&headers).map(str::to_owned)
    }

    #[test]
    fn only_a_well_formed_id_of_the_caller_is_taken_over() {
        let good = "req-0a1b2c3d-0000-4000-8000-0123456789ab";
        assert_eq!(global(good).as_deref(), Some(good));
        for bad in ["x", "req-", "req-0A1B2C3D-0000-4000-8000-0123456789ab", &format!("{good} evil=1")] {
            assert_eq!(global(bad), None, "{bad}");
        }
    }
}
