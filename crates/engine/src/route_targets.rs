//! What the calls of one route can run: its active version, those of its aliases, and others by number.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use picasso_store::{Store, StoreError};
use picasso_types::{Alias, AliasName, App, Route, RouteId, RouteVersion, Selector, VersionState};

use crate::target::Target;

/// Versions of one route that are remembered because they were called by their numbers.
const MAX_NUMBERED: usize = 16;

/// A route's alias with what its versions run.
#[derive(Debug, Clone)]
pub struct AliasTargets {
    /// The alias.
    pub alias: Alias,
    versions: HashMap<u32, Arc<Target>>,
}

impl AliasTargets {
    /// What one call runs: always the same for the same `key`, without one by chance. `None` when the
    /// version went while the alias was read.
    pub fn draw(&self, key: Option<&[u8]>) -> Option<Arc<Target>> {
        self.versions.get(&self.alias.draw(key)).cloned()
    }
}

/// What a call asked for.
#[derive(Debug, Clone)]
pub enum Selected {
    /// One version.
    Version(Arc<Target>),
    /// One of an alias's versions, to be drawn.
    Alias(Arc<AliasTargets>),
}

impl Selected {
    /// Whether callers need no token.
    pub fn is_public(&self) -> bool {
        match self {
            Self::Version(target) => target.route.is_public,
            Self::Alias(alias) => alias.alias.spec.is_public,
        }
    }
}

/// A route as calls need it.
#[derive(Debug)]
pub(crate) struct RouteTargets {
    pub(crate) active: Arc<Target>,
    aliases: HashMap<AliasName, Arc<AliasTargets>>,
    /// Called by number, and neither active nor of an alias. Versions do not change; what is deleted
    /// goes with the whole entry.
    numbered: Mutex<HashMap<u32, Arc<Target>>>,
}

impl RouteTargets {
    /// Of all routes of an app.
    pub(crate) async fn load_all(store: &dyn Store, app: &Arc<App>) -> Result<Vec<Self>, StoreError> {
        let routes = store.list_routes(&app.id).await?;
        let (aliases, versions) = store.list_app_aliases(&app.id).await?;
        let mut of_route: HashMap<RouteId, Vec<Alias>> = HashMap::new();
        for alias in aliases {
            of_route.entry(alias.route_id.clone()).or_default().push(alias);
        }
        let mut versions: HashMap<(RouteId, u32), RouteVersion> = versions
            .into_iter()
            .map(|version| ((version.route_id.clone(), version.number), version))
            .collect();
        let mut all = Vec::with_capacity(routes.len());
        for route in routes {
            let active = Arc::new(Target::active(app, route));
            let mut targets = HashMap::new();
            let aliases = of_route.remove(&active.route.id).unwrap_or_default();
            for share in aliases.iter().flat_map(|alias| alias.spec.shares.as_slice()) {
                if targets.contains_key(&share.number) {
                    continue;
                }
                let found = match versions.remove(&(active.route.id.clone(), share.number)) {
                    Some(version) => Some(version),
                    // The alias changed between the two looks; its old versions are still good.
                    None => found(store.get_route_version(&active.route.id, share.number).await)?,
                };
                if let Some(version) = found {
                    targets.insert(share.number, of_version(&active, version));
                }
            }
            let aliases = aliases.into_iter().map(|alias| {
                let numbers = alias.spec.shares.as_slice().iter().map(|share| share.number);
                let versions = numbers.filter_map(|number| Some((number, targets.get(&number)?.clone())));
                (alias.name.clone(), Arc::new(AliasTargets { versions: versions.collect(), alias }))
            });
            all.push(Self { aliases: aliases.collect(), active, numbered: Mutex::default() });
        }
        Ok(all)
    }

    /// What a selector means for this route; `None` when it means nothing.
    pub(crate) async fn select(
        &self,
        store: &dyn Store,
        selector: &Selector,
    ) -> Result<Option<Selected>, StoreError> {
        match selector {
            Selector::Alias(name) => Ok(self.aliases.get(name).cloned().map(Selected::Alias)),
            Selector::Number(number) => Ok(self.numbered(store, *number).await?.map(Selected::Version)),
        }
    }

    /// The active version and those of aliases: what is kept ready for calls.
    pub(crate) fn kept(&self) -> impl Iterator<Item = &Arc<Target>> {
        std::iter::once(&self.active).chain(self.aliases.values().flat_map(|alias| alias.versions.values()))
    }

    async fn numbered(&self, store: &dyn Store, number: u32) -> Result<Option<Arc<Target>>, StoreError> {
        let is_it =
            |target: &&Arc<Target>| target.version.as_ref().is_some_and(|version| version.number == number);
        if let Some(target) = self.kept().find(is_it) {
            return Ok(Some(target.clone()));
        }
        if let Some(target) = self.lock().get(&number) {
            return Ok(Some(target.clone()));
        }
        let Some(version) = found(store.get_route_version(&self.active.route.id, number).await)? else {
            return Ok(None);
        };
        let is_decided = version.state == VersionState::Ready;
        let target = of_version(&self.active, version);
        if is_decided {
            let mut numbered = self.lock();
            if numbered.len() >= MAX_NUMBERED {
                numbered.clear();
            }
            numbered.insert(number, target.clone());
        }
        Ok(Some(target))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u32, Arc<Target>>> {
        self.numbered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn found(version: Result<RouteVersion, StoreError>) -> Result<Option<RouteVersion>, StoreError> {
    match version {
        Ok(version) => Ok(Some(version)),
        Err(StoreError::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The route as if this were its only version. The active one stays itself: its calls share a place.
fn of_version(active: &Arc<Target>, version: RouteVersion) -> Arc<Target> {
    if active.version.as_ref().is_some_and(|running| running.id == version.id) {
        return active.clone();
    }
    let runs = (version.state == VersionState::Ready).then(|| version.clone());
    let route = Route { latest: version, active: runs, ..Route::clone(&active.route) };
    Arc::new(Target::active(&active.app, route))
}
