//! The catalog: apps and routes as calls need them, cached so that a call reads no database.
//!
//! Entries are loaded once per app and dropped when the process that changed the app says so
//! ([`Catalog::forget`]) or another one's change is heard (`change_feed`). An entry that was being
//! loaded while its app changed must not survive the change: every entry carries the generation at
//! which its load began, and `forget` notes the generation from which an app's entries are good
//! again.
//!
//! While the database does not answer, nobody hears of changes. What is cached then goes on
//! answering calls for a bounded time after it was read (`Catalog::new`): a database that restarts
//! is not to stop functions that do not need it. The price is that a node which is cut off does not
//! see in that time that a public function was made private. What this process knows to be changed
//! is never used again, and whatever cannot be told from the cache is `Unavailable`, not "no such".

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use moka::future::Cache;
use picasso_store::{Changed, Store, StoreError};
use picasso_types::route_table::Matched;
use picasso_types::{App, AppId, FullName, PathParams, ProjectId, RouteId, RouteTable, Selector};
use tokio::sync::{Notify, broadcast, watch};

use crate::route_targets::{RouteTargets, Selected};
use crate::target::Target;

#[cfg(test)]
mod tests;

/// Apps kept in memory at one time; beyond it the least used are read again.
const MAX_ENTRIES: u64 = 20_000;
/// Changed apps that are remembered one by one; beyond it everything counts as changed.
const MAX_CHANGED: u64 = 50_000;
/// The longest an entry is used without reading it again while the database answers.
const ENTRY_TTL: Duration = Duration::from_secs(30);
/// Changes that a follower may be behind before it has to read everything anew.
const FOLLOWED: usize = 256;

/// What a path met.
#[derive(Debug, Clone)]
pub enum Lookup<T = Arc<Target>> {
    /// What calls of a route run, and the parameters of its pattern.
    Found(T, PathParams),
    /// The path exists, the method does not; the methods that do.
    MethodNotAllowed(Vec<String>),
    /// No such app.
    NoApp,
    /// No such route.
    NoRoute,
}

impl<T> Lookup<T> {
    fn map<U>(self, of: impl FnOnce(T) -> U) -> Lookup<U> {
        match self {
            Self::Found(found, params) => Lookup::Found(of(found), params),
            Self::MethodNotAllowed(methods) => Lookup::MethodNotAllowed(methods),
            Self::NoApp => Lookup::NoApp,
            Self::NoRoute => Lookup::NoRoute,
        }
    }
}

#[derive(Debug)]
struct Entry {
    generation: u64,
    loaded: Instant,
    app_id: AppId,
    routes: RouteTable<Arc<RouteTargets>>,
}

/// Hears of every change of apps, their routes and triggers.
#[derive(Debug)]
pub struct ChangesFollower(broadcast::Receiver<Changed>);

