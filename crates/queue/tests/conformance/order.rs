//! Order: by priority, then by the time they were due, then by publication.

use picasso_queue::Dispatch;

use super::fixture::{ALMOST_A_MINUTE, Fixture, MINUTE, THE_REST};

pub async fn higher_priorities_come_first(f: Fixture) {
    let [low, middle, high] = [0, 1, 2].map(|priority| Dispatch { priority, ..f.due() });
    f.publish(&[&low, &middle, &high]).await;
    assert_eq!(f.receive_ids(2).await, [high.call_id, middle.call_id]);
    assert_eq!(f.receive_ids(2).await, [low.call_id]);
}

pub async fn an_id_is_not_delivered_before_it_is_due(f: Fixture) {
    let id = Dispatch { not_before: f.clock.after(MINUTE), priority: 2, ..f.due() };
    f.publish(&[&id]).await;
    assert_eq!(f.receive_ids(10).await, []);
    f.clock.advance(ALMOST_A_MINUTE);
    assert_eq!(f.receive_ids(10).await, []);
    f.clock.advance(THE_REST);
    assert_eq!(f.receive_ids(10).await, [id.call_id]);
}

pub async fn the_longest_due_comes_first(f: Fixture) {
    let [late, early, middle] =
        [3, 1, 2].map(|minutes| Dispatch { not_before: f.clock.after(MINUTE * minutes), ..f.due() });
    f.publish(&[&late, &early, &middle]).await;
    f.clock.advance(MINUTE * 3);
    assert_eq!(f.receive_ids(10).await, [early.call_id, middle.call_id, late.call_id]);
}

pub async fn later_high_priorities_do_not_hold_up_due_low_ones(f: Fixture) {
    let later: Vec<_> =
        (0..500).map(|_| Dispatch { not_before: f.clock.after(MINUTE), priority: 2, ..f.due() }).collect();
    f.queue.publish(&later).await.unwrap();
    let low = Dispatch { priority: 0, ..f.due() };
    f.publish(&[&low]).await;
    assert_eq!(f.receive_ids(10).await, [low.call_id]);
}

pub async fn ids_due_at_one_time_come_in_the_order_of_their_publication(f: Fixture) {
    let all: Vec<_> = (0..20).map(|_| f.due()).collect();
    for dispatch in &all {
        f.publish(&[dispatch]).await;
    }
    let expected: Vec<_> = all.into_iter().map(|dispatch| dispatch.call_id).collect();
    let mut got = f.receive_ids(5).await;
    got.extend(f.receive_ids(50).await);
    assert_eq!(got, expected);
}
