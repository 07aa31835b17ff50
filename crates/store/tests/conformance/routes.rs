//! Routes: patterns, methods, limits, deletion.

use picasso_store::StoreError;
use picasso_types::{
    NewRoute, OverLimit, RateLimit, Resource, RouteChange, RouteId, RouteType, VersionState,
};

use super::fixture::{Fixture, MANY, change, demo, digest, methods, new_app, new_route, project};

pub async fn a_route_comes_back_as_it_was_made(f: Fixture) {
    let app = f.app("hello").await;
    let new = NewRoute { methods: methods(&["get", "POST"]), ..new_route("/users/:id/*rest") };
    let route = f.store.create_route(&app.id, &new, None, MANY).await.unwrap();
    assert_eq!(route.app_id, app.id);
    assert_eq!(route.pattern, new.pattern);
    assert_eq!(route.methods, new.methods);
    assert_eq!(route.route_type, RouteType::Async);
    assert!(route.is_public);
    assert_eq!(route.latest.spec, new.spec);
    assert_eq!(route.latest.route_id, route.id);
    assert_eq!((route.latest.number, route.latest.state), (1, VersionState::Preparing));
    assert_eq!((&route.latest.digest, &route.active), (&None, &None));
    assert_eq!(route.latest.created_by, "user-a");
    assert_eq!(f.store.get_route(&app.id, "/users/:id/*rest").await.unwrap(), route);
    assert_eq!(f.store.get_route_by_id(&route.id).await.unwrap(), route);
    assert_eq!(f.store.list_routes(&app.id).await.unwrap(), [route]);
}

pub async fn a_routes_rate_limit_is_its_own_whatever_its_versions_do(f: Fixture) {
    let app = f.app("hello").await;
    let rate_limit = Some(RateLimit { calls: 5, seconds: 60, burst: 2 });
    let new = NewRoute { rate_limit, ..new_route("/limited") };
    let made = f.store.create_route(&app.id, &new, Some(&digest("one")), MANY).await.unwrap();
    assert_eq!(made.rate_limit, rate_limit);
    assert_eq!(f.ready_route(&app, "/free").await.rate_limit, None);
    let other = Some(RateLimit { calls: 7, seconds: 1, burst: 7 });
    let changed = RouteChange { rate_limit: other, ..change(&made) };
    let changed = f.store.update_route(&made.id, &changed, Some(&digest("two"))).await.unwrap();
    assert_eq!((changed.rate_limit, changed.latest.number), (other, 2));
    let back = f.store.roll_back(&made.id, 1, "user").await.unwrap();
    assert_eq!((back.rate_limit, back.latest.number), (other, 3), "it is the route's, not the version's");
    let none = RouteChange { rate_limit: None, ..change(&back) };
    f.store.update_route(&made.id, &none, Some(&digest("two"))).await.unwrap();
    assert_eq!(f.store.get_route(&app.id, "/limited").await.unwrap().rate_limit, None);
}

pub async fn of_twenty_changes_of_one_state_of_a_route_one_is_made(f: Fixture) {
    let app = f.app("hello").await;
    let route = f.ready_route(&app, "/hello").await;
    let attempts = (0..20).map(|_| {
        let (store, route) = (f.store.clone(), route.clone());
        tokio::spawn(async move {
            let change = RouteChange { expected: Some(Box::new(route.clone())), ..change(&route) };
            store.update_route(&route.id, &change, Some(&digest("a"))).await
        })
    });
    let mut made = Vec::new();
    for attempt in attempts.collect::<Vec<_>>() {
        match attempt.await.unwrap() {
            Ok(route) => made.push(route),
            Err(error) => assert!(matches!(error, StoreError::Changed), "{error:?}"),
        }
    }
    let after = f.store.get_route(&app.id, "/hello").await.unwrap();
    assert_eq!(after.latest.number, 2);
    assert_eq!(made, [after]);
    // What changes the image's state changes the route, too.
    let pending = f.store.update_route(&route.id, &change(&route), None).await.unwrap();
    f.store.set_version_ready(&pending.latest.id, &digest("b")).await.unwrap();
    let late = RouteChange { expected: Some(Box::new(pending)), ..change(&route) };
    let late = f.store.update_route(&route.id, &late, None).await;
    assert!(matches!(late, Err(StoreError::Changed)), "{late:?}");
}

