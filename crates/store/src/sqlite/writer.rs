//! The one writing connection and its group commit.
//!
//! SQLite has one writer at a time and each commit waits for the disk. So all writes of this
//! process go through one task: whatever has queued up while the last commit was on its way to
//! the disk shares the next transaction, each in a savepoint of its own, and nobody is answered
//! before that transaction is on disk.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, SqliteConnection};
use tokio::sync::{mpsc, oneshot};

use crate::StoreError;
use crate::error::Context as _;

/// Writes that may wait for the writer; more callers wait outside.
const QUEUED_WRITES: usize = 1024;
/// Most writes that share one transaction, so that one fault or a slow write delays few others.
const WRITES_PER_COMMIT: usize = 128;

pub(super) type BoxFuture<'c, T> = Pin<Box<dyn Future<Output = T> + Send + 'c>>;

/// Hands writes to the writer task.
#[derive(Debug)]
pub(super) struct Writer {
    jobs: mpsc::Sender<Box<dyn Job>>,
}

impl Writer {
    /// Opens the writing connection and starts its task, which ends with the last handle.
    pub(super) async fn start(options: SqliteConnectOptions) -> Result<Self, StoreError> {
        let connection = options.connect().await.context("opening the database")?;
        let (jobs, queue) = mpsc::channel(QUEUED_WRITES);
        tokio::spawn(write_batches(options, connection, queue));
        Ok(Self { jobs })
    }

    /// Runs `work` in a transaction and returns when it is on disk; an `Err` of `work` undoes
    /// what it wrote. A caller that goes away before its turn wrote nothing.
    pub(super) async fn run<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, StoreError>> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job = Work { task: Some(work), result: None, reply };
        self.jobs.send(Box::new(job)).await.map_err(|_| writer_gone())?;
        answer.await.map_err(|_| writer_gone())?
    }

    /// Whether the writer task still runs.
    pub(super) fn is_alive(&self) -> bool {
        !self.jobs.is_closed()
    }
}

fn writer_gone() -> StoreError {
    StoreError::Database { context: "writing", source: "the writer task has ended".into() }
}

/// A write of any result type.
trait Job: Send {
    fn is_wanted(&self) -> bool;
    /// Does the work; `false` when what it wrote is to be undone.
    fn run<'c>(&'c mut self, connection: &'c mut SqliteConnection) -> BoxFuture<'c, bool>;
    fn settle(self: Box<Self>, commit: Result<(), BatchError>);
}

struct Work<T, F> {
    task: Option<F>,
    result: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Job for Work<T, F>
where
    T: Send + 'static,
    F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, StoreError>> + Send + 'static,
{
    fn is_wanted(&self) -> bool {
        !self.reply.is_closed()
    }

    fn run<'c>(&'c mut self, connection: &'c mut SqliteConnection) -> BoxFuture<'c, bool> {
        Box::pin(async move {
            let Some(task) = self.task.take() else { return false };
            let result = task(connection).await;
            let keep = result.is_ok();
            self.result = Some(result);
            keep
        })
    }

    fn settle(self: Box<Self>, commit: Result<(), BatchError>) {
        // A refusal counts only with its transaction too: it may rest on a write beside it.
        let answer = match (commit, self.result) {
            (Ok(()), Some(result)) => result,
            (Ok(()), None) => Err(writer_gone()),
            (Err(error), _) => {
                Err(StoreError::Database { context: "committing a transaction", source: Box::new(error) })
            }
        };
        // The caller may have gone away; what it asked for is done all the same.
        drop(self.reply.send(answer));
    }
}

/// The failure of a transaction, told to everyone in it.
#[derive(Debug, Clone, thiserror::Error)]
#[error(transparent)]
struct BatchError(Arc<sqlx::Error>);

async fn write_batches(
    options: SqliteConnectOptions,
    connection: SqliteConnection,
    mut queue: mpsc::Receiver<Box<dyn Job>>,
) {
    let mut connection = Some(connection);
    let mut batch = Vec::with_capacity(WRITES_PER_COMMIT);
    while queue.recv_many(&mut batch, WRITES_PER_COMMIT).await > 0 {
        batch.retain(|job| job.is_wanted());
        if batch.is_empty() {
            continue;
        }
        let committed = write_batch(&options, &mut connection, &mut batch).await;
        if let Err(error) = &committed {
            tracing::error!(%error, writes = batch.len(), "a database transaction failed");
            // An error can end the transaction below us; only a new connection is surely clean.
            connection = None;
        }
        let committed = committed.map_err(|error| BatchError(Arc::new(error)));
        for job in batch.drain(..) {
            job.settle(committed.clone());
        }
    }
    if let Some(connection) = connection
        && let Err(error) = connection.close().await
    {
        tracing::warn!(%error, "the database did not close cleanly");
    }
}

async fn write_batch(
    options: &SqliteConnectOptions,
    connection: &mut Option<SqliteConnection>,
    batch: &mut [Box<dyn Job>],
) -> Result<(), sqlx::Error> {
    let connection = match connection {
        Some(connection) => connection,
        none => none.insert(options.connect().await?),
    };
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    for job in batch {
        // The wait for another process's transaction may have been long.
        if !job.is_wanted() {
            continue;
        }
        let mut savepoint = transaction.begin().await?;
        if job.run(&mut savepoint).await {
            savepoint.commit().await?;
        } else {
            savepoint.rollback().await?;
        }
    }
    transaction.commit().await
}
