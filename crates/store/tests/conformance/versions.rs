//! Versions: immutable, numbered, prepared once; what is active and what is kept.

use picasso_store::StoreError;
use picasso_types::{
    AppChange, CallOutput, Format, InstanceId, RouteId, RouteVersion, VersionId, VersionState,
};

use super::aliases;
use super::fixture::{
    Fixture, MANY, SECOND, change, config, demo, digest, empty_app, new_app, new_route, project, spec,
    succeeded,
};

pub async fn a_change_of_a_route_makes_its_next_version(f: Fixture) {
    let app = f.app("hello").await;
    let route = f.ready_route(&app, "/hello").await;
    let now = f.clock.advance(10);
    let mut change = change(&route);
    change.is_public = false;
    change.spec.memory_mb = 256;
    let after = f.store.update_route(&route.id, &change, Some(&digest("two"))).await.unwrap();
    assert_eq!(after.latest.number, 2);
    assert_eq!(after.latest.spec.memory_mb, 256);
    assert_eq!(after.latest.digest, Some(digest("two")));
    assert_eq!((after.latest.created_by.as_str(), after.latest.created_at), ("user-b", now));
    assert_eq!(after.active.as_ref(), Some(&after.latest));
    assert!(!after.is_public);
    assert_eq!((after.created_at, after.updated_at), (route.created_at, now));
    assert_eq!(f.store.get_route_by_id(&route.id).await.unwrap(), after);
}

pub async fn a_version_stays_readable_after_the_next_one(f: Fixture) {
    let app = f.app("hello").await;
    let route = f.ready_route(&app, "/hello").await;
    for _ in 0..3 {
        f.store.update_route(&route.id, &change(&route), Some(&digest("two"))).await.unwrap();
    }
    assert_eq!(f.store.get_version(&route.latest.id).await.unwrap(), route.latest);
    let missing = f.store.get_version(&VersionId::generate()).await;
    assert!(matches!(missing, Err(StoreError::NotFound)));
}

pub async fn a_version_becomes_active_when_it_is_ready(f: Fixture) {
    let app = f.app("hello").await;
    let route = f.store.create_route(&app.id, &new_route("/hello"), None, MANY).await.unwrap();
    f.store.set_version_ready(&route.latest.id, &digest("one")).await.unwrap();
    let first = f.store.get_route_by_id(&route.id).await.unwrap();
    assert_eq!(first.active.as_ref(), Some(&first.latest));
    assert_eq!(first.latest.digest, Some(digest("one")));

    let second = f.store.update_route(&route.id, &change(&first), None).await.unwrap();
    assert_eq!(second.latest.number, 2);
    assert_eq!(second.active.as_ref(), Some(&first.latest));
    f.store.set_version_ready(&second.latest.id, &digest("two")).await.unwrap();
    let second = f.store.get_route_by_id(&route.id).await.unwrap();
    assert_eq!(second.active.as_ref(), Some(&second.latest));
}

pub async fn an_older_version_that_is_ready_late_does_not_replace_a_newer_one(f: Fixture) {
    let app = f.app("hello").await;
    let route = f.store.create_route(&app.id, &new_route("/hello"), None, MANY).await.unwrap();
    let newer = f.store.update_route(&route.id, &change(&route), None).await.unwrap();
    f.store.set_version_ready(&newer.latest.id, &digest("two")).await.unwrap();
    f.store.set_version_ready(&route.latest.id, &digest("one")).await.unwrap();
    let active = f.store.get_route_by_id(&route.id).await.unwrap().active.unwrap();
    assert_eq!((active.number, active.digest), (2, Some(digest("two"))));
    assert_eq!(f.store.get_version(&route.latest.id).await.unwrap().state, VersionState::Ready);
}

pub async fn a_failed_version_leaves_the_active_one(f: Fixture) {
    let app = f.app("hello").await;
    let route = f.ready_route(&app, "/hello").await;
    let next = f.store.update_route(&route.id, &change(&route), None).await.unwrap();
    f.store.set_version_failed(&next.latest.id, "no such image").await.unwrap();
    let after = f.store.get_route_by_id(&route.id).await.unwrap();
    assert_eq!(after.active.as_ref(), Some(&route.latest));
    assert_eq!(after.latest.state, VersionState::Failed);
    assert_eq!(after.latest.error.as_deref(), Some("no such image"));

    let next = f.store.update_route(&route.id, &change(&route), None).await.unwrap();
    f.store.set_version_failed(&next.latest.id, &"ä".repeat(100_000)).await.unwrap();
    let kept = f.store.get_version(&next.latest.id).await.unwrap().error.unwrap();
    assert!(kept.starts_with('ä') && kept.len() <= 4096, "{} bytes", kept.len());
}

