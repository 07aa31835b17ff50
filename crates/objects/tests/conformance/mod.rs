//! What every [`ObjectStore`] does, wherever its parts lie.
//!
//! A driver's test file includes this module and calls [`check`] with a store that is empty.

use bytes::Bytes;
use picasso_objects::{MAX_PART_BYTES, ObjectError, ObjectName, ObjectStore};
use picasso_types::{ObjectId, ProjectId};

/// Runs the whole suite against one store; the sentences share one start of a service.
pub async fn check(store: &dyn ObjectStore) {
    a_part_comes_back_byte_for_byte(store).await;
    what_is_put_twice_is_what_was_put_last(store).await;
    a_missing_part_is_missing_and_deleting_it_is_no_error(store).await;
    parts_and_projects_do_not_touch_each_other(store).await;
    many_parts_are_put_and_read_at_one_time(store).await;
}

fn project(name: &str) -> ProjectId {
    ProjectId::parse(name).unwrap()
}

fn fresh(part: u32) -> ObjectName {
    ObjectName::new(&project("demo"), &ObjectId::generate(), part)
}

async fn a_part_comes_back_byte_for_byte(store: &dyn ObjectStore) {
    let all: Vec<u8> = (0..=255).collect();
    for content in [vec![], all.clone(), all.iter().copied().cycle().take(MAX_PART_BYTES).collect()] {
        let name = fresh(0);
        store.put(&name, content.clone().into()).await.unwrap();
        assert!(store.get(&name).await.unwrap() == content);
        store.delete(&name).await.unwrap();
    }
}

async fn what_is_put_twice_is_what_was_put_last(store: &dyn ObjectStore) {
    let name = fresh(3);
    for content in ["a longer first one", "second"] {
        store.put(&name, content.into()).await.unwrap();
        assert_eq!(store.get(&name).await.unwrap(), content);
    }
}

async fn a_missing_part_is_missing_and_deleting_it_is_no_error(store: &dyn ObjectStore) {
    let name = fresh(0);
    assert!(matches!(store.get(&name).await, Err(ObjectError::Missing)));
    store.delete(&name).await.unwrap();
    store.put(&name, "here".into()).await.unwrap();
    store.delete(&name).await.unwrap();
    assert!(matches!(store.get(&name).await, Err(ObjectError::Missing)));
    store.delete(&name).await.unwrap();
}

async fn parts_and_projects_do_not_touch_each_other(store: &dyn ObjectStore) {
    let object = ObjectId::generate();
    let names: Vec<_> = ["demo", "other"]
        .iter()
        .flat_map(|name| [0, 1, 10].map(|part| ObjectName::new(&project(name), &object, part)))
        .collect();
    for name in &names {
        store.put(name, name.to_string().into()).await.unwrap();
    }
    store.delete(&names[0]).await.unwrap();
    assert!(matches!(store.get(&names[0]).await, Err(ObjectError::Missing)));
    for name in &names[1..] {
        assert_eq!(store.get(name).await.unwrap(), name.to_string());
    }
}

async fn many_parts_are_put_and_read_at_one_time(store: &dyn ObjectStore) {
    let names: Vec<_> = (0..16).map(fresh).collect();
    let round = names.iter().map(async |name| {
        let content = Bytes::from(name.to_string().repeat(1000));
        store.put(name, content.clone()).await.unwrap();
        assert_eq!(store.get(name).await.unwrap(), content);
        store.delete(name).await.unwrap();
    });
    futures_util::future::join_all(round).await;
}
