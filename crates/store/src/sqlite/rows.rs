//! Columns into values that were checked when they came in, and are checked again when read.

use picasso_types::{
    App, AppId, AppName, Config, Digest, FieldFault, Format, FullName, ImageRef, Methods, NetworkMode,
    ProjectId, Route, RouteId, RoutePattern, RouteType, RouteVersion, Timestamp, VersionId, VersionSpec,
    VersionState,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::Context as _;
use crate::StoreError;

/// A typed column; a value of another type is damage.
pub(super) fn column<'r, T>(row: &'r SqliteRow, name: &'static str) -> Result<T, StoreError>
where
    T: sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
{
    row.try_get(name).context("reading a column")
}

/// A text column through a parser of `picasso_types`.
pub(super) fn parsed<T>(
    row: &SqliteRow,
    name: &'static str,
    parse: impl FnOnce(&str) -> Result<T, FieldFault>,
) -> Result<T, StoreError> {
    parse(column(row, name)?).map_err(|fault| damaged(name, &fault))
}

/// A column of JSON.
pub(super) fn json<T: DeserializeOwned>(row: &SqliteRow, name: &'static str) -> Result<T, StoreError> {
    serde_json::from_str(column(row, name)?).map_err(|error| damaged(name, &error))
}

/// A value as JSON text.
pub(super) fn to_json<T: Serialize>(what: &'static str, value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| damaged(what, &error))
}

/// An integer column in a narrower type.
pub(super) fn number<T: TryFrom<i64>>(row: &SqliteRow, name: &'static str) -> Result<T, StoreError> {
    let wide: i64 = column(row, name)?;
    T::try_from(wide).map_err(|_| out_of_range(name, wide))
}

/// A nullable integer column in a narrower type.
pub(super) fn optional_number<T: TryFrom<i64>>(
    row: &SqliteRow,
    name: &'static str,
) -> Result<Option<T>, StoreError> {
    let wide: Option<i64> = column(row, name)?;
    wide.map(|wide| T::try_from(wide).map_err(|_| out_of_range(name, wide))).transpose()
}

/// A time column.
pub(super) fn time(row: &SqliteRow, name: &'static str) -> Result<Timestamp, StoreError> {
    Ok(Timestamp(column(row, name)?))
}

fn out_of_range(what: &'static str, value: i64) -> StoreError {
    StoreError::Damaged { what, detail: format!("{value} is out of range") }
}

fn damaged(what: &'static str, error: &dyn std::error::Error) -> StoreError {
    StoreError::Damaged { what, detail: error.to_string() }
}

pub(super) fn app(row: &SqliteRow) -> Result<App, StoreError> {
    Ok(App {
        id: parsed(row, "id", AppId::parse)?,
        project_id: parsed(row, "project_id", ProjectId::parse)?,
        short_name: parsed(row, "short_name", AppName::parse)?,
        full_name: parsed(row, "full_name", FullName::parse)?,
        description: column(row, "description")?,
        config: json::<Config>(row, "config")?,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
    })
}

/// The columns of `route_versions v`.
macro_rules! version_columns {
    () => {
        "v.id, v.route_id, v.number, v.image, v.format, v.config, v.merged_config, v.memory_mb, \
         v.timeout_s, v.max_concurrency, v.concurrency, v.idle_timeout_s, v.min_instances, v.queue_timeout_s, \
         v.network, v.digest, v.state, v.error, v.created_by, v.created_at"
    };
}
pub(super) use version_columns;

pub(super) fn version(row: &SqliteRow) -> Result<RouteVersion, StoreError> {
    let digest: Option<String> = column(row, "digest")?;
    Ok(RouteVersion {
        id: parsed(row, "id", VersionId::parse)?,
        route_id: parsed(row, "route_id", RouteId::parse)?,
        number: number(row, "number")?,
        spec: VersionSpec {
            image: parsed(row, "image", ImageRef::parse)?,
            format: parsed(row, "format", Format::parse)?,
            config: json(row, "config")?,
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
        digest: digest
            .map(|text| Digest::parse(&text).map_err(|fault| damaged("digest", &fault)))
            .transpose()?,
        state: parsed(row, "state", VersionState::parse)?,
        error: column(row, "error")?,
        created_by: column(row, "created_by")?,
        created_at: time(row, "created_at")?,
    })
}

/// The columns of `routes r`, named apart from those of a version.
macro_rules! route_columns {
    () => {
        "r.app_id, r.pattern, r.methods, r.route_type, r.is_public, r.latest_number, \
         r.active_number, r.created_at AS route_created_at, r.updated_at AS route_updated_at"
    };
}
pub(super) use route_columns;

/// One route from its rows: its latest and its active version, each with the route's columns.
pub(super) fn route(rows: &[SqliteRow]) -> Result<Route, StoreError> {
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
        latest,
        active,
        created_at: time(first, "route_created_at")?,
        updated_at: time(first, "route_updated_at")?,
    })
}
