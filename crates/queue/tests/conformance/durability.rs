//! What outlives the process, and how much of it there is.

use picasso_queue::Dispatch;

use super::fixture::{Fixture, MINUTE};

pub async fn what_was_published_is_there_after_reopening(mut f: Fixture) {
    let (id, later) = (f.due(), Dispatch { not_before: f.clock.after(MINUTE), ..f.due() });
    f.publish(&[&id, &later]).await;
    f.queue = (f.open)().await;
    assert_eq!(f.receive_ids(10).await, [id.call_id]);
    f.clock.advance(MINUTE / 2);
    assert_eq!(f.receive_ids(10).await, []);
    f.clock.advance(MINUTE / 2);
    assert!(f.receive_ids(10).await.contains(&later.call_id));
}

pub async fn a_delivery_stays_hidden_and_its_receipt_good_after_reopening(mut f: Fixture) {
    f.publish(&[&f.due()]).await;
    let delivery = f.receive_one().await;
    f.queue = (f.open)().await;
    assert_eq!(f.receive(10).await, []);
    f.queue.ack(&delivery).await.unwrap();
    f.clock.advance(MINUTE * 2);
    assert_eq!(f.receive(10).await, []);
}

pub async fn depth_counts_what_waits_and_not_what_is_in_hand(f: Fixture) {
    assert_eq!(f.queue.depth().await.unwrap(), 0);
    let later = Dispatch { not_before: f.clock.after(MINUTE * 10), ..f.due() };
    f.publish(&[&f.due(), &f.due(), &later]).await;
    assert_eq!(f.queue.depth().await.unwrap(), 3);
    let delivery = f.receive(1).await.remove(0);
    assert_eq!(f.queue.depth().await.unwrap(), 2);
    f.clock.advance(MINUTE);
    assert_eq!(f.queue.depth().await.unwrap(), 3, "it waits again");
    f.queue.ack(&delivery).await.unwrap();
    assert_eq!(f.queue.depth().await.unwrap(), 2);
}
