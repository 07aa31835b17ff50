//! The catalog: apps and routes as calls need them, cached so that a call reads no database.
//!
//! Entries are loaded once per app and dropped when the process that changed the app says so
//! ([`Catalog::forget`]). An entry that was being loaded while its app changed must not survive
//! the change: every entry carries the generation at which its load began, and `forget` notes
//! the generation from which an app's entries are good again.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use moka::future::Cache;
use picasso_store::{Store, StoreError};
use picasso_types::route_table::Matched;
use picasso_types::{App, AppId, Failure, FullName, PathParams, ProjectId, Route, RouteTable, RouteVersion};
use tokio::sync::Notify;

use crate::place::Place;

/// Apps kept in memory at one time; beyond it the least used are read again.
const MAX_ENTRIES: u64 = 20_000;
/// The longest an entry is used without reading it again.
const ENTRY_TTL: Duration = Duration::from_secs(30);

/// What a call runs: an app's route with its active version.
#[derive(Debug, Clone)]
pub struct Target {
    /// The app.
    pub app: Arc<App>,
    /// The route.
    pub route: Arc<Route>,
    /// The version that runs; `None` while the route's first version is not ready.
    pub version: Option<Arc<RouteVersion>>,
    /// Where its calls run, found with the first of them.
    pub(crate) place: Place,
}

impl Target {
    /// A route of `app` with the version that new calls run.
    pub(crate) fn active(app: &Arc<App>, route: Route) -> Self {
        let version = route.active.clone().map(Arc::new);
        Self { app: app.clone(), route: Arc::new(route), version, place: Place::default() }
    }

    /// Why the target cannot run yet, or cannot run at all.
    pub(crate) fn not_ready(&self) -> Failure {
        let preparing = || "its image is still being prepared".to_owned();
        Failure::NotReady { reason: self.route.latest.error.clone().unwrap_or_else(preparing) }
    }
}

/// What a path met.
#[derive(Debug, Clone)]
pub enum Lookup {
    /// A route and the parameters of its pattern.
    Found(Arc<Target>, PathParams),
    /// The path exists, the method does not; the methods that do.
    MethodNotAllowed(Vec<String>),
    /// No such app.
    NoApp,
    /// No such route.
    NoRoute,
}

#[derive(Debug)]
struct Entry {
    generation: u64,
    app_id: AppId,
    routes: RouteTable<Arc<Target>>,
}

/// Finds the target of a call, from memory where it can.
#[derive(Debug)]
pub struct Catalog {
    store: Arc<dyn Store>,
    public: Cache<String, Arc<Entry>>,
    private: Cache<String, Arc<Entry>>,
    generation: AtomicU64,
    changed: Cache<AppId, u64>,
    /// Apps that were changed since [`Catalog::changed`] was last asked.
    news: Mutex<HashSet<AppId>>,
    has_news: Notify,
}

impl Catalog {
    /// A catalog over `store`, empty at first.
    pub fn new(store: Arc<dyn Store>) -> Self {
        let entries = || Cache::builder().max_capacity(MAX_ENTRIES).time_to_live(ENTRY_TTL).build();
        Self {
            store,
            public: entries(),
            private: entries(),
            generation: AtomicU64::new(1),
            // Outlives every entry that a change could have made stale.
            changed: Cache::builder().time_to_live(ENTRY_TTL * 2).build(),
            news: Mutex::default(),
            has_news: Notify::new(),
        }
    }

    /// The target of a public URL: the app by its full name only, in any project.
    ///
    /// `path` is percent-decoded and begins with a slash.
    pub async fn lookup_public(
        &self,
        full_name: &FullName,
        path: &str,
        method: &str,
    ) -> Result<Lookup, StoreError> {
        let app = self.store.get_app_by_full_name(full_name);
        Ok(find(self.entry(&self.public, full_name.as_str(), app).await?.as_deref(), path, method))
    }

    /// The target of a project's own URL: the app by its short or full name.
    pub async fn lookup(
        &self,
        project: &ProjectId,
        name: &str,
        path: &str,
        method: &str,
    ) -> Result<Lookup, StoreError> {
        let app = self.store.get_app(project, name);
        let key = format!("{project}/{name}");
        Ok(find(self.entry(&self.private, &key, app).await?.as_deref(), path, method))
    }

    /// Drops what is cached of an app; called after every change of it or its routes, before the
    /// change is answered.
    pub async fn forget(&self, app: &AppId) {
        let generation = self.generation.fetch_add(1, Ordering::AcqRel) + 1;
        self.changed.insert(app.clone(), generation).await;
        self.news.lock().unwrap_or_else(PoisonError::into_inner).insert(app.clone());
        self.has_news.notify_one();
    }

    /// Waits until apps were changed and returns them; for one that follows changes.
    pub(crate) async fn changed(&self) -> HashSet<AppId> {
        loop {
            self.has_news.notified().await;
            let news = std::mem::take(&mut *self.news.lock().unwrap_or_else(PoisonError::into_inner));
            if !news.is_empty() {
                return news;
            }
        }
    }

    async fn cached(&self, entries: &Cache<String, Arc<Entry>>, key: &str) -> Option<Arc<Entry>> {
        let entry = entries.get(key).await?;
        match self.changed.get(&entry.app_id).await {
            Some(good_from) if entry.generation < good_from => None,
            _ => Some(entry),
        }
    }

    /// The cached entry, or one built from `app`, which is only asked for then. `None`: no such app.
    async fn entry(
        &self,
        entries: &Cache<String, Arc<Entry>>,
        key: &str,
        app: impl Future<Output = Result<App, StoreError>> + Send,
    ) -> Result<Option<Arc<Entry>>, StoreError> {
        if let Some(entry) = self.cached(entries, key).await {
            return Ok(Some(entry));
        }
        let generation = self.generation.load(Ordering::Acquire);
        let app = match app.await {
            Ok(app) => app,
            Err(StoreError::NotFound) => return Ok(None),
            Err(error) => return Err(error),
        };
        let routes = self.store.list_routes(&app.id).await?;
        let app = Arc::new(app);
        let targets = routes.into_iter().map(|route| {
            let (pattern, methods) = (route.pattern.clone(), route.methods.clone());
            (pattern, methods, Arc::new(Target::active(&app, route)))
        });
        let entry = Arc::new(Entry { generation, app_id: app.id.clone(), routes: RouteTable::new(targets) });
        entries.insert(key.to_owned(), entry.clone()).await;
        Ok(Some(entry))
    }
}

fn find(entry: Option<&Entry>, path: &str, method: &str) -> Lookup {
    let Some(entry) = entry else { return Lookup::NoApp };
    match entry.routes.find(path, method) {
        Matched::Route(target, params) => Lookup::Found(target.clone(), params),
        Matched::MethodNotAllowed(methods) => Lookup::MethodNotAllowed(methods.as_slice().to_vec()),
        Matched::Missing => Lookup::NoRoute,
    }
}
