//! Living beside Docker's own firewall.
//!
//! Docker sets the policy of iptables' `FORWARD` chain to `DROP`, which would also drop what our
//! filter lets through. Where it is so, two rules in the chain Docker keeps for administrators
//! (`DOCKER-USER`) let our bridge's packets pass; our own filter still judges them.

use super::commands::{find, run};
use crate::SandboxError;

const LOCK: [&str; 2] = ["-w", "5"];

fn comment(instance: &str) -> String {
    format!("picasso-{instance}")
}

/// Lets the bridge's packets through, where another firewall's policy would drop them.
pub(super) fn admit(instance: &str, bridge: &str) -> Result<(), SandboxError> {
    if find("iptables").is_none() {
        return Ok(());
    }
    let rules = iptables(&["-S"])?;
    if !rules.lines().any(|line| line == "-P FORWARD DROP") {
        return Ok(());
    }
    let chain = if rules.lines().any(|line| line == "-N DOCKER-USER") { "DOCKER-USER" } else { "FORWARD" };
    let comment = comment(instance);
    let mark = ["-m", "comment", "--comment", &comment, "-j", "ACCEPT"];
    let out = [&["-I", chain, "-i", bridge][..], &mark].concat();
    let back = ["-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED"];
    let back = [&["-I", chain, "-o", bridge][..], &back, &mark].concat();
    iptables(&out)?;
    iptables(&back).map(|_| ())
}

/// Takes the rules of [`admit`] away.
pub(super) fn withdraw(instance: &str) -> Result<(), SandboxError> {
    if find("iptables").is_none() {
        return Ok(());
    }
    let comment = comment(instance);
    for line in iptables(&["-S"])?.lines() {
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
