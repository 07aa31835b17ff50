//! Delivery: at least once, to one at a time, until it is acknowledged.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use picasso_queue::{Delivery, Dispatch};
use picasso_types::{CallId, ProjectId};

use super::fixture::{Fixture, PATIENCE, dispatch};

pub async fn a_published_id_is_delivered_until_it_is_acknowledged(f: Fixture) {
    let id = dispatch();
    f.publish(&[&id]).await;
    for _ in 0..2 {
        assert_eq!(f.receive_one().await.call_id, id.call_id);
        (f.end_visibility)();
    }
    let delivery = f.receive_one().await;
    f.queue.ack(std::slice::from_ref(&delivery)).await.unwrap();
    drop(f.queue.ack(std::slice::from_ref(&delivery)).await);
    f.nothing_comes_again().await;
}

pub async fn a_delivery_names_its_project_and_its_priority(f: Fixture) {
    let (low, high) = (Dispatch { priority: 0, ..dispatch() }, Dispatch { priority: 2, ..dispatch() });
    let other = ProjectId::parse("0123456789abcdef0123456789abcdef").unwrap();
    let low = Dispatch { project_id: other, ..low };
    f.publish(&[&low, &high]).await;
    let got = f.receive(2).await;
    f.queue.ack(&got).await.unwrap();
    f.queue.ack(&[]).await.unwrap();
    let mut got: Vec<_> = got.into_iter().map(|got| (got.priority, got.project_id, got.call_id)).collect();
    got.sort();
    assert_eq!(got, [(0, low.project_id, low.call_id), (2, high.project_id, high.call_id)]);
    f.nothing_comes_again().await;
}

pub async fn an_empty_queue_delivers_nothing(f: Fixture) {
    assert_eq!(f.queue.receive(10, Duration::ZERO).await.unwrap(), []);
    f.queue.publish(&[]).await.unwrap();
    assert_eq!(f.queue.receive(10, Duration::ZERO).await.unwrap(), []);
    f.publish(&[&dispatch()]).await;
    assert_eq!(f.queue.receive(0, Duration::ZERO).await.unwrap(), []);
}

pub async fn a_delivery_is_hidden_until_its_time_and_then_comes_again(f: Fixture) {
    f.publish(&[&dispatch()]).await;
    let received = Instant::now();
    let first = f.receive_one().await;
    f.hidden(received).await;
    (f.end_visibility)();
    let second = f.receive_one().await;
    assert!(f.hidden_for == Duration::MAX || received.elapsed() >= f.hidden_for, "it came early");
    assert_eq!(second.call_id, first.call_id);
}

pub async fn a_late_acknowledgement_does_not_remove_a_newer_publication(f: Fixture) {
    let id = dispatch();
    f.publish(&[&id]).await;
    let old = f.receive_one().await;
    (f.end_visibility)();
    let again = f.receive_one().await;
    f.publish(&[&id]).await;
    for late in [&old, &again] {
        drop(f.queue.ack(std::slice::from_ref(late)).await);
    }
    let newest = f.receive_one().await;
    assert_eq!(newest.call_id, id.call_id);
    f.queue.ack(std::slice::from_ref(&newest)).await.unwrap();
    f.nothing_comes_again().await;
}

pub async fn publishing_twice_never_loses_the_id(f: Fixture) {
    let id = dispatch();
    f.publish(&[&id, &id]).await;
    f.publish(&[&id]).await;
    // Everything that was published before it comes before it.
    let last = dispatch();
    f.publish(&[&last]).await;
    let mut all = Vec::new();
    while all.last().is_none_or(|delivery: &Delivery| delivery.call_id != last.call_id) {
        all.extend(f.queue.receive(1, PATIENCE).await.unwrap());
    }
    let before = &all[..all.len() - 1];
    assert!((1..=3).contains(&before.len()), "{all:?}");
    assert!(before.iter().all(|delivery| delivery.call_id == id.call_id), "{all:?}");
    for delivery in &all {
        f.queue.ack(std::slice::from_ref(delivery)).await.unwrap();
    }
    f.nothing_comes().await;
}

