//! What outlives the process, and how much of it there is.

use std::time::Duration;

use super::fixture::{Fixture, PATIENCE, dispatch};

pub async fn what_was_published_is_there_after_reopening(mut f: Fixture) {
    let id = dispatch();
    f.publish(&[&id]).await;
    f.queue = (f.open)().await;
    assert_eq!(f.receive_one().await.call_id, id.call_id);
}

pub async fn a_delivery_that_was_in_hand_comes_again_after_reopening(mut f: Fixture) {
    let id = dispatch();
    f.publish(&[&id]).await;
    f.receive_one().await;
    f.queue = (f.open)().await;
    (f.end_visibility)();
    assert_eq!(f.receive_one().await.call_id, id.call_id);
}

pub async fn depth_counts_what_waits_and_not_what_is_in_hand(f: Fixture) {
    depth_becomes(&f, 0).await;
    f.publish(&[&dispatch(), &dispatch(), &dispatch()]).await;
    depth_becomes(&f, 3).await;
    let delivery = f.queue.receive(1, PATIENCE).await.unwrap().remove(0);
    depth_becomes(&f, 2).await;
    f.queue.ack(std::slice::from_ref(&delivery)).await.unwrap();
    depth_becomes(&f, 2).await;
}

/// A gauge may lag.
async fn depth_becomes(f: &Fixture, expected: u64) {
    let wait = async {
        while f.queue.depth().await.unwrap() != expected {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, wait).await.is_ok(), "the depth is not {expected}");
}
