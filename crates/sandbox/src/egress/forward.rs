//! Living beside another firewall.
//!
//! Docker, and many an administrator, sets the policy of iptables' `FORWARD` chain to `DROP`,
//! which would also drop what our filter lets through. Two rules at the chain's end let our
//! bridge's packets pass there; rules before them, the administrator's, keep their say, and our
//! own filter judges the packets all the same. They are there whatever the policy is now, because
//! Docker may be started later.

use super::commands::{find, run};
use crate::SandboxError;

const LOCK: [&str; 2] = ["-w", "5"];

fn comment(instance: &str) -> String {
    format!("picasso-{instance}")
}

/// Lets the bridge's packets through where another firewall's policy would drop them.
pub(super) fn admit(instance: &str, bridge: &str) -> Result<(), SandboxError> {
    if find("iptables").is_none() {
        return Ok(());
    }
    let comment = comment(instance);
    let mark = ["-m", "comment", "--comment", &comment, "-j", "ACCEPT"];
    let answers = ["-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED"];
    iptables(&[&["-A", "FORWARD", "-i", bridge][..], &mark].concat())?;
    iptables(&[&["-A", "FORWARD", "-o", bridge][..], &answers, &mark].concat()).map(|_| ())
}

/// Takes the rules of [`admit`] away.
pub(super) fn withdraw(instance: &str) -> Result<(), SandboxError> {
    if find("iptables").is_none() {
        return Ok(());
    }
    let comment = comment(instance);
    for rule in rules(&comment)? {
        let words: Vec<&str> = rule.split(' ').collect();
        if let Err(error) = iptables(&[&["-D"][..], &words].concat())
            // A worker that is just ending may have been quicker.
            && rules(&comment)?.contains(&rule)
        {
            return Err(error);
        }
    }
    Ok(())
}

/// The rules of the `FORWARD` chain with a comment, as `-A` takes them.
fn rules(comment: &str) -> Result<Vec<String>, SandboxError> {
    let all = iptables(&["-S", "FORWARD"])?;
    let rules = all.lines().filter_map(|line| line.strip_prefix("-A "));
    let rules = rules.map(|rule| rule.replace('"', ""));
    Ok(rules.filter(|rule| rule.split(' ').any(|word| word == comment)).collect())
}

fn iptables(arguments: &[&str]) -> Result<String, SandboxError> {
    run("iptables", &[&LOCK[..], arguments].concat(), "")
}
