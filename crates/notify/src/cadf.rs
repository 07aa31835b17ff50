//! Audit events in the form of the Cloud Auditing Data Federation (DSP0262), as keystonemiddleware's
//! audit filter writes them with pycadf.

use picasso_types::{Clock, SystemClock, Timestamp, random};
use serde_json::{Map, Value, json};

use crate::notification::in_utc;

/// What CADF says for what is not known.
pub const UNKNOWN: &str = "unknown";
/// What kind of policy the rules of reasons are of.
const POLICY_TYPE: &str = "oslo.policy";

/// A user whom Keystone knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The user's id.
    pub id: String,
    /// The user's name.
    pub name: String,
    /// The project of the token, where it is scoped to one.
    pub project_id: Option<String>,
}

/// Who asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Initiator {
    /// The user; `None`: the token is missing, or Keystone does not take it.
    pub user: Option<User>,
    /// The address the request came from.
    pub address: Option<String>,
    /// What the client calls itself.
    pub agent: Option<String>,
    /// Our id of the request.
    pub request_id: String,
    /// The client's own id of it.
    pub global_request_id: Option<String>,
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// `service/functions/apps/app`.
    pub type_uri: String,
    /// The service's name in the catalog.
    pub name: String,
    /// Its public URL.
    pub url: Option<String>,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered with this status.
    Answered(u16),
    /// A policy rule did not allow it; it was answered with this status.
    Refused {
        /// The status, also one that does not show the refusal.
        status: u16,
        /// The rule's name.
        policy: &'static str,
    },
    /// The client left before the answer.
    Unknown,
}

/// One request, told of twice: when it begins and when it has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Activity {
    id: String,
    time: Timestamp,
    correlation_id: String,
    action: String,
    initiator: Initiator,
    target: Target,
    request_path: String,
}

impl Activity {
    /// One that begins now. `action` is of CADF's taxonomy (`create`, `read/list`, `update/retry`, …);
    /// `request_path` may hold no secrets.
    pub fn begin(action: String, initiator: Initiator, target: Target, request_path: String) -> Self {
        let (id, correlation_id) = (random::uuid(), random::uuid());
        Self { id, time: SystemClock.now(), correlation_id, action, initiator, target, request_path }
    }

    /// The payload of `audit.http.request`.
    pub fn request(&self) -> Map<String, Value> {
        self.event("pending")
    }

    /// The payload of `audit.http.response`: the same event, completed.
    pub fn response(&self, outcome: Outcome) -> Map<String, Value> {
        let word = match outcome {
            Outcome::Answered(200..400) => "success",
            Outcome::Answered(_) | Outcome::Refused { .. } => "failure",
            Outcome::Unknown => UNKNOWN,
        };
        let mut event = self.event(word);
        let reason = |status: u16| json!({ "reasonType": "HTTP", "reasonCode": status.to_string() });
        let reason = match outcome {
            Outcome::Answered(status) => Some(reason(status)),
            Outcome::Refused { status, policy } => {
                let mut reason = reason(status);
                reason["policyType"] = POLICY_TYPE.into();
                reason["policyId"] = policy.into();
                Some(reason)
            }
            Outcome::Unknown => None,
        };
        if let Some(reason) = reason {
            event.insert("reason".to_owned(), reason);
        }
        let step = json!({
            "role": "modifier",
            "reporter": { "id": "target" },
            "reporterTime": cadf_time(SystemClock.now()),
        });
        event.insert("reporterchain".to_owned(), json!([step]));
        event
    }

    fn event(&self, outcome: &str) -> Map<String, Value> {
        let mut event = Map::new();
        let mut put = |key: &str, value: Value| event.insert(key.to_owned(), value);
        put("typeURI", "http://schemas.dmtf.org/cloud/audit/1.0/event".into());
        put("eventType", "activity".into());
        put("id", self.id.clone().into());
        put("eventTime", cadf_time(self.time).into());
        put("action", self.action.clone().into());
        put("outcome", outcome.into());
        put("initiator", self.initiator.resource());
        put("target", self.target.resource());
        // Whoever answers is the one who watches: a reference to the target above.
        put("observer", json!({ "id": "target" }));
        put("requestPath", self.request_path.clone().into());
        put("tags", json!([format!("correlation_id?value={}", self.correlation_id)]));
        event
    }
}

