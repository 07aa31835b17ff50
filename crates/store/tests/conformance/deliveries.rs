//! Deliveries: made with the end of their call, taken once, put back, ended; signing keys.

use std::collections::BTreeMap;

use picasso_store::{StoreError, TakenDelivery};
use picasso_types::outgoing::{DeliveryKind, DeliveryRoom, DeliveryState, NewDelivery};
use picasso_types::{
    App, AppId, CallId, CallOutput, Clock as _, DeliveryId, InstanceId, ProjectId, QueueGrant, Route,
    Timestamp,
};

use super::fixture::{Fixture, MANY, SECOND, demo, new_app, project, succeeded};

fn room() -> DeliveryRoom {
    DeliveryRoom { total: 100, per_project: 100, under_way: BTreeMap::new() }
}

fn delivery(content: &str) -> NewDelivery {
    NewDelivery {
        id: DeliveryId::generate(),
        kind: DeliveryKind::Http,
        target: "https://example.org/hook".to_owned(),
        content: content.as_bytes().to_vec(),
    }
}

async fn route_of(f: &Fixture, project: &ProjectId) -> (App, Route) {
    let app = f.store.create_app(&new_app(project, "hooks"), MANY).await.unwrap();
    let route = f.ready_route(&app, "/a").await;
    (app, route)
}

/// Runs a call to its end with these deliveries.
async fn end_with(f: &Fixture, (app, route): &(App, Route), deliveries: &[NewDelivery]) -> CallId {
    let (call, owner) = (f.new_call(app, route), InstanceId::generate());
    f.store.accept_call(&call).await.unwrap();
    f.store.claim_call(&call.id, &owner, f.lease()).await.unwrap().unwrap();
    let output = CallOutput::default();
    assert!(f.store.finish_call(&call.id, &owner, &succeeded(), &output, deliveries).await.unwrap());
    call.id
}

async fn take(f: &Fixture, owner: &InstanceId) -> Vec<TakenDelivery> {
    f.store.take_deliveries(owner, f.lease(), &room()).await.unwrap()
}

pub async fn a_delivery_is_made_with_the_end_of_its_call_and_not_without_it(f: Fixture) {
    let at = route_of(&f, &demo()).await;
    let (call, owner) = (f.new_call(&at.0, &at.1), InstanceId::generate());
    f.store.accept_call(&call).await.unwrap();
    f.store.claim_call(&call.id, &owner, f.lease()).await.unwrap().unwrap();
    let new = [delivery("secret one"), delivery("secret two")];
    let (stranger, output) = (InstanceId::generate(), CallOutput::default());
    assert!(!f.store.finish_call(&call.id, &stranger, &succeeded(), &output, &new).await.unwrap());
    assert_eq!(f.store.list_deliveries(&call.id).await.unwrap(), []);
    assert!(take(&f, &owner).await.is_empty());
    assert!(f.store.finish_call(&call.id, &owner, &succeeded(), &output, &new).await.unwrap());

    let listed = f.store.list_deliveries(&call.id).await.unwrap();
    assert_eq!(listed.len(), 2);
    for (listed, new) in listed.iter().zip(&new) {
        assert_eq!((&listed.id, &listed.call_id, listed.kind), (&new.id, &call.id, new.kind));
        assert_eq!((&listed.project_id, &listed.app_id), (&demo(), &at.0.id));
        assert_eq!((listed.state, listed.attempts), (DeliveryState::Waiting, 0));
        assert_eq!(listed.target, new.target);
    }
    let mut contents: Vec<_> =
        take(&f, &owner).await.into_iter().map(|taken| taken.content.unwrap()).collect();
    contents.sort();
    assert_eq!(contents, [b"secret one".to_vec(), b"secret two".to_vec()]);
}

pub async fn a_delivery_is_taken_once_until_its_lease_ends(f: Fixture) {
    let at = route_of(&f, &demo()).await;
    let deliveries: Vec<_> = (0..20).map(|_| delivery("x")).collect();
    end_with(&f, &at, &deliveries).await;
    let owners: Vec<_> = (0..4).map(|_| InstanceId::generate()).collect();
    let taken = futures_util::future::join_all(owners.iter().map(|owner| take(&f, owner))).await;
    let mut ids: Vec<_> = taken.into_iter().flatten().map(|taken| taken.delivery.id).collect();
    ids.sort();
    let all = ids.len();
    ids.dedup();
    assert_eq!((ids.len(), all), (20, 20));
    let next = InstanceId::generate();
    assert!(take(&f, &next).await.is_empty());
    f.clock.advance(61 * SECOND);
    let again = take(&f, &next).await;
    assert_eq!(again.len(), 20);
    assert!(again.iter().all(|taken| taken.delivery.attempts == 2));
}

