//! Opens SQLite stores in temporary folders.

use std::path::Path;
use std::sync::Arc;

use picasso_store::{SecretKey, SqliteSettings, SqliteStore};
use picasso_types::Clock;

use crate::conformance::fixture::{Fixture, TestClock};

pub const KEY: [u8; 32] = [42; 32];

/// Where others open the same database.
pub fn url(path: &Path) -> String {
    format!("sqlite://{}", path.display())
}

/// Opens a database as it is.
pub async fn connect(path: &Path, clock: Arc<dyn Clock>) -> SqliteStore {
    let key = SecretKey::from_bytes(&KEY).unwrap();
    SqliteStore::connect(&SqliteSettings::at(path), key, clock).await.unwrap()
}

/// Opens a database and brings its schema up to date.
pub async fn open(path: &Path, clock: Arc<dyn Clock>) -> SqliteStore {
    let store = connect(path, clock).await;
    store.upgrade().await.unwrap();
    store
}

/// An empty, upgraded store in a folder of its own.
pub async fn fresh() -> Option<Fixture> {
    let folder = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let path = folder.path().join("picasso.db");
    let store = open(&path, clock.clone()).await;
    Some(Fixture { store: Arc::new(store), clock, url: url(&path), _keep: Box::new(folder) })
}
