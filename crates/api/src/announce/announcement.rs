//! What is told of one request, from its authorization to its end.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use http::{HeaderMap, Uri, header};
use percent_encoding::percent_decode_str;
use picasso_identity::Caller;
use picasso_notify::cadf::{Activity, Initiator, Outcome, Target, User};
use picasso_notify::{Notification, Priority};
use picasso_types::text::cut;
use picasso_types::{ProjectId, RequestId};
use serde_json::{Map, Value, json};

use super::audit::{self, Coverage};
use super::{Announcer, Subject, events};
use crate::error::Kind;

/// The service's name in Keystone's catalog.
const SERVICE_NAME: &str = "picasso";
/// Longer texts of clients are cut.
const MAX_TEXT: usize = 1024;

/// How a request ended.
#[derive(Debug, Clone, Copy)]
pub(crate) enum End {
    /// It was answered with this status; with this kind, where it is an error.
    Answered(u16, Option<Kind>),
    /// The client left before the answer.
    HungUp,
}

/// What is told of one request.
#[derive(Debug)]
pub(crate) struct Announcement {
    announcer: Arc<Announcer>,
    /// Whether it is told as a change, once its rule has allowed it.
    changes: bool,
    audited: Option<Audited>,
    request_path: String,
    address: Option<String>,
    agent: Option<String>,
    progress: Mutex<Progress>,
}

/// What the endpoint says of a request's audit event.
#[derive(Debug)]
struct Audited {
    coverage: Coverage,
    action: String,
    type_uri: String,
}

#[derive(Debug, Default)]
struct Progress {
    /// As oslo.context has it.
    context: Map<String, Value>,
    payload: Map<String, Value>,
    activity: Option<Activity>,
    /// The name of the change that has begun.
    event: Option<String>,
    /// Who calls a function, which is told where it is refused.
    caller: Option<Arc<Caller>>,
    /// The rule that refused it.
    refused_by: Option<&'static str>,
}

impl Announcement {
    /// For a request of the API; `None` where nothing is told of it.
    pub(crate) fn of(
        announcer: &Arc<Announcer>,
        method: &str,
        template: &str,
        request: &axum::extract::Request,
        client: Option<IpAddr>,
    ) -> Option<Self> {
        let settings = &announcer.settings;
        let changes = settings.lifecycle && events::changes(method, template);
        let coverage = settings.audit.as_ref().and_then(|audit| audit.covers(method, template));
        let audited = coverage.map(|coverage| Audited {
            coverage,
            action: audit::action(method, template),
            type_uri: audit::type_uri(template),
        });
        (changes || audited.is_some())
            .then(|| Self::new(announcer.clone(), changes, audited, template, request, client))
    }

    /// For a request of the admin socket, whose caller is the system's administrator.
    pub(crate) fn of_admin(
        announcer: &Arc<Announcer>,
        method: &str,
        template: &str,
        request: &axum::extract::Request,
        client: Option<IpAddr>,
    ) -> Option<Self> {
        let changes = announcer.settings.lifecycle && events::changes(method, template);
        changes.then(|| Self::new(announcer.clone(), true, None, template, request, client))
    }

    fn new(
        announcer: Arc<Announcer>,
        changes: bool,
        audited: Option<Audited>,
        template: &str,
        request: &axum::extract::Request,
        client: Option<IpAddr>,
    ) -> Self {
        let payload = if changes { parameters(template, request.uri().path()) } else { Map::new() };
        Self {
            announcer,
            changes,
            audited,
            request_path: shown_path(request.uri()),
            address: client.map(|client| client.to_string()),
            agent: agent(request.headers()),
            progress: Mutex::new(Progress { payload, ..Progress::default() }),
        }
    }

    /// Keystone knows the caller: the audit begins.
    pub(crate) fn known(&self, id: &RequestId, global_id: Option<&str>, caller: &Arc<Caller>) {
        let mut progress = self.progress();
        if self.audited.as_ref().is_some_and(|audited| audited.coverage == Coverage::Refusals) {
            // Most calls are not refused, and nothing is told of those.
            progress.caller = Some(caller.clone());
            return;
        }
        self.begin(&mut progress, id, global_id, caller);
        if let Some(activity) = &progress.activity {
            self.tell(&progress, "audit.http.request".to_owned(), Priority::Info, activity.request());
        }
    }

