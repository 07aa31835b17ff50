//! Opens stores in databases of their own, on one server for all tests that run at one time.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};

use picasso_store::{PostgresSettings, PostgresStore, SecretKey, Store};
use picasso_testkit::postgres::PostgresServer;
use picasso_testkit::process::require;
use picasso_types::Clock;
use tokio::sync::Mutex;

use crate::conformance::fixture::{Fixture, TestClock};

pub const KEY: [u8; 32] = [42; 32];

/// The server goes with the last test that uses it, so nothing outlives the run.
static SERVER: Mutex<Weak<PostgresServer>> = Mutex::const_new(Weak::new());
static DATABASES: AtomicU32 = AtomicU32::new(0);

/// Whether PostgreSQL is here; see [`require`].
fn is_here() -> bool {
    require("PostgreSQL", PostgresServer::missing().as_deref())
}

/// The server, and an empty database on it by its URL; `None` when the test is to be skipped.
pub async fn database() -> Option<(Arc<PostgresServer>, String)> {
    if !is_here() {
        return None;
    }
    let mut shared = SERVER.lock().await;
    let server = match shared.upgrade() {
        Some(server) => server,
        None => {
            let server = Arc::new(PostgresServer::start().await.unwrap());
            *shared = Arc::downgrade(&server);
            server
        }
    };
    let name = format!("test_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
    let url = server.create_database(&name).unwrap();
    Some((server, url))
}

/// Opens a database as it is.
pub async fn connect(url: &str, clock: Arc<dyn Clock>) -> PostgresStore {
    let settings = PostgresSettings { max_connections: 8, ..PostgresSettings::at(url.to_owned()) };
    PostgresStore::connect(&settings, SecretKey::from_bytes(&KEY).unwrap(), clock).await.unwrap()
}

/// Opens a database and brings its schema up to date.
pub async fn open(url: &str, clock: Arc<dyn Clock>) -> PostgresStore {
    let store = connect(url, clock).await;
    store.upgrade().await.unwrap();
    store
}

/// An empty, upgraded store in a database of its own; `None` when the test is to be skipped.
pub async fn fresh() -> Option<Fixture> {
    let (server, url) = database().await?;
    let clock = TestClock::new();
    let store = open(&url, clock.clone()).await;
    Some(Fixture { store: Arc::new(store), clock, url, _keep: Box::new(server) })
}

/// Two stores on one new database; `None` when the test is to be skipped.
pub async fn pair() -> Option<(Fixture, Arc<dyn Store>)> {
    let (server, url) = database().await?;
    let clock = TestClock::new();
    let (one, two) = (open(&url, clock.clone()).await, open(&url, clock.clone()).await);
    Some((Fixture { store: Arc::new(one), clock, url, _keep: Box::new(server) }, Arc::new(two)))
}

/// A store on a server of the test's own; `None` when the test is to be skipped.
pub async fn own_server() -> Option<(PostgresServer, Fixture)> {
    if !is_here() {
        return None;
    }
    let server = PostgresServer::start().await.unwrap();
    let url = server.create_database("picasso").unwrap();
    let clock = TestClock::new();
    let store = open(&url, clock.clone()).await;
    Some((server, Fixture { store: Arc::new(store), clock, url, _keep: Box::new(()) }))
}