pub async fn a_decided_version_stays_decided(f: Fixture) {
    let app = f.app("hello").await;
    let ready = f.ready_route(&app, "/ready").await.latest.id;
    f.store.set_version_ready(&ready, &digest("one")).await.unwrap();
    let other = f.store.set_version_ready(&ready, &digest("two")).await;
    assert!(matches!(other, Err(StoreError::NotFound)));
    let failed = f.store.set_version_failed(&ready, "no").await;
    assert!(matches!(failed, Err(StoreError::NotFound)));
    assert_eq!(f.store.get_version(&ready).await.unwrap().digest, Some(digest("one")));

    let broken = f.store.create_route(&app.id, &new_route("/broken"), None, MANY).await.unwrap().latest.id;
    f.store.set_version_failed(&broken, "first").await.unwrap();
    f.store.set_version_failed(&broken, "second").await.unwrap();
    let late = f.store.set_version_ready(&broken, &digest("one")).await;
    assert!(matches!(late, Err(StoreError::NotFound)));
    assert_eq!(f.store.get_version(&broken).await.unwrap().error.as_deref(), Some("first"));

    let missing = VersionId::generate();
    let unknown = f.store.set_version_ready(&missing, &digest("one")).await;
    assert!(matches!(unknown, Err(StoreError::NotFound)));
    assert!(matches!(f.store.set_version_failed(&missing, "x").await, Err(StoreError::NotFound)));
}

pub async fn preparing_versions_are_listed_oldest_first_with_their_project(f: Fixture) {
    let other = project("another");
    let (one, two) = (f.app("one").await, f.store.create_app(&new_app(&other, "two"), MANY).await.unwrap());
    f.ready_route(&one, "/ready").await;
    let first = f.store.create_route(&two.id, &new_route("/a"), None, MANY).await.unwrap();
    f.clock.advance(1);
    let second = f.store.create_route(&one.id, &new_route("/a"), None, MANY).await.unwrap();
    let listed = f.store.list_preparing_versions().await.unwrap();
    let listed: Vec<_> = listed.into_iter().map(|p| (p.project_id, p.version)).collect();
    assert_eq!(listed, [(other, first.latest.clone()), (demo(), second.latest.clone())]);

    f.store.set_version_ready(&first.latest.id, &digest("one")).await.unwrap();
    f.store.set_version_failed(&second.latest.id, "no").await.unwrap();
    assert_eq!(f.store.list_preparing_versions().await.unwrap(), []);
}

pub async fn apps_are_listed_whose_active_version_is_kept_warm(f: Fixture) {
    let (one, two) = (f.app("one").await, f.app("two").await);
    let mut warm = new_route("/warm");
    (warm.spec.format, warm.spec.min_instances) = (Format::Json, 1);
    f.store.create_route(&two.id, &new_route("/cold"), Some(&digest("one")), MANY).await.unwrap();
    let route = f.store.create_route(&one.id, &warm, None, MANY).await.unwrap();
    assert_eq!(f.store.list_kept_warm().await.unwrap(), [], "not ready");
    f.store.set_version_ready(&route.latest.id, &digest("one")).await.unwrap();
    assert_eq!(f.store.list_kept_warm().await.unwrap(), std::slice::from_ref(&one.id));
    f.store.delete_route(&route.id).await.unwrap();
    assert_eq!(f.store.list_kept_warm().await.unwrap(), []);
}

fn app_change(value: &str) -> AppChange {
    AppChange {
        config: config(&[("GREETING", value), ("WHO", "app")]),
        description: "d".to_owned(),
        ..empty_app()
    }
}

/// What `version` would be under another number, id, time, author and merged configuration.
fn same_but_for_config(version: &RouteVersion, original: &RouteVersion) -> bool {
    let mut expected = original.clone();
    expected.id = version.id.clone();
    expected.number = version.number;
    expected.created_at = version.created_at;
    expected.created_by.clone_from(&version.created_by);
    expected.merged_config = version.merged_config.clone();
    *version == expected && version.id != original.id && version.number > original.number
}

