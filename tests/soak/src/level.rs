//! What a server holds on its host when no call runs, and waiting until it holds no more than it
//! did before.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use picasso_suites::cloud::Cloud;
use picasso_suites::host;
use picasso_testkit::process::wait_until;

use crate::Fault;

/// How long the server may take to come to rest.
const REST: Duration = Duration::from_mins(2);
/// What memory may have grown by: allocators keep some of what was used at the peak.
const MEMORY_SLACK_KIB: u64 = 24 * 1024;
/// Connections that callers keep open, and the like.
const FD_SLACK: usize = 24;

/// Counts of one moment.
#[derive(Debug, Clone, Default)]
pub struct Level {
    hot_sandboxes: u64,
    running: u64,
    fds: usize,
    /// Anonymous memory, each process's share: what of the program's file is in memory depends on
    /// who else runs it.
    pss_kib: u64,
    processes: usize,
    zombies: usize,
    cgroups: usize,
    mounts: usize,
    namespaces: usize,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} hot sandboxes, {} running calls, {} fds, {} KiB anonymous PSS, {} processes, {} zombies, {} cgroups, \
             {} mounts, {} namespaces",
            self.hot_sandboxes,
            self.running,
            self.fds,
            self.pss_kib,
            self.processes,
            self.zombies,
            self.cgroups,
            self.mounts,
            self.namespaces
        )
    }
}

impl Level {
    /// Waits until no sandbox of a function is left, and counts.
    pub async fn settled(cloud: &Cloud) -> Result<Self, Fault> {
        // Two counts alike: slots are made ready in the background.
        let mut last = Self::now(cloud).await;
        let mut alike = 0;
        for _ in 0..600 {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let now = Self::now(cloud).await;
            let same = now.hot_sandboxes == 0 && now.counts() == last.counts();
            alike = if same { alike + 1 } else { 0 };
            last = now;
            if alike >= 5 {
                return Ok(last);
            }
        }
        Err(format!("the server did not come to rest: {last}").into())
    }

    /// Waits until nothing is more than it was; what it is then.
    pub async fn back_to(cloud: &Cloud, before: &Self) -> Result<Self, Fault> {
        let back = || async { Self::now(cloud).await.at_most(before) };
        let waited = wait_until(REST, "the starting level", back).await;
        let now = Self::now(cloud).await;
        waited.map_err(|error| format!("{error}\nbefore: {before}\nnow:    {now}").into()).map(|()| now)
    }

    fn counts(&self) -> [usize; 5] {
        [self.processes, self.zombies, self.cgroups, self.mounts, self.namespaces]
    }

    fn at_most(&self, before: &Self) -> bool {
        self.hot_sandboxes <= before.hot_sandboxes
            && self.running <= before.running
            && self.fds <= before.fds + FD_SLACK
            && self.pss_kib <= before.pss_kib + MEMORY_SLACK_KIB
            && self.counts().iter().zip(before.counts()).all(|(now, before)| *now <= before)
    }

    async fn now(cloud: &Cloud) -> Self {
        let supervisor = cloud.picasso.pid();
        let mut family = host::descendants(supervisor);
        family.insert(supervisor);
        // What the spawner has below it are sandboxes and ready slots: counted, but not weighed.
        let below_spawner = cloud.picasso.spawner_pid().map(host::descendants).unwrap_or_default();
        let servers: Vec<u32> = family.difference(&below_spawner).copied().collect();
        let hot_sandboxes = cloud.hot_sandboxes().await;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small count")]
        let running = cloud.metric("picasso_calls_in_flight").await as u64;
        Self {
            hot_sandboxes,
            running,
            fds: servers.iter().map(|pid| entries(&format!("/proc/{pid}/fd"))).sum(),
            pss_kib: servers.iter().map(|pid| field(*pid, "smaps_rollup", "Pss_Anon:")).sum(),
            processes: family.len(),
            zombies: family.iter().filter(|pid| is_zombie(**pid)).count(),
            cgroups: host::cgroups_of(&cloud.picasso.instance()).len(),
            mounts: servers.iter().map(|pid| mounts(*pid, &cloud.picasso.data_dir())).sum(),
            namespaces: namespaces(&family),
        }
    }
}

fn entries(folder: &str) -> usize {
    std::fs::read_dir(folder).map_or(0, Iterator::count)
}

/// What a process sees mounted at or below a folder; the rest of the host is not ours.
fn mounts(pid: u32, folder: &Path) -> usize {
    let table = std::fs::read_to_string(format!("/proc/{pid}/mounts")).unwrap_or_default();
    let points = table.lines().filter_map(|line| line.split(' ').nth(1));
    points.filter(|point| Path::new(point).starts_with(folder)).count()
}

fn field(pid: u32, file: &str, name: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    value.and_then(|value| value.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

fn is_zombie(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z'))
}

/// Different namespaces that these processes are in or hold open.
fn namespaces(family: &BTreeSet<u32>) -> usize {
    let mut found = BTreeSet::new();
    for pid in family {
        for folder in ["ns", "fd"] {
            let Ok(links) = std::fs::read_dir(format!("/proc/{pid}/{folder}")) else { continue };
            let targets = links.flatten().filter_map(|link| std::fs::read_link(link.path()).ok());
            let names = targets.map(|target| target.display().to_string());
            found
                .extend(names.filter(|name| {
                    name.contains(":[") && !name.contains("socket") && !name.contains("pipe")
                }));
        }
    }
    found.len()
}
