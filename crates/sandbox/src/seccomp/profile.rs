//! The system call table as the profile that OCI runtimes and Docker take (OCI runtime
//! specification, config-linux.md, "Seccomp").
//!
//! Its rules (libseccomp's) can only say "allowed if these arguments are equal under a mask",
//! and rules of one call must not overlap. So a rule that allows all but some values is written
//! as the prefixes that cover every other value, and what no rule allows answers `ENOSYS`.

use serde_json::{Value, json};

use crate::seccomp::rules::{Answer, Case, Rule, Test, Verdict};
use crate::seccomp::table;

/// The profile: `linux.seccomp` of a bundle, and with Docker a `SecurityOpt`.
pub(crate) fn profile() -> Value {
    let mut allowed = Vec::new();
    let mut refused = Vec::new();
    let mut absent = Vec::new();
    let mut conditional = Vec::new();
    for row in table::rows() {
        match row.verdict {
            Verdict::Allow => allowed.push(row.name),
            Verdict::Refuse => refused.push(row.name),
            Verdict::Absent => absent.push(row.name),
            Verdict::When(rule) => conditional.extend(entries(row.name, rule)),
        }
    }
    let mut syscalls = vec![
        json!({"names": allowed, "action": "SCMP_ACT_ALLOW"}),
        json!({"names": refused, "action": "SCMP_ACT_ERRNO", "errnoRet": libc::EPERM}),
        json!({"names": absent, "action": "SCMP_ACT_ERRNO", "errnoRet": libc::ENOSYS}),
    ];
    syscalls.extend(conditional);
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": libc::ENOSYS,
        "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": syscalls,
    })
}

/// One argument equal to a value under a mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Equal {
    argument: u8,
    mask: u32,
    value: u32,
}

fn entries(name: &str, rule: &Rule) -> Vec<Value> {
    let conditions = match rule.otherwise {
        Answer::Errno(_) => rule.cases.iter().flat_map(products).collect(),
        Answer::Allow => all_but(rule),
    };
    conditions
        .into_iter()
        .map(|condition: Vec<Equal>| {
            let arguments: Vec<Value> = condition
                .iter()
                .map(|equal| {
                    json!({
                        "index": equal.argument,
                        "value": equal.mask,
                        "valueTwo": equal.value,
                        "op": "SCMP_CMP_MASKED_EQ",
                    })
                })
                .collect();
            json!({"names": [name], "action": "SCMP_ACT_ALLOW", "args": arguments})
        })
        .collect()
}

/// Every choice of one value for each test of a case that allows; none of one that refuses.
fn products(case: &Case) -> Vec<Vec<Equal>> {
    if case.answer != Answer::Allow {
        return Vec::new();
    }
    case.tests.iter().fold(vec![Vec::new()], |choices, test| {
        let extended = |choice: &Vec<Equal>| {
            let choice = choice.clone();
            test.values.iter().map(move |value| {
                let equal = Equal { argument: test.argument, mask: test.mask, value: *value };
                [choice.clone(), vec![equal]].concat()
            })
        };
        choices.iter().flat_map(extended).collect()
    })
}

/// A rule that allows what none of its cases names; all of them look at one whole argument.
fn all_but(rule: &Rule) -> Vec<Vec<Equal>> {
    let tests: Vec<&Test> = rule.cases.iter().flat_map(|case| case.tests).collect();
    let Some(argument) = tests.first().map(|test| test.argument) else { return Vec::new() };
    let refused: Vec<u32> = tests.iter().flat_map(|test| test.values).copied().collect();
    let mut prefixes = Vec::new();
    cover(&refused, 0, 0, &mut prefixes);
    prefixes.into_iter().map(|(mask, value)| vec![Equal { argument, mask, value }]).collect()
}

/// The largest prefixes below `prefix` (of `length` bits) that hold none of `refused`.
fn cover(refused: &[u32], prefix: u32, length: u32, prefixes: &mut Vec<(u32, u32)>) {
    let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
    if !refused.iter().any(|value| value & mask == prefix) {
        prefixes.push((mask, prefix));
    } else if length < 32 {
        cover(refused, prefix, length + 1, prefixes);
        cover(refused, prefix | 1 << (31 - length), length + 1, prefixes);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::profile;

    fn judged(profile: &Value, name: &str, arguments: [u64; 3]) -> bool {
        profile["syscalls"].as_array().unwrap().iter().any(|entry| {
            entry["names"].as_array().unwrap().iter().any(|listed| listed == name)
                && entry["action"] == "SCMP_ACT_ALLOW"
                && entry["args"].as_array().is_none_or(|tests| {
                    tests.iter().all(|test| {
                        let argument = arguments[usize::try_from(test["index"].as_u64().unwrap()).unwrap()];
                        argument & test["value"].as_u64().unwrap() == test["valueTwo"].as_u64().unwrap()
                    })
                })
        })
    }

    #[test]
    fn the_profile_allows_and_refuses_what_the_table_does() {
        let profile = profile();
        for (name, arguments, allowed) in [
            ("read", [0, 0, 0], true),
            ("mount", [0, 0, 0], false),
            ("clone3", [0, 0, 0], false),
            ("clone", [0x003d_0f00, 0, 0], true),
            ("clone", [0x1000_0011, 0, 0], false),
            ("ioctl", [0, 0x5412, 0], false),
            ("ioctl", [0, 0x1_0000_5412, 0], false),
            ("ioctl", [0, 0x541d, 0], false),
            ("ioctl", [0, 0x5413, 0], true),
            ("ioctl", [0, 0xffff_ffff, 0], true),
            ("prctl", [1, 0, 0], false),
            ("prctl", [0, 0, 0], true),
            ("prctl", [38, 0, 0], true),
            ("socket", [1, 1, 0], true),
            ("socket", [2, 0x8_0001, 6], true),
            ("socket", [10, 2, 17], true),
            ("socket", [10, 2, 6], false),
            ("socket", [2, 3, 1], false),
            ("socket", [16, 3, 0], true),
            ("socket", [16, 3, 9], false),
            ("socket", [38, 5, 0], false),
            ("socketpair", [2, 1, 0], false),
            ("personality", [0x0040_0000, 0, 0], false),
        ] {
            assert_eq!(judged(&profile, name, arguments), allowed, "{name} {arguments:x?}");
        }
    }
}