    fn begin(&self, progress: &mut Progress, id: &RequestId, global_id: Option<&str>, caller: &Caller) {
        let mut values = caller.policy_values();
        for key in [
            "user_id",
            "user_domain_id",
            "project_id",
            "project_domain_id",
            "domain_id",
            "system_scope",
            "roles",
        ] {
            if let Some(value) = values.remove(key) {
                progress.context.insert(key.to_owned(), value);
            }
        }
        progress.context.insert("user_name".to_owned(), caller.user_name.clone().into());
        Self::identify(progress, id, global_id);
        let user = User {
            id: caller.user_id.clone(),
            name: caller.user_name.clone(),
            project_id: caller.project_id().map(ToString::to_string),
        };
        let activity = |audited| self.activity(audited, Some(user), id, global_id);
        progress.activity = self.audited.as_ref().map(activity);
    }

    /// This rule allows the caller to do it in this project: the change begins.
    pub(crate) fn authorized(&self, rule: &'static str, project: &ProjectId) {
        let mut progress = self.progress();
        progress.payload.insert("project_id".to_owned(), project.as_str().into());
        self.start(&mut progress, rule);
    }

    /// This rule does not allow it.
    pub(crate) fn refused(&self, rule: &'static str, id: &RequestId, global_id: Option<&str>) {
        let mut progress = self.progress();
        progress.refused_by = Some(rule);
        if let Some(caller) = progress.caller.take() {
            self.begin(&mut progress, id, global_id, &caller);
        }
    }

    /// The administrator does it, who may do what this rule guards.
    pub(crate) fn by_administrator(&self, rule: &'static str, id: &RequestId, global_id: Option<&str>) {
        let mut progress = self.progress();
        Self::identify(&mut progress, id, global_id);
        self.start(&mut progress, rule);
    }

    /// The handler knows what it is about.
    pub(crate) fn about(&self, subject: &impl Subject) {
        let mut progress = self.progress();
        for (key, value) in subject.facts() {
            progress.payload.insert(key.to_owned(), value);
        }
    }

    /// It has ended; nothing is told of one that was never begun.
    pub(crate) fn ended(&self, end: End, id: &RequestId, global_id: Option<&str>) {
        let mut progress = self.progress();
        if let Some(event) = progress.event.take() {
            let (how, priority, fault) = match end {
                End::Answered(..400, _) => ("end", Priority::Info, None),
                End::Answered(status, kind) => {
                    let kind = kind.map_or("internal", Kind::as_str);
                    ("error", Priority::Error, Some(json!({ "kind": kind, "status": status })))
                }
                End::HungUp => {
                    ("error", Priority::Error, Some(json!({ "kind": "client_disconnected", "status": null })))
                }
            };
            let mut payload = progress.payload.clone();
            if let Some(fault) = fault {
                payload.insert("error".to_owned(), fault);
            }
            self.tell(&progress, format!("{event}.{how}"), priority, payload);
        }
        let Some(audited) = &self.audited else { return };
        let outcome = match (end, progress.refused_by) {
            (End::Answered(status, _), Some(policy)) => Outcome::Refused { status, policy },
            (End::Answered(status, _), None) => Outcome::Answered(status),
            (End::HungUp, _) => Outcome::Unknown,
        };
        let activity = match progress.activity.take() {
            Some(activity) => activity,
            // By its kind: a function may answer 401 of its own.
            None if matches!(end, End::Answered(_, Some(Kind::Unauthorized))) => {
                if !self.announcer.strangers.admit(Instant::now()) {
                    return;
                }
                Self::identify(&mut progress, id, global_id);
                self.activity(audited, None, id, global_id)
            }
            None => return,
        };
        let payload = activity.response(outcome);
        self.tell(&progress, "audit.http.response".to_owned(), Priority::Info, payload);
    }

    fn activity(
        &self,
        audited: &Audited,
        user: Option<User>,
        id: &RequestId,
        global_id: Option<&str>,
    ) -> Activity {
        let initiator = Initiator {
            user,
            address: self.address.clone(),
            agent: self.agent.clone(),
            request_id: id.to_string(),
            global_request_id: global_id.map(str::to_owned),
        };
        let url = self.announcer.settings.public_url.clone();
        let target = Target { type_uri: audited.type_uri.clone(), name: SERVICE_NAME.to_owned(), url };
        Activity::begin(audited.action.clone(), initiator, target, self.request_path.clone())
    }

