//! Delivery: at least once, to one at a time, until it is acknowledged.

use std::collections::HashMap;
use std::time::Duration;

use picasso_queue::{Delivery, Dispatch};
use picasso_types::CallId;

use super::fixture::{ALMOST_A_MINUTE, Fixture, MINUTE, PATIENCE, THE_REST};

pub async fn a_published_id_is_delivered_until_it_is_acknowledged(f: Fixture) {
    let id = f.due();
    f.publish(&[&id]).await;
    let delivery = f.receive_one().await;
    assert_eq!(delivery.call_id, id.call_id);
    f.queue.ack(&delivery).await.unwrap();
    f.queue.ack(&delivery).await.unwrap();
    f.clock.advance(MINUTE * 100);
    assert_eq!(f.receive(10).await, []);
}

pub async fn an_empty_queue_delivers_nothing(f: Fixture) {
    assert_eq!(f.receive(10).await, []);
    f.queue.publish(&[]).await.unwrap();
    assert_eq!(f.receive(10).await, []);
    f.publish(&[&f.due()]).await;
    assert_eq!(f.receive(0).await, []);
}

pub async fn a_delivery_is_hidden_until_its_time_and_then_comes_again(f: Fixture) {
    let id = f.due();
    f.publish(&[&id]).await;
    let first = f.receive_one().await;
    f.clock.advance(ALMOST_A_MINUTE);
    assert_eq!(f.receive(10).await, []);
    f.clock.advance(THE_REST);
    let second = f.receive_one().await;
    assert_eq!(second.call_id, first.call_id);
    assert_ne!(second.receipt, first.receipt);
}

pub async fn an_extended_delivery_stays_hidden(f: Fixture) {
    f.publish(&[&f.due()]).await;
    let delivery = f.receive_one().await;
    for _ in 0..5 {
        f.clock.advance(MINUTE / 2);
        f.queue.extend(&delivery, MINUTE).await.unwrap();
    }
    f.clock.advance(ALMOST_A_MINUTE);
    assert_eq!(f.receive(10).await, []);
    f.clock.advance(THE_REST);
    assert_eq!(f.receive(10).await.len(), 1);
}

pub async fn a_late_acknowledgement_does_not_remove_a_redelivered_id(f: Fixture) {
    f.publish(&[&f.due()]).await;
    let first = f.receive_one().await;
    f.clock.advance(MINUTE);
    let second = f.receive_one().await;
    f.queue.ack(&first).await.unwrap();
    f.clock.advance(MINUTE);
    let third = f.receive_one().await;
    assert_eq!(third.call_id, second.call_id);
    f.queue.ack(&third).await.unwrap();
    f.clock.advance(MINUTE);
    assert_eq!(f.receive(10).await, []);
}

pub async fn a_late_extension_does_not_hide_a_redelivered_id(f: Fixture) {
    f.publish(&[&f.due()]).await;
    let first = f.receive_one().await;
    f.clock.advance(MINUTE);
    f.receive_one().await;
    f.queue.extend(&first, MINUTE * 100).await.unwrap();
    f.clock.advance(MINUTE);
    f.receive_one().await;
}

pub async fn an_acknowledgement_of_an_ended_delivery_counts_while_nobody_else_has_it(f: Fixture) {
    f.publish(&[&f.due()]).await;
    let delivery = f.receive_one().await;
    f.clock.advance(MINUTE * 2);
    f.queue.ack(&delivery).await.unwrap();
    assert_eq!(f.receive(10).await, []);
}

pub async fn publishing_twice_never_loses_the_id(f: Fixture) {
    let id = f.due();
    f.publish(&[&id, &id]).await;
    f.publish(&[&id]).await;
    let all = f.receive(10).await;
    assert!(!all.is_empty() && all.iter().all(|delivery| delivery.call_id == id.call_id));
    for delivery in &all {
        f.queue.ack(delivery).await.unwrap();
    }
    f.clock.advance(MINUTE);
    assert_eq!(f.receive(10).await, []);
}

pub async fn publishing_while_it_is_in_hand_delivers_it_again(f: Fixture) {
    // A call that is given back is published again before its old delivery is acknowledged.
    let id = f.due();
    f.publish(&[&id]).await;
    let old = f.receive_one().await;
    let later = Dispatch { not_before: f.clock.after(MINUTE / 2), ..id.clone() };
    f.publish(&[&later]).await;
    f.queue.extend(&old, MINUTE * 100).await.unwrap();
    f.queue.ack(&old).await.unwrap();
    assert_eq!(f.receive(10).await, []);
    f.clock.advance(MINUTE / 2);
    assert_eq!(f.receive_one().await.call_id, id.call_id);
}

pub async fn at_most_the_asked_number_is_delivered(f: Fixture) {
    let ids: Vec<_> = (0..5).map(|_| f.due()).collect();
    f.queue.publish(&ids).await.unwrap();
    assert_eq!(f.receive(2).await.len(), 2);
    assert_eq!(f.receive(2).await.len(), 2);
    assert_eq!(f.receive(2).await.len(), 1);
    assert_eq!(f.receive(2).await.len(), 0);
}

pub async fn concurrent_receivers_never_share_a_visible_delivery(f: Fixture) {
    let ids: Vec<_> = (0..300).map(|_| f.due()).collect();
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
                    let batch = queue.receive(7, MINUTE, Duration::from_millis(500)).await.unwrap();
                    if batch.is_empty() {
                        return got;
                    }
                    got.extend(batch.into_iter().map(|delivery: Delivery| delivery.call_id));
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
    for id in f.receive_ids(1000).await {
        *seen.entry(id).or_default() += 1;
    }
    assert_eq!(seen.len(), ids.len());
    assert!(seen.values().all(|times| *times == 1), "a delivery was shared");
}

pub async fn a_waiting_receiver_is_woken_by_a_publication(f: Fixture) {
    let second = (f.open)().await;
    for publisher in [f.queue.clone(), second] {
        let queue = f.queue.clone();
        let receiver = tokio::spawn(async move { queue.receive(1, MINUTE, PATIENCE).await.unwrap() });
        let id = f.due();
        publisher.publish(std::slice::from_ref(&id)).await.unwrap();
        let got = receiver.await.unwrap();
        assert_eq!(got.len(), 1);
        assert_eq!(got[0].call_id, id.call_id);
        f.queue.ack(&got[0]).await.unwrap();
    }
}

pub async fn a_waiting_receiver_is_woken_when_an_id_becomes_due(f: Fixture) {
    let id = Dispatch { not_before: f.clock.after(MINUTE), ..f.due() };
    f.publish(&[&id]).await;
    let queue = f.queue.clone();
    let receiver = tokio::spawn(async move { queue.receive(1, MINUTE, PATIENCE).await.unwrap() });
    f.clock.advance(MINUTE);
    assert_eq!(receiver.await.unwrap()[0].call_id, id.call_id);
}

pub async fn a_receipt_of_no_delivery_is_harmless(f: Fixture) {
    let id = f.due();
    f.publish(&[&id]).await;
    for receipt in ["", "x", "1", "1:99", "999:1", "1:1 OR 1=1", "-1:-1"] {
        let forged = Delivery { call_id: id.call_id.clone(), receipt: receipt.to_owned() };
        drop(f.queue.ack(&forged).await);
        drop(f.queue.extend(&forged, MINUTE * 100).await);
    }
    assert_eq!(f.receive_one().await.call_id, id.call_id);
}
