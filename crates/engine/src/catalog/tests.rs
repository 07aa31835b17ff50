//! What calls find while the database answers, while it does not, and after it is back.

use std::sync::Arc;
use std::time::Duration;

use picasso_store::{
    AppStore as _, Changed, RouteStore as _, SecretKey, SqliteSettings, SqliteStore, StoreError,
};
use picasso_types::{App, Digest, FullName, NewApp, NewRoute, Route, RouteChange, RoutePattern, SystemClock};

use super::{Catalog, Lookup};
use crate::testing;

struct Bench {
    store: Arc<SqliteStore>,
    catalog: Catalog,
    app: App,
    route: Route,
    _folder: tempfile::TempDir,
}

impl Bench {
    /// A public route `/f` of an app, which the catalog has read.
    async fn new(unchecked_for: Duration) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = SecretKey::from_bytes(&[7; 32]).unwrap();
        let settings = SqliteSettings::at(folder.path().join("store"));
        let store = SqliteStore::connect(&settings, key, Arc::new(SystemClock)).await.unwrap();
        store.upgrade().await.unwrap();
        let store = Arc::new(store);
        let like = testing::target("/f");
        let new = NewApp {
            id: picasso_types::AppId::generate(),
            project_id: like.app.project_id.clone(),
            short_name: like.app.short_name.clone(),
            description: String::new(),
            config: testing::config(&[]),
            secrets: picasso_types::Secrets::default(),
            cors: None,
        };
        let app = store.create_app(&new, 10).await.unwrap();
        let route = make_route(&store, &app, "/f").await;
        let bench =
            Self { catalog: Catalog::new(store.clone(), unchecked_for), store, app, route, _folder: folder };
        assert_eq!(bench.is_public("/f").await.unwrap(), Some(true));
        bench
    }

    /// Of the route that a path meets; `None` where there is none.
    async fn is_public(&self, path: &str) -> Result<Option<bool>, StoreError> {
        let name = FullName::parse(self.app.full_name.as_str()).unwrap();
        match self.catalog.lookup_public(&name, path, "GET").await? {
            Lookup::Found(target, _) => Ok(Some(target.route.is_public)),
            _ => Ok(None),
        }
    }

    /// As another process does it.
    async fn make_private(&self) {
        let change = RouteChange {
            methods: self.route.methods.clone(),
            route_type: self.route.route_type,
            is_public: false,
            rate_limit: None,
            delivery: self.route.delivery.clone(),
            access: self.route.access.clone(),
            spec: self.route.latest.spec.clone(),
            created_by: "another".to_owned(),
            expected: None,
        };
        self.store.update_route(&self.route.id, &change, None).await.unwrap();
    }

    /// The database was away once, so that nothing cached is sure, and is away again.
    async fn lose_touch(&self) {
        self.catalog.heard(Changed::Anything).await;
        self.catalog.lost_touch();
    }
}

async fn make_route(store: &SqliteStore, app: &App, pattern: &str) -> Route {
    let like = testing::target(pattern).route;
    let new = NewRoute {
        id: picasso_types::RouteId::generate(),
        pattern: RoutePattern::parse(pattern).unwrap(),
        methods: like.methods.clone(),
        route_type: like.route_type,
        is_public: true,
        rate_limit: None,
        delivery: like.delivery.clone(),
        access: like.access.clone(),
        spec: like.latest.spec.clone(),
        created_by: "me".to_owned(),
    };
    store.create_route(&app.id, &new, Some(&Digest::of(b"image")), 10).await.unwrap()
}

#[tokio::test]
async fn a_change_is_seen_when_it_is_heard() {
    let bench = Bench::new(Duration::from_mins(1)).await;
    bench.make_private().await;
    assert_eq!(bench.is_public("/f").await.unwrap(), Some(true), "it is cached");
    bench.catalog.heard(Changed::Apps([bench.app.id.clone()].into())).await;
    assert_eq!(bench.is_public("/f").await.unwrap(), Some(false));
}

#[tokio::test]
async fn a_cached_route_is_found_while_the_database_is_away_and_read_again_after_it() {
    let bench = Bench::new(Duration::from_mins(1)).await;
    bench.lose_touch().await;
    bench.make_private().await;
    assert_eq!(bench.is_public("/f").await.unwrap(), Some(true), "the change cannot be heard");
    bench.catalog.heard(Changed::Anything).await;
    assert_eq!(bench.is_public("/f").await.unwrap(), Some(false));
}

#[tokio::test]
async fn what_is_known_to_be_changed_is_not_served_while_the_database_is_away() {
    let bench = Bench::new(Duration::from_mins(1)).await;
    bench.make_private().await;
    bench.catalog.forget(&bench.app.id).await;
    bench.lose_touch().await;
    // This database answers all the same; what counts is that it is asked.
    assert_eq!(bench.is_public("/f").await.unwrap(), Some(false));
}

#[tokio::test]
async fn an_entry_is_not_served_beyond_its_time_while_the_database_is_away() {
    let bench = Bench::new(Duration::ZERO).await;
    bench.lose_touch().await;
    bench.make_private().await;
    assert_eq!(bench.is_public("/f").await.unwrap(), Some(false));
}

#[tokio::test]
async fn a_route_that_cannot_be_looked_for_is_unavailable_and_not_missing() {
    let bench = Bench::new(Duration::from_mins(1)).await;
    bench.lose_touch().await;
    make_route(&bench.store, &bench.app, "/new").await;
    assert!(matches!(bench.is_public("/new").await, Err(StoreError::Unavailable { .. })));
    bench.catalog.heard(Changed::Anything).await;
    assert_eq!(bench.is_public("/new").await.unwrap(), Some(true));
    assert_eq!(bench.is_public("/no-such").await.unwrap(), None);
}
