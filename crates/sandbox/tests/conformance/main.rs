//! The conformance suite of the sandbox drivers: every case runs over every driver, with a real
//! kernel, a real Docker Engine and a program that tries to get out.
//!
//! The whole suite lives in a network namespace of its own, so that bridges, packet filters and
//! addresses that belong to strangers elsewhere are nobody's here.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test without libtest, which clippy does not take for one"
)]

mod bed;
mod docker;
mod egress;
mod identity;
mod images;
mod isolation;
mod life;
mod limits;
mod machine;
mod native;
mod outside;
mod streams;
mod syscalls;

use std::process::ExitCode;
use std::sync::Arc;

use bed::Bed;
use libtest_mimic::{Arguments, Failed, Trial};
use tokio::runtime::Runtime;

/// Makes one trial of a case over one driver.
fn trial<F, C>(bed: &Arc<Bed>, runtime: &Arc<Runtime>, name: &str, case: F) -> Trial
where
    F: FnOnce(Arc<Bed>) -> C + Send + 'static,
    C: Future<Output = ()>,
{
    let (bed, runtime) = (Arc::clone(bed), Arc::clone(runtime));
    let name = format!("{}::{name}", bed.driver);
    Trial::test(name, move || {
        runtime.block_on(case(bed));
        Ok::<(), Failed>(())
    })
}

/// The trials of `module::case`s.
macro_rules! trials {
    ($bed:expr, $runtime:expr; $($module:ident: $($case:ident)*;)*) => {
        vec![$($(trial($bed, $runtime, stringify!($case), $module::$case)),*),*]
    };
}

fn all(bed: &Arc<Bed>, runtime: &Arc<Runtime>) -> Vec<Trial> {
    trials! { bed, runtime;
        streams:
            what_goes_in_comes_out
            stdout_and_stderr_are_apart
            shutting_stdin_down_ends_it
            dropping_stdin_ends_it
            large_output_arrives_whole
            unread_output_holds_the_function_back;
        life:
            exit_codes_are_told
            a_fatal_signal_is_told
            arguments_environment_and_folder_are_the_ones_given
            ids_are_the_ones_given
            a_program_that_is_missing_is_the_images_fault
            kill_ends_a_function_that_ignores_signals
            sigterm_reaches_a_function_that_handles_it
            removing_a_running_sandbox_ends_it
            processes_left_behind_end_with_the_function
            a_slot_is_used_once
            unknown_slots_are_refused
            many_sandboxes_run_side_by_side
            a_restart_reaps_what_was_left;
        isolation:
            no_other_process_is_seen
            files_of_the_host_are_out_of_reach
            the_root_is_read_only
            secret_files_are_the_functions_own_and_cannot_be_changed
            devices_are_harmless
            the_kernels_secrets_are_masked
            nothing_of_one_sandbox_is_seen_in_the_next
            the_host_sees_no_capabilities_and_a_filter
            namespaces_are_not_the_hosts;
        identity:
            an_identity_is_read_and_cannot_be_changed
            what_is_replaced_and_withdrawn_shows_in_a_running_function
            an_identity_is_seen_in_its_own_sandbox_alone
            a_folder_that_is_gone_starts_nothing;
        limits:
            the_memory_limit_kills
            the_tmp_folder_is_bounded_in_bytes
            the_tmp_folder_is_bounded_in_inodes
            the_tmp_folder_is_charged_to_the_memory_limit
            a_fork_bomb_stops_at_the_limit
            open_files_and_cores_are_limited
            processor_time_is_limited;
        syscalls:
            every_refused_number_is_refused
            refused_arguments_are_refused;
        egress:
            without_egress_nothing_is_reached
            egress_reaches_what_it_may_and_nothing_else
            sandboxes_do_not_reach_each_other
            connections_are_capped
            bandwidth_is_capped
            names_are_asked_of_the_configured_servers;
    }
}

fn main() -> ExitCode {
    if let Some(code) = native::spawner() {
        return code;
    }
    let arguments = Arguments::from_args();
    // Before any thread is there: a namespace belongs to a thread.
    if let Err(reason) = machine::enter() {
        picasso_testkit::process::require("sandboxes", Some(&reason));
        return ExitCode::SUCCESS;
    }
    let runtime = Arc::new(Runtime::new().expect("a runtime"));
    let machine = runtime.block_on(machine::Machine::start());
    let mut trials = Vec::new();
    for bed in &machine.beds {
        trials.extend(all(bed, &runtime));
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    runtime.block_on(machine.stop(conclusion.has_failed()));
    if conclusion.has_failed() { ExitCode::from(101) } else { ExitCode::SUCCESS }
}
