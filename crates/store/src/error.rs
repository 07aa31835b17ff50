//! What can go wrong in a store, without a word about HTTP.

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
    /// A count limit is reached.
    #[error("the limit of {limit} {what} is reached")]
    TooMany {
        /// What is counted (`apps`, `routes`).
        what: &'static str,
        /// The limit.
        limit: u32,
    },
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
        sqlx::Error::Database(error) => {
            error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>().is_some_and(|error| {
                let class = error.code().get(..2);
                matches!(class, Some("08" | "53" | "40"))
                    || error.code().starts_with("57P")
                    || error.code() == "57014"
            })
        }
        _ => false,
    }
}