pub async fn a_resolved_route_is_ready_and_active_at_once(f: Fixture) {
    let app = f.app("hello").await;
    let route = f.ready_route(&app, "/hello").await;
    assert_eq!(route.latest.state, VersionState::Ready);
    assert_eq!(route.latest.digest, Some(digest("one")));
    assert_eq!(route.active.as_ref(), Some(&route.latest));
}

pub async fn patterns_of_one_shape_conflict_when_they_share_a_method(f: Fixture) {
    let app = f.app("hello").await;
    let get = NewRoute { methods: methods(&["GET"]), ..new_route("/users/:id") };
    f.store.create_route(&app.id, &get, None, MANY).await.unwrap();
    for new in [
        get.clone(),
        new_route("/users/:id"),
        new_route("/users/:name"),
        NewRoute { methods: methods(&["PUT", "GET"]), ..new_route("/users/:name") },
    ] {
        let refused = f.store.create_route(&app.id, &new, None, MANY).await;
        assert!(matches!(refused, Err(StoreError::RouteExists)), "{} {:?}", new.pattern, new.methods);
    }
    for other in ["/users/*id", "/users/me", "/users/:id/x", "/users"] {
        f.store.create_route(&app.id, &new_route(other), None, MANY).await.unwrap();
    }
}

pub async fn routes_of_one_pattern_and_disjoint_methods_stand_side_by_side(f: Fixture) {
    let app = f.app("hello").await;
    let get = NewRoute { methods: methods(&["GET"]), ..new_route("/a") };
    let put = NewRoute { methods: methods(&["PUT"]), ..new_route("/a") };
    let first = f.store.create_route(&app.id, &get, None, MANY).await.unwrap();
    f.clock.advance(1);
    let second = f.store.create_route(&app.id, &put, None, MANY).await.unwrap();
    assert_eq!(f.store.list_routes(&app.id).await.unwrap(), [first.clone(), second.clone()]);
    assert_eq!(f.store.get_route(&app.id, "/a").await.unwrap(), first);
    f.store.delete_route(&first.id).await.unwrap();
    assert_eq!(f.store.get_route(&app.id, "/a").await.unwrap(), second);
}

pub async fn an_update_that_takes_anothers_method_is_refused(f: Fixture) {
    let app = f.app("hello").await;
    let get = NewRoute { methods: methods(&["GET"]), ..new_route("/a/:b") };
    let put = NewRoute { methods: methods(&["PUT"]), ..new_route("/a/:c") };
    f.store.create_route(&app.id, &get, None, MANY).await.unwrap();
    let route = f.store.create_route(&app.id, &put, None, MANY).await.unwrap();
    let mut change = change(&route);
    change.methods = methods(&["GET", "PUT"]);
    let refused = f.store.update_route(&route.id, &change, None).await;
    assert!(matches!(refused, Err(StoreError::RouteExists)));
    assert_eq!(f.store.get_route_by_id(&route.id).await.unwrap(), route);
    change.methods = methods(&["POST", "PUT"]);
    f.store.update_route(&route.id, &change, None).await.unwrap();
}

pub async fn the_same_path_in_another_app_is_no_conflict(f: Fixture) {
    let (one, two) = (f.app("one").await, f.app("two").await);
    let first = f.ready_route(&one, "/hello").await;
    let second = f.ready_route(&two, "/hello").await;
    assert_eq!(f.store.get_route(&one.id, "/hello").await.unwrap(), first);
    assert_eq!(f.store.get_route(&two.id, "/hello").await.unwrap(), second);
}

pub async fn patterns_are_case_sensitive(f: Fixture) {
    let app = f.app("hello").await;
    f.ready_route(&app, "/hello").await;
    f.ready_route(&app, "/Hello").await;
    assert!(matches!(f.store.get_route(&app.id, "/HELLO").await, Err(StoreError::NotFound)));
}

