//! What became of the calls of a round.

use std::collections::HashSet;
use std::time::Duration;

use picasso_suites::runs::runs;
use picasso_testkit::process::wait_until;
use reqwest::Method;

use crate::Trouble;
use crate::fault::Fault;
use crate::load::Accepted;
use crate::world::World;

/// How long the last call may take to end: lost ones are looked for after a minute.
const DEADLINE: Duration = Duration::from_mins(10);

/// Counts of a round.
#[derive(Debug)]
pub struct Verdict {
    accepted: usize,
    refused: usize,
    unanswered: usize,
    /// Accepted, and not ended well.
    lost: Vec<String>,
    /// Calls whose function ran to an end more than once.
    repeated: usize,
}

impl Verdict {
    /// The head of the table of [`Verdict::line`].
    pub const TITLE: &str =
        "queue     fault             accepted  refused  unanswered  lost  run twice  seconds";

    /// Waits until nothing is queued or runs, and counts. `log_before`: where the round begins in
    /// the server's log.
    pub async fn of(world: &World, accepted: &Accepted, log_before: usize) -> Result<Self, Trouble> {
        let at_rest = || async {
            list(world, "status=queued&limit=1").await.is_ok_and(|calls| calls.is_empty())
                && list(world, "status=running&limit=1").await.is_ok_and(|calls| calls.is_empty())
        };
        wait_until(DEADLINE, "the end of all calls", at_rest).await?;
        let succeeded = succeeded(world).await?;
        let lost = accepted.ids.iter().filter(|id| !succeeded.contains(*id)).cloned().collect();
        let log = world.cloud.picasso.log();
        let runs = runs(log.get(log_before..).unwrap_or_default());
        Ok(Self {
            accepted: accepted.ids.len(),
            refused: accepted.refused,
            unanswered: accepted.unanswered,
            lost,
            repeated: runs.values().filter(|runs| **runs > 1).count(),
        })
    }

    /// Whether nothing was lost, and no more ran twice than may have.
    pub fn is_good(&self, fault: Fault) -> bool {
        self.lost.is_empty() && fault.repeats().is_none_or(|most| self.repeated <= most)
    }

    /// A line of the table.
    pub fn line(&self, queue: &str, fault: Fault, took: Duration) -> String {
        let lost: Vec<&str> = self.lost.iter().take(5).map(String::as_str).collect();
        let lost =
            if lost.is_empty() { String::new() } else { format!("\n          lost: {}", lost.join(", ")) };
        format!(
            "{queue:9} {fault:17} {:8} {:8} {:11} {:5} {:10} {:8.1}{lost}",
            self.accepted,
            self.refused,
            self.unanswered,
            self.lost.len(),
            self.repeated,
            took.as_secs_f64()
        )
    }
}

/// Ids of all calls that succeeded.
async fn succeeded(world: &World) -> Result<HashSet<String>, Trouble> {
    let mut ids = HashSet::new();
    let mut marker = String::new();
    loop {
        let page = list(world, &format!("status=succeeded&limit=1000{marker}")).await?;
        let Some(last) = page.last() else { return Ok(ids) };
        marker = format!("&marker={last}");
        ids.extend(page);
    }
}

async fn list(world: &World, query: &str) -> Result<Vec<String>, Trouble> {
    let path = format!("/v1/{}/calls?{query}", world.project);
    let answer = world.cloud.api(Method::GET, &path, Some(&world.token), None).await;
    let answer = answer.json();
    let calls = answer["calls"].as_array().ok_or_else(|| format!("no list of calls: {answer}"))?;
    Ok(calls.iter().filter_map(|call| call["id"].as_str().map(str::to_owned)).collect())
}
