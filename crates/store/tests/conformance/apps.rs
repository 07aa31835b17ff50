//! Apps: names, limits, isolation of projects.

use std::collections::{BTreeMap, BTreeSet};

use picasso_store::StoreError;
use picasso_types::{
    AppChange, AppId, AppName, Bounds, FullName, InstanceId, OverLimit, ProjectId, Resource,
};

use super::fixture::{Fixture, MANY, SECOND, config, demo, digest, empty_app, new_app, new_route, project};

pub async fn an_app_is_found_by_short_name_full_name_and_id(f: Fixture) {
    let app = f.app("hello").await;
    assert_eq!(app.full_name.as_str(), "hello-968f523b6fec4a7694aaa27b");
    assert_eq!(app.description, format!("App for project {}", demo()));
    assert_eq!(f.store.get_app(&demo(), "hello").await.unwrap(), app);
    assert_eq!(f.store.get_app(&demo(), app.full_name.as_str()).await.unwrap(), app);
    assert_eq!(f.store.get_app_by_full_name(&app.full_name).await.unwrap(), app);
    assert_eq!(f.store.get_app_by_id(&app.id).await.unwrap(), app);
    let short = FullName::parse("hello").unwrap();
    assert!(matches!(f.store.get_app_by_full_name(&short).await, Err(StoreError::NotFound)));
}

/// No URL can name it, so what is stored has to be read by another rule.
pub async fn what_belongs_to_the_ironfunctions_namespace_is_read_back(f: Fixture) {
    let own = ProjectId::ironfunctions();
    let app = f.store.create_app(&new_app(&own, "hello"), MANY).await.unwrap();
    assert_eq!(f.store.get_app(&own, "hello").await.unwrap(), app);
    assert_eq!(f.store.list_apps(&own).await.unwrap(), std::slice::from_ref(&app));
    let new = new_route("/hello");
    let route = f.store.create_route(&app.id, &new, None, MANY).await.unwrap();
    let preparing = f.store.list_preparing_versions().await.unwrap();
    assert_eq!(preparing.iter().map(|preparing| &preparing.project_id).collect::<Vec<_>>(), [&own]);
    assert!(matches!(f.store.create_route(&app.id, &new_route("/b"), None, 1).await,
        Err(StoreError::OverLimit(over)) if over.project == own));
    f.store.set_version_ready(&route.latest.id, &digest("one")).await.unwrap();
    let route = f.store.get_route(&app.id, "/hello").await.unwrap();
    let call = f.new_call(&app, &route);
    f.store.accept_call(&call).await.unwrap();
    assert_eq!(f.store.get_call(&call.id).await.unwrap().project_id, own);
    assert_eq!(f.store.count_queued().await.unwrap()[0].project_id, own);
    assert_eq!(f.store.project_usage(&own).await.unwrap().routes, 1);
    assert_eq!(f.drain_outbox().await, std::slice::from_ref(&call.id));
    let claimed = f.store.claim_call(&call.id, &InstanceId::generate(), f.lease()).await.unwrap();
    assert_eq!(claimed.unwrap().call.project_id, own);
}

pub async fn names_are_case_sensitive(f: Fixture) {
    let lower = f.app("hello").await;
    let upper = f.app("HELLO").await;
    assert_ne!(lower.full_name, upper.full_name);
    assert_eq!(f.store.get_app(&demo(), "HELLO").await.unwrap().id, upper.id);
    assert!(matches!(f.store.get_app(&demo(), "Hello").await, Err(StoreError::NotFound)));
    let shouted = project("968F523B6FEC4A7694AAA27B300BB879");
    assert!(matches!(f.store.get_app(&shouted, "hello").await, Err(StoreError::NotFound)));
}

pub async fn names_that_look_like_sql_are_only_names(f: Fixture) {
    let app = f.app("hello").await;
    for name in ["' OR '1'='1", "hello'; DROP TABLE apps; --", "\" OR 1=1 --", "hel%", "hell_", "\0", ""] {
        assert!(matches!(f.store.get_app(&demo(), name).await, Err(StoreError::NotFound)), "{name:?}");
        assert!(matches!(f.store.get_route(&app.id, name).await, Err(StoreError::NotFound)), "{name:?}");
    }
    let change = AppChange {
        config: config(&[("A", "'); DELETE FROM apps; --")]),
        description: "Robert'); DROP TABLE apps; --".to_owned(),
        ..empty_app()
    };
    f.store.update_app(&app.id, &change, "x'; DELETE FROM apps; --").await.unwrap();
    let after = f.store.get_app(&demo(), "hello").await.unwrap();
    assert_eq!((after.config, after.description), (change.config, change.description));
    let odd = f.app("DROP--TABLE_apps").await;
    assert_eq!(f.store.get_app(&demo(), "DROP--TABLE_apps").await.unwrap(), odd);
}