pub async fn only_the_holder_ends_or_puts_back_a_delivery(f: Fixture) {
    let at = route_of(&f, &demo()).await;
    let call = end_with(&f, &at, &[delivery("x")]).await;
    let (owner, stranger) = (InstanceId::generate(), InstanceId::generate());
    let id = take(&f, &owner).await.remove(0).delivery.id;
    let later = f.clock.now().plus_micros(10 * SECOND);
    assert!(!f.store.put_back_delivery(&id, &stranger, later, "no").await.unwrap());
    assert!(!f.store.end_delivery(&id, &stranger, DeliveryState::Failed, None).await.unwrap());
    assert!(f.store.put_back_delivery(&id, &owner, later, "status 500").await.unwrap());
    assert!(take(&f, &owner).await.is_empty(), "not before it is due");
    let waiting = f.store.list_deliveries(&call).await.unwrap().remove(0);
    assert_eq!((waiting.attempts, waiting.last_error.as_deref()), (1, Some("status 500")));
    assert_eq!(waiting.not_before, later);
    f.clock.advance(10 * SECOND);
    let id = take(&f, &owner).await.remove(0).delivery.id;
    assert!(f.store.end_delivery(&id, &owner, DeliveryState::Delivered, None).await.unwrap());
    let ended = f.store.list_deliveries(&call).await.unwrap().remove(0);
    assert_eq!((ended.state, ended.attempts, ended.last_error), (DeliveryState::Delivered, 2, None));
    assert_eq!(ended.finished_at, Some(f.clock.now()));
    f.clock.advance(1_000 * SECOND);
    assert!(take(&f, &owner).await.is_empty(), "an ended delivery is not taken");
    assert!(!f.store.end_delivery(&id, &owner, DeliveryState::Failed, None).await.unwrap());
}

pub async fn a_postponed_delivery_counts_no_attempt(f: Fixture) {
    let at = route_of(&f, &demo()).await;
    let call = end_with(&f, &at, &[delivery("x"), delivery("y")]).await;
    let owner = InstanceId::generate();
    let ids: Vec<_> = take(&f, &owner).await.into_iter().map(|taken| taken.delivery.id).collect();
    let soon = f.clock.now().plus_micros(SECOND);
    f.store.postpone_deliveries(&ids, &InstanceId::generate(), soon).await.unwrap();
    assert!(f.store.list_deliveries(&call).await.unwrap().iter().all(|one| one.attempts == 1));
    f.store.postpone_deliveries(&ids, &owner, soon).await.unwrap();
    assert!(take(&f, &owner).await.is_empty());
    f.clock.advance(SECOND);
    assert!(take(&f, &owner).await.iter().all(|taken| taken.delivery.attempts == 1));
}

pub async fn projects_share_the_room_for_deliveries(f: Fixture) {
    let (one, other) = (project("project-one"), project("project-two"));
    let (at_one, at_other) = (route_of(&f, &one).await, route_of(&f, &other).await);
    let many: Vec<_> = (0..50).map(|_| delivery("x")).collect();
    end_with(&f, &at_one, &many).await;
    f.clock.advance(SECOND);
    end_with(&f, &at_other, &[delivery("y")]).await;
    let narrow = DeliveryRoom { total: 4, per_project: 10, under_way: [(one.clone(), 9)].into() };
    let owner = InstanceId::generate();
    let taken = f.store.take_deliveries(&owner, f.lease(), &narrow).await.unwrap();
    let of = |project: &ProjectId| taken.iter().filter(|taken| taken.delivery.project_id == *project).count();
    assert_eq!((of(&one), of(&other)), (1, 1));
}

pub async fn abandoned_deliveries_are_due_at_once(f: Fixture) {
    let at = route_of(&f, &demo()).await;
    end_with(&f, &at, &[delivery("x")]).await;
    let (dead, next) = (InstanceId::generate(), InstanceId::generate());
    assert_eq!(take(&f, &dead).await.len(), 1);
    f.store.abandon_leases(&next).await.unwrap();
    assert!(take(&f, &next).await.is_empty());
    f.store.abandon_leases(&dead).await.unwrap();
    assert_eq!(take(&f, &next).await.len(), 1);
}

