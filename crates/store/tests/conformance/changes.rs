//! What followers hear of changes.

use std::collections::HashSet;
use std::sync::Arc;

use picasso_store::{ChangeMark, Changed, Changes};
use picasso_types::{AppChange, AppId, Cancelled, Config, InstanceId};

use super::aliases;
use super::fixture::{Fixture, MANY, SECOND, change, config, demo, digest, empty_app, new_app, new_route};

/// Follows from here on.
async fn begin(f: &Fixture) -> ChangeMark {
    let changes = f.store.list_changes(None).await.unwrap();
    assert_eq!(changes.changed, Changed::Anything);
    changes.upto
}

/// The apps that changed since the mark, which moves on.
async fn heard(f: &Fixture, mark: &mut ChangeMark) -> HashSet<AppId> {
    let Changes { upto, changed, .. } = f.store.list_changes(Some(*mark)).await.unwrap();
    *mark = upto;
    match changed {
        Changed::Apps(apps) => apps,
        Changed::Anything => panic!("nothing was forgotten"),
    }
}

fn description(text: &str) -> AppChange {
    AppChange { config: Config::default(), description: text.to_owned(), ..empty_app() }
}

pub async fn every_change_of_an_app_its_routes_and_versions_is_heard(f: Fixture) {
    let mut mark = begin(&f).await;
    assert!(heard(&f, &mut mark).await.is_empty(), "nothing changed yet");
    let app = f.app("hello").await;
    f.app("other").await;
    assert_eq!(heard(&f, &mut mark).await.len(), 2, "two apps were made");
    let mine = HashSet::from([app.id.clone()]);

    f.store.update_app(&app.id, &description("new"), "user").await.unwrap();
    assert_eq!(heard(&f, &mut mark).await, mine, "a description");
    let route = f.store.create_route(&app.id, &new_route("/a"), None, MANY).await.unwrap();
    assert_eq!(heard(&f, &mut mark).await, mine, "a new route");
    f.store.set_version_ready(&route.latest.id, &digest("one")).await.unwrap();
    assert_eq!(heard(&f, &mut mark).await, mine, "a version that became ready");
    let route = f.store.update_route(&route.id, &change(&route), None).await.unwrap();
    assert_eq!(heard(&f, &mut mark).await, mine, "a changed route");
    f.store.set_version_failed(&route.latest.id, "no such image").await.unwrap();
    assert_eq!(heard(&f, &mut mark).await, mine, "a version that failed");
    let new_config = AppChange { config: config(&[("A", "b")]), description: String::new(), ..empty_app() };
    f.store.update_app(&app.id, &new_config, "user").await.unwrap();
    assert_eq!(heard(&f, &mut mark).await, mine, "a configuration");
    let route = f.ready_route(&app, "/b").await;
    assert_eq!(heard(&f, &mut mark).await, mine, "another route");
    f.store.roll_back(&route.id, 1, "user").await.unwrap();
    assert_eq!(heard(&f, &mut mark).await, mine, "a roll back");
    let (name, spec) = (aliases::name("live"), aliases::of(&[(1, 1)]));
    f.store.create_alias(&route.id, &name, &spec, "user", MANY).await.unwrap();
    assert_eq!(heard(&f, &mut mark).await, mine, "a new alias");
    f.store.update_alias(&route.id, &name, &spec, None, "user").await.unwrap();
    assert_eq!(heard(&f, &mut mark).await, mine, "a changed alias");
    f.store.delete_alias(&route.id, &name).await.unwrap();
    assert_eq!(heard(&f, &mut mark).await, mine, "a deleted alias");
    assert_eq!(f.store.delete_old_versions(1, 10).await.unwrap(), 3);
    assert_eq!(heard(&f, &mut mark).await, mine, "deleted versions");
    f.store.delete_route(&route.id).await.unwrap();
    assert_eq!(heard(&f, &mut mark).await, mine, "a deleted route");
    for route in f.store.list_routes(&app.id).await.unwrap() {
        f.store.delete_route(&route.id).await.unwrap();
        heard(&f, &mut mark).await;
    }
    f.store.delete_app(&app.id).await.unwrap();
    assert_eq!(heard(&f, &mut mark).await, mine, "a deleted app");
    assert!(heard(&f, &mut mark).await.is_empty(), "everything was heard");
}

