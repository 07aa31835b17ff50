//! Whether a Redis server keeps what it acknowledges.

use std::collections::HashMap;

use ::redis::RedisResult;
use ::redis::aio::ConnectionManager;

use crate::QueueError;

const CONTEXT: &str = "looking at the persistence of Redis";

/// An error where the server forgets by design, a warning where it may lose the last second or
/// does not tell.
pub(super) async fn check(connection: &mut ConnectionManager) -> Result<(), QueueError> {
    let mut settings = HashMap::new();
    for name in ["appendonly", "appendfsync", "maxmemory-policy"] {
        let answer: RedisResult<HashMap<String, String>> =
            ::redis::cmd("CONFIG").arg("GET").arg(name).query_async(connection).await;
        match answer {
            Ok(answer) => settings.extend(answer),
            Err(error) if error.is_io_error() || error.is_timeout() => {
                return Err(QueueError::broker(CONTEXT, error));
            }
            Err(_) => {
                tracing::warn!(
                    "Redis does not tell its persistence (CONFIG GET is refused): see to it that it has \
                     appendonly yes, appendfsync always and a maxmemory-policy that evicts nothing of ours"
                );
                return Ok(());
            }
        }
    }
    match verdict(&settings) {
        Verdict::Keeps => Ok(()),
        Verdict::MayLose(why) => {
            tracing::warn!("Redis {why}");
            Ok(())
        }
        Verdict::Forgets(why) => Err(QueueError::broker(CONTEXT, why)),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Keeps,
    MayLose(&'static str),
    Forgets(&'static str),
}

fn verdict(settings: &HashMap<String, String>) -> Verdict {
    let setting = |name| settings.get(name).map(String::as_str);
    if setting("appendonly") != Some("yes") {
        return Verdict::Forgets(
            "it forgets everything when it restarts: set appendonly yes and appendfsync always",
        );
    }
    if setting("maxmemory-policy").is_some_and(|policy| policy.starts_with("allkeys")) {
        return Verdict::Forgets(
            "it throws queues away when memory is short: set maxmemory-policy noeviction",
        );
    }
    match setting("appendfsync") {
        Some("always") => Verdict::Keeps,
        Some("everysec") => Verdict::MayLose(
            "may lose the last second of dispatched calls in a crash (appendfsync everysec); they run when they \
             are missed, a minute later: set appendfsync always",
        ),
        _ => Verdict::MayLose(
            "may lose many seconds of dispatched calls in a crash (appendfsync no); they run when they are \
             missed, a minute later: set appendfsync always",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_of_losing_writes_is_told_apart() {
        let verdict = |append: &str, sync: &str, policy: &str| {
            let settings = [("appendonly", append), ("appendfsync", sync), ("maxmemory-policy", policy)];
            verdict(&settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into())
        };
        assert_eq!(verdict("yes", "always", "noeviction"), Verdict::Keeps);
        assert!(matches!(verdict("yes", "everysec", "volatile-lru"), Verdict::MayLose(_)));
        assert!(matches!(verdict("yes", "no", "noeviction"), Verdict::MayLose(_)));
        assert!(matches!(verdict("no", "always", "noeviction"), Verdict::Forgets(_)));
        assert!(matches!(verdict("yes", "always", "allkeys-lru"), Verdict::Forgets(_)));
    }
}