pub async fn a_short_name_of_the_project_is_refused_twice(f: Fixture) {
    f.app("hello").await;
    let again = f.store.create_app(&new_app(&demo(), "hello"), MANY).await;
    assert!(matches!(again, Err(StoreError::AppExists)));
    f.store.create_app(&new_app(&project("another"), "hello"), MANY).await.unwrap();
}

pub async fn a_short_name_that_is_another_apps_full_name_is_refused(f: Fixture) {
    let app = f.app("hello").await;
    let impostor = new_app(&demo(), app.full_name.as_str());
    assert!(matches!(f.store.create_app(&impostor, MANY).await, Err(StoreError::AppExists)));
}

pub async fn a_full_name_never_equals_a_short_name_of_the_project(f: Fixture) {
    let first = f.app("hello-968f523b6fec4a7694aaa27b").await;
    let second = f.app("hello").await;
    assert_eq!(second.full_name.as_str(), "hello-968f523b6fec4a7694aaa27b3");
    let found = f.store.get_app(&demo(), "hello-968f523b6fec4a7694aaa27b").await.unwrap();
    assert_eq!(found.id, first.id);
}

pub async fn two_projects_whose_names_would_be_cut_alike_get_different_full_names(f: Fixture) {
    let (one, two) =
        (project("968f523b6fec4a7694aaa27b300bb879"), project("968f523b6fec4a7694aaa27b300bb870"));
    let long = "x".repeat(40);
    let first = f.store.create_app(&new_app(&one, &long), MANY).await.unwrap();
    let second = f.store.create_app(&new_app(&two, &long), MANY).await.unwrap();
    assert_eq!(first.full_name.as_str(), format!("{long}-968f523b"));
    assert_eq!(second.full_name.as_str(), format!("{long}-968f523b6"));
    assert_eq!(f.store.get_app_by_full_name(&first.full_name).await.unwrap().project_id, one);
    assert_eq!(f.store.get_app_by_full_name(&second.full_name).await.unwrap().project_id, two);
}

pub async fn an_app_with_no_free_full_name_is_refused(f: Fixture) {
    // All that "b" of project "a-ccccccc" can be called is what "b-a" of "ccccccc" is called.
    let taken = f.store.create_app(&new_app(&project("ccccccc"), "b-a"), MANY).await.unwrap();
    let name = AppName::parse("b").unwrap();
    let candidates: Vec<_> = FullName::candidates(&name, &project("a-ccccccc")).collect();
    assert_eq!(candidates, [taken.full_name]);
    let refused = f.store.create_app(&new_app(&project("a-ccccccc"), "b"), MANY).await;
    assert!(matches!(refused, Err(StoreError::AppExists)));
}

pub async fn the_limit_of_apps_counts_per_project(f: Fixture) {
    f.store.create_app(&new_app(&demo(), "a"), 2).await.unwrap();
    f.store.create_app(&new_app(&demo(), "b"), 2).await.unwrap();
    let third = f.store.create_app(&new_app(&demo(), "c"), 2).await;
    let over = OverLimit { project: demo(), resource: Resource::Apps, limit: 2, usage: 2, delta: 1 };
    assert!(matches!(third, Err(StoreError::OverLimit(it)) if it == over));
    f.store.create_app(&new_app(&project("another"), "c"), 2).await.unwrap();
}

/// Creates all apps at once; how many were made.
async fn create_at_once(f: &Fixture, apps: Vec<(ProjectId, String)>, limit: u32) -> usize {
    let tasks: Vec<_> = apps
        .into_iter()
        .map(|(project, name)| {
            let store = f.store.clone();
            tokio::spawn(async move { store.create_app(&new_app(&project, &name), limit).await })
        })
        .collect();
    let mut made = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(_) => made += 1,
            Err(StoreError::AppExists | StoreError::OverLimit(_)) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    made
}

pub async fn a_hundred_parallel_creates_of_one_name_make_one_app(f: Fixture) {
    let apps = (0..100).map(|_| (demo(), "hello".to_owned())).collect();
    assert_eq!(create_at_once(&f, apps, MANY).await, 1);
    assert_eq!(f.store.list_apps(&demo()).await.unwrap().len(), 1);
}

pub async fn a_hundred_parallel_creates_that_are_cut_alike_get_a_hundred_names(f: Fixture) {
    let long = "x".repeat(63);
    let projects: Vec<_> =
        (0..100).map(|n| project(&format!("968f523b6fec4a7694aaa27b300b{n:04}"))).collect();
    let apps = projects.iter().map(|project| (project.clone(), long.clone())).collect();
    let made = create_at_once(&f, apps, MANY).await;
    let mut names = BTreeSet::new();
    for project in &projects {
        for app in f.store.list_apps(project).await.unwrap() {
            assert!(names.insert(app.full_name.to_string()), "{} twice", app.full_name);
            assert_eq!(f.store.get_app_by_full_name(&app.full_name).await.unwrap().id, app.id);
        }
    }
    // 8 to 28 characters are shared, so some projects may find all of their candidates taken;
    // nobody ever shares a name.
    assert_eq!(names.len(), made);
    assert!(made >= 21, "only {made} were made");
}