impl Initiator {
    fn resource(&self) -> Value {
        let mut host = Map::new();
        for (key, value) in [("address", &self.address), ("agent", &self.agent)] {
            if let Some(value) = value {
                host.insert(key.to_owned(), value.clone().into());
            }
        }
        let (id, name, project_id, status) = match &self.user {
            Some(user) => (&*user.id, &*user.name, user.project_id.as_deref(), "Confirmed"),
            None => (UNKNOWN, UNKNOWN, None, "Invalid"),
        };
        let mut resource = json!({
            "id": id,
            "typeURI": "service/security/account/user",
            "name": name,
            "host": host,
            // Whoever reads the event learns that there was a token, and nothing of it.
            "credential": { "token": "***", "identity_status": status },
            "project_id": project_id.unwrap_or(UNKNOWN),
            "request_id": self.request_id,
        });
        if let Some(global) = &self.global_request_id {
            resource["global_request_id"] = global.clone().into();
        }
        resource
    }
}

impl Target {
    fn resource(&self) -> Value {
        let address = |name: &str, url: &str| json!({ "name": name, "url": url });
        let public = self.url.as_deref().unwrap_or(UNKNOWN);
        json!({
            "id": self.name,
            "typeURI": self.type_uri,
            "name": self.name,
            "addresses": [address("admin", UNKNOWN), address("private", UNKNOWN), address("public", public)],
        })
    }
}

/// `2026-11-22T15:19:52.301932+0000`.
fn cadf_time(time: Timestamp) -> String {
    in_utc(time, "%Y-%m-%dT%H:%M:%S%.6f+0000")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn activity() -> Activity {
        let initiator = Initiator {
            user: Some(User { id: "u".to_owned(), name: "demo".to_owned(), project_id: None }),
            address: Some("127.0.0.1".to_owned()),
            agent: None,
            request_id: "req-1".to_owned(),
            global_request_id: None,
        };
        let target =
            Target { type_uri: "service/functions/apps".to_owned(), name: "picasso".to_owned(), url: None };
        Activity::begin("create".to_owned(), initiator, target, "/v1/p/apps".to_owned())
    }

    #[test]
    fn both_events_of_a_request_are_one_activity() {
        let activity = activity();
        let (request, response) = (activity.request(), activity.response(Outcome::Answered(409)));
        for key in ["id", "eventTime", "tags", "initiator", "target", "action", "requestPath"] {
            assert_eq!(request[key], response[key], "{key}");
        }
        assert_eq!((&request["outcome"], &response["outcome"]), (&"pending".into(), &"failure".into()));
        assert_eq!(response["reason"], json!({ "reasonType": "HTTP", "reasonCode": "409" }));
    }

    #[test]
    fn a_status_below_400_is_a_success_and_no_answer_is_unknown() {
        let outcome = |outcome| activity().response(outcome)["outcome"].clone();
        assert_eq!(outcome(Outcome::Answered(200)), "success");
        assert_eq!(outcome(Outcome::Answered(399)), "success");
        assert_eq!(outcome(Outcome::Answered(400)), "failure");
        assert_eq!(outcome(Outcome::Unknown), "unknown");
        assert!(!activity().response(Outcome::Unknown).contains_key("reason"));
    }

    #[test]
    fn what_a_rule_refused_names_the_rule_whatever_the_status_shows() {
        let event = activity().response(Outcome::Refused { status: 404, policy: "functions:app:get" });
        assert_eq!(event["outcome"], "failure");
        assert_eq!(
            event["reason"],
            json!({ "reasonType": "HTTP", "reasonCode": "404", "policyType": "oslo.policy",
                "policyId": "functions:app:get" })
        );
    }
}
