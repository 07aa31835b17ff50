//! From rows to triggers.

use picasso_types::trigger::{
    Filter, InputTemplate, Trigger, TriggerIdentity, TriggerKind, TriggerName, TriggerSpec, TriggerState,
    TriggerType,
};
use picasso_types::{AppId, ProjectId, RouteId, Sealed, Selector, Timestamp, TriggerId};

use crate::StoreError;
use crate::rows::{Columns, column, json, optional_json, parsed};
use crate::unreadable::Unreadable;

/// All of a trigger.
macro_rules! select {
    ($rest:literal) => {
        sql(concat!(
            "SELECT t.id, t.project_id, t.app_id, t.route_id, t.name, t.selector, t.kind, t.options, \
             t.filter, t.input, t.state, t.state_reason, t.next_at, t.progress, t.hook_hash, t.hook_key, \
             t.identity, t.fired, t.last_fired_at, t.revision, t.created_by, t.updated_by, t.created_at, \
             t.updated_at, a.full_name AS app_name, r.pattern AS route_path \
             FROM triggers t JOIN apps a ON a.id = t.app_id JOIN routes r ON r.id = t.route_id ",
            $rest
        ))
    };
}
pub(super) use select;

/// What lists show: without the rows that cannot be read.
pub(super) fn readable(rows: &[impl Columns], unreadable: &Unreadable) -> Result<Vec<Trigger>, StoreError> {
    let read = |row| unreadable.leave_out(column(row, "id")?, of_row(row));
    rows.iter().filter_map(|row| read(row).transpose()).collect()
}

pub(super) fn of_row(row: &impl Columns) -> Result<Trigger, StoreError> {
    let kind = parsed(row, "kind", TriggerType::parse)?;
    let kind = TriggerKind::parse(kind, json(row, "options")?)
        .map_err(|fault| StoreError::Damaged { what: "options", detail: fault.to_string() })?;
    let selector: Option<&str> = column(row, "selector")?;
    let selector = selector.map(|text| {
        Selector::parse(text)
            .ok_or_else(|| StoreError::Damaged { what: "selector", detail: "it names nothing".to_owned() })
    });
    let spec = TriggerSpec {
        name: parsed(row, "name", TriggerName::parse)?,
        app_id: parsed(row, "app_id", AppId::parse)?,
        route_id: parsed(row, "route_id", RouteId::parse)?,
        selector: selector.transpose()?,
        kind,
        filter: json::<Filter>(row, "filter")?,
        input: optional_json::<InputTemplate>(row, "input")?,
    };
    Ok(Trigger {
        id: parsed(row, "id", TriggerId::parse)?,
        project_id: parsed(row, "project_id", ProjectId::stored)?,
        spec,
        app_name: column(row, "app_name")?,
        route_path: column(row, "route_path")?,
        state: parsed(row, "state", TriggerState::parse)?,
        state_reason: column(row, "state_reason")?,
        next_at: column::<Option<i64>>(row, "next_at")?.map(Timestamp),
        progress: column(row, "progress")?,
        hook_hash: column(row, "hook_hash")?,
        hook_key: optional_json::<Sealed>(row, "hook_key")?,
        identity: optional_json::<TriggerIdentity>(row, "identity")?,
        fired: column::<i64>(row, "fired")?.unsigned_abs(),
        last_fired_at: column::<Option<i64>>(row, "last_fired_at")?.map(Timestamp),
        revision: column::<i64>(row, "revision")?.unsigned_abs(),
        created_by: column(row, "created_by")?,
        updated_by: column(row, "updated_by")?,
        created_at: Timestamp(column(row, "created_at")?),
        updated_at: Timestamp(column(row, "updated_at")?),
    })
}

/// Counters never get near the end of an `i64`.
pub(super) fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
