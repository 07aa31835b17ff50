//! How stores on a database server wait: each method within a bounded time, and what the server
//! undid because of other work at the same time is done again, a bounded number of times.

use std::future::Future;
use std::time::Duration;

use crate::StoreError;
use crate::error::was_undone;

/// How often work that the server undid is tried.
const MAX_ATTEMPTS: u32 = 8;

/// `Unavailable` when `work` does not end in time.
pub(crate) async fn bounded<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
        Err(StoreError::Unavailable {
            context: "waiting for the database",
            source: format!("no answer within {limit:?}").into(),
        })
    })
}

/// Runs `work`, again when the server undid it, all of it within `limit`.
pub(crate) async fn retried<T, F>(limit: Duration, work: impl Fn() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    bounded(limit, async {
        let mut attempt = 1;
        loop {
            match work().await {
                Err(error) if attempt < MAX_ATTEMPTS && was_undone(&error) => {
                    tokio::time::sleep(pause_after(attempt)).await;
                    attempt += 1;
                }
                done => return done,
            }
        }
    })
    .await
}

/// Runs a read of a store.
macro_rules! read {
    ($self:ident, |$db:ident| $work:expr) => {
        $crate::server::bounded($self.answer_timeout, async {
            let mut connection = $crate::error::Context::context($self.pool.acquire().await, "connecting")?;
            let $db = &mut *connection;
            $work.await
        })
        .await
    };
}
pub(crate) use read;

/// Runs the work of a store in a transaction; again when the server undid it. The values in brackets are
/// named for drivers that have to copy them.
macro_rules! write {
    ($self:ident, |$db:ident| $work:expr) => {
        $crate::server::retried($self.answer_timeout, || async {
            let begun = $self.pool.begin().await;
            let mut transaction = $crate::error::Context::context(begun, "beginning a transaction")?;
            let $db = &mut *transaction;
            let value = $work.await?;
            $crate::error::Context::context(transaction.commit().await, "committing a transaction")?;
            Ok(value)
        })
        .await
    };
    ($self:ident, [$($value:ident),*], |$db:ident, $now:ident| $work:expr) => {
        $crate::server::write!($self, |$db| {
            let $now = $self.clock.now();
            $work
        })
    };
}
pub(crate) use write;

/// Runs work of a store of which each statement is a transaction by itself; again when the server undid one.
macro_rules! write_each {
    ($self:ident, [$($value:ident),*], |$db:ident, $now:ident| $work:expr) => {
        $crate::server::retried($self.answer_timeout, || async {
            let mut connection = $crate::error::Context::context($self.pool.acquire().await, "connecting")?;
            let ($db, $now) = (&mut *connection, $self.clock.now());
            $work.await
        })
        .await
    };
}
pub(crate) use write_each;

/// Writes in the next batch of its kind.
macro_rules! batch {
    ($self:ident, $kind:ident, $item:expr) => {
        $crate::server::bounded($self.answer_timeout, $self.call_writes.$kind.write($item)).await
    };
}
pub(crate) use batch;

/// How long to wait before the next attempt.
fn pause_after(attempt: u32) -> Duration {
    Duration::from_millis(2 << attempt.min(7))
}
