//! What the end of an asynchronous call's run leads to: the call ends, runs again at once or later
//! by its own policy, or is given up. Decides only; the worker writes it down.

use std::time::Duration;

use picasso_types::{Call, CallOutcome, CallState, Failure, Timestamp};

use crate::call_events::End;
use crate::call_recorder::state_of;
use crate::settings::EngineSettings;

/// What happens with the call next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Next {
    /// It has ended.
    Finish(CallOutcome),
    /// It goes back without having counted: it found no place, or the fault was ours.
    Release(Timestamp),
    /// It goes back for its next attempt.
    Repeat(Timestamp, Failure),
}

/// How a claimed call ends that is not to be run (again): cancelled, given up, or too old.
pub(crate) fn before_run(call: &Call, settings: &EngineSettings, now: Timestamp) -> Option<CallOutcome> {
    if call.cancel_requested {
        return Some(ended_as(CallState::Cancelled));
    }
    // A call that ends the process that runs it must not do so for ever.
    if call.lost_runs >= settings.async_max_lost_runs {
        return Some(dead(Failure::Lost { runs: call.lost_runs }));
    }
    is_too_old(call, now).then(|| dead(expired(call, call.failure.as_ref())))
}

/// What follows a run; `end` is `None` when it was cancelled. `chance` is a number from 0 to 1 that
/// spreads the next attempts of calls that failed together.
pub(crate) fn after_run(
    call: &Call,
    end: Option<End>,
    settings: &EngineSettings,
    now: Timestamp,
    chance: f64,
) -> Next {
    let Some(end) = end else { return Next::Finish(ended_as(CallState::Cancelled)) };
    let given_up = |end: End| Next::Finish(CallOutcome { state: CallState::Dead, ..outcome(end) });
    let later = |wait: Duration| Some(now.plus(wait)).filter(|due| !is_too_old(call, *due));
    let too_old = |end: End| {
        let failure = expired(call, end.failure.as_ref());
        given_up(End { failure: Some(failure), ..end })
    };
    if let (Some(failure), Some(policy)) = (&end.failure, &call.delivery.retry)
        && policy.repeats(failure)
    {
        let failed_runs = call.failed_runs.saturating_add(1);
        if failed_runs >= policy.max_attempts {
            return given_up(end);
        }
        return match later(policy.backoff.wait(failed_runs, chance)) {
            Some(due) => Next::Repeat(due, failure.clone()),
            None => too_old(end),
        };
    }
    if end.may_repeat {
        if now >= call.due_at.plus(settings.async_max_age) {
            return given_up(end);
        }
        return match later(settings.async_retry_delay) {
            Some(due) => Next::Release(due),
            None => too_old(end),
        };
    }
    Next::Finish(outcome(end))
}

fn is_too_old(call: &Call, at: Timestamp) -> bool {
    call.delivery.max_age_s.is_some_and(|max_age| at > call.due_at.plus(Duration::from_secs(max_age.into())))
}

fn expired(call: &Call, last: Option<&Failure>) -> Failure {
    let last_error = match last {
        // Found too old once more: what its last run said stays.
        Some(Failure::Expired { last_error, .. }) => last_error.clone(),
        last => last.map(ToString::to_string),
    };
    Failure::Expired { max_age_s: call.delivery.max_age_s.unwrap_or_default(), last_error }
}

fn outcome(end: End) -> CallOutcome {
    CallOutcome {
        state: state_of(end.failure.as_ref()),
        failure: end.failure,
        exit_code: end.exit_code,
        http_status: end.status,
        cold_start: end.cold_start,
        memory_peak_bytes: end.memory_peak_bytes,
    }
}

fn dead(failure: Failure) -> CallOutcome {
    CallOutcome { failure: Some(failure), ..ended_as(CallState::Dead) }
}

fn ended_as(state: CallState) -> CallOutcome {
    CallOutcome {
        state,
        failure: None,
        exit_code: None,
        http_status: None,
        cold_start: None,
        memory_peak_bytes: None,
    }
}

#[cfg(test)]
mod tests {
    use picasso_types::{CallDelivery, RetryOn, RetryPolicy};

    use super::*;
    use crate::testing;

    const SECOND: i64 = 1_000_000;

    fn at(seconds: i64) -> Timestamp {
        Timestamp(1_700_000_000 * SECOND + seconds * SECOND)
    }

    /// Due at second 0.
    fn call(retry: Option<RetryPolicy>, max_age_s: Option<u32>, failed_runs: u32) -> Call {
        let delivery = CallDelivery { retry, max_age_s, ..CallDelivery::default() };
        Call { delivery, failed_runs, due_at: at(0), ..testing::call() }
    }

    fn next(call: &Call, end: End, now: Timestamp) -> Next {
        after_run(call, Some(end), &EngineSettings::default(), now, 0.0)
    }

    fn exit() -> End {
        End { exit_code: Some(3), ..End::of(Failure::Exit { code: 3 }) }
    }

    fn timeout() -> End {
        End::of(Failure::Timeout { limit_s: 30 })
    }

    fn no_capacity() -> End {
        End { may_repeat: true, ..End::of(Failure::NoCapacity) }
    }