pub async fn a_change_of_app_config_makes_a_version_of_every_route(f: Fixture) {
    let (app, other) = (f.app("hello").await, f.app("other").await);
    let one = f.ready_route(&app, "/one").await;
    let two = f.ready_route(&app, "/two").await;
    let untouched = f.ready_route(&other, "/one").await;
    assert_eq!(one.latest.merged_config, config(&[("WHO", "route")]));
    f.clock.advance(1);
    f.store.update_app(&app.id, &app_change("hi"), "user-c").await.unwrap();
    for before in [one, two] {
        let after = f.store.get_route_by_id(&before.id).await.unwrap();
        assert_eq!(after.latest.number, 2);
        assert_eq!(after.active.as_ref(), Some(&after.latest));
        assert!(same_but_for_config(&after.latest, &before.latest));
        assert_eq!(after.latest.merged_config, config(&[("GREETING", "hi"), ("WHO", "route")]));
        assert_eq!(after.latest.created_by, "user-c");
        assert_eq!(f.store.get_version(&before.latest.id).await.unwrap(), before.latest);
    }
    assert_eq!(f.store.get_route_by_id(&untouched.id).await.unwrap(), untouched);
    let new = f.ready_route(&app, "/three").await;
    assert_eq!(new.latest.merged_config, config(&[("GREETING", "hi"), ("WHO", "route")]));
}

pub async fn a_change_of_description_makes_no_version(f: Fixture) {
    let app = f.app("hello").await;
    let route = f.ready_route(&app, "/one").await;
    let change = AppChange { config: app.config.clone(), description: "new".to_owned(), ..empty_app() };
    f.store.update_app(&app.id, &change, "user-c").await.unwrap();
    assert_eq!(f.store.get_route_by_id(&route.id).await.unwrap(), route);
}

pub async fn a_change_of_app_config_reaches_calls_while_the_latest_version_prepares(f: Fixture) {
    let app = f.app("hello").await;
    let first = f.ready_route(&app, "/one").await;
    let mut next = change(&first);
    next.spec = spec("hello:2");
    let second = f.store.update_route(&first.id, &next, None).await.unwrap();
    f.store.update_app(&app.id, &app_change("hi"), "user-c").await.unwrap();

    let after = f.store.get_route_by_id(&first.id).await.unwrap();
    let active = after.active.unwrap();
    assert!(same_but_for_config(&active, &first.latest));
    assert!(same_but_for_config(&after.latest, &second.latest));
    let merged = config(&[("GREETING", "hi"), ("WHO", "route")]);
    assert_eq!((&active.merged_config, &after.latest.merged_config), (&merged, &merged));
}

pub async fn a_copied_version_shares_the_preparation_of_its_original(f: Fixture) {
    let app = f.app("hello").await;
    let ready = f.store.create_route(&app.id, &new_route("/ready"), None, MANY).await.unwrap();
    let broken = f.store.create_route(&app.id, &new_route("/broken"), None, MANY).await.unwrap();
    f.store.update_app(&app.id, &app_change("hi"), "user-c").await.unwrap();
    f.store.update_app(&app.id, &app_change("ho"), "user-c").await.unwrap();
    let preparing = f.store.list_preparing_versions().await.unwrap();
    assert_eq!(preparing.len(), 2, "each image is prepared once");

    f.store.set_version_ready(&ready.latest.id, &digest("one")).await.unwrap();
    f.store.set_version_failed(&broken.latest.id, "no such image").await.unwrap();
    let ready = f.store.get_route_by_id(&ready.id).await.unwrap();
    assert_eq!(ready.latest.number, 3);
    assert_eq!(ready.latest.digest, Some(digest("one")));
    assert_eq!(ready.active.as_ref(), Some(&ready.latest));
    assert_eq!(ready.latest.merged_config, config(&[("GREETING", "ho"), ("WHO", "route")]));
    let broken = f.store.get_route_by_id(&broken.id).await.unwrap();
    assert_eq!((broken.latest.number, broken.latest.state), (3, VersionState::Failed));
    assert_eq!((broken.latest.error.as_deref(), broken.active), (Some("no such image"), None));
}