pub async fn a_hundred_parallel_creates_of_one_route_make_one(f: Fixture) {
    let app = f.app("hello").await;
    let tasks: Vec<_> = (0..100)
        .map(|n| {
            let (store, app) = (f.store.clone(), app.id.clone());
            tokio::spawn(async move {
                store.create_route(&app, &new_route(&format!("/:name{n}")), None, MANY).await
            })
        })
        .collect();
    let mut made = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(_) => made += 1,
            Err(StoreError::RouteExists) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!(made, 1);
    assert_eq!(f.store.list_routes(&app.id).await.unwrap().len(), 1);
}

pub async fn the_limit_of_routes_counts_all_apps_of_a_project(f: Fixture) {
    let (one, two) = (f.app("one").await, f.app("two").await);
    f.store.create_route(&one.id, &new_route("/a"), None, 2).await.unwrap();
    f.store.create_route(&two.id, &new_route("/a"), None, 2).await.unwrap();
    for app in [&one, &two] {
        let third = f.store.create_route(&app.id, &new_route("/b"), None, 2).await;
        let over = OverLimit { project: demo(), resource: Resource::Routes, limit: 2, usage: 2, delta: 1 };
        assert!(matches!(third, Err(StoreError::OverLimit(it)) if it == over));
    }
    let others = f.store.create_app(&new_app(&project("another"), "one"), MANY).await.unwrap();
    f.store.create_route(&others.id, &new_route("/b"), None, 2).await.unwrap();
    f.store.create_route(&one.id, &new_route("/b"), None, MANY).await.unwrap();
}

pub async fn parallel_creates_in_all_apps_of_a_project_keep_to_its_limit_of_routes(f: Fixture) {
    let apps = [f.app("one").await, f.app("two").await, f.app("three").await];
    let tasks: Vec<_> = (0..60)
        .map(|n| {
            let (store, app) = (f.store.clone(), apps[n % 3].id.clone());
            tokio::spawn(
                async move { store.create_route(&app, &new_route(&format!("/r{n}")), None, 20).await },
            )
        })
        .collect();
    let mut made = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(_) => made += 1,
            Err(StoreError::OverLimit(_)) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!(made, 20);
}

pub async fn deleting_one_route_touches_no_other(f: Fixture) {
    let (one, two) = (f.app("one").await, f.app("two").await);
    let doomed = f.ready_route(&one, "/hello").await;
    let sibling = f.ready_route(&one, "/other").await;
    let namesake = f.ready_route(&two, "/hello").await;
    f.store.update_route(&doomed.id, &change(&doomed), None).await.unwrap();

    f.store.delete_route(&doomed.id).await.unwrap();
    assert!(matches!(f.store.get_route(&one.id, "/hello").await, Err(StoreError::NotFound)));
    assert!(matches!(f.store.get_version(&doomed.latest.id).await, Err(StoreError::NotFound)));
    assert_eq!(f.store.list_routes(&one.id).await.unwrap(), [sibling]);
    assert_eq!(f.store.list_routes(&two.id).await.unwrap(), [namesake]);
}

pub async fn routes_are_listed_in_order_of_their_patterns(f: Fixture) {
    let app = f.app("hello").await;
    for pattern in ["/b", "/a/:x", "/a", "/B", "/*all"] {
        f.ready_route(&app, pattern).await;
    }
    let patterns: Vec<_> = f
        .store
        .list_routes(&app.id)
        .await
        .unwrap()
        .into_iter()
        .map(|route| route.pattern.to_string())
        .collect();
    assert_eq!(patterns, ["/*all", "/B", "/a", "/a/:x", "/b"]);
}

pub async fn a_missing_route_is_not_found_by_any_method(f: Fixture) {
    let app = f.app("hello").await;
    let known = f.ready_route(&app, "/hello").await;
    let id = RouteId::generate();
    assert!(matches!(f.store.get_route(&app.id, "/missing").await, Err(StoreError::NotFound)));
    assert!(matches!(f.store.get_route_by_id(&id).await, Err(StoreError::NotFound)));
    assert!(matches!(f.store.delete_route(&id).await, Err(StoreError::NotFound)));
    let update = f.store.update_route(&id, &change(&known), None).await;
    assert!(matches!(update, Err(StoreError::NotFound)));
}
