//! Whose a notification is: what its context says, which the service writes, and nothing that a
//! tenant could have put into a payload.
//!
//! What services send was read from their sources and from messages of running ones:
//!
//! | Service | Context | Believed |
//! |---|---|---|
//! | Nova, Neutron, Cinder, Manila, Octavia, Picasso | `project_id` | that |
//! | Heat | `tenant_id`; its `tenant` is a project's *name* | `tenant_id` |
//! | Those with an oslo.context before 4.0 | `tenant`, the id | that |
//! | Keystone, CADF | none | the initiator's `project_id`, which Keystone writes itself |
//! | Keystone (basic), Glance, Ceilometer and Aodh | none | nothing |
//! | Swift (ceilometermiddleware), audits of keystonemiddleware | that of no project | nothing |

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::json_text::text;

/// What a context has of projects; a field that is null is there.
#[derive(Debug, Default)]
pub(super) struct Claims<'a> {
    pub(super) project_id: Option<&'a RawValue>,
    pub(super) tenant_id: Option<&'a RawValue>,
    pub(super) tenant: Option<&'a RawValue>,
}

/// The project of a notification; `None` where nothing that can be believed says it.
pub(super) fn project_of<'a>(
    claims: &Claims<'a>,
    event_type: &str,
    publisher_id: &str,
    payload: &'a RawValue,
) -> Option<Cow<'a, str>> {
    match (claims.project_id, claims.tenant_id, claims.tenant) {
        (None, None, None) => {
            let is_of_keystone = event_type.starts_with("identity.") && publisher_id.starts_with("identity.");
            if is_of_keystone { initiator_of(payload) } else { None }
        }
        // A name beside ids must never be taken for one: anybody may name a project like another's id.
        (None, None, Some(tenant)) => id(tenant),
        (Some(one), None, _) | (None, Some(one), _) => id(one),
        (Some(one), Some(other), _) => match (id(one), id(other)) {
            (Some(one), Some(other)) if one != other => None,
            (one, other) => one.or(other),
        },
    }
}

/// Who began it, as Keystone writes it into its CADF events.
fn initiator_of(payload: &RawValue) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Cadf<'a> {
        #[serde(rename = "typeURI", borrow)]
        type_uri: Cow<'a, str>,
        #[serde(borrow)]
        initiator: Initiator<'a>,
    }
    #[derive(Deserialize)]
    struct Initiator<'a> {
        #[serde(borrow)]
        project_id: Option<&'a RawValue>,
    }
    let event: Cadf<'_> = serde_json::from_str(payload.get()).ok()?;
    if event.type_uri != "http://schemas.dmtf.org/cloud/audit/1.0/event" {
        return None;
    }
    event.initiator.project_id.and_then(id)
}

/// A project's id: a text as Keystone's ids are.
fn id(raw: &RawValue) -> Option<Cow<'_, str>> {
    text(raw).filter(|id| picasso_types::ProjectId::parse(id).is_ok())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::envelope::Notification;

    fn project(event: &str, publisher: &str, context: &Value, payload: &Value) -> Option<String> {
        let mut message = json!({"event_type": event, "publisher_id": publisher, "payload": payload});
        for (key, value) in context.as_object().unwrap() {
            message[format!("_context_{key}")] = value.clone();
        }
        let text = message.to_string();
        Notification::read(&text).unwrap().project.map(std::borrow::Cow::into_owned)
    }

    #[test]
    fn the_context_says_whose_it_is() {
        for (context, expected) in [
            (json!({"project_id": "p", "tenant": "name"}), Some("p")),
            (json!({"tenant_id": "p", "tenant": "name"}), Some("p")),
            (json!({"project_id": "p", "tenant_id": "p"}), Some("p")),
            (json!({"project_id": null, "tenant_id": "p"}), Some("p")),
            (json!({"tenant": "p"}), Some("p")),
            (json!({"project_id": "p", "tenant_id": "q"}), None),
            (json!({"project_id": null, "tenant": "p"}), None),
            (json!({"tenant_id": null, "tenant": "p"}), None),
            (json!({"project_id": ["p"]}), None),
            (json!({"project_id": ""}), None),
            (json!({"project_id": "../p"}), None),
            (json!({"project_id": "ironfunctions"}), None),
            (json!({"project": "p", "user": "u"}), None),
            (json!({}), None),
        ] {
            let claimed =
                json!({"project_id": "victim", "tenant_id": "victim", "_context_project_id": "victim"});
            let found = project("compute.instance.update", "compute.h", &context, &claimed);
            assert_eq!(found.as_deref(), expected, "{context}");
        }
    }

    #[test]
    fn only_keystones_own_word_counts_in_a_payload() {
        let cadf = json!({
            "typeURI": "http://schemas.dmtf.org/cloud/audit/1.0/event",
            "initiator": {"project_id": "p"},
        });
        let none = json!({});
        let of = |event: &str, publisher: &str, context: &Value, payload: &Value| {
            project(event, publisher, context, payload)
        };
        let created = "identity.project.created";
        assert_eq!(of(created, "identity.h", &none, &cadf).as_deref(), Some("p"));
        assert_eq!(of(created, "identity.h", &json!({"project_id": null}), &cadf), None);
        assert_eq!(of(created, "identity.h", &json!({"project_id": "q"}), &cadf).as_deref(), Some("q"));
        assert_eq!(of(created, "compute.h", &none, &cadf), None);
        assert_eq!(of("audit.http.request", "identity.h", &none, &cadf), None);
        assert_eq!(of(created, "identity.h", &none, &json!({"initiator": {"project_id": "p"}})), None);
        assert_eq!(of(created, "identity.h", &none, &json!("p")), None);
        let without = json!({"typeURI": cadf["typeURI"], "initiator": {}});
        assert_eq!(of(created, "identity.h", &none, &without), None);
    }
}
