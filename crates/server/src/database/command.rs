//! `picasso db upgrade` and `picasso db check`.
//!
//! A SQLite database belongs to the server's user. Started by root, the work is done in a child
//! with that user's rights: files that root would leave beside the database (`-wal`) would lock the
//! server out.

use std::ffi::OsString;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};

use picasso_config::settings::DatabaseUrl;
use picasso_config::{Inputs, Loaded, Settings};
use picasso_store::{SecretKey, StoreError};

use super::{AnyStore, connect_queue, does_not_fit, is_new_file, queue_path, secret_key, upgrade_failed};
use crate::failure::{ServerFailure, say};
use crate::handover::Handover;
use crate::key_file;

pub(crate) const CHILD_COMMAND: &str = "internal-db";

/// What is to be done with the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatabaseTask {
    /// Bring its tables up to date.
    Upgrade,
    /// Say whether they are.
    Check,
}

impl DatabaseTask {
    const fn word(self) -> &'static str {
        match self {
            Self::Upgrade => "upgrade",
            Self::Check => "check",
        }
    }
}

/// The command as people start it.
pub(crate) fn run(inputs: &Inputs, task: DatabaseTask) -> Result<ExitCode, ServerFailure> {
    let loaded = Loaded::load(inputs)?;
    let owner = match loaded.settings.database_url() {
        DatabaseUrl::Sqlite(path) => match std::fs::metadata(&path) {
            Ok(file) => Some((file.uid(), file.gid())),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                say(&format_args!(
                    "there is no database at {} yet; `picasso serve` makes it",
                    path.display()
                ));
                return Ok(match task {
                    DatabaseTask::Upgrade => ExitCode::SUCCESS,
                    DatabaseTask::Check => ExitCode::FAILURE,
                });
            }
            Err(error) => {
                let what = format!("cannot look at {}", path.display());
                return Err(ServerFailure::new(what).because(error));
            }
        },
        // The queue beside it lies in the server's folder and belongs to whom that belongs to.
        DatabaseUrl::Postgres(_) | DatabaseUrl::MariaDb(_) => {
            std::fs::metadata(&loaded.settings.server.data_dir)
                .ok()
                .map(|folder| (folder.uid(), folder.gid()))
        }
    };
    let key = key_file::read_only(&loaded.settings.encryption_key_file())?;
    let failed = |error| ServerFailure::new("cannot start looking after the database").because(error);
    let mut command = Command::new("/proc/self/exe");
    command.args([CHILD_COMMAND, task.word()]).stdin(Stdio::piped());
    if let (true, Some((user, group))) = (rustix::process::geteuid().is_root(), owner) {
        command.uid(user).gid(group);
    }
    let mut child = command.spawn().map_err(failed)?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(&Handover { loaded, key, root: false }.to_bytes()?).map_err(failed)?;
    }
    let status = child.wait().map_err(failed)?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The child that has the rights of the database's owner.
pub(crate) fn child(arguments: &[OsString]) -> Result<ExitCode, ServerFailure> {
    let word = arguments.first().and_then(|word| word.to_str()).unwrap_or_default();
    let task = [DatabaseTask::Upgrade, DatabaseTask::Check].into_iter().find(|task| task.word() == word);
    let task = task.ok_or_else(|| ServerFailure::new("this command is for picasso itself"))?;
    let mut bytes = Vec::new();
    std::io::stdin()
        .take(64 << 20)
        .read_to_end(&mut bytes)
        .map_err(|error| ServerFailure::new("cannot read which database is meant").because(error))?;
    let Handover { loaded, key, .. } = Handover::from_bytes(&bytes)?;
    let settings = &loaded.settings;
    let key = secret_key(&key)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| ServerFailure::new("cannot start").because(error))?;
    runtime.block_on(async {
        match task {
            DatabaseTask::Upgrade => upgrade(settings, key).await,
            DatabaseTask::Check => check(settings, key).await,
        }
    })
}

async fn upgrade(settings: &Settings, key: SecretKey) -> Result<ExitCode, ServerFailure> {
    let store = AnyStore::connect(settings, key).await?;
    store.upgrade().await.map_err(|error| upgrade_failed(settings, error.into()))?;
    if settings.queue.url.is_none() {
        let queue = connect_queue(settings).await?;
        queue.upgrade().await.map_err(|error| upgrade_failed(settings, error.into()))?;
    }
    say(&format_args!("the database {} is up to date", settings.database_url().shown()));
    Ok(ExitCode::SUCCESS)
}

async fn check(settings: &Settings, key: SecretKey) -> Result<ExitCode, ServerFailure> {
    let shown = settings.database_url().shown();
    let store = AnyStore::connect(settings, key).await?;
    let mut fits = true;
    match store.check_schema().await {
        Ok(()) => say(&format_args!("the database {shown} has the schema that this picasso needs")),
        Err(StoreError::SchemaMismatch { found, needed }) => {
            say(&format_args!(
                "the database {shown} does not fit: its schema is {found}, needed is {needed}"
            ));
            fits = false;
        }
        Err(error) => return Err(does_not_fit(settings, error)),
    }
    // Where there is no queue yet, the server makes it: nothing is made here. A broker needs no
    // schema.
    let path = queue_path(settings);
    if settings.queue.url.is_none()
        && !is_new_file(&path)
        && let Err(error) = connect_queue(settings).await?.check_schema().await
    {
        say(&format_args!("the queue {} does not fit: {error}", path.display()));
        fits = false;
    }
    Ok(if fits { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
