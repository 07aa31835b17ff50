//! Columns into values that were checked when they came in, and are checked again when read.
//!
//! Every driver's tables have these columns under these names; what a row is made of differs, so
//! drivers give their rows as [`Columns`].

use picasso_types::{
    Accepted, Alias, AliasName, AliasSpec, App, AppId, AppName, Call, CallId, CallState, Config, Digest,
    FieldFault, Format, FullName, IdempotencyKey, IdentityGrant, IdentityKind, ImageRef, Methods,
    NetworkMode, ProjectId, Route, RouteId, RouteIdentity, RouteIdentityState, RoutePattern, RouteType,
    RouteVersion, Share, Shares, Sticky, Suspension, Timestamp, Trigger, TrustId, TrustRevocation, VersionId,
    VersionSpec, VersionState,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{OutboxEntry, PreparingVersion, QueuedCalls, StoreError};

/// A row of any database, by the few types that columns have. A value of another type is an error.
pub(crate) trait Columns {
    fn text(&self, name: &'static str) -> Result<Option<&str>, StoreError>;
    fn integer(&self, name: &'static str) -> Result<Option<i64>, StoreError>;
    fn boolean(&self, name: &'static str) -> Result<Option<bool>, StoreError>;
    fn bytes(&self, name: &'static str) -> Result<Vec<u8>, StoreError>;
}

macro_rules! columns_of {
    ($($row:ty),+) => {$(
        impl Columns for $row {
            fn text(&self, name: &'static str) -> Result<Option<&str>, StoreError> {
                sqlx::Row::try_get(self, name).map_err(|error| unread(name, error))
            }
            fn integer(&self, name: &'static str) -> Result<Option<i64>, StoreError> {
                sqlx::Row::try_get(self, name).map_err(|error| unread(name, error))
            }
            fn boolean(&self, name: &'static str) -> Result<Option<bool>, StoreError> {
                sqlx::Row::try_get(self, name).map_err(|error| unread(name, error))
            }
            fn bytes(&self, name: &'static str) -> Result<Vec<u8>, StoreError> {
                sqlx::Row::try_get(self, name).map_err(|error| unread(name, error))
            }
        }
    )+};
}

/// A value that is no such value is the row's fault, not the database's.
fn unread(name: &'static str, error: sqlx::Error) -> StoreError {
    match error {
        sqlx::Error::ColumnDecode { source, .. } => damaged(name, source.as_ref()),
        error => StoreError::Database { context: "reading a column", source: Box::new(error) },
    }
}

columns_of!(sqlx::sqlite::SqliteRow, sqlx::postgres::PgRow, sqlx::mysql::MySqlRow);

/// A type that columns are read as.
pub(crate) trait Cell<'r>: Sized {
    fn read(row: &'r impl Columns, name: &'static str) -> Result<Self, StoreError>;
}

impl<'r> Cell<'r> for Option<&'r str> {
    fn read(row: &'r impl Columns, name: &'static str) -> Result<Self, StoreError> {
        row.text(name)
    }
}

impl<'r> Cell<'r> for &'r str {
    fn read(row: &'r impl Columns, name: &'static str) -> Result<Self, StoreError> {
        row.text(name)?.ok_or_else(|| missing(name))
    }
}

impl<'r> Cell<'r> for Option<String> {
    fn read(row: &'r impl Columns, name: &'static str) -> Result<Self, StoreError> {
        Ok(row.text(name)?.map(str::to_owned))
    }
}

impl<'r> Cell<'r> for String {
    fn read(row: &'r impl Columns, name: &'static str) -> Result<Self, StoreError> {
        <&str>::read(row, name).map(str::to_owned)
    }
}

impl<'r> Cell<'r> for Option<i64> {
    fn read(row: &'r impl Columns, name: &'static str) -> Result<Self, StoreError> {
        row.integer(name)
    }
}

impl<'r> Cell<'r> for i64 {
    fn read(row: &'r impl Columns, name: &'static str) -> Result<Self, StoreError> {
        row.integer(name)?.ok_or_else(|| missing(name))
    }
}

impl<'r> Cell<'r> for Option<bool> {
    fn read(row: &'r impl Columns, name: &'static str) -> Result<Self, StoreError> {
        row.boolean(name)
    }
}

impl<'r> Cell<'r> for bool {
    fn read(row: &'r impl Columns, name: &'static str) -> Result<Self, StoreError> {
        row.boolean(name)?.ok_or_else(|| missing(name))
    }
}

impl<'r> Cell<'r> for Vec<u8> {
    fn read(row: &'r impl Columns, name: &'static str) -> Result<Self, StoreError> {
        row.bytes(name)
    }
}

fn missing(what: &'static str) -> StoreError {
    StoreError::Damaged { what, detail: "there is no value".to_owned() }
}

/// A typed column.
pub(crate) fn column<'r, T: Cell<'r>>(row: &'r impl Columns, name: &'static str) -> Result<T, StoreError> {
    T::read(row, name)
}

/// A text column through a parser of `picasso_types`.
pub(crate) fn parsed<T>(
    row: &impl Columns,
    name: &'static str,
    parse: impl FnOnce(&str) -> Result<T, FieldFault>,
) -> Result<T, StoreError> {
    parse(column::<&str>(row, name)?).map_err(|fault| damaged(name, &fault))
}

/// A column of JSON.
pub(crate) fn json<T: DeserializeOwned>(row: &impl Columns, name: &'static str) -> Result<T, StoreError> {
    of_json(name, column(row, name)?)
}

/// A nullable column of JSON.
pub(crate) fn optional_json<T: DeserializeOwned>(
    row: &impl Columns,
    name: &'static str,
) -> Result<Option<T>, StoreError> {
    let text: Option<&str> = column(row, name)?;
    text.map(|text| of_json(name, text)).transpose()
}

/// What is of another shape is told by its place only: the error would quote it, and it may be a secret.
fn of_json<T: DeserializeOwned>(name: &'static str, text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| {
        let detail = if error.is_data() {
            format!("it has another shape at line {} column {}", error.line(), error.column())
        } else {
            error.to_string()
        };
        StoreError::Damaged { what: name, detail }
    })
}

