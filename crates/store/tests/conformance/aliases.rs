//! Aliases: what they stand for, what they keep, and what is refused.

use picasso_store::StoreError;
use picasso_types::{Alias, AliasName, AliasSpec, AppId, Format, Route, RouteId, Share, Shares, Sticky};

use super::fixture::{Fixture, MANY, SECOND, change, digest, new_route};

pub fn name(text: &str) -> AliasName {
    AliasName::parse(text).unwrap()
}

/// An alias of these versions with these weights.
pub fn of(shares: &[(u32, u32)]) -> AliasSpec {
    let shares = shares.iter().map(|&(number, weight)| Share { number, weight }).collect();
    AliasSpec { shares: Shares::parse(shares).unwrap(), is_public: false, sticky: None }
}

impl Fixture {
    /// A route with this many ready versions.
    pub async fn route_with_versions(&self, app: &AppId, pattern: &str, versions: u32) -> Route {
        let image = |number: u32| digest(&format!("image-{number}"));
        let mut route =
            self.store.create_route(app, &new_route(pattern), Some(&image(1)), MANY).await.unwrap();
        for number in 2..=versions {
            route = self.store.update_route(&route.id, &change(&route), Some(&image(number))).await.unwrap();
        }
        route
    }

    pub async fn alias(&self, route: &RouteId, text: &str, spec: &AliasSpec) -> Alias {
        self.store.create_alias(route, &name(text), spec, "user-a", MANY).await.unwrap()
    }
}

pub async fn an_alias_comes_back_as_it_was_made_and_changed(f: Fixture) {
    let app = f.app("hello").await;
    let route = f.route_with_versions(&app.id, "/hello", 3).await;
    let spec = AliasSpec {
        is_public: true,
        sticky: Some(Sticky::header("X-User").unwrap()),
        ..of(&[(3, 100), (1, 900), (2, 0)])
    };
    let made = f.alias(&route.id, "live", &spec).await;
    assert_eq!((made.name.as_str(), &made.route_id, &made.spec), ("live", &route.id, &spec));
    assert_eq!((made.created_by.as_str(), made.updated_by.as_str()), ("user-a", "user-a"));
    assert_eq!(f.store.get_alias(&route.id, &name("live")).await.unwrap(), made);

    let now = f.clock.advance(SECOND);
    let cookie = AliasSpec { sticky: Some(Sticky::cookie("Who").unwrap()), ..of(&[(2, 1)]) };
    for spec in [cookie, of(&[(3, 1)])] {
        let changed = f.store.update_alias(&route.id, &name("live"), &spec, None, "user-b").await.unwrap();
        let expected = Alias { spec, updated_by: "user-b".to_owned(), updated_at: now, ..made.clone() };
        assert_eq!(changed, expected);
        assert_eq!(f.store.get_alias(&route.id, &name("live")).await.unwrap(), expected);
    }
    f.store.delete_alias(&route.id, &name("live")).await.unwrap();
    assert!(matches!(f.store.get_alias(&route.id, &name("live")).await, Err(StoreError::NotFound)));
    f.alias(&route.id, "live", &of(&[(1, 1)])).await;
}

pub async fn of_changes_for_one_state_of_an_alias_one_is_made(f: Fixture) {
    let app = f.app("hello").await;
    let route = f.route_with_versions(&app.id, "/hello", 2).await;
    let seen = f.alias(&route.id, "live", &of(&[(1, 1)])).await;
    let change = async |weight| {
        let spec = of(&[(1, 1), (2, weight)]);
        f.store.update_alias(&route.id, &name("live"), &spec, Some(&seen), "user-b").await
    };
    f.clock.advance(SECOND);
    let (one, two) = tokio::join!(change(1), change(2));
    let (made, refused) = if one.is_ok() { (one, two) } else { (two, one) };
    assert!(matches!(refused, Err(StoreError::Changed)), "{refused:?}");
    assert_eq!(f.store.get_alias(&route.id, &name("live")).await.unwrap(), made.unwrap());
}

pub async fn aliases_are_listed_by_name_and_by_app_with_their_versions(f: Fixture) {
    let (app, other) = (f.app("hello").await, f.app("other").await);
    let one = f.route_with_versions(&app.id, "/one", 3).await;
    let two = f.route_with_versions(&app.id, "/two", 1).await;
    let elsewhere = f.route_with_versions(&other.id, "/one", 1).await;
    let b = f.alias(&one.id, "b", &of(&[(1, 1), (3, 1)])).await;
    let a = f.alias(&one.id, "a", &of(&[(1, 1)])).await;
    let same_name = f.alias(&two.id, "a", &of(&[(1, 1)])).await;
    f.alias(&elsewhere.id, "a", &of(&[(1, 1)])).await;
    assert_eq!(f.store.list_aliases(&one.id).await.unwrap(), [a.clone(), b.clone()]);
    assert_eq!(f.store.list_aliases(&RouteId::generate()).await.unwrap(), []);

    let (mut aliases, versions) = f.store.list_app_aliases(&app.id).await.unwrap();
    aliases.sort_by_key(|alias| (alias.route_id != one.id, alias.name.clone()));
    assert_eq!(aliases, [a, b, same_name]);
    let mut versions: Vec<_> = versions.into_iter().map(|v| (v.route_id != one.id, v.number)).collect();
    versions.sort_unstable();
    assert_eq!(versions, [(false, 1), (false, 3), (true, 1)]);
    assert_eq!(f.store.list_app_aliases(&AppId::generate()).await.unwrap(), (Vec::new(), Vec::new()));
}

