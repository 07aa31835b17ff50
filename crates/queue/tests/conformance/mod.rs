//! What every [`Queue`](picasso_queue::Queue) does, whatever carries it.
//!
//! A driver's test file includes this module and calls `queue_conformance!` with a function that
//! opens a fresh, empty queue, or says why it cannot; each test of the suite then appears under
//! its own name. A test that is missing from the list below is dead code, which the lints refuse.

pub mod delivery;
pub mod durability;
pub mod fixture;
pub mod order;

/// Makes a test of each sentence of the suite; `$fresh` is an
/// `async fn(Visibility) -> Option<Fixture>`, `None` where the test is skipped.
#[macro_export]
macro_rules! queue_conformance {
    ($fresh:path) => {
        $crate::queue_conformance! { @tests $fresh, Lasting;
            delivery::an_empty_queue_delivers_nothing,
            delivery::publishing_twice_never_loses_the_id,
            delivery::publishing_while_it_is_in_hand_delivers_it_again,
            delivery::at_most_the_asked_number_is_delivered,
            delivery::concurrent_receivers_never_share_a_visible_delivery,
            delivery::a_waiting_receiver_is_woken_by_a_publication,
            delivery::a_receipt_of_no_delivery_is_harmless,
            order::a_higher_priority_overtakes_what_waits,
            order::ids_of_one_priority_come_in_the_order_of_their_publication,
            durability::what_was_published_is_there_after_reopening,
            durability::depth_counts_what_waits_and_not_what_is_in_hand,
        }
        $crate::queue_conformance! { @tests $fresh, Ending;
            delivery::a_delivery_names_its_project_and_its_priority,
            delivery::a_published_id_is_delivered_until_it_is_acknowledged,
            delivery::a_delivery_is_hidden_until_its_time_and_then_comes_again,
            delivery::a_late_acknowledgement_does_not_remove_a_newer_publication,
            durability::a_delivery_that_was_in_hand_comes_again_after_reopening,
        }
    };
    (@tests $fresh:path, $visibility:ident; $($module:ident::$test:ident),+ $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                let visibility = $crate::conformance::fixture::Visibility::$visibility;
                let Some(fixture) = $fresh(visibility).await else { return };
                $crate::conformance::$module::$test(fixture).await;
            }
        )+
    };
}