pub async fn publishing_while_it_is_in_hand_delivers_it_again(f: Fixture) {
    // A call that is given back may be published again before its old delivery is acknowledged.
    let id = dispatch();
    f.publish(&[&id]).await;
    let old = f.receive_one().await;
    f.publish(&[&id]).await;
    drop(f.queue.ack(std::slice::from_ref(&old)).await);
    let new = f.receive_one().await;
    assert_eq!(new.call_id, id.call_id);
    f.queue.ack(std::slice::from_ref(&new)).await.unwrap();
    f.nothing_comes().await;
}

pub async fn at_most_the_asked_number_is_delivered(f: Fixture) {
    let ids: Vec<_> = (0..5).map(|_| dispatch()).collect();
    f.queue.publish(&ids).await.unwrap();
    let mut seen = 0;
    while seen < 5 {
        let got = f.queue.receive(2, PATIENCE).await.unwrap();
        assert!((1..=2).contains(&got.len()), "{got:?}");
        seen += got.len();
    }
    assert_eq!(seen, 5);
    f.nothing_comes().await;
}

pub async fn concurrent_receivers_never_share_a_visible_delivery(f: Fixture) {
    let ids: Vec<_> = (0..300).map(|_| dispatch()).collect();
    let publishers: Vec<_> = ids
        .chunks(10)
        .map(|chunk| {
            let (queue, chunk) = (f.queue.clone(), chunk.to_vec());
            tokio::spawn(async move { queue.publish(&chunk).await.unwrap() })
        })
        .collect();
    let second = (f.open)().await;
    let receivers: Vec<_> = (0..16)
        .map(|n| {
            let queue = if n % 2 == 0 { f.queue.clone() } else { second.clone() };
            tokio::spawn(async move {
                let mut got = Vec::new();
                loop {
                    let batch = queue.receive(7, Duration::from_millis(500)).await.unwrap();
                    if batch.is_empty() {
                        return got;
                    }
                    queue.ack(&batch).await.unwrap();
                    got.extend(batch.into_iter().map(|delivery| delivery.call_id));
                }
            })
        })
        .collect();
    for publisher in publishers {
        publisher.await.unwrap();
    }
    let mut seen: HashMap<CallId, u32> = HashMap::new();
    for receiver in receivers {
        for id in receiver.await.unwrap() {
            *seen.entry(id).or_default() += 1;
        }
    }
    // What came after the last receiver had given up.
    while seen.len() < ids.len() {
        for delivery in f.queue.receive(1000, PATIENCE).await.unwrap() {
            f.queue.ack(std::slice::from_ref(&delivery)).await.unwrap();
            *seen.entry(delivery.call_id).or_default() += 1;
        }
    }
    assert!(seen.values().all(|times| *times == 1), "a delivery was shared");
}

pub async fn a_waiting_receiver_is_woken_by_a_publication(f: Fixture) {
    let second = (f.open)().await;
    for publisher in [f.queue.clone(), second] {
        let queue = f.queue.clone();
        let receiver = tokio::spawn(async move { queue.receive(1, PATIENCE).await.unwrap() });
        let id = dispatch();
        publisher.publish(std::slice::from_ref(&id)).await.unwrap();
        let got = receiver.await.unwrap();
        assert_eq!(got.len(), 1);
        assert_eq!(got[0].call_id, id.call_id);
        f.queue.ack(std::slice::from_ref(&got[0])).await.unwrap();
    }
}

pub async fn a_receipt_of_no_delivery_is_harmless(f: Fixture) {
    let id = dispatch();
    f.publish(&[&id]).await;
    for receipt in ["", "x", "1", "1:99", "999:1", "1:1 OR 1=1", "-1:-1", "0-1", ">", "$JS.ACK.a.b\r\n"] {
        let forged = Delivery {
            call_id: id.call_id.clone(),
            project_id: id.project_id.clone(),
            priority: id.priority,
            receipt: receipt.to_owned(),
        };
        drop(f.queue.ack(std::slice::from_ref(&forged)).await);
    }
    assert_eq!(f.receive_one().await.call_id, id.call_id);
}
