//! Order: by priority, then by publication.

use picasso_queue::Dispatch;

use super::fixture::{Fixture, PATIENCE, dispatch};

/// A driver may have fetched some lower ones already: bounded by this many.
const FETCHED_AHEAD: usize = 100;

pub async fn a_higher_priority_overtakes_what_waits(f: Fixture) {
    let waiting: Vec<_> = (0..2 * FETCHED_AHEAD).map(|_| Dispatch { priority: 0, ..dispatch() }).collect();
    f.queue.publish(&waiting).await.unwrap();
    let [middle, high] = [1, 2].map(|priority| Dispatch { priority, ..dispatch() });
    f.publish(&[&middle, &high]).await;
    let mut got = Vec::new();
    while got.len() < FETCHED_AHEAD {
        let delivery = f.queue.receive(1, PATIENCE).await.unwrap().remove(0);
        f.queue.ack(std::slice::from_ref(&delivery)).await.unwrap();
        got.push(delivery.call_id);
    }
    for overtaking in [middle, high] {
        assert!(got.contains(&overtaking.call_id), "priority {} waits", overtaking.priority);
    }
}

pub async fn ids_of_one_priority_come_in_the_order_of_their_publication(f: Fixture) {
    let all: Vec<_> = (0..20).map(|_| dispatch()).collect();
    for dispatch in &all {
        f.publish(&[dispatch]).await;
    }
    let expected: Vec<_> = all.into_iter().map(|dispatch| dispatch.call_id).collect();
    let got: Vec<_> = f.receive(20).await.into_iter().map(|delivery| delivery.call_id).collect();
    assert_eq!(got, expected);
}