/// A value as JSON text.
pub(crate) fn to_json<T: Serialize>(what: &'static str, value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| damaged(what, &error))
}

/// An integer column in a narrower type.
pub(crate) fn number<T: TryFrom<i64>>(row: &impl Columns, name: &'static str) -> Result<T, StoreError> {
    let wide: i64 = column(row, name)?;
    T::try_from(wide).map_err(|_| out_of_range(name, wide))
}

/// A nullable integer column in a narrower type.
pub(crate) fn optional_number<T: TryFrom<i64>>(
    row: &impl Columns,
    name: &'static str,
) -> Result<Option<T>, StoreError> {
    let wide: Option<i64> = column(row, name)?;
    wide.map(|wide| T::try_from(wide).map_err(|_| out_of_range(name, wide))).transpose()
}

/// A time column.
pub(crate) fn time(row: &impl Columns, name: &'static str) -> Result<Timestamp, StoreError> {
    Ok(Timestamp(column(row, name)?))
}

fn out_of_range(what: &'static str, value: i64) -> StoreError {
    StoreError::Damaged { what, detail: format!("{value} is out of range") }
}

fn damaged(what: &'static str, error: &dyn std::error::Error) -> StoreError {
    StoreError::Damaged { what, detail: error.to_string() }
}

pub(crate) fn app(row: &impl Columns) -> Result<App, StoreError> {
    Ok(App {
        id: parsed(row, "id", AppId::parse)?,
        project_id: parsed(row, "project_id", ProjectId::stored)?,
        short_name: parsed(row, "short_name", AppName::parse)?,
        full_name: parsed(row, "full_name", FullName::parse)?,
        description: column(row, "description")?,
        config: json::<Config>(row, "config")?,
        secrets: json(row, "secrets")?,
        cors: json(row, "cors")?,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
    })
}

/// The columns of `route_versions v`.
macro_rules! version_columns {
    () => {
        "v.id, v.route_id, v.number, v.image, v.format, v.config, v.merged_config, v.secrets, v.merged_secrets, v.memory_mb, \
         v.timeout_s, v.max_concurrency, v.concurrency, v.idle_timeout_s, v.min_instances, v.queue_timeout_s, \
         v.network, v.digest, v.state, v.error, v.rolled_back_to, v.created_by, v.created_at"
    };
}
pub(crate) use version_columns;