pub async fn an_alias_stands_only_for_ready_versions_of_its_route(f: Fixture) {
    let app = f.app("hello").await;
    let route = f.route_with_versions(&app.id, "/hello", 2).await;
    let preparing = f.store.update_route(&route.id, &change(&route), None).await.unwrap();
    let make =
        async |spec: AliasSpec| f.store.create_alias(&route.id, &name("live"), &spec, "user-a", MANY).await;
    assert!(matches!(make(of(&[(1, 1), (4, 1)])).await, Err(StoreError::VersionNotFound(4))));
    assert!(matches!(make(of(&[(1, 1), (3, 1)])).await, Err(StoreError::VersionNotReady(3))));
    assert_eq!(f.store.list_aliases(&route.id).await.unwrap(), [], "what was refused left nothing");
    let alias = make(of(&[(1, 1)])).await.unwrap();
    let change =
        async |spec: AliasSpec| f.store.update_alias(&route.id, &name("live"), &spec, None, "user-b").await;
    assert!(matches!(change(of(&[(4, 1)])).await, Err(StoreError::VersionNotFound(4))));
    assert!(matches!(change(of(&[(3, 1)])).await, Err(StoreError::VersionNotReady(3))));
    assert_eq!(f.store.get_alias(&route.id, &name("live")).await.unwrap(), alias);
    f.store.set_version_ready(&preparing.latest.id, &digest("three")).await.unwrap();
    change(of(&[(3, 1)])).await.unwrap();
}

pub async fn a_name_is_used_once_and_aliases_are_counted_per_route(f: Fixture) {
    let app = f.app("hello").await;
    let one = f.route_with_versions(&app.id, "/one", 1).await;
    let two = f.route_with_versions(&app.id, "/two", 1).await;
    let make = async |route: &Route, text: &str| {
        f.store.create_alias(&route.id, &name(text), &of(&[(1, 1)]), "user-a", 2).await
    };
    make(&one, "a").await.unwrap();
    assert!(matches!(make(&one, "a").await, Err(StoreError::AliasExists)));
    make(&one, "b").await.unwrap();
    assert!(matches!(make(&one, "c").await, Err(StoreError::TooManyAliases(2))));
    make(&two, "a").await.unwrap();
}

pub async fn a_missing_alias_or_route_is_not_found_by_any_method(f: Fixture) {
    let app = f.app("hello").await;
    let route = f.route_with_versions(&app.id, "/hello", 1).await;
    f.alias(&route.id, "live", &of(&[(1, 1)])).await;
    let nobody = RouteId::generate();
    for (route, text) in [(&route.id, "other"), (&nobody, "live")] {
        let (name, spec) = (name(text), of(&[(1, 1)]));
        assert!(matches!(f.store.get_alias(route, &name).await, Err(StoreError::NotFound)));
        let updated = f.store.update_alias(route, &name, &spec, None, "user-b").await;
        assert!(matches!(updated, Err(StoreError::NotFound)));
        assert!(matches!(f.store.delete_alias(route, &name).await, Err(StoreError::NotFound)));
    }
    let made = f.store.create_alias(&nobody, &name("live"), &of(&[(1, 1)]), "user-a", MANY).await;
    assert!(matches!(made, Err(StoreError::NotFound)));
}

pub async fn an_alias_goes_with_its_route(f: Fixture) {
    let app = f.app("hello").await;
    let route = f.route_with_versions(&app.id, "/hello", 2).await;
    let other = f.route_with_versions(&app.id, "/other", 2).await;
    f.alias(&route.id, "live", &of(&[(1, 1), (2, 1)])).await;
    let kept = f.alias(&other.id, "live", &of(&[(1, 1), (2, 1)])).await;
    f.store.delete_route(&route.id).await.unwrap();
    assert_eq!(f.store.list_aliases(&route.id).await.unwrap(), []);
    assert_eq!(f.store.list_aliases(&other.id).await.unwrap(), [kept]);
}

pub async fn an_app_is_listed_whose_alias_is_kept_warm(f: Fixture) {
    let app = f.app("hello").await;
    let mut warm = new_route("/warm");
    (warm.spec.format, warm.spec.min_instances) = (Format::Json, 1);
    let route = f.store.create_route(&app.id, &warm, Some(&digest("one")), MANY).await.unwrap();
    let mut cold = change(&route);
    cold.spec.min_instances = 0;
    f.store.update_route(&route.id, &cold, Some(&digest("two"))).await.unwrap();
    assert_eq!(f.store.list_kept_warm().await.unwrap(), []);
    f.alias(&route.id, "live", &of(&[(1, 1), (2, 1)])).await;
    assert_eq!(f.store.list_kept_warm().await.unwrap(), [app.id]);
}