pub async fn a_call_stays_until_its_deliveries_have_ended_and_takes_them_along(f: Fixture) {
    let at = route_of(&f, &demo()).await;
    let call = end_with(&f, &at, &[delivery("x")]).await;
    let owner = InstanceId::generate();
    let id = take(&f, &owner).await.remove(0).delivery.id;
    let later = f.clock.advance(SECOND);
    assert_eq!(f.store.delete_ended_calls(later, 0, 100).await.unwrap(), 0);
    assert!(f.store.end_delivery(&id, &owner, DeliveryState::Failed, Some("gone")).await.unwrap());
    assert_eq!(f.store.delete_ended_calls(later, MANY, 100).await.unwrap(), 1);
    assert_eq!(f.store.list_deliveries(&call).await.unwrap(), []);
}

pub async fn signing_keys_rotate_with_an_overlap(f: Fixture) {
    let app = f.app("signed").await;
    let until = |seconds: i64| f.clock.now().plus_micros(seconds * SECOND);
    assert_eq!(f.store.get_signing_keys(&app.id).await.unwrap(), None);
    f.store.rotate_signing_key(&app.id, b"first", until(10)).await.unwrap();
    let keys = f.store.get_signing_keys(&app.id).await.unwrap().unwrap();
    assert_eq!((keys.current.as_slice(), keys.previous), (b"first".as_slice(), None));
    f.store.rotate_signing_key(&app.id, b"second", until(10)).await.unwrap();
    let keys = f.store.get_signing_keys(&app.id).await.unwrap().unwrap();
    assert_eq!((keys.current, keys.previous), (b"second".to_vec(), Some(b"first".to_vec())));
    f.clock.advance(10 * SECOND);
    let keys = f.store.get_signing_keys(&app.id).await.unwrap().unwrap();
    assert_eq!((keys.current, keys.previous), (b"second".to_vec(), None));
    let missing = f.store.rotate_signing_key(&AppId::generate(), b"x", Timestamp(1)).await;
    assert!(matches!(missing, Err(StoreError::NotFound)));
    f.store.delete_app(&app.id).await.unwrap();
    assert_eq!(f.store.get_signing_keys(&app.id).await.unwrap(), None);
}

pub async fn a_first_signing_key_never_takes_the_place_of_another(f: Fixture) {
    let app = f.app("signed").await;
    let current = async || f.store.get_signing_keys(&app.id).await.unwrap().unwrap().current;
    f.store.add_signing_key(&app.id, b"first").await.unwrap();
    assert_eq!(current().await, b"first");
    f.store.add_signing_key(&app.id, b"late").await.unwrap();
    assert_eq!(current().await, b"first");
    f.store.rotate_signing_key(&app.id, b"second", f.clock.now().plus_micros(SECOND)).await.unwrap();
    let keys = f.store.get_signing_keys(&app.id).await.unwrap().unwrap();
    assert_eq!((keys.current, keys.previous), (b"second".to_vec(), Some(b"first".to_vec())));
    let gone = AppId::generate();
    f.store.add_signing_key(&gone, b"x").await.unwrap();
    assert_eq!(f.store.get_signing_keys(&gone).await.unwrap(), None);
}

pub async fn a_grant_opens_for_its_own_app_and_queue_only(f: Fixture) {
    let (app, other) = (f.app("grants").await.id, AppId::generate());
    let shown = QueueGrant {
        queue: "dead".to_owned(),
        expires_at: Timestamp(7),
        granted_by: "user".to_owned(),
        key_id: String::new(),
        sealed: String::new(),
    };
    let grant = f.store.seal_grant(&app, shown, b"signature").unwrap();
    assert!(!format!("{grant:?}").contains("signature"));
    assert_eq!(f.store.open_grant(&app, &grant).unwrap(), b"signature");
    let elsewhere = QueueGrant { queue: "other".to_owned(), ..grant.clone() };
    for refused in [f.store.open_grant(&other, &grant), f.store.open_grant(&app, &elsewhere)] {
        assert!(matches!(refused, Err(StoreError::Damaged { .. })));
    }
}
