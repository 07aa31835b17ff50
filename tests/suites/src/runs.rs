//! How often functions ran, by what a server logged: a line for each run that came to its end.

use std::collections::HashMap;

/// The runs that ended, by the ids of their calls.
pub fn runs(log: &str) -> HashMap<String, usize> {
    let mut runs = HashMap::new();
    for line in log.lines().filter(|line| line.contains("call ended")) {
        let id = line.split_once("call_id").map(|(_, rest)| rest.trim_start_matches(['=', '"', ':', ' ']));
        if let Some(id) = id.and_then(|id| id.get(..36)) {
            *runs.entry(id.to_owned()).or_default() += 1;
        }
    }
    runs
}
