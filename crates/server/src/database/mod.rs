//! The database at start: which one the settings name, and whether its schema fits this binary.
//!
//! `picasso db upgrade` and `picasso db check` are in [`command`].

mod command;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use picasso_config::Settings;
use picasso_config::settings::DatabaseUrl;
use picasso_engine::PART_BYTES;
use picasso_queue::{SqliteQueue, SqliteQueueSettings};
use picasso_store::{
    MariaDbSettings, MariaDbStore, PostgresSettings, PostgresStore, SecretKey, SqliteSettings, SqliteStore,
    Store, StoreError,
};
use picasso_types::SystemClock;

pub use command::DatabaseTask;
pub(crate) use command::{CHILD_COMMAND, child, run};

use crate::failure::ServerFailure;
use crate::queue_hold::visible_after;

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Opens the database of a starting server; a new one is made.
pub(crate) async fn open(settings: &Settings, key: SecretKey) -> Result<Arc<dyn Store>, ServerFailure> {
    let store = AnyStore::connect(settings, key).await?;
    if settings.database.upgrade_on_start || store.is_new(settings).await? {
        store.upgrade().await.map_err(|error| upgrade_failed(settings, error.into()))?;
    } else {
        store.check_schema().await.map_err(|error| does_not_fit(settings, error))?;
    }
    Ok(store.store())
}

/// Opens the queue of a server without a broker: a file of its own, which is made where there is
/// none. To be called when the database is open.
pub(crate) async fn open_queue(settings: &Settings) -> Result<SqliteQueue, ServerFailure> {
    let queue_path = queue_path(settings);
    let new_queue = is_new_file(&queue_path);
    let queue = connect_queue(settings).await?;
    if settings.database.upgrade_on_start || new_queue {
        queue.upgrade().await.map_err(|error| upgrade_failed(settings, error.into()))?;
    } else {
        queue.check_schema().await.map_err(|error| {
            ServerFailure::new(format!("the queue {} does not fit this picasso", queue_path.display()))
                .because(error)
                .hint(UPGRADE_HINT)
        })?;
    }
    Ok(queue)
}

const UPGRADE_HINT: &str = "stop every server that uses it, copy it, and run: picasso db upgrade";

fn does_not_fit(settings: &Settings, error: StoreError) -> ServerFailure {
    let shown = settings.database_url().shown();
    match error {
        StoreError::SchemaMismatch { .. } => {
            ServerFailure::new(format!("the database {shown} does not fit this picasso"))
                .because(error)
                .hint(UPGRADE_HINT)
        }
        error => ServerFailure::new(format!("cannot read the schema of the database {shown}")).because(error),
    }
}

fn upgrade_failed(settings: &Settings, error: Cause) -> ServerFailure {
    let url = settings.database_url();
    let hint = match url {
        // It commits at each change of a table.
        DatabaseUrl::MariaDb(_) => {
            "what was begun is completed by running picasso db upgrade again; a database of a newer picasso needs \
             that picasso"
        }
        DatabaseUrl::Sqlite(_) | DatabaseUrl::Postgres(_) => {
            "it is unchanged; a database of a newer picasso needs that picasso"
        }
    };
    ServerFailure::new(format!("cannot upgrade the database {}", url.shown())).because(error).hint(hint)
}

/// The largest body or output that the settings let into the database.
fn max_call_bytes(settings: &Settings) -> u64 {
    // A result and a log.
    let output = 2 * PART_BYTES as u64;
    settings.engine.max_buffered_body_bytes.max(settings.listeners.api.max_body_bytes).max(output)
}

/// The store of the settings' URL.
enum AnyStore {
    Sqlite { store: SqliteStore, new: bool },
    Postgres(PostgresStore),
    MariaDb(MariaDbStore),
}