impl ChangesFollower {
    /// Waits for the next change; [`Changed::Anything`] also when some were missed. `None` when the
    /// catalog is gone.
    pub async fn next(&mut self) -> Option<Changed> {
        match self.0.recv().await {
            Ok(changed) => Some(changed),
            Err(broadcast::error::RecvError::Lagged(_)) => Some(Changed::Anything),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

/// A cached entry's worth.
enum Cached {
    /// Good.
    Good(Arc<Entry>),
    /// To be read again, and good enough while it cannot be.
    Unchecked(Arc<Entry>),
    /// None, or one that is known to be wrong.
    None,
}

/// What became of a look for an app.
struct Found {
    /// `None`: no such app.
    entry: Option<Arc<Entry>>,
    /// Whether the entry is what the database has; else it may lack routes.
    checked: bool,
}

/// Finds the target of a call, from memory where it can.
#[derive(Debug)]
pub struct Catalog {
    store: Arc<dyn Store>,
    public: Cache<String, Arc<Entry>>,
    private: Cache<String, Arc<Entry>>,
    /// How long after it was read an entry may be used while the database does not answer.
    unchecked_for: Duration,
    generation: AtomicU64,
    changed: Cache<AppId, u64>,
    /// The generation from which entries of all apps may be good.
    all_changed: AtomicU64,
    /// Whether the database does not answer.
    away: watch::Sender<bool>,
    /// What was changed since [`Catalog::changed`] was last asked.
    news: Mutex<Option<Changed>>,
    has_news: Notify,
    followers: broadcast::Sender<Changed>,
}

impl Catalog {
    /// A catalog over `store`, empty at first. While the store does not answer, an entry may be
    /// used until `unchecked_for` after it was read.
    pub fn new(store: Arc<dyn Store>, unchecked_for: Duration) -> Self {
        let kept = unchecked_for.max(ENTRY_TTL);
        let entries = || Cache::builder().max_capacity(MAX_ENTRIES).time_to_live(kept).build();
        Self {
            store,
            public: entries(),
            private: entries(),
            unchecked_for,
            generation: AtomicU64::new(1),
            // Outlives every entry that a change could have made wrong.
            changed: Cache::builder().time_to_live(kept * 2).build(),
            all_changed: AtomicU64::new(0),
            away: watch::Sender::new(false),
            news: Mutex::default(),
            has_news: Notify::new(),
            followers: broadcast::Sender::new(FOLLOWED),
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
        let found = self.public_entry(full_name).await?;
        Ok(self.find(&found, path, method)?.map(|route| route.active.clone()))
    }

    /// The same where a part of the versions may be asked for.
    pub async fn select_public(
        &self,
        full_name: &FullName,
        selector: Option<&Selector>,
        path: &str,
        method: &str,
    ) -> Result<Lookup<Selected>, StoreError> {
        let found = self.public_entry(full_name).await?;
        self.select_of(&found, selector, path, method).await
    }

    /// The target of a project's own URL: the app by its short or full name.
    pub async fn lookup(
        &self,
        project: &ProjectId,
        name: &str,
        path: &str,
        method: &str,
    ) -> Result<Lookup, StoreError> {
        let found = self.private_entry(project, name).await?;
        Ok(self.find(&found, path, method)?.map(|route| route.active.clone()))
    }

    /// The same where a part of the versions may be asked for.
    pub async fn select(
        &self,
        project: &ProjectId,
        name: &str,
        selector: Option<&Selector>,
        path: &str,
        method: &str,
    ) -> Result<Lookup<Selected>, StoreError> {
        let found = self.private_entry(project, name).await?;
        self.select_of(&found, selector, path, method).await
    }

    /// What calls of one route run, by its id; `None` when the app has no such route (any more), or the
    /// route nothing of the kind that is asked for.
    pub async fn select_route(
        &self,
        project: &ProjectId,
        app: &str,
        route: &RouteId,
        selector: Option<&Selector>,
    ) -> Result<Option<Selected>, StoreError> {
        let found = self.private_entry(project, app).await?;
        let routes = found.entry.as_ref().map(|entry| &entry.routes);
        let targets = routes.and_then(|routes| routes.values().find(|of| of.active.route.id == *route));
        let selected = match (targets, selector) {
            (None, _) => None,
            (Some(targets), None) => Some(Selected::Version(targets.active.clone())),
            (Some(targets), Some(selector)) => targets.select(self.store.as_ref(), selector).await?,
        };
        match selected {
            Some(selected) => Ok(Some(selected)),
            None => match self.unless_unsure(&found, Lookup::NoRoute)? {
                Lookup::Found(selected, _) => Ok(Some(selected)),
                Lookup::MethodNotAllowed(_) | Lookup::NoApp | Lookup::NoRoute => Ok(None),
            },
        }
    }

    /// What is changed from now on; for one that keeps something of apps in memory.
    pub fn follow(&self) -> ChangesFollower {
        ChangesFollower(self.followers.subscribe())
    }

    /// Tells whether the store does not answer, so that changes pass unheard.
    pub fn away(&self) -> watch::Receiver<bool> {
        self.away.subscribe()
    }

    /// Drops what is cached of an app; called after every change of it or its routes, before the
    /// change is answered.
    pub async fn forget(&self, app: &AppId) {
        let generation = self.next_generation();
        self.changed.insert(app.clone(), generation).await;
        if self.changed.entry_count() > MAX_CHANGED {
            self.forget_everything();
            self.changed.invalidate_all();
        }
        self.tell(Changed::Apps(HashSet::from([app.clone()])));
    }

    /// Takes in what was changed, as the store says. It answers, so it is not away.
    pub(crate) async fn heard(&self, changed: Changed) {
        match changed {
            Changed::Apps(apps) => {
                for app in apps {
                    self.forget(&app).await;
                }
            }
            Changed::Anything => {
                self.forget_everything();
                self.tell(Changed::Anything);
            }
        }
        // Last: whoever sees that it is back must not take an old entry for a good one.
        self.away.send_if_modified(|away| std::mem::replace(away, false));
    }

    /// Notes that the store does not answer; until [`Catalog::heard`].
    pub(crate) fn lost_touch(&self) {
        self.away.send_if_modified(|away| !std::mem::replace(away, true));
    }

    /// Waits until something was changed and returns it; for one that follows changes.
    pub(crate) async fn changed(&self) -> Changed {
        loop {
            self.has_news.notified().await;
            let news = self.news.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(news) = news {
                return news;
            }
        }
    }

    fn next_generation(&self) -> u64 {
        self.generation.fetch_add(1, Ordering::AcqRel) + 1
    }

    fn forget_everything(&self) {
        self.all_changed.store(self.next_generation(), Ordering::Release);
    }

    fn tell(&self, changed: Changed) {
        // Without a follower there is nobody to tell.
        let _ = self.followers.send(changed.clone());
        {
            let mut news = self.news.lock().unwrap_or_else(PoisonError::into_inner);
            match (&mut *news, changed) {
                (Some(Changed::Anything), _) => {}
                (Some(Changed::Apps(known)), Changed::Apps(more)) => known.extend(more),
                (news, changed) => *news = Some(changed),
            }
        }
        self.has_news.notify_one();
    }

    async fn public_entry(&self, full_name: &FullName) -> Result<Found, StoreError> {
        // Apps of the IronFunctions face are reached there alone.
        let app = async {
            let app = self.store.get_app_by_full_name(full_name).await?;
            if app.project_id.is_ironfunctions() { Err(StoreError::NotFound) } else { Ok(app) }
        };
        self.entry(&self.public, full_name.as_str(), app).await
    }

    async fn private_entry(&self, project: &ProjectId, name: &str) -> Result<Found, StoreError> {
        let app = self.store.get_app(project, name);
        self.entry(&self.private, &format!("{project}/{name}"), app).await
    }

    async fn cached(&self, entries: &Cache<String, Arc<Entry>>, key: &str) -> Cached {
        let Some(entry) = entries.get(key).await else { return Cached::None };
        if self.changed.get(&entry.app_id).await.is_some_and(|good_from| entry.generation < good_from) {
            return Cached::None;
        }
        let age = entry.loaded.elapsed();
        if age < ENTRY_TTL && entry.generation >= self.all_changed.load(Ordering::Acquire) {
            Cached::Good(entry)
        } else if age < self.unchecked_for {
            Cached::Unchecked(entry)
        } else {
            Cached::None
        }
    }

    /// The cached entry, or one built from `app`, which is only asked for then.
    async fn entry(
        &self,
        entries: &Cache<String, Arc<Entry>>,
        key: &str,
        app: impl Future<Output = Result<App, StoreError>> + Send,
    ) -> Result<Found, StoreError> {
        let unchecked = match self.cached(entries, key).await {
            Cached::Good(entry) => return Ok(Found { entry: Some(entry), checked: true }),
            Cached::Unchecked(entry) => entry,
            Cached::None => {
                let entry = self.load(entries, key, app).await?;
                return Ok(Found { entry, checked: true });
            }
        };
        let mut away = self.away.subscribe();
        // A store that says nothing must not hold up a call that can do without it.
        let loaded = tokio::select! {
            biased;
            _ = away.wait_for(|away| *away) => None,
            loaded = self.load(entries, key, app) => Some(loaded),
        };
        match loaded {
            None | Some(Err(StoreError::Unavailable { .. })) => {
                Ok(Found { entry: Some(unchecked), checked: false })
            }
            Some(loaded) => Ok(Found { entry: loaded?, checked: true }),
        }
    }

    async fn load(
        &self,
        entries: &Cache<String, Arc<Entry>>,
        key: &str,
        app: impl Future<Output = Result<App, StoreError>> + Send,
    ) -> Result<Option<Arc<Entry>>, StoreError> {
        let (generation, loaded) = (self.generation.load(Ordering::Acquire), Instant::now());
        let app = match app.await {
            Ok(app) => app,
            Err(StoreError::NotFound) => return Ok(None),
            Err(error) => return Err(error),
        };
        let app = Arc::new(app);
        let routes = RouteTargets::load_all(self.store.as_ref(), &app).await?.into_iter().map(|targets| {
            let route = &targets.active.route;
            (route.pattern.clone(), route.methods.clone(), Arc::new(targets))
        });
        let routes = RouteTable::new(routes);
        let entry = Arc::new(Entry { generation, loaded, app_id: app.id.clone(), routes });
        entries.insert(key.to_owned(), entry.clone()).await;
        Ok(Some(entry))
    }

    async fn select_of(
        &self,
        found: &Found,
        selector: Option<&Selector>,
        path: &str,
        method: &str,
    ) -> Result<Lookup<Selected>, StoreError> {
        match (self.find(found, path, method)?, selector) {
            (Lookup::Found(route, params), Some(selector)) => {
                match route.select(self.store.as_ref(), selector).await? {
                    Some(selected) => Ok(Lookup::Found(selected, params)),
                    None => self.unless_unsure(found, Lookup::NoRoute),
                }
            }
            (lookup, _) => Ok(lookup.map(|route| Selected::Version(route.active.clone()))),
        }
    }

    fn find(&self, found: &Found, path: &str, method: &str) -> Result<Lookup<Arc<RouteTargets>>, StoreError> {
        let Some(entry) = &found.entry else { return Ok(Lookup::NoApp) };
        match entry.routes.find(path, method) {
            Matched::Route(route, params) => Ok(Lookup::Found(route.clone(), params)),
            Matched::MethodNotAllowed(methods) => {
                self.unless_unsure(found, Lookup::MethodNotAllowed(methods.as_slice().to_vec()))
            }
            Matched::Missing => self.unless_unsure(found, Lookup::NoRoute),
        }
    }

    /// That there is no such thing, unless it may have been made since the entry was read.
    fn unless_unsure<T>(&self, found: &Found, lookup: Lookup<T>) -> Result<Lookup<T>, StoreError> {
        if found.checked && !*self.away.borrow() {
            return Ok(lookup);
        }
        Err(StoreError::Unavailable {
            context: "looking for a route",
            source: "the database does not answer, and what is cached has no such route".into(),
        })
    }
}