pub async fn what_was_refused_is_not_heard(f: Fixture) {
    let app = f.app("hello").await;
    let route = f.ready_route(&app, "/a").await;
    let mut mark = begin(&f).await;
    assert!(f.store.create_app(&new_app(&demo(), "hello"), MANY).await.is_err());
    assert!(f.store.delete_app(&app.id).await.is_err());
    assert!(f.store.create_route(&app.id, &new_route("/a"), None, MANY).await.is_err());
    assert!(f.store.set_version_failed(&route.latest.id, "late").await.is_err());
    f.store.set_version_ready(&route.latest.id, &digest("one")).await.unwrap();
    assert!(heard(&f, &mut mark).await.is_empty());
}

/// Many at a time, so that they begin in another order than they end, with a follower beside them.
pub async fn no_change_is_missed_while_many_are_made_at_once(f: Fixture) {
    const APPS: usize = 40;
    let f = Arc::new(f);
    let mut apps = Vec::new();
    for number in 0..APPS {
        apps.push(f.app(&format!("app-{number}")).await);
    }
    let mut mark = begin(&f).await;
    let changes: Vec<_> = apps
        .iter()
        .cloned()
        .map(|app| {
            let f = Arc::clone(&f);
            // One change each: a missed one is not made good by the next.
            tokio::spawn(async move { f.ready_route(&app, "/hello").await })
        })
        .collect();
    let mut counted = HashSet::new();
    while !changes.iter().all(tokio::task::JoinHandle::is_finished) {
        counted.extend(heard(&f, &mut mark).await);
        tokio::task::yield_now().await;
    }
    for change in changes {
        change.await.unwrap();
    }
    counted.extend(heard(&f, &mut mark).await);
    assert_eq!(counted, apps.into_iter().map(|app| app.id).collect());
}

pub async fn who_was_away_too_long_hears_that_anything_may_have_changed(f: Fixture) {
    let app = f.app("hello").await;
    let old = begin(&f).await;
    for text in ["one", "two"] {
        f.store.update_app(&app.id, &description(text), "user").await.unwrap();
    }
    let mut newest = begin(&f).await;
    let later = f.clock.advance(SECOND);
    f.store.delete_changes(later).await.unwrap();
    assert!(heard(&f, &mut newest).await.is_empty(), "the newest is kept, so nothing is unclear");
    let missed = f.store.list_changes(Some(old)).await.unwrap();
    assert_eq!(
        missed,
        Changes { upto: newest, changed: Changed::Anything, cancelled: Vec::new(), more: false }
    );
    // Numbers go on where they were.
    f.store.update_app(&app.id, &description("three"), "user").await.unwrap();
    assert_eq!(heard(&f, &mut newest).await, HashSet::from([app.id]));
}

pub async fn a_follower_from_the_very_beginning_hears_the_first_change(f: Fixture) {
    let mut mark = begin(&f).await;
    let app = f.app("hello").await;
    assert_eq!(heard(&f, &mut mark).await, HashSet::from([app.id]));
}

pub async fn a_running_call_that_is_to_end_is_heard_of_and_a_waiting_one_is_not(f: Fixture) {
    let (waiting, running) = (f.accepted().await.id, f.accepted().await.id);
    let owner = InstanceId::generate();
    f.store.claim_call(&running, &owner, f.after(SECOND)).await.unwrap().unwrap();
    let mark = begin(&f).await;
    let project = f.store.get_call(&running).await.unwrap().project_id;
    assert_eq!(f.store.cancel_call(&project, &waiting).await.unwrap(), Cancelled::Queued);
    assert_eq!(f.store.cancel_call(&project, &running).await.unwrap(), Cancelled::Running);
    let app = f.app("after").await;
    let changes = f.store.list_changes(Some(mark)).await.unwrap();
    assert_eq!(changes.cancelled, [running]);
    assert_eq!(changes.changed, Changed::Apps(HashSet::from([app.id])));
    assert_eq!(f.store.list_changes(Some(changes.upto)).await.unwrap().cancelled, []);
}
