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
    for line in iptables(&["-S", "FORWARD"])?.lines() {
        let mut words: Vec<&str> = line.split_whitespace().map(|word| word.trim_matches('"')).collect();
        if words.first() == Some(&"-A") && words.contains(&comment.as_str()) {
            words[0] = "-D";
            iptables(&words)?;
        }
    }
    Ok(())
}

fn iptables(arguments: &[&str]) -> Result<String, SandboxError> {
    run("iptables", &[&LOCK[..], arguments].concat(), "")
}
