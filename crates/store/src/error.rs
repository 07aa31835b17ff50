//! What can go wrong in a store, without a word about HTTP.

use picasso_types::OverLimit;
use thiserror::Error;

/// Why a store method did not do what it was asked.
#[derive(Debug, Error)]
pub enum StoreError {
    /// No such row, or not in this project.
    #[error("not found")]
    NotFound,
    /// The app's name is taken within the project.
    #[error("an app of this name exists")]
    AppExists,
    /// The app still has routes.
    #[error("the app has routes")]
    AppHasRoutes,
    /// A route of the app answers the same paths and methods.
    #[error("a route of this path exists")]
    RouteExists,
    /// The project would pass a limit.
    #[error(transparent)]
    OverLimit(#[from] OverLimit),
    /// The route has an alias of this name.
    #[error("an alias of this name exists")]
    AliasExists,
    /// The project has a trigger of this name.
    #[error("a trigger of this name exists")]
    TriggerExists,
    /// The route has no version of this number, or not any more.
    #[error("the route has no version {0}")]
    VersionNotFound(u32),
    /// The version of this number cannot run: its image is being prepared, or could not be had.
    #[error("version {0} is not ready")]
    VersionNotReady(u32),
    /// The route has as many aliases as it may have.
    #[error("the limit of {0} aliases is reached")]
    TooManyAliases(u32),
    /// The row is no longer what the change expects.
    #[error("it was changed meanwhile")]
    Changed,
    /// The database is older or newer than this binary.
    #[error("the database schema is {found}, this binary needs {needed}: run `picasso db upgrade`")]
    SchemaMismatch {
        /// What the database says.
        found: String,
        /// What the binary needs.
        needed: String,
    },
    /// A stored value does not parse: damage, or a row of a newer version.
    #[error("the stored {what} is damaged: {detail}")]
    Damaged {
        /// The column or thing.
        what: &'static str,
        /// What is wrong with it.
        detail: String,
    },
    /// The database does not answer now; later it may.
    #[error("the database does not answer: {context}")]
    Unavailable {
        /// What was being done.
        context: &'static str,
        /// The driver's own error.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The database failed.
    #[error("database: {context}")]
    Database {
        /// What was being done.
        context: &'static str,
        /// The driver's own error.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Says what was being done when the driver failed.
pub(crate) trait Context<T> {
    fn context(self, context: &'static str) -> Result<T, StoreError>;
}

impl<T> Context<T> for Result<T, sqlx::Error> {
    fn context(self, context: &'static str) -> Result<T, StoreError> {
        self.map_err(|source| {
            if is_unavailable(&source) {
                StoreError::Unavailable { context, source: Box::new(source) }
            } else {
                StoreError::Database { context, source: Box::new(source) }
            }
        })
    }
}

/// Whether the connection is at fault, or a server that starts, stops or is full.
fn is_unavailable(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(error) => match server_code(error.as_ref()) {
            Some(ServerCode::Postgres(code)) => {
                matches!(code.get(..2), Some("08" | "53" | "40"))
                    || code.starts_with("57P")
                    || code == "57014"
            }
            Some(ServerCode::MariaDb(number)) => MARIADB_PASSES.contains(&number),
            None => false,
        },
        _ => false,
    }
}

/// Another request took the same unique name at the same time: what has been done so far is undone.
#[derive(Debug, Error)]
#[error("another request of the same name came first")]
pub(crate) struct Overtaken;

/// Whether the server undid the work because of other work at the same time.
pub(crate) fn was_undone(error: &StoreError) -> bool {
    let StoreError::Unavailable { source, .. } = error else { return false };
    if source.is::<Overtaken>() {
        return true;
    }
    let Some(sqlx::Error::Database(error)) = source.downcast_ref::<sqlx::Error>() else { return false };
    match server_code(error.as_ref()) {
        Some(ServerCode::Postgres(code)) => matches!(code, "40001" | "40P01"),
        Some(ServerCode::MariaDb(number)) => MARIADB_UNDONE.contains(&number),
        None => false,
    }
}

/// `Changed` when a row is not (any more) what a change was made for.
pub(crate) fn expect<T: PartialEq>(row: &T, expected: Option<&T>) -> Result<(), StoreError> {
    if expected.is_some_and(|expected| expected != row) { Err(StoreError::Changed) } else { Ok(()) }
}

/// A lock waited for in vain, a deadlock (also one between the nodes of a cluster), a row that
/// changed under a transaction.
const MARIADB_UNDONE: [u16; 3] = [1205, 1213, 1020];

/// The former, and: disk full, out of memory, too many connections, host blocked for now, shutdown,
/// a connection that broke or was killed, a node that is not in its cluster, a server that only
/// reads for now, a statement that was interrupted or took too long.
const MARIADB_PASSES: [u16; 24] = [
    1205, 1213, 1020, 1021, 1037, 1040, 1041, 1042, 1047, 1053, 1114, 1129, 1158, 1159, 1160, 1161, 1184,
    1203, 1226, 1290, 1317, 1836, 1927, 1969,
];

/// What a server calls its error.
enum ServerCode<'a> {
    /// SQLSTATE.
    Postgres(&'a str),
    /// MariaDB's own number, which says more.
    MariaDb(u16),
}

fn server_code(error: &dyn sqlx::error::DatabaseError) -> Option<ServerCode<'_>> {
    if let Some(error) = error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>() {
        return Some(ServerCode::Postgres(error.code()));
    }
    let error = error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>()?;
    Some(ServerCode::MariaDb(error.number()))
}