impl AnyStore {
    async fn connect(settings: &Settings, key: SecretKey) -> Result<Self, ServerFailure> {
        let url = settings.database_url();
        let failed = |error: StoreError, hint: String| {
            ServerFailure::new(format!("cannot open the database {}", url.shown())).because(error).hint(hint)
        };
        let clock = Arc::new(SystemClock);
        match &url {
            DatabaseUrl::Sqlite(path) => {
                // A queue without its database: somebody should look where the latter went.
                let new = is_new_file(path) && is_new_file(&queue_path(settings));
                let connected = SqliteStore::connect(&SqliteSettings::at(path), key, clock).await;
                let store = connected.map_err(|error| failed(error, file_hint(settings)))?;
                Ok(Self::Sqlite { store, new })
            }
            DatabaseUrl::Postgres(secret) => {
                let wanted = PostgresSettings {
                    max_connections: settings.database.max_connections,
                    ..PostgresSettings::at(secret.clone())
                };
                let connected = PostgresStore::connect(&wanted, key, clock).await;
                connected.map(Self::Postgres).map_err(|error| {
                    let hint = server_hint(&error);
                    failed(error, hint)
                })
            }
            DatabaseUrl::MariaDb(secret) => {
                let wanted = MariaDbSettings {
                    max_connections: settings.database.max_connections,
                    max_call_bytes: max_call_bytes(settings),
                    ..MariaDbSettings::at(secret.clone())
                };
                let connected = MariaDbStore::connect(&wanted, key, clock).await;
                connected.map(Self::MariaDb).map_err(|error| {
                    let hint = server_hint(&error);
                    failed(error, hint)
                })
            }
        }
    }

    async fn is_new(&self, settings: &Settings) -> Result<bool, ServerFailure> {
        match self {
            Self::Sqlite { new, .. } => Ok(*new),
            Self::Postgres(store) => store.is_new().await.map_err(|error| does_not_fit(settings, error)),
            Self::MariaDb(store) => store.is_new().await.map_err(|error| does_not_fit(settings, error)),
        }
    }

    async fn upgrade(&self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite { store, .. } => store.upgrade().await,
            Self::Postgres(store) => store.upgrade().await,
            Self::MariaDb(store) => store.upgrade().await,
        }
    }

    async fn check_schema(&self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite { store, .. } => store.check_schema().await,
            Self::Postgres(store) => store.check_schema().await,
            Self::MariaDb(store) => store.check_schema().await,
        }
    }

    fn store(self) -> Arc<dyn Store> {
        match self {
            Self::Sqlite { store, .. } => Arc::new(store),
            Self::Postgres(store) => Arc::new(store),
            Self::MariaDb(store) => Arc::new(store),
        }
    }
}

fn file_hint(settings: &Settings) -> String {
    format!("the user {} must be able to write the file and its folder", settings.server.user)
}

fn server_hint(error: &StoreError) -> String {
    match error {
        StoreError::Unavailable { .. } => {
            "is the server running, and do host and port of database.url name it?"
        }
        _ => "the server answered; see what it says, and user, password and database of database.url",
    }
    .to_owned()
}

async fn connect_queue(settings: &Settings) -> Result<SqliteQueue, ServerFailure> {
    let path = queue_path(settings);
    let file =
        SqliteQueueSettings { visible_after: visible_after(settings), ..SqliteQueueSettings::at(&path) };
    SqliteQueue::connect(&file, Arc::new(SystemClock)).await.map_err(|error| {
        ServerFailure::new(format!("cannot open the queue {}", path.display()))
            .because(error)
            .hint(file_hint(settings))
    })
}

/// Where asynchronous calls wait for a worker, as people may see it.
pub(crate) fn shown_queue(settings: &Settings) -> String {
    match &settings.queue.url {
        Some(url) => url.to_string(),
        None => format!("sqlite:{}", queue_path(settings).display()),
    }
}

/// `picasso.db` has its queue in `picasso.queue.db`; the queue of a database that is no file lies
/// in the server's own folder.
///
/// Two files, because each has one writer: in one file they wait for each other's lock, which
/// halves and more the calls that can be accepted and finished. A lost queue file loses no call:
/// the sweeper fills a new one from the store.
fn queue_path(settings: &Settings) -> PathBuf {
    match settings.database_url() {
        DatabaseUrl::Sqlite(path) => path.with_extension("queue.db"),
        DatabaseUrl::Postgres(_) | DatabaseUrl::MariaDb(_) => {
            settings.server.data_dir.join("picasso.queue.db")
        }
    }
}

fn is_new_file(path: &Path) -> bool {
    std::fs::metadata(path).map_or(true, |file| file.len() == 0)
}

/// The key as the store takes it.
pub(crate) fn secret_key(bytes: &[u8]) -> Result<SecretKey, ServerFailure> {
    SecretKey::from_bytes(bytes)
        .map_err(|error| ServerFailure::new("the encryption key is no key").because(error))
}