pub async fn a_hundred_parallel_creates_stop_at_the_limit(f: Fixture) {
    let apps = (0..100).map(|n| (demo(), format!("app-{n}"))).collect();
    assert_eq!(create_at_once(&f, apps, 30).await, 30);
    assert_eq!(f.store.list_apps(&demo()).await.unwrap().len(), 30);
}

pub async fn another_projects_app_is_not_found(f: Fixture) {
    let app = f.app("hello").await;
    let other = project("another");
    assert!(matches!(f.store.get_app(&other, "hello").await, Err(StoreError::NotFound)));
    assert!(matches!(f.store.get_app(&other, app.full_name.as_str()).await, Err(StoreError::NotFound)));
    assert_eq!(f.store.list_apps(&other).await.unwrap(), []);
}

pub async fn apps_are_listed_by_full_name_and_only_of_the_project(f: Fixture) {
    for name in ["b", "a", "C", "_"] {
        f.app(name).await;
    }
    f.store.create_app(&new_app(&project("another"), "z"), MANY).await.unwrap();
    let names: Vec<_> =
        f.store.list_apps(&demo()).await.unwrap().into_iter().map(|app| app.short_name.to_string()).collect();
    assert_eq!(names, ["C", "_", "a", "b"]);
}

pub async fn an_update_keeps_names_and_sets_the_time(f: Fixture) {
    let app = f.app("hello").await;
    let now = f.clock.advance(5 * SECOND);
    let entries = BTreeMap::from([("A".to_owned(), "1".to_owned())]);
    let change = AppChange::of(&app, Some(&entries), Some("new".into()), &Bounds::default()).unwrap();
    let updated = f.store.update_app(&app.id, &change, "user-b").await.unwrap();
    assert_eq!(updated, f.store.get_app(&demo(), "hello").await.unwrap());
    assert_eq!((updated.created_at, updated.updated_at), (app.created_at, now));
    assert_eq!((&updated.short_name, &updated.full_name), (&app.short_name, &app.full_name));
    assert_eq!(updated.config, config(&[("A", "1")]));
    assert_eq!(updated.description, "new");
}

pub async fn of_twenty_changes_of_one_state_of_an_app_one_is_made(f: Fixture) {
    let app = f.app("hello").await;
    let attempts = (0..20).map(|n| {
        let (store, app) = (f.store.clone(), app.clone());
        tokio::spawn(async move {
            let id = app.id.clone();
            let description = format!("by {n}");
            let change = AppChange { description, expected: Some(Box::new(app)), ..empty_app() };
            store.update_app(&id, &change, "user-b").await
        })
    });
    let mut made = Vec::new();
    for attempt in attempts.collect::<Vec<_>>() {
        match attempt.await.unwrap() {
            Ok(app) => made.push(app),
            Err(error) => assert!(matches!(error, StoreError::Changed), "{error:?}"),
        }
    }
    assert_eq!(made, [f.store.get_app(&demo(), "hello").await.unwrap()]);
}

pub async fn deleting_an_app_with_routes_is_refused(f: Fixture) {
    let app = f.app("hello").await;
    let route = f.ready_route(&app, "/hello").await;
    assert!(matches!(f.store.delete_app(&app.id).await, Err(StoreError::AppHasRoutes)));
    assert_eq!(f.store.get_route(&app.id, "/hello").await.unwrap(), route);
    f.store.delete_route(&route.id).await.unwrap();
    f.store.delete_app(&app.id).await.unwrap();
    assert!(matches!(f.store.get_app(&demo(), "hello").await, Err(StoreError::NotFound)));
}

pub async fn a_deleted_apps_name_is_free_again(f: Fixture) {
    let first = f.app("hello").await;
    f.store.delete_app(&first.id).await.unwrap();
    let second = f.app("hello").await;
    assert_eq!(second.full_name, first.full_name);
    assert_ne!(second.id, first.id);
}

pub async fn a_missing_app_is_not_found_by_any_method(f: Fixture) {
    let id = AppId::generate();
    let change = AppChange { config: config(&[]), description: String::new(), ..empty_app() };
    assert!(matches!(f.store.get_app(&demo(), "hello").await, Err(StoreError::NotFound)));
    assert!(matches!(f.store.get_app_by_id(&id).await, Err(StoreError::NotFound)));
    assert!(matches!(f.store.update_app(&id, &change, "u").await, Err(StoreError::NotFound)));
    assert!(matches!(f.store.delete_app(&id).await, Err(StoreError::NotFound)));
    let route = super::fixture::new_route("/a");
    assert!(matches!(f.store.create_route(&id, &route, None, MANY).await, Err(StoreError::NotFound)));
}