pub(crate) fn version(row: &impl Columns) -> Result<RouteVersion, StoreError> {
    let digest: Option<String> = column(row, "digest")?;
    Ok(RouteVersion {
        id: parsed(row, "id", VersionId::parse)?,
        route_id: parsed(row, "route_id", RouteId::parse)?,
        number: number(row, "number")?,
        spec: VersionSpec {
            image: parsed(row, "image", ImageRef::parse)?,
            format: parsed(row, "format", Format::parse)?,
            config: json(row, "config")?,
            secrets: json(row, "secrets")?,
            memory_mb: number(row, "memory_mb")?,
            timeout_s: number(row, "timeout_s")?,
            max_concurrency: optional_number(row, "max_concurrency")?,
            concurrency: number(row, "concurrency")?,
            idle_timeout_s: number(row, "idle_timeout_s")?,
            min_instances: number(row, "min_instances")?,
            queue_timeout_s: number(row, "queue_timeout_s")?,
            network: parsed(row, "network", NetworkMode::parse)?,
        },
        merged_config: json(row, "merged_config")?,
        merged_secrets: json(row, "merged_secrets")?,
        digest: digest
            .map(|text| Digest::parse(&text).map_err(|fault| damaged("digest", &fault)))
            .transpose()?,
        state: parsed(row, "state", VersionState::parse)?,
        error: column(row, "error")?,
        rolled_back_to: optional_number(row, "rolled_back_to")?,
        created_by: column(row, "created_by")?,
        created_at: time(row, "created_at")?,
    })
}

/// The columns of `routes r`, named apart from those of a version.
macro_rules! route_columns {
    () => {
        "r.app_id, r.pattern, r.methods, r.route_type, r.is_public, r.delivery, r.access, r.rate_limit, \
         r.latest_number, r.active_number, r.created_at AS route_created_at, r.updated_at AS route_updated_at, \
         (SELECT i.kind FROM route_identities i WHERE i.route_id = r.id) AS identity_kind, \
         (SELECT i.suspended_at FROM route_identities i WHERE i.route_id = r.id) AS identity_suspended_at"
    };
}
pub(crate) use route_columns;

/// One route from its rows: its latest and its active version, each with the route's columns.
pub(crate) fn route(rows: &[impl Columns]) -> Result<Route, StoreError> {
    let first = rows.first().ok_or(StoreError::NotFound)?;
    let latest_number: u32 = number(first, "latest_number")?;
    let active_number: Option<u32> = optional_number(first, "active_number")?;
    let (mut latest, mut active) = (None, None);
    for row in rows {
        let version = version(row)?;
        if Some(version.number) == active_number {
            active = Some(version.clone());
        }
        if version.number == latest_number {
            latest = Some(version);
        }
    }
    let missing = |which: &str| StoreError::Damaged {
        what: "route",
        detail: format!("its {which} version is missing"),
    };
    let latest = latest.ok_or_else(|| missing("latest"))?;
    if active_number.is_some() && active.is_none() {
        return Err(missing("active"));
    }
    Ok(Route {
        id: parsed(first, "route_id", RouteId::parse)?,
        app_id: parsed(first, "app_id", AppId::parse)?,
        pattern: parsed(first, "pattern", RoutePattern::parse)?,
        methods: json::<Methods>(first, "methods")?,
        route_type: parsed(first, "route_type", RouteType::parse)?,
        is_public: column(first, "is_public")?,
        rate_limit: optional_json(first, "rate_limit")?,
        delivery: json(first, "delivery")?,
        access: json(first, "access")?,
        identity: identity_state(first)?,
        latest,
        active,
        created_at: time(first, "route_created_at")?,
        updated_at: time(first, "route_updated_at")?,
    })
}

/// What a route's columns say of its identity.
fn identity_state(row: &impl Columns) -> Result<Option<RouteIdentityState>, StoreError> {
    let kind: Option<&str> = column(row, "identity_kind")?;
    let Some(kind) = kind else { return Ok(None) };
    let kind = IdentityKind::parse(kind).map_err(|fault| damaged("identity_kind", &fault))?;
    let suspended_at: Option<i64> = column(row, "identity_suspended_at")?;
    Ok(Some(RouteIdentityState { kind, is_suspended: suspended_at.is_some() }))
}

/// The columns of `route_identities i`.
macro_rules! identity_columns {
    () => {
        "i.route_id, i.project_id, i.user_id, i.kind, i.grant_id, i.secret, i.roles, i.granted_at, \
         i.suspended_by, i.suspended_at, i.suspension_reason"
    };
}
pub(crate) use identity_columns;

/// How what was granted is stored.
pub(crate) struct IdentityColumns<'a> {
    pub(crate) grant_id: &'a str,
    pub(crate) secret: Option<String>,
    pub(crate) roles: String,
}