pub async fn referenced_digests_are_those_of_kept_versions_and_unfinished_calls(f: Fixture) {
    let app = f.app("hello").await;
    let route = f.ready_route(&app, "/one").await;
    let call = f.new_call(&app, &route);
    f.store.accept_call(&call).await.unwrap();
    let second = f.store.update_route(&route.id, &change(&route), Some(&digest("two"))).await.unwrap();
    f.store.update_route(&route.id, &change(&second), None).await.unwrap();
    let mut both = [digest("one"), digest("two")];
    both.sort();
    assert_eq!(f.store.list_referenced_digests().await.unwrap(), both);

    let owner = picasso_types::InstanceId::generate();
    f.store.claim_call(&call.id, &owner, f.lease()).await.unwrap().unwrap();
    f.store.delete_route(&route.id).await.unwrap();
    assert_eq!(f.store.list_referenced_digests().await.unwrap(), [digest("one")]);
    assert!(f.store.finish_call(&call.id, &owner, &succeeded(), &CallOutput::default(), &[]).await.unwrap());
    assert_eq!(f.store.list_referenced_digests().await.unwrap(), []);
}

pub async fn versions_are_listed_newest_first_in_pages_and_found_by_number(f: Fixture) {
    let app = f.app("hello").await;
    let route = f.route_with_versions(&app.id, "/hello", 5).await;
    f.route_with_versions(&app.id, "/other", 2).await;
    let numbers = async |before, limit| {
        let listed = f.store.list_versions(&route.id, before, limit).await.unwrap();
        listed.into_iter().map(|version| version.number).collect::<Vec<_>>()
    };
    assert_eq!(numbers(None, 2).await, [5, 4]);
    assert_eq!(numbers(Some(4), 2).await, [3, 2]);
    assert_eq!(numbers(Some(2), 2).await, [1]);
    assert!(numbers(Some(1), 2).await.is_empty());
    assert_eq!(f.store.list_versions(&RouteId::generate(), None, 2).await.unwrap(), []);
    let third = f.store.get_route_version(&route.id, 3).await.unwrap();
    assert_eq!((third.number, third.digest), (3, Some(digest("image-3"))));
    for (route, number) in [(&route.id, 6), (&route.id, 0), (&RouteId::generate(), 1)] {
        let missing = f.store.get_route_version(route, number).await;
        assert!(matches!(missing, Err(StoreError::NotFound)));
    }
}

pub async fn a_roll_back_makes_a_version_of_what_an_older_one_ran(f: Fixture) {
    let app = f.app("hello").await;
    let first = f.ready_route(&app, "/hello").await;
    let mut second = change(&first);
    (second.spec.memory_mb, second.is_public) = (512, false);
    second.spec.config = config(&[("WHO", "second")]);
    f.store.update_route(&first.id, &second, Some(&digest("two"))).await.unwrap();
    f.store.update_app(&app.id, &app_change("now"), "user-c").await.unwrap();
    let now = f.clock.advance(SECOND);
    let after = f.store.roll_back(&first.id, 1, "user-d").await.unwrap();
    let made = &after.latest;
    assert_eq!((made.number, made.rolled_back_to, made.state), (4, Some(1), VersionState::Ready));
    assert_eq!((&made.spec, &made.digest), (&first.latest.spec, &first.latest.digest));
    assert_eq!(made.merged_config, config(&[("GREETING", "now"), ("WHO", "route")]), "the app's stays");
    assert_eq!((made.created_by.as_str(), made.created_at, after.updated_at), ("user-d", now, now));
    assert_eq!(after.active.as_ref(), Some(made));
    assert!(!after.is_public, "what is of the route stays");
    assert_eq!(f.store.get_route_by_id(&first.id).await.unwrap(), after);
    let again = f.store.roll_back(&first.id, 4, "user-d").await.unwrap();
    assert_eq!((again.latest.number, again.latest.rolled_back_to), (5, Some(4)));
}

pub async fn a_roll_back_to_what_cannot_run_changes_nothing(f: Fixture) {
    let app = f.app("hello").await;
    let route = f.ready_route(&app, "/hello").await;
    let failed = f.store.update_route(&route.id, &change(&route), None).await.unwrap();
    f.store.set_version_failed(&failed.latest.id, "no such image").await.unwrap();
    let before = f.store.get_route_by_id(&route.id).await.unwrap();
    let to = async |number| f.store.roll_back(&route.id, number, "user").await;
    assert!(matches!(to(2).await, Err(StoreError::VersionNotReady(2))));
    assert!(matches!(to(3).await, Err(StoreError::VersionNotFound(3))));
    let missing = f.store.roll_back(&RouteId::generate(), 1, "user").await;
    assert!(matches!(missing, Err(StoreError::NotFound)));
    assert_eq!(f.store.get_route_by_id(&route.id).await.unwrap(), before);
}

