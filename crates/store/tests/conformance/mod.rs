//! What every [`Store`](picasso_store::Store) does, whatever its database.
//!
//! A driver's test file includes this module and calls `store_conformance!` with a function that
//! opens a fresh, empty store; each test of the suite then appears under its own name. A test
//! that is missing from the list below is dead code, which the lints refuse.

pub mod access;
pub mod aliases;
pub mod apps;
pub mod bodies;
pub mod calls;
pub mod changes;
pub mod deliveries;
pub mod delivery;
pub mod fixture;
pub mod identities;
pub mod outbox;
pub mod records;
pub mod routes;
pub mod triggers;
pub mod versions;

/// Makes a test of each sentence of the suite; `$fresh` is an
/// `async fn() -> Option<Fixture>`, `None` where the database is not here.
#[macro_export]
macro_rules! store_conformance {
    ($fresh:path) => {
        $crate::store_conformance! { @tests $fresh;
            apps::an_app_is_found_by_short_name_full_name_and_id,
            apps::what_belongs_to_the_ironfunctions_namespace_is_read_back,
            apps::names_are_case_sensitive,
            apps::names_that_look_like_sql_are_only_names,
            apps::a_short_name_of_the_project_is_refused_twice,
            apps::a_short_name_that_is_another_apps_full_name_is_refused,
            apps::a_full_name_never_equals_a_short_name_of_the_project,
            apps::two_projects_whose_names_would_be_cut_alike_get_different_full_names,
            apps::an_app_with_no_free_full_name_is_refused,
            apps::the_limit_of_apps_counts_per_project,
            apps::a_hundred_parallel_creates_of_one_name_make_one_app,
            apps::a_hundred_parallel_creates_that_are_cut_alike_get_a_hundred_names,
            apps::a_hundred_parallel_creates_stop_at_the_limit,
            apps::another_projects_app_is_not_found,
            apps::apps_are_listed_by_full_name_and_only_of_the_project,
            apps::an_update_keeps_names_and_sets_the_time,
            apps::of_twenty_changes_of_one_state_of_an_app_one_is_made,
            apps::deleting_an_app_with_routes_is_refused,
            apps::a_deleted_apps_name_is_free_again,
            apps::a_missing_app_is_not_found_by_any_method,
            routes::a_route_comes_back_as_it_was_made,
            routes::a_resolved_route_is_ready_and_active_at_once,
            routes::a_routes_rate_limit_is_its_own_whatever_its_versions_do,
            routes::of_twenty_changes_of_one_state_of_a_route_one_is_made,
            routes::patterns_of_one_shape_conflict_when_they_share_a_method,
            routes::routes_of_one_pattern_and_disjoint_methods_stand_side_by_side,
            routes::an_update_that_takes_anothers_method_is_refused,
            routes::the_same_path_in_another_app_is_no_conflict,
            routes::patterns_are_case_sensitive,
            routes::a_hundred_parallel_creates_of_one_route_make_one,
            routes::the_limit_of_routes_counts_all_apps_of_a_project,
            routes::parallel_creates_in_all_apps_of_a_project_keep_to_its_limit_of_routes,
            routes::deleting_one_route_touches_no_other,
            routes::routes_are_listed_in_order_of_their_patterns,
            routes::a_missing_route_is_not_found_by_any_method,
            versions::a_change_of_a_route_makes_its_next_version,
            versions::a_version_stays_readable_after_the_next_one,
            versions::a_version_becomes_active_when_it_is_ready,
            versions::an_older_version_that_is_ready_late_does_not_replace_a_newer_one,
            versions::a_failed_version_leaves_the_active_one,
            versions::a_decided_version_stays_decided,
            versions::a_preparation_is_held_by_one_until_its_lease_ends,
            versions::preparing_versions_are_listed_oldest_first_with_their_project,
            versions::apps_are_listed_whose_active_version_is_kept_warm,
            versions::a_change_of_app_config_makes_a_version_of_every_route,
            versions::a_change_of_description_makes_no_version,
            versions::a_change_of_app_config_reaches_calls_while_the_latest_version_prepares,
            versions::a_copied_version_shares_the_preparation_of_its_original,
            versions::referenced_digests_are_those_of_kept_versions_and_unfinished_calls,
            versions::versions_are_listed_newest_first_in_pages_and_found_by_number,
            versions::a_roll_back_makes_a_version_of_what_an_older_one_ran,
            versions::a_roll_back_to_what_cannot_run_changes_nothing,
            versions::old_versions_go_unless_something_needs_them,
            aliases::an_alias_comes_back_as_it_was_made_and_changed,
            aliases::of_changes_for_one_state_of_an_alias_one_is_made,
            aliases::aliases_are_listed_by_name_and_by_app_with_their_versions,
            aliases::an_alias_stands_only_for_ready_versions_of_its_route,
            aliases::a_name_is_used_once_and_aliases_are_counted_per_route,
            aliases::a_missing_alias_or_route_is_not_found_by_any_method,
            aliases::an_alias_goes_with_its_route,
            aliases::an_app_is_listed_whose_alias_is_kept_warm,
            calls::an_accepted_call_comes_back_queued,
            calls::accepting_for_a_missing_version_is_not_found,
            calls::accepting_one_id_twice_keeps_the_first,
            calls::a_call_is_claimed_by_one_of_many,
            calls::of_many_calls_at_one_time_each_keeps_its_own,
            calls::a_call_is_not_claimed_before_it_is_due,
            calls::a_call_whose_lease_ended_is_claimed_again,
            calls::only_the_owner_extends_releases_and_finishes,
            calls::a_released_call_is_queued_without_counting_the_attempt,
            calls::a_finished_call_keeps_its_outcome_and_is_never_claimed,
            calls::a_call_does_not_end_as_running,
            calls::abandoned_leases_end_at_once_and_others_stay,
            calls::deleting_a_route_cancels_its_queued_calls_only,
            calls::a_missing_call_is_not_found,
            bodies::envelope_and_payload_come_back_byte_for_byte,
            bodies::a_body_survives_a_lost_run_and_goes_with_the_end,
            records::calls_are_listed_newest_first_in_pages_and_only_of_the_project,
            records::a_list_is_filtered_by_each_field,
            records::a_queued_call_is_cancelled_at_once_and_never_runs,
            records::whoever_runs_a_cancelled_call_is_told_with_its_lease,
            records::an_ended_call_is_not_cancelled,
            records::another_projects_call_is_neither_cancelled_nor_retried,
            records::an_output_comes_back_byte_for_byte_and_goes_with_a_retry,
            records::a_call_that_did_not_succeed_runs_again_with_its_attempts_counted_on,
            records::a_call_that_succeeded_runs_or_waits_is_not_retried,
            records::a_recorded_call_comes_back_and_is_not_retried,
            records::recording_an_id_twice_keeps_the_first,
            records::ended_calls_go_after_their_time_in_batches,
            records::an_object_that_no_call_took_is_removed_after_its_time_by_who_reaches_it,
            records::an_object_of_a_call_is_removed_when_the_call_is_gone_or_retried,
            records::outputs_beyond_a_projects_bytes_go_with_the_oldest_first_and_their_calls_stay,
            records::each_project_keeps_its_newest_ended_calls,
            changes::every_change_of_an_app_its_routes_and_versions_is_heard,
            changes::a_running_call_that_is_to_end_is_heard_of_and_a_waiting_one_is_not,
            changes::what_was_refused_is_not_heard,
            changes::no_change_is_missed_while_many_are_made_at_once,
            changes::who_was_away_too_long_hears_that_anything_may_have_changed,
            changes::a_follower_from_the_very_beginning_hears_the_first_change,
            delivery::a_routes_delivery_options_come_back_and_change,
            delivery::a_call_keeps_the_options_it_was_accepted_with,
            delivery::a_repeated_call_is_due_again_with_its_failed_runs_counted,
            delivery::an_idempotency_key_stands_for_its_call_within_its_window,
            delivery::of_calls_at_one_time_each_key_has_one_and_one_without_a_version_fails_alone,
            delivery::of_many_calls_at_one_time_with_one_key_one_is_stored,
            delivery::keys_go_after_their_window_and_with_their_calls,
            delivery::many_dead_calls_are_retried_oldest_first_and_only_those_of_the_filter,
            deliveries::a_delivery_is_made_with_the_end_of_its_call_and_not_without_it,
            deliveries::a_delivery_is_taken_once_until_its_lease_ends,
            deliveries::only_the_holder_ends_or_puts_back_a_delivery,
            deliveries::a_postponed_delivery_counts_no_attempt,
            deliveries::projects_share_the_room_for_deliveries,
            deliveries::abandoned_deliveries_are_due_at_once,
            deliveries::a_call_stays_until_its_deliveries_have_ended_and_takes_them_along,
            deliveries::signing_keys_rotate_with_an_overlap,
            deliveries::a_first_signing_key_never_takes_the_place_of_another,
            deliveries::a_grant_opens_for_its_own_app_and_queue_only,
            access::a_sealed_value_opens_for_what_it_was_sealed_for_only,
            access::secrets_and_cors_rules_come_back_and_a_change_of_secrets_makes_versions,
            access::a_routes_secret_wins_over_its_apps_in_every_version,
            access::a_change_of_a_route_leaves_its_webhook_secrets,
            access::rolling_back_brings_a_routes_old_secrets_and_keeps_its_apps_new_ones,
            access::webhook_secrets_rotate_with_an_overlap,
            triggers::a_trigger_comes_back_as_it_was_made_and_changed,
            triggers::names_of_triggers_are_unique_in_a_project_and_limited,
            triggers::a_change_of_an_older_state_of_a_trigger_is_refused,
            triggers::a_trigger_needs_a_route_of_its_own_project,
            triggers::a_route_takes_its_triggers_with_it,
            triggers::a_webhook_is_found_by_the_hash_of_its_token_until_that_is_changed,
            triggers::due_triggers_are_taken_once_and_planned_by_who_holds_them,
            triggers::of_ten_takers_of_twenty_due_triggers_each_trigger_has_one,
            triggers::due_triggers_that_cannot_be_read_are_put_off_and_hold_up_no_others,
            triggers::what_cannot_be_read_is_left_out_of_lists_and_told_to_who_asks_for_it,
            triggers::of_plans_at_one_time_those_of_holders_are_written,
            triggers::the_last_firings_are_kept_and_accepted_ones_count,
            triggers::every_change_of_a_trigger_is_told_as_one_of_its_app,
            identities::an_identity_comes_back_as_it_was_granted,
            identities::every_change_of_what_runs_by_another_user_suspends_an_identity,
            identities::what_the_grantor_changes_and_what_runs_nothing_else_leaves_an_identity,
            identities::who_changes_it_again_suspends_again_and_only_what_was_seen_is_consented_to,
            identities::nothing_is_granted_to_what_another_user_changed_unseen,
            identities::of_a_grant_and_a_change_at_one_time_the_identity_is_never_left_active,
            identities::a_trust_that_is_not_needed_any_more_is_kept_until_it_is_revoked,
            identities::a_change_of_an_identity_is_heard_by_other_processes,
            identities::the_kind_of_an_identity_shows_while_its_route_is_still_prepared,
            outbox::entries_are_taken_by_priority_and_then_by_due_time,
            outbox::projects_are_served_in_turn_however_long_their_queues_are,
            outbox::a_take_goes_on_behind_the_project_where_the_last_one_ended,
            outbox::a_project_gets_its_window_and_what_the_process_wants,
            outbox::what_was_taken_in_vain_waits_again_after_its_time_or_when_it_is_returned,
            outbox::what_an_earlier_process_took_waits_again_when_it_is_abandoned,
            outbox::several_takers_share_no_entry_and_leave_none,
            outbox::only_due_calls_are_taken_the_longest_due_first,
            outbox::queued_calls_are_counted_by_project_until_they_are_claimed,
            outbox::a_released_call_is_taken_again_when_it_is_due,
            outbox::a_sweep_puts_back_calls_whose_lease_ended_once,
        }
    };
    (@tests $fresh:path; $($module:ident::$test:ident),+ $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                let Some(fixture) = $fresh().await else { return };
                $crate::conformance::$module::$test(fixture).await;
            }
        )+
    };
}
