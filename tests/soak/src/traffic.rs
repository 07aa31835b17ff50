//! Callers, and what became of their calls.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use picasso_suites::cloud::Cloud;
use reqwest::StatusCode;

use crate::Fault;
use crate::chance::Chance;
use crate::disturb::Done;
use crate::functions::{Expected, Function, Functions, WISHES};

/// Longer than any limit on the way: what takes longer has no answer.
const PATIENCE: Duration = Duration::from_mins(1);

/// Calls by function and by how they ended.
#[derive(Debug, Default)]
pub struct Tally(BTreeMap<(&'static str, String), u64>);

impl Tally {
    /// Adds another's calls.
    pub fn add(&mut self, other: Self) {
        for (key, count) in other.0 {
            *self.0.entry(key).or_default() += count;
        }
    }

    fn count(&mut self, path: &'static str, end: impl Into<String>) {
        *self.0.entry((path, end.into())).or_default() += 1;
    }

    fn of(&self, path: &str, end: &str) -> u64 {
        self.0.iter().filter(|((p, e), _)| *p == path && e == end).map(|(_, count)| count).sum()
    }

    /// Whether enough happened for the soak to mean something.
    pub fn check(&self, done: &Done) -> Result<(), Fault> {
        if done.killed_sandboxes == 0 || done.killed_spawners == 0 {
            return Err("nothing was disturbed: the time was too short".into());
        }
        self.check_that_it_works()?;
        for path in ["/default", "/json", "/http"] {
            for end in ["502", "504"] {
                if self.of(path, end) == 0 {
                    return Err(format!("no call of {path} ended with {end}: the time was too short").into());
                }
            }
        }
        Ok(())
    }

    /// Every function gave good answers.
    pub fn check_that_it_works(&self) -> Result<(), Fault> {
        for path in ["/default", "/json", "/http", "/stream", "/lambda", "/index.html"] {
            if self.of(path, "answered") == 0 {
                return Err(format!("{path} never answered").into());
            }
        }
        Ok(())
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ((path, end), count) in &self.0 {
            write!(f, "\n    {path:12} {end:12} {count}")?;
        }
        Ok(())
    }
}

/// Calls one function after the other until the time is over.
pub async fn caller(
    cloud: Arc<Cloud>,
    functions: Arc<Functions>,
    until: Instant,
    mut chance: Chance,
) -> Result<Tally, Fault> {
    let mut tally = Tally::default();
    while Instant::now() < until {
        let function = chance.one_of(&functions.all);
        let wish = chance.one_of(&WISHES);
        let body = function.body.map_or_else(|| format!("{wish}-{:016x}", chance.next()), str::to_owned);
        let url = cloud.function_url(&functions.app, function.path);
        let request =
            if function.get { cloud.http.get(url) } else { cloud.http.post(url).body(body.clone()) };
        let request = request.timeout(PATIENCE).send();
        if chance.percent(5) {
            // Hangs up, somewhere on the way.
            let _ = tokio::time::timeout(Duration::from_millis(chance.below(200)), request).await;
            tally.count(function.path, "hung up");
            continue;
        }
        let answer =
            request.await.map_err(|error| format!("{}: {body}: no answer: {error:?}", function.path))?;
        let status = answer.status();
        let kind = answer.headers().get("picasso-error-kind").is_some();
        let Ok(text) = answer.text().await else {
            // Its sandbox was killed between head and end: the caller sees that it is not whole.
            tally.count(function.path, "broken off");
            continue;
        };
        tally.count(function.path, end_of(function, &body, status, kind, &text)?);
    }
    Ok(tally)
}

/// What to call this end; an error where it is none that may be.
fn end_of(
    function: &Function,
    sent: &str,
    status: StatusCode,
    kind: bool,
    text: &str,
) -> Result<String, Fault> {
    let said = || format!("{}: sent {sent:?}, got {status}: {text:?}", function.path);
    if status.is_success() {
        let good = match function.expected {
            Expected::Echo => text == sent,
            Expected::Text(part) => text.contains(part),
        };
        // The script of format `default` knows no garbage: it echoes the word.
        return if good { Ok("answered".to_owned()) } else { Err(said().into()) };
    }
    // 500 with its own kind is what a call says whose spawner was killed under it.
    let clear = [
        StatusCode::INTERNAL_SERVER_ERROR,
        StatusCode::BAD_GATEWAY,
        StatusCode::SERVICE_UNAVAILABLE,
        StatusCode::GATEWAY_TIMEOUT,
    ];
    if clear.contains(&status) && kind && !text.is_empty() {
        Ok(status.as_u16().to_string())
    } else {
        Err(said().into())
    }
}