pub async fn old_versions_go_unless_something_needs_them(f: Fixture) {
    let app = f.app("hello").await;
    // 1: called, 2: prepared, 3: of an alias, 4 and 5: old, 6: active, 7 and 8: failed.
    let route = f.ready_route(&app, "/hello").await;
    let call = f.new_call(&app, &route);
    f.store.accept_call(&call).await.unwrap();
    let preparing = f.store.update_route(&route.id, &change(&route), None).await.unwrap().latest.id;
    for number in 3..=6 {
        let image = digest(&format!("image-{number}"));
        f.store.update_route(&route.id, &change(&route), Some(&image)).await.unwrap();
    }
    for _ in 7..=8 {
        let failed = f.store.update_route(&route.id, &change(&route), None).await.unwrap();
        f.store.set_version_failed(&failed.latest.id, "no such image").await.unwrap();
    }
    let alias = f.alias(&route.id, "old", &aliases::of(&[(3, 1)])).await;
    let untouched = f.route_with_versions(&app.id, "/other", 2).await;
    let numbers = async || {
        let all = f.store.list_versions(&route.id, None, MANY).await.unwrap();
        all.into_iter().map(|version| version.number).rev().collect::<Vec<_>>()
    };
    let delete = async |keep| f.store.delete_old_versions(keep, MANY).await.unwrap();
    assert_eq!(delete(8).await, 0);
    assert_eq!(delete(4).await, 1, "the newest four stay");
    assert_eq!(numbers().await, [1, 2, 3, 5, 6, 7, 8]);
    assert_eq!(delete(0).await, 3, "also the old one of the other route");
    assert_eq!(numbers().await, [1, 2, 3, 6, 8]);
    assert_eq!(f.store.get_route_by_id(&untouched.id).await.unwrap(), untouched);

    let owner = InstanceId::generate();
    f.store.claim_call(&call.id, &owner, f.lease()).await.unwrap().unwrap();
    assert_eq!(delete(1).await, 0, "a running call needs it");
    assert!(f.store.finish_call(&call.id, &owner, &succeeded(), &CallOutput::default(), &[]).await.unwrap());
    f.store.set_version_failed(&preparing, "no such image").await.unwrap();
    assert_eq!(delete(1).await, 2);
    assert_eq!(f.store.get_alias(&route.id, &alias.name).await.unwrap(), alias);
    f.store.delete_alias(&route.id, &alias.name).await.unwrap();
    assert_eq!((delete(1).await, numbers().await), (1, vec![6, 8]));
    let left = f.store.list_referenced_digests().await.unwrap();
    assert!(left.contains(&digest("image-6")) && !left.contains(&digest("image-3")));
}

pub async fn a_preparation_is_held_by_one_until_its_lease_ends(f: Fixture) {
    let app = f.app("hello").await;
    let route = f.store.create_route(&app.id, &new_route("/a"), None, MANY).await.unwrap();
    let version = &route.latest.id;
    let (mine, other) = (InstanceId::generate(), InstanceId::generate());
    let lease = async |owner, seconds: i64| {
        f.store.lease_preparation(version, owner, f.after(seconds * SECOND)).await.unwrap()
    };
    assert!(lease(&mine, 10).await, "nobody had it");
    assert!(!lease(&other, 10).await, "it is held");
    f.clock.advance(9 * SECOND);
    assert!(lease(&mine, 10).await, "it is held longer");
    assert!(lease(&mine, 10).await, "also without a change");
    f.clock.advance(9 * SECOND);
    assert!(!lease(&other, 10).await, "it was extended");
    f.clock.advance(SECOND);
    assert!(lease(&other, 10).await, "it ended");
    assert!(!lease(&mine, 10).await, "another has it");
    f.store.set_version_ready(version, &digest("one")).await.unwrap();
    assert!(!lease(&other, 10).await, "there is nothing to prepare any more");
    assert!(!f.store.lease_preparation(&VersionId::generate(), &mine, f.after(SECOND)).await.unwrap());
}
