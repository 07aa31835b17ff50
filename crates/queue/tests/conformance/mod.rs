//! What every [`Queue`](picasso_queue::Queue) does, whatever carries it.
//!
//! A driver's test file includes this module and calls `queue_conformance!` with a function that
//! opens a fresh, empty queue; each test of the suite then appears under its own name. A test
//! that is missing from the list below is dead code, which the lints refuse.

pub mod delivery;
pub mod durability;
pub mod fixture;
pub mod order;

/// Makes a test of each sentence of the suite; `$fresh` is an `async fn() -> Fixture`.
#[macro_export]
macro_rules! queue_conformance {
    ($fresh:path) => {
        $crate::queue_conformance! { @tests $fresh;
            delivery::a_published_id_is_delivered_until_it_is_acknowledged,
            delivery::an_empty_queue_delivers_nothing,
            delivery::a_delivery_is_hidden_until_its_time_and_then_comes_again,
            delivery::an_extended_delivery_stays_hidden,
            delivery::a_late_acknowledgement_does_not_remove_a_redelivered_id,
            delivery::a_late_extension_does_not_hide_a_redelivered_id,
            delivery::an_acknowledgement_of_an_ended_delivery_counts_while_nobody_else_has_it,
            delivery::publishing_twice_never_loses_the_id,
            delivery::publishing_while_it_is_in_hand_delivers_it_again,
            delivery::at_most_the_asked_number_is_delivered,
            delivery::concurrent_receivers_never_share_a_visible_delivery,
            delivery::a_waiting_receiver_is_woken_by_a_publication,
            delivery::a_waiting_receiver_is_woken_when_an_id_becomes_due,
            delivery::a_receipt_of_no_delivery_is_harmless,
            order::higher_priorities_come_first,
            order::an_id_is_not_delivered_before_it_is_due,
            order::the_longest_due_comes_first,
            order::later_high_priorities_do_not_hold_up_due_low_ones,
            order::ids_due_at_one_time_come_in_the_order_of_their_publication,
            durability::what_was_published_is_there_after_reopening,
            durability::a_delivery_stays_hidden_and_its_receipt_good_after_reopening,
            durability::depth_counts_what_waits_and_not_what_is_in_hand,
        }
    };
    (@tests $fresh:path; $($module:ident::$test:ident),+ $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                $crate::conformance::$module::$test($fresh().await).await;
            }
        )+
    };
}
