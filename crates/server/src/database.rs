//! The database at start, and `picasso db upgrade`.
//!
//! The database belongs to the server's user. Started by root, the upgrade runs in a child with
//! that user's rights: files that root would leave beside the database (`-wal`) would lock the
//! server out.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;

use picasso_config::{Inputs, Loaded, Settings};
use picasso_queue::{SqliteQueue, SqliteQueueSettings};
use picasso_store::{SecretKey, SqliteSettings, SqliteStore};
use picasso_types::SystemClock;

use crate::failure::{ServerFailure, say};
use crate::handover::Handover;
use crate::key_file;

pub(crate) const CHILD_COMMAND: &str = "internal-db-upgrade";

/// Store and queue, each in a file of its own beside the other, with this binary's schema.
///
/// Two files, because each has one writer: in one file they wait for each other's lock, which
/// halves and more the calls that can be accepted and finished. A lost queue file loses no call:
/// the sweeper fills a new one from the store.
pub(crate) struct Database {
    pub(crate) store: Arc<SqliteStore>,
    pub(crate) queue: Arc<SqliteQueue>,
}

/// Opens the database of a starting server; a new one is made.
pub(crate) async fn open(settings: &Settings, key: SecretKey) -> Result<Database, ServerFailure> {
    let is_new = |path: &Path| std::fs::metadata(path).map_or(true, |file| file.len() == 0);
    let new_store = is_new(&settings.database_path());
    let new_queue = is_new(&queue_path(settings));
    let database = connect(settings, key).await?;
    if settings.database.upgrade_on_start || (new_store && new_queue) {
        upgrade_both(&database, settings).await?;
        return Ok(database);
    }
    if new_queue {
        database.queue.upgrade().await.map_err(|error| upgrade_failed(settings, error.into()))?;
    }
    let outdated = |error: Box<dyn std::error::Error + Send + Sync>| {
        ServerFailure::new(format!(
            "the database {} does not fit this picasso",
            settings.database_path().display()
        ))
        .because(error)
        .hint("stop every server that uses it, copy it, and run: picasso db upgrade")
    };
    database.store.check_schema().await.map_err(|error| outdated(error.into()))?;
    database.queue.check_schema().await.map_err(|error| outdated(error.into()))?;
    Ok(database)
}

async fn connect(settings: &Settings, key: SecretKey) -> Result<Database, ServerFailure> {
    let path = settings.database_path();
    let failed = |error: Box<dyn std::error::Error + Send + Sync>| {
        ServerFailure::new(format!("cannot open the database {}", path.display()))
            .because(error)
            .hint(format!("the user {} must be able to write the file and its folder", settings.server.user))
    };
    let clock = Arc::new(SystemClock);
    let store = SqliteStore::connect(&SqliteSettings::at(&path), key, clock.clone())
        .await
        .map_err(|error| failed(error.into()))?;
    let queue = SqliteQueue::connect(&SqliteQueueSettings::at(queue_path(settings)), clock)
        .await
        .map_err(|error| failed(error.into()))?;
    Ok(Database { store: Arc::new(store), queue: Arc::new(queue) })
}

async fn upgrade_both(database: &Database, settings: &Settings) -> Result<(), ServerFailure> {
    database.store.upgrade().await.map_err(|error| upgrade_failed(settings, error.into()))?;
    database.queue.upgrade().await.map_err(|error| upgrade_failed(settings, error.into()))
}

fn upgrade_failed(settings: &Settings, error: Box<dyn std::error::Error + Send + Sync>) -> ServerFailure {
    ServerFailure::new(format!("cannot upgrade the database {}", settings.database_path().display()))
        .because(error)
        .hint("it is unchanged; a database of a newer picasso needs that picasso")
}

/// `picasso.db` has its queue in `picasso.queue.db`.
fn queue_path(settings: &Settings) -> PathBuf {
    settings.database_path().with_extension("queue.db")
}

/// `picasso db upgrade`.
pub(crate) fn upgrade(inputs: &Inputs) -> Result<ExitCode, ServerFailure> {
    let loaded = Loaded::load(inputs)?;
    let path = loaded.settings.database_path();
    let owner = match std::fs::metadata(&path) {
        Ok(file) => (file.uid(), file.gid()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            say(&format_args!("there is no database at {} yet; `picasso serve` makes it", path.display()));
            return Ok(ExitCode::SUCCESS);
        }
        Err(error) => {
            return Err(ServerFailure::new(format!("cannot look at {}", path.display())).because(error));
        }
    };
    let key = key_file::read_only(&loaded.settings.encryption_key_file())?;
    let failed = |error| ServerFailure::new("cannot start the upgrade").because(error);
    let mut command = Command::new("/proc/self/exe");
    command.arg(CHILD_COMMAND).stdin(Stdio::piped());
    if rustix::process::geteuid().is_root() {
        command.uid(owner.0).gid(owner.1);
    }
    let mut child = command.spawn().map_err(failed)?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(&Handover { loaded, key, root: false }.to_bytes()?).map_err(failed)?;
    }
    let status = child.wait().map_err(failed)?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The child that has the rights of the database's owner.
pub(crate) fn child() -> Result<ExitCode, ServerFailure> {
    let mut bytes = Vec::new();
    std::io::stdin()
        .take(64 << 20)
        .read_to_end(&mut bytes)
        .map_err(|error| ServerFailure::new("cannot read what to upgrade").because(error))?;
    let Handover { loaded, key, .. } = Handover::from_bytes(&bytes)?;
    let settings = &loaded.settings;
    let key = secret_key(&key)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| ServerFailure::new("cannot start").because(error))?;
    runtime.block_on(async {
        let database = connect(settings, key).await?;
        upgrade_both(&database, settings).await
    })?;
    say(&format_args!("the database {} is up to date", settings.database_path().display()));
    Ok(ExitCode::SUCCESS)
}

/// The key as the store takes it.
pub(crate) fn secret_key(bytes: &[u8]) -> Result<SecretKey, ServerFailure> {
    SecretKey::from_bytes(bytes)
        .map_err(|error| ServerFailure::new("the encryption key is no key").because(error))
}
