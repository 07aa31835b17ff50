//! The line to the server: one connection beside the pool that asks for changes all the time, and
//! so is the first to notice when the server is gone or the network is cut.
//!
//! A cut network says nothing: a connection over it looks alive until TCP gives up, which takes a
//! quarter of an hour. So connections that are older than the last fault of this one are not used
//! again; the pool makes new ones.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::Connection;
use sqlx::pool::PoolConnectionMetadata;
use tokio::sync::MutexGuard;

/// How long a connection may take to show that it is alive before the pool makes another.
const SIGN_OF_LIFE: Duration = Duration::from_secs(1);

/// See the module.
pub(crate) struct Line<C> {
    /// Taken out while it is used: whoever stops waiting drops it.
    connection: tokio::sync::Mutex<Option<C>>,
    trusted_since: Mutex<Instant>,
}

impl<C> Line<C> {
    pub(crate) fn new() -> Self {
        Self { connection: tokio::sync::Mutex::new(None), trusted_since: Mutex::new(Instant::now()) }
    }

    /// Waits for the line to be free. A turn that is dropped counts as a fault.
    pub(crate) async fn turn(&self) -> Turn<'_, C> {
        Turn { kept: self.connection.lock().await, line: self, is_fault: true }
    }

    /// Whether a connection of the pool may be used: it is not older than the last fault.
    pub(crate) fn trusts(&self, connection: &PoolConnectionMetadata) -> bool {
        let trusted_since = *self.trusted_since.lock().unwrap_or_else(PoisonError::into_inner);
        Instant::now().checked_sub(connection.age).is_some_and(|made| made >= trusted_since)
    }
}

/// The use of the line by one.
pub(crate) struct Turn<'a, C> {
    kept: MutexGuard<'a, Option<C>>,
    line: &'a Line<C>,
    is_fault: bool,
}

impl<C> Turn<'_, C> {
    /// The connection, where the last turn ended well.
    pub(crate) fn take(&mut self) -> Option<C> {
        self.kept.take()
    }

    /// Keeps the connection for the next turn.
    pub(crate) fn ended_well(mut self, connection: C) {
        *self.kept = Some(connection);
        self.is_fault = false;
    }
}

impl<C> Drop for Turn<'_, C> {
    fn drop(&mut self) {
        if self.is_fault {
            *self.line.trusted_since.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        }
    }
}

/// Whether a connection answers, within a bounded time.
pub(crate) async fn is_alive(connection: &mut impl Connection) -> bool {
    matches!(tokio::time::timeout(SIGN_OF_LIFE, connection.ping()).await, Ok(Ok(())))
}
