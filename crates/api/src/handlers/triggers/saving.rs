//! What is checked, looked up and worked out when a trigger is saved.

use picasso_identity::policy::NamedRule as _;
use picasso_identity::policy::defaults as rule;
use picasso_types::trigger::notification::Scope;
use picasso_types::trigger::webhook::Signature;
use picasso_types::trigger::{Trigger, TriggerChange, TriggerKind, TriggerSpec, TriggerState};
use picasso_types::{App, FieldFault, Route, Selector, Timestamp, VersionState};

use super::hook::Hook;
use crate::bodies::trigger::WantedChange;
use crate::error::{ApiError, from_store};
use crate::request::auth::Authorized;
use crate::state::ApiState;
use crate::trigger_views::HookView;

/// The app and the route that a new trigger names; faults name `trigger.…`.
pub(super) async fn route_of(
    state: &ApiState,
    auth: &Authorized,
    (app, path): (&str, &str),
) -> Result<(App, Route), ApiError> {
    let fault =
        |field: &str, message: String| ApiError::from(FieldFault::new(format!("trigger.{field}"), message));
    let found = state.store.get_app(&auth.project, app).await;
    let app = found.map_err(from_store(|| fault("app", format!("the project has no app {app}"))))?;
    let found = state.store.get_route(&app.id, path).await;
    let missing = || fault("route", format!("the app {} has no route {path}", app.full_name));
    let route = found.map_err(from_store(missing))?;
    Ok((app, route))
}

/// Refuses a version or alias that the route does not have (ready); faults name `{wrapper}version`.
pub(super) async fn check_selector(
    state: &ApiState,
    route: &picasso_types::RouteId,
    selector: Option<&Selector>,
    wrapper: &str,
) -> Result<(), ApiError> {
    let fault =
        |field: &str, message: &str| ApiError::from(FieldFault::new(format!("{wrapper}{field}"), message));
    match selector {
        None => Ok(()),
        Some(Selector::Number(number)) => {
            let found = state.store.get_route_version(route, *number).await;
            let version = found.map_err(from_store(|| fault("version", "the route has no such version")))?;
            if version.state == VersionState::Ready {
                return Ok(());
            }
            Err(fault("version", "the version is not ready"))
        }
        Some(Selector::Alias(name)) => {
            let found = state.store.get_alias(route, name).await;
            found.map_err(from_store(|| fault("alias", "the route has no such alias"))).map(|_| ())
        }
    }
}

/// What only some callers and only some servers may do; faults name `{wrapper}options…`.
pub(super) async fn check_kind(
    state: &ApiState,
    auth: &Authorized,
    kind: &TriggerKind,
    wrapper: &str,
) -> Result<(), ApiError> {
    let unserved = |message: &str| Err(FieldFault::new(format!("{wrapper}kind"), message).into());
    match kind {
        TriggerKind::Notification(_) if !state.settings.hears_notifications => unserved(
            "cannot be \"notification\": this service does not listen to the message bus (events.enabled)",
        ),
        TriggerKind::Queue(_) if state.messaging.is_none() || state.trusts.is_none() => {
            unserved("cannot be \"queue\": this service does not use Zaqar (messaging.enabled)")
        }
        TriggerKind::Notification(options) if options.scope == Scope::All => {
            if auth.may(state, rule::SubscribeToAllProjects::RULE).await? {
                return Ok(());
            }
            let field = format!("{wrapper}options.scope");
            let message = "\"all\" is for operators (functions:trigger:all_projects); yours is \"project\"";
            Err(FieldFault::new(field, message).into())
        }
        TriggerKind::Schedule(options) => {
            let least = state.settings.least_schedule_interval_s;
            if options.least_interval_s().is_none_or(|interval| interval >= least) {
                return Ok(());
            }
            let message = format!("must leave at least {least} s between its times");
            Err(FieldFault::new(format!("{wrapper}options.cron"), message).into())
        }
        TriggerKind::Notification(_)
        | TriggerKind::Webhook(_)
        | TriggerKind::Object(_)
        | TriggerKind::Queue(_) => Ok(()),
    }
}

/// When a trigger in this state is to be looked at first from now on; faults name `{wrapper}options`.
pub(super) fn first_look(
    kind: &TriggerKind,
    state: TriggerState,
    now: Timestamp,
    wrapper: &str,
) -> Result<Option<Timestamp>, ApiError> {
    match kind {
        TriggerKind::Schedule(options) => match (options.first(now), state) {
            (None, TriggerState::Active) => {
                let message = "no time of the schedule lies ahead";
                Err(FieldFault::new(format!("{wrapper}options"), message).into())
            }
            (first, _) => Ok(first),
        },
        TriggerKind::Queue(_) => Ok(Some(now)),
        TriggerKind::Notification(_) | TriggerKind::Webhook(_) | TriggerKind::Object(_) => Ok(None),
    }
}

/// What a trigger is left with, and what is shown of new secrets.
pub(super) fn change_of(
    state: &ApiState,
    before: &Trigger,
    wanted: WantedChange,
    user: &str,
) -> Result<(TriggerChange, Option<HookView>), ApiError> {
    let spec = before.spec.clone();
    let has_new_options = wanted.kind.is_some();
    let kind = wanted.kind.unwrap_or(spec.kind);
    let after = match (wanted.enabled, before.state) {
        (Some(true), _) => TriggerState::Active,
        (Some(false), _) => TriggerState::Paused,
        // Other times may lie ahead.
        (None, TriggerState::Finished) if has_new_options => TriggerState::Active,
        (None, state) => state,
    };
    let is_replanned =
        has_new_options || (after == TriggerState::Active && before.state != TriggerState::Active);
    let next_at =
        if is_replanned { first_look(&kind, after, state.engine.now(), "")? } else { before.next_at };
    let signed = matches!(&kind, TriggerKind::Webhook(options) if options.signature == Signature::Github);
    let (hook_key, shown) = match (&before.hook_key, signed) {
        (_, false) => (None, None),
        (Some(key), true) => (Some(key.clone()), None),
        (None, true) => {
            let (key, shown) = Hook::new_key(state, &before.id)?;
            (Some(key), Some(HookView { url: None, signing_key: Some(shown) }))
        }
    };
    let change = TriggerChange {
        spec: TriggerSpec {
            name: wanted.name.unwrap_or(spec.name),
            selector: wanted.selector.unwrap_or(spec.selector),
            filter: wanted.filter.unwrap_or(spec.filter),
            input: wanted.input.unwrap_or(spec.input),
            app_id: spec.app_id,
            route_id: spec.route_id,
            kind,
        },
        state: after,
        next_at,
        progress: before.progress.clone(),
        hook_key,
        identity: before.identity.clone(),
        updated_by: user.to_owned(),
    };
    Ok((change, shown))
}