impl<'a> IdentityColumns<'a> {
    pub(crate) fn of(identity: &'a RouteIdentity) -> Result<Self, StoreError> {
        let (grant_id, secret) = match &identity.grant {
            IdentityGrant::Trust { id } => (id.as_str(), None),
            IdentityGrant::ApplicationCredential { id, secret } => {
                (id.as_str(), Some(to_json("secret", secret)?))
            }
        };
        Ok(Self { grant_id, secret, roles: to_json("roles", &identity.roles)? })
    }
}

pub(crate) fn identity(row: &impl Columns) -> Result<RouteIdentity, StoreError> {
    let grant = match parsed(row, "kind", IdentityKind::parse)? {
        IdentityKind::Trust => IdentityGrant::Trust { id: parsed(row, "grant_id", TrustId::parse)? },
        IdentityKind::ApplicationCredential => IdentityGrant::ApplicationCredential {
            id: column(row, "grant_id")?,
            secret: json(row, "secret")?,
        },
    };
    let suspended_at: Option<i64> = column(row, "suspended_at")?;
    let suspension = match suspended_at {
        Some(at) => Some(Suspension {
            by: column(row, "suspended_by")?,
            at: Timestamp(at),
            reason: column(row, "suspension_reason")?,
        }),
        None => None,
    };
    Ok(RouteIdentity {
        route_id: parsed(row, "route_id", RouteId::parse)?,
        project_id: parsed(row, "project_id", ProjectId::stored)?,
        user_id: column(row, "user_id")?,
        grant,
        roles: json(row, "roles")?,
        granted_at: time(row, "granted_at")?,
        suspension,
    })
}

pub(crate) fn revocation(row: &impl Columns) -> Result<TrustRevocation, StoreError> {
    Ok(TrustRevocation {
        trust: parsed(row, "trust_id", TrustId::parse)?,
        attempts: number(row, "attempts")?,
    })
}

/// Routes from rows in which those of one route follow each other.
pub(crate) fn routes<R: Columns>(rows: &[R]) -> Result<Vec<Route>, StoreError> {
    let id = |row: &R| row.text("route_id").ok().flatten().map(str::to_owned);
    rows.chunk_by(|a, b| id(a) == id(b)).map(route).collect()
}

/// The columns of `route_aliases a` with one of their `alias_shares s`.
macro_rules! alias_columns {
    () => {
        "a.route_id, a.name, a.is_public, a.sticky_kind, a.sticky_name, a.created_by, a.updated_by, \
         a.created_at, a.updated_at, s.number, s.weight"
    };
}
pub(crate) use alias_columns;

/// How the kind of a [`Sticky`] is stored.
pub(crate) fn sticky_kind(sticky: &Sticky) -> &'static str {
    match sticky {
        Sticky::Header(_) => "header",
        Sticky::Cookie(_) => "cookie",
    }
}

/// Aliases from rows in which those of one alias follow each other, one for each of its versions.
pub(crate) fn aliases<R: Columns>(rows: &[R]) -> Result<Vec<Alias>, StoreError> {
    let text = |row: &R, name| row.text(name).ok().flatten().map(str::to_owned);
    let same = |a: &R, b: &R| ["route_id", "name"].iter().all(|name| text(a, name) == text(b, name));
    rows.chunk_by(same).map(alias).collect()
}

fn alias(rows: &[impl Columns]) -> Result<Alias, StoreError> {
    let first = rows.first().ok_or(StoreError::NotFound)?;
    let share = |row| Ok(Share { number: number(row, "number")?, weight: number(row, "weight")? });
    let shares = rows.iter().map(share).collect::<Result<_, StoreError>>()?;
    let sticky = match column(first, "sticky_kind")? {
        Some("header") => Some(parsed(first, "sticky_name", Sticky::header)?),
        Some("cookie") => Some(parsed(first, "sticky_name", Sticky::cookie)?),
        Some(other) => {
            return Err(StoreError::Damaged { what: "sticky_kind", detail: format!("{other:?} is none") });
        }
        None => None,
    };
    Ok(Alias {
        route_id: parsed(first, "route_id", RouteId::parse)?,
        name: parsed(first, "name", AliasName::parse)?,
        spec: AliasSpec {
            shares: Shares::parse(shares).map_err(|fault| damaged("alias", &fault))?,
            is_public: column(first, "is_public")?,
            sticky,
        },
        created_by: column(first, "created_by")?,
        updated_by: column(first, "updated_by")?,
        created_at: time(first, "created_at")?,
        updated_at: time(first, "updated_at")?,
    })
}

/// A version with the project of its app.
pub(crate) fn preparing(row: &impl Columns) -> Result<PreparingVersion, StoreError> {
    Ok(PreparingVersion { project_id: parsed(row, "project_id", ProjectId::stored)?, version: version(row)? })
}

