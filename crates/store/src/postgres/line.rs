//! The line to the server: one connection beside the pool that asks for changes all the time, and
//! so is the first to notice when the server is gone or the network is cut.
//!
//! A cut network says nothing: a connection over it looks alive until TCP gives up, which takes a
//! quarter of an hour. So connections that are older than the last fault of this one are not used
//! again; the pool makes new ones.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::pool::PoolConnectionMetadata;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection};

use super::changes;
use crate::error::Context as _;
use crate::{ChangeMark, Changes, StoreError};

/// How long a connection may take to show that it is alive before the pool makes another.
const SIGN_OF_LIFE: Duration = Duration::from_secs(1);

/// See the module.
pub(super) struct Line {
    /// Taken out while it is used: whoever stops waiting drops it.
    connection: tokio::sync::Mutex<Option<PgConnection>>,
    trusted_since: Mutex<Instant>,
}

impl Line {
    pub(super) fn new() -> Self {
        Self { connection: tokio::sync::Mutex::new(None), trusted_since: Mutex::new(Instant::now()) }
    }

    /// The changes since `after`, over a new connection where the last use did not end well.
    pub(super) async fn follow(
        &self,
        options: &PgConnectOptions,
        after: Option<ChangeMark>,
    ) -> Result<Changes, StoreError> {
        let mut kept = self.connection.lock().await;
        let fault = Fault { line: self, is_one: true };
        let mut connection = match kept.take() {
            Some(connection) => connection,
            None => options.connect().await.context("connecting")?,
        };
        let changes = changes::list(&mut connection, after).await?;
        *kept = Some(connection);
        fault.was_none();
        Ok(changes)
    }

    /// Whether a connection of the pool may be used: it is not older than the last fault.
    pub(super) fn trusts(&self, connection: &PoolConnectionMetadata) -> bool {
        let trusted_since = *self.trusted_since.lock().unwrap_or_else(PoisonError::into_inner);
        Instant::now().checked_sub(connection.age).is_some_and(|made| made >= trusted_since)
    }
}

/// Taken back when all went well; else, also for one who stopped waiting, a fault.
struct Fault<'a> {
    line: &'a Line,
    is_one: bool,
}

impl Fault<'_> {
    fn was_none(mut self) {
        self.is_one = false;
    }
}

impl Drop for Fault<'_> {
    fn drop(&mut self) {
        if self.is_one {
            *self.line.trusted_since.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        }
    }
}

/// Whether a connection answers, within a bounded time.
pub(super) async fn is_alive(connection: &mut PgConnection) -> bool {
    matches!(tokio::time::timeout(SIGN_OF_LIFE, connection.ping()).await, Ok(Ok(())))
}