    fn identify(progress: &mut Progress, id: &RequestId, global_id: Option<&str>) {
        progress.context.insert("request_id".to_owned(), id.as_str().into());
        progress.context.insert("global_request_id".to_owned(), global_id.into());
        progress.payload.insert("request_id".to_owned(), id.as_str().into());
    }

    fn start(&self, progress: &mut Progress, rule: &str) {
        if !self.changes {
            return;
        }
        let event = events::name(rule);
        self.tell(progress, format!("{event}.start"), Priority::Info, progress.payload.clone());
        progress.event = Some(event);
    }

    fn tell(&self, progress: &Progress, event_type: String, priority: Priority, payload: Map<String, Value>) {
        let notification = Notification::new(event_type, priority, progress.context.clone(), payload);
        self.announcer.notifier.notify(&notification);
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the URL says of the thing: the parameters of its template, under the names of payloads.
fn parameters(template: &str, path: &str) -> Map<String, Value> {
    let mut found = Map::new();
    let mut segments = path.split('/');
    let is_image = template.contains("/images/");
    for part in template.split('/') {
        let name = part.strip_prefix('{').and_then(|part| part.strip_suffix('}'));
        let value = match name {
            Some(name) if name.starts_with('*') => segments.by_ref().collect::<Vec<_>>().join("/"),
            _ => segments.next().unwrap_or_default().to_owned(),
        };
        let Some(name) = name else { continue };
        let value = percent_decode_str(&value).decode_utf8_lossy().into_owned();
        let (key, value) = match name.trim_start_matches('*') {
            "app" => ("app_name", value),
            "route" => ("path", format!("/{value}")),
            "name" if is_image => ("image", value),
            other => (other, value),
        };
        found.insert(key.to_owned(), bounded(&value).into());
    }
    found
}

/// The path with the names of the query's parameters; their values may be secrets.
fn shown_path(uri: &Uri) -> String {
    let mut shown = bounded(uri.path());
    for (number, pair) in
        uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()).enumerate()
    {
        let name = pair.split('=').next().unwrap_or_default();
        if shown.len() + name.len() > 2 * MAX_TEXT {
            break;
        }
        shown.push(if number == 0 { '?' } else { '&' });
        shown.push_str(name);
        if pair.contains('=') {
            shown.push_str("=***");
        }
    }
    shown
}

fn agent(headers: &HeaderMap) -> Option<String> {
    Some(bounded(&String::from_utf8_lossy(headers.get(header::USER_AGENT)?.as_bytes())))
}

fn bounded(text: &str) -> String {
    cut(text, MAX_TEXT).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_url_names_is_told_under_the_names_of_payloads() {
        let found =
            parameters("/v1/{project_id}/apps/{app}/routes/{*route}", "/v1/p/apps/h%C3%A4/routes/a/b");
        let expected = json!({ "project_id": "p", "app_name": "hä", "path": "/a/b" });
        assert_eq!(Value::Object(found), expected);
        let found = parameters("/v1/{project_id}/apps/{app}/routes/", "/v1/p/apps/a/routes/");
        assert_eq!(Value::Object(found), json!({ "project_id": "p", "app_name": "a" }));
        let found = parameters("/images/{*name}", "/images/team/hello:1");
        assert_eq!(Value::Object(found), json!({ "image": "team/hello:1" }));
    }

    #[test]
    fn values_of_a_query_are_not_told_and_texts_are_bounded() {
        let shown = |uri: &str| shown_path(&uri.parse().unwrap());
        assert_eq!(
            shown("/v1/p/calls/retry?status=dead&token=s3cret&x"),
            "/v1/p/calls/retry?status=***&token=***&x"
        );
        assert_eq!(shown("/v1/p/apps"), "/v1/p/apps");
        assert!(shown(&format!("/{}?{}", "a".repeat(9000), "b=1&".repeat(9000))).len() < 3 * MAX_TEXT + 4000);
        assert_eq!(bounded(&"ä".repeat(9000)).len(), MAX_TEXT);
    }
}
