//! What goes wrong from outside: sandboxes and the spawner are killed.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use picasso_suites::cloud::Cloud;
use picasso_suites::host;
use rustix::process::{Pid, Signal, kill_process};

use crate::chance::Chance;

/// What was done.
#[derive(Debug, Default)]
pub struct Done {
    /// Processes of sandboxes, ready slots included, that got SIGKILL.
    pub killed_sandboxes: u64,
    /// Spawners that got SIGKILL.
    pub killed_spawners: u64,
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} sandboxes and {} spawners killed", self.killed_sandboxes, self.killed_spawners)
    }
}

/// Kills a process of some sandbox about every second, and the spawner about every fifteenth,
/// until the time is over.
pub async fn until(cloud: Arc<Cloud>, end: Instant, mut chance: Chance) -> Done {
    let mut done = Done::default();
    while Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(500 + chance.below(1000))).await;
        let Some(spawner) = cloud.picasso.spawner_pid() else { continue };
        if chance.percent(7) || (done.killed_spawners == 0 && Instant::now() + Duration::from_secs(20) > end)
        {
            cloud.picasso.kill_spawner();
            done.killed_spawners += 1;
            continue;
        }
        let sandboxes: Vec<u32> = host::descendants(spawner).into_iter().collect();
        if sandboxes.is_empty() {
            continue;
        }
        let pid = i32::try_from(*chance.one_of(&sandboxes)).ok().and_then(Pid::from_raw);
        if pid.is_some_and(|pid| kill_process(pid, Signal::KILL).is_ok()) {
            done.killed_sandboxes += 1;
        }
    }
    done
}
