//! The part of the machine's CPU that asynchronous calls may use.
//!
//! Places bound how many run at one time, which says little about functions that end at once: eight
//! of them that follow each other without a pause keep two CPUs busy. So the starts are paced by the
//! CPU time that this process uses (not that of its sandboxes, which places bound): time passes, the account grows by the share of
//! it; CPU time is used, it shrinks; while it is overdrawn no asynchronous call starts. What
//! synchronous calls use counts as well: they come first. One start in [`AT_LEAST`] is always allowed,
//! so that nothing waits for ever.

use std::time::Duration;

use tokio::time::Instant;

/// Most that is saved up in quiet times, and most that is owed: as wall-clock time of the share.
const SPAN: Duration = Duration::from_millis(20);
/// Somebody may start this often whatever the account says.
const AT_LEAST: Duration = Duration::from_millis(20);

/// The account.
#[derive(Debug)]
pub(crate) struct CpuShare {
    /// CPUs.
    share: f64,
    /// CPU seconds.
    account: f64,
    used_before: Duration,
    looked: Instant,
    started: Instant,
}

impl CpuShare {
    /// `percent` of `cpus`; `None` where that is all of them: nothing is to be paced.
    pub(crate) fn new(percent: u32, cpus: f64, used: Duration, now: Instant) -> Option<Self> {
        let share = cpus * f64::from(percent.clamp(1, 100)) / 100.0;
        (percent < 100).then_some(Self { share, account: 0.0, used_before: used, looked: now, started: now })
    }

    /// How long the next start has to wait; zero: it starts. `used` is the CPU time used so far.
    pub(crate) fn wait(&mut self, used: Duration, now: Instant) -> Duration {
        let limit = SPAN.as_secs_f64() * self.share;
        let grown = now.saturating_duration_since(self.looked).as_secs_f64() * self.share;
        let spent = used.saturating_sub(self.used_before).as_secs_f64();
        self.account = (self.account + grown - spent).clamp(-limit, limit);
        (self.used_before, self.looked) = (used, now);
        let due = self.started + AT_LEAST;
        if self.account >= 0.0 || now >= due {
            self.started = now;
            return Duration::ZERO;
        }
        let until_even = Duration::from_secs_f64(-self.account / self.share);
        until_even.min(due.saturating_duration_since(now)).max(Duration::from_micros(200))
    }
}

/// CPU time of this process: the engine with its store and queue, which for short functions is most of
/// what a call costs.
pub(crate) fn used_cpu() -> Duration {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(used.tv_sec.try_into().unwrap_or(0), used.tv_nsec.try_into().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[tokio::test(start_paused = true)]
    async fn starts_wait_while_more_than_the_share_is_used() {
        let mut share = CpuShare::new(50, 2.0, Duration::ZERO, Instant::now()).unwrap();
        let mut used = Duration::ZERO;
        let mut starts = 0;
        // Each start uses 5 ms of CPU, at once; one CPU of two may be used.
        for _ in 0..1000 {
            while share.wait(used, Instant::now()).is_zero() {
                used += 5 * MS;
                starts += 1;
            }
            tokio::time::advance(MS).await;
        }
        assert!((190..=210).contains(&starts), "{starts} starts in a second of one CPU");
    }

    #[tokio::test(start_paused = true)]
    async fn some_start_even_when_others_use_everything() {
        let mut share = CpuShare::new(50, 2.0, Duration::ZERO, Instant::now()).unwrap();
        let mut used = Duration::ZERO;
        let mut starts = 0;
        for _ in 0..1000 {
            starts += u32::from(share.wait(used, Instant::now()).is_zero());
            used += 2 * MS;
            tokio::time::advance(MS).await;
        }
        assert!((45..=55).contains(&starts), "{starts}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_saved_up_is_bounded() {
        let mut share = CpuShare::new(50, 2.0, Duration::ZERO, Instant::now()).unwrap();
        tokio::time::advance(Duration::from_hours(1)).await;
        assert_eq!(share.wait(Duration::ZERO, Instant::now()), Duration::ZERO);
        assert!(share.wait(SPAN + MS, Instant::now()) > Duration::ZERO);
    }

    #[test]
    fn the_whole_machine_is_not_paced() {
        assert!(CpuShare::new(100, 2.0, Duration::ZERO, Instant::now()).is_none());
    }
}
