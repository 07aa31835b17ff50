//! What tests of this kind share.

use picasso_types::trigger::{Filter, Trigger, TriggerKind, TriggerName, TriggerSpec, TriggerState};
use picasso_types::{AppId, ProjectId, RouteId, Timestamp, TriggerId};

/// A trigger of an app; the app's id is made of its name.
pub(super) fn trigger(name: &str, project: &str, app: &str, kind: TriggerKind) -> Trigger {
    Trigger {
        id: TriggerId::generate(),
        project_id: ProjectId::parse(project).unwrap(),
        spec: TriggerSpec {
            name: TriggerName::parse(name).unwrap(),
            app_id: AppId::parse(app).unwrap(),
            route_id: RouteId::generate(),
            selector: None,
            kind,
            filter: Filter::default(),
            input: None,
        },
        app_name: app.to_owned(),
        route_path: "/r".to_owned(),
        state: TriggerState::Active,
        state_reason: None,
        next_at: None,
        progress: None,
        hook_hash: None,
        hook_key: None,
        identity: None,
        fired: 0,
        last_fired_at: None,
        revision: 1,
        created_by: "u".to_owned(),
        updated_by: "u".to_owned(),
        created_at: Timestamp(0),
        updated_at: Timestamp(0),
    }
}