/// A digest of its own.
pub(crate) fn digest(row: &impl Columns) -> Result<Digest, StoreError> {
    Digest::parse(column(row, "digest")?).map_err(|fault| damaged("digest", &fault))
}

pub(crate) fn outbox_entry(row: &impl Columns) -> Result<OutboxEntry, StoreError> {
    Ok(OutboxEntry {
        call_id: parsed(row, "call_id", CallId::parse)?,
        project_id: parsed(row, "project_id", ProjectId::stored)?,
        priority: number(row, "priority")?,
    })
}

/// What an idempotency key that was used before stands for.
pub(crate) fn accepted_before(row: &impl Columns, key: &IdempotencyKey) -> Result<Accepted, StoreError> {
    if column::<&str>(row, "request_hash")? != key.request_hash {
        return Ok(Accepted::KeyOfOther);
    }
    parsed(row, "call_id", CallId::parse).map(Accepted::Before)
}

/// By priority, then by the time they were due.
pub(crate) fn outbox_order(row: &impl Columns) -> (i64, Option<i64>, Option<i64>) {
    let integer = |name| row.integer(name).ok().flatten();
    (-integer("priority").unwrap_or_default(), integer("not_before"), integer("number"))
}

/// One state's share of a project's queued calls.
pub(crate) fn queued_calls(row: &impl Columns) -> Result<QueuedCalls, StoreError> {
    let is_due = column::<&str>(row, "state")? != "scheduled";
    Ok(QueuedCalls {
        project_id: parsed(row, "project_id", ProjectId::stored)?,
        calls: number(row, "calls")?,
        due_since: if is_due { Some(time(row, "first")?) } else { None },
    })
}

pub(crate) fn call(row: &impl Columns) -> Result<Call, StoreError> {
    let optional_time = |name| Ok::<_, StoreError>(column::<Option<i64>>(row, name)?.map(Timestamp));
    Ok(Call {
        id: parsed(row, "id", CallId::parse)?,
        project_id: parsed(row, "project_id", ProjectId::stored)?,
        app_id: parsed(row, "app_id", AppId::parse)?,
        route_id: parsed(row, "route_id", RouteId::parse)?,
        version_id: parsed(row, "version_id", VersionId::parse)?,
        app_name: column(row, "app_name")?,
        route_path: column(row, "route_path")?,
        version_number: number(row, "version_number")?,
        trigger: parsed(row, "trigger_kind", Trigger::parse)?,
        call_type: parsed(row, "call_type", RouteType::parse)?,
        state: parsed(row, "state", CallState::parse)?,
        request_id: column(row, "request_id")?,
        attempt: number(row, "attempt")?,
        lost_runs: number(row, "lost_runs")?,
        failed_runs: number(row, "failed_runs")?,
        cancel_requested: column(row, "cancel_requested")?,
        not_before: time(row, "not_before")?,
        due_at: time(row, "due_at")?,
        priority: number(row, "priority")?,
        delivery: json(row, "delivery")?,
        depth: number(row, "depth")?,
        lease_until: optional_time("lease_until")?,
        node: column(row, "node")?,
        created_at: time(row, "created_at")?,
        queued_at: time(row, "queued_at")?,
        started_at: optional_time("started_at")?,
        finished_at: optional_time("finished_at")?,
        failure: optional_json(row, "failure")?,
        exit_code: optional_number(row, "exit_code")?,
        http_status: optional_number(row, "http_status")?,
        cold_start: column(row, "cold_start")?,
        memory_peak_bytes: optional_number(row, "memory_peak_bytes")?,
    })
}

/// A project with ended calls: how many, and when the first of them ended.
pub(crate) struct Ended {
    pub(crate) project: String,
    pub(crate) calls: i64,
    pub(crate) first: Timestamp,
}

pub(crate) fn ended(row: &impl Columns) -> Result<Ended, StoreError> {
    Ok(Ended {
        project: column(row, "project_id")?,
        calls: column(row, "calls")?,
        first: time(row, "first")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_damaged_json_quotes_nothing_of_it() {
        let wrong = of_json::<picasso_types::Sealed>("hook_key", r#"{"key_id": {"hunter2": 1}}"#);
        let torn = of_json::<Vec<u8>>("roles", r#"["hunter2"#);
        for error in [wrong.unwrap_err().to_string(), torn.unwrap_err().to_string()] {
            assert!(error.contains("line 1 column") && !error.contains("hunter2"), "{error}");
        }
    }
}