    #[track_caller]
    fn finished(next: Next) -> CallOutcome {
        match next {
            Next::Finish(outcome) => outcome,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn without_a_policy_a_run_ends_its_call() {
        let call = call(None, None, 0);
        for (end, state) in [
            (End::success(), CallState::Succeeded),
            (exit(), CallState::Failed),
            (timeout(), CallState::TimedOut),
        ] {
            assert_eq!(finished(next(&call, end, at(5))).state, state);
        }
        let cancelled = after_run(&call, None, &EngineSettings::default(), at(5), 0.0);
        assert_eq!(finished(cancelled).state, CallState::Cancelled);
    }

    #[test]
    fn a_failed_run_is_repeated_with_growing_waits_until_its_attempts_are_used_up() {
        let policy = || Some(RetryPolicy::new(4));
        for (failed_runs, wait) in [(0, 1), (1, 2), (2, 4)] {
            let next = next(&call(policy(), None, failed_runs), exit(), at(100));
            assert_eq!(next, Next::Repeat(at(100 + wait), Failure::Exit { code: 3 }));
        }
        let end = finished(next(&call(policy(), None, 3), exit(), at(100)));
        assert_eq!((end.state, end.failure), (CallState::Dead, Some(Failure::Exit { code: 3 })));
        assert_eq!(end.exit_code, Some(3));
        let success = finished(next(&call(policy(), None, 3), End::success(), at(100)));
        assert_eq!(success.state, CallState::Succeeded);
    }

    #[test]
    fn chance_spreads_the_next_attempts() {
        let call = call(Some(RetryPolicy::new(4)), None, 2);
        let at_chance = |chance| after_run(&call, Some(exit()), &EngineSettings::default(), at(0), chance);
        let failure = Failure::Exit { code: 3 };
        let half = Timestamp(at(4).0 - SECOND * 4 / 10);
        assert_eq!(at_chance(0.5), Next::Repeat(half, failure.clone()));
        assert_eq!(at_chance(1.0), Next::Repeat(Timestamp(at(4).0 - SECOND * 8 / 10), failure));
    }

    #[test]
    fn a_policy_repeats_only_what_it_lists() {
        let only_timeouts = RetryPolicy { on: vec![RetryOn::Timeout], ..RetryPolicy::new(4) };
        let call = call(Some(only_timeouts), None, 0);
        assert_eq!(finished(next(&call, exit(), at(1))).state, CallState::Failed);
        assert!(matches!(next(&call, timeout(), at(1)), Next::Repeat(..)));
    }

    #[test]
    fn no_capacity_does_not_count_unless_the_policy_lists_it() {
        let plain = call(Some(RetryPolicy::new(2)), None, 1);
        assert_eq!(next(&plain, no_capacity(), at(5)), Next::Release(at(6)));
        let listed = RetryPolicy { on: vec![RetryOn::Capacity], ..RetryPolicy::new(2) };
        assert!(matches!(next(&call(Some(listed.clone()), None, 0), no_capacity(), at(5)), Next::Repeat(..)));
        let end = finished(next(&call(Some(listed), None, 1), no_capacity(), at(5)));
        assert_eq!((end.state, end.failure), (CallState::Dead, Some(Failure::NoCapacity)));
    }

    #[test]
    fn what_the_service_cannot_run_is_given_up_after_its_time_counted_from_when_it_was_due() {
        let call = call(None, None, 0);
        let day = 24 * 3600;
        assert_eq!(next(&call, no_capacity(), at(day - 1)), Next::Release(at(day)));
        let end = finished(next(&call, no_capacity(), at(day)));
        assert_eq!((end.state, end.failure), (CallState::Dead, Some(Failure::NoCapacity)));
    }

    #[test]
    fn no_attempt_begins_after_the_max_age() {
        let call = call(Some(RetryPolicy::new(9)), Some(10), 0);
        assert!(matches!(next(&call, exit(), at(9)), Next::Repeat(due, _) if due == at(10)));
        let end = finished(next(&call, exit(), at(10)));
        assert_eq!((end.state, end.exit_code), (CallState::Dead, Some(3)));
        let told = end.failure.unwrap().to_string();
        assert!(told.contains("max_age of 10 s") && told.contains("exited with code 3"), "{told}");
        let waited = finished(next(&call, no_capacity(), at(10)));
        assert!(matches!(waited.failure, Some(Failure::Expired { max_age_s: 10, .. })));
    }

    #[test]
    fn a_call_that_is_claimed_too_late_is_not_run() {
        let settings = EngineSettings::default();
        let call = call(None, Some(10), 0);
        assert_eq!(before_run(&call, &settings, at(10)), None);
        let end = before_run(&call, &settings, at(11)).unwrap();
        assert_eq!(end.state, CallState::Dead);
        assert_eq!(end.failure, Some(Failure::Expired { max_age_s: 10, last_error: None }));
        let again = Call { failure: Some(Failure::Exit { code: 3 }), ..call };
        let told = before_run(&again, &settings, at(11)).unwrap().failure.unwrap().to_string();
        assert!(told.contains("exited with code 3"), "{told}");
    }

    #[test]
    fn a_cancelled_call_and_one_whose_runs_were_lost_too_often_are_not_run() {
        let settings = EngineSettings::default();
        let plain = call(None, None, 0);
        assert_eq!(before_run(&plain, &settings, at(1)), None);
        let cancelled = Call { cancel_requested: true, ..plain.clone() };
        assert_eq!(before_run(&cancelled, &settings, at(1)).unwrap().state, CallState::Cancelled);
        let lost = Call { lost_runs: settings.async_max_lost_runs, ..plain };
        let end = before_run(&lost, &settings, at(1)).unwrap();
        assert_eq!((end.state, end.failure), (CallState::Dead, Some(Failure::Lost { runs: 5 })));
    }
}
