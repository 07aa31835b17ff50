//! The real oslo.policy and ours decide alike: thousands of cases, made from each production of the
//! language in the deciding place.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use picasso_identity::policy::{Halt, Question, RuleSet, evaluate, parse};
use picasso_testkit::keystone::{Keystone, python};
use picasso_testkit::process::require;
use serde_json::{Map, Value, json};

/// Cases of each production.
const EACH: usize = 150;
/// How often at least a production that can go both ways goes either.
const EITHER_WAY: usize = 10;

/// Rules that cases refer to, with a default for names that are not there, and without one.
const RULES: &[(&str, &str)] = &[
    ("owner", "project_id:%(project_id)s"),
    ("admin", "role:admin"),
    ("admin_or_owner", "rule:admin or rule:owner"),
    ("missing_value", "http://policy.example.org/%(nothing)s"),
    ("circle", "rule:round"),
    ("round", "not rule:circle"),
    ("default", "role:fallback"),
];

/// What can be seen of a production's verdicts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Goes {
    Yes,
    No,
    EitherWay,
    Raises,
}

/// The productions of the language: name, what comes out of them, how one is made.
type Production = (&'static str, Goes, fn(&mut Dice) -> Value);

const PRODUCTIONS: &[Production] = &[
    ("the empty rule", Goes::Yes, |_| json!("")),
    ("@", Goes::Yes, |_| json!("@")),
    ("!", Goes::No, |_| json!("!")),
    ("role", Goes::EitherWay, |dice| json!(role(dice))),
    ("role with a value of the target", Goes::EitherWay, |dice| {
        dice.one(&["role:%(role)s", "role:%(prefix)s_%(role)s", "role:a%(prefix)sn"]).into()
    }),
    ("rule", Goes::EitherWay, |dice| dice.one(&["rule:owner", "rule:admin", "rule:admin_or_owner"]).into()),
    ("rule that there is not", Goes::EitherWay, |dice| dice.one(&["rule:none", "rule:", "rule:a:b"]).into()),
    ("rule that lacks a value", Goes::No, |_| json!("rule:missing_value")),
    ("attribute and value of the target", Goes::EitherWay, |dice| {
        dice.one(&["project_id:%(project_id)s", "user_id:%(user_id)s", "is_admin:%(enabled)s"]).into()
    }),
    ("attribute and text", Goes::EitherWay, |dice| {
        dice.one(&["project_id:p1", "user_id:u2", "is_admin:True", "level:3", "ratio:1.5", "nothing:None"])
            .into()
    }),
    ("attribute within an attribute", Goes::EitherWay, |dice| {
        dice.one(&["user.domain.id:d1", "user.domain.id:%(domain)s", "user.domain.none:x", "none.id:x"])
            .into()
    }),
    ("attribute in a list", Goes::EitherWay, |dice| {
        dice.one(&["user.groups.id:g1", "user.groups.id:%(group)s", "tags:blue", "user.groups:g1"]).into()
    }),
    ("attribute whose value is a list or a map", Goes::EitherWay, |dice| {
        dice.one(&["user.domain:{'id':", "pair:%(pair)s", "tags:['blue']", "deep:%(deep)s"]).into()
    }),
    ("literal in quotes", Goes::EitherWay, |dice| {
        dice.one(&["'p1':%(project_id)s", "\"Admin\":%(role)s", "'':%(empty)s", "'x y':z"]).into()
    }),
    ("literal without quotes", Goes::EitherWay, |dice| {
        dice.one(&[
            "True:%(enabled)s",
            "False:%(enabled)s",
            "None:%(null)s",
            "3:%(number)s",
            "-1:-1",
            "1.50:1.5",
        ])
        .into()
    }),
    ("percent sign", Goes::EitherWay, |dice| dice.one(&["share:100%%", "share:50%%", "'%':%%"]).into()),
    ("http", Goes::EitherWay, |dice| {
        dice.one(&["http://policy.example.org/%(verdict)s", "http://policy.example.org/%(project_id)s/yes"])
            .into()
    }),
    ("https", Goes::EitherWay, |dice| {
        dice.one(&["https://policy.example.org/%(verdict)s", "https://policy.example.org/no"]).into()
    }),
    ("not", Goes::EitherWay, |dice| format!("{} {}", word(dice, "not"), leaf(dice)).into()),
    ("and", Goes::EitherWay, |dice| {
        let parts: Vec<_> = (0..2 + dice.below(2)).map(|_| negated(dice)).collect();
        parts.join(&format!(" {} ", word(dice, "and"))).into()
    }),
    ("or", Goes::EitherWay, |dice| {
        let parts: Vec<_> = (0..2 + dice.below(2)).map(|_| negated(dice)).collect();
        parts.join(&format!(" {} ", word(dice, "or"))).into()
    }),
    ("and within or, or within and", Goes::EitherWay, |dice| {
        let mut text = negated(dice);
        for _ in 0..2 + dice.below(4) {
            let joint = if dice.below(2) == 0 { "and" } else { "or" };
            text = format!("{text} {} {}", word(dice, joint), negated(dice));
        }
        text.into()
    }),
    ("parentheses", Goes::EitherWay, |dice| format!("({})", expression(dice, 3)).into()),
    ("list of texts", Goes::EitherWay, |dice| {
        (0..=dice.below(3)).map(|_| Value::from(leaf(dice))).collect::<Vec<_>>().into()
    }),
    ("list of lists", Goes::EitherWay, |dice| {
        let inner = |dice: &mut Dice| -> Value {
            (0..dice.below(4)).map(|_| Value::from(leaf(dice))).collect::<Vec<_>>().into()
        };
        (0..=dice.below(3)).map(|_| inner(dice)).collect::<Vec<_>>().into()
    }),
    ("the empty list", Goes::Yes, |_| json!([])),
    ("lists of nothing", Goes::No, |dice| if dice.below(2) == 0 { json!([[]]) } else { json!([[], []]) }),
    ("what is no rule", Goes::No, |dice| {
        dice.one(&[
            "and",
            "not",
            "role:a role:b",
            "(role:a",
            "role:a)",
            "nocolon",
            "'role:admin'",
            "()",
            "@ or",
            " ",
        ])
        .into()
    }),
    ("what cannot be evaluated", Goes::Raises, |dice| {
        dice.one(&[
            "rule:circle",
            "role:%(role",
            "1a:b",
            "http://policy.example.org/%(nothing)s",
            "project_id.id:x",
            "not rule:round",
            "a..b:%(nothing",
            "(user_id.x:y)",
        ])
        .into()
    }),
];

/// Numbers that are the same in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % u64::try_from(end).unwrap()).unwrap()
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }
}

fn role(dice: &mut Dice) -> String {
    format!("role:{}", dice.one(&["admin", "ADMIN", "member", "reader", "Ärzte", "x:y", "none"]))
}

fn word(dice: &mut Dice, word: &str) -> String {
    match dice.below(3) {
        0 => word.to_uppercase(),
        _ => word.to_owned(),
    }
}

/// A check without `and`, `or`, `not`; one of those that have a verdict.
fn leaf(dice: &mut Dice) -> String {
    loop {
        let (_, goes, make) = PRODUCTIONS[1 + dice.below(17)];
        if goes != Goes::Raises
            && let Value::String(text) = make(dice)
            && !text.contains(' ')
        {
            return text;
        }
    }
}

fn negated(dice: &mut Dice) -> String {
    let leaf = leaf(dice);
    if dice.below(4) == 0 { format!("not {leaf}") } else { leaf }
}

fn expression(dice: &mut Dice, depth: usize) -> String {
    let mut words = Vec::new();
    for part in 0..=dice.below(4) {
        if part > 0 {
            let joint = if dice.below(2) == 0 { "and" } else { "or" };
            words.push(word(dice, joint));
        }
        if dice.below(4) == 0 {
            words.push("not".to_owned());
        }
        words.push(match dice.below(3) {
            0 if depth > 0 => format!("({})", expression(dice, depth - 1)),
            _ => leaf(dice),
        });
    }
    words.join(" ")
}

/// Some of these attributes, each with one of its values.
fn some_of(dice: &mut Dice, attributes: &[(&str, Value)]) -> Map<String, Value> {
    let mut map = Map::new();
    for (name, values) in attributes {
        if dice.below(6) > 0 {
            let values = values.as_array().unwrap();
            map.insert((*name).to_owned(), values[dice.below(values.len())].clone());
        }
    }
    map
}

fn target(dice: &mut Dice) -> Map<String, Value> {
    some_of(
        dice,
        &[
            ("project_id", json!(["p1", "p2"])),
            ("user_id", json!(["u1", "u2"])),
            ("role", json!(["Admin", "member", "min"])),
            ("prefix", json!(["dmi", "x"])),
            ("enabled", json!([true, false, "True", 1])),
            ("null", json!([null, "None", ""])),
            ("number", json!([3, "3", 3.0, 4])),
            ("empty", json!(["", " "])),
            ("domain", json!(["d1", "d2"])),
            ("group", json!(["g1", "g2", "g3"])),
            ("pair", json!([["a", 1], ["it's", null]])),
            ("deep", json!([{"a": [1.5, true]}, {"a": []}])),
            ("verdict", json!(["yes", "no"])),
        ],
    )
}

fn credentials(dice: &mut Dice) -> Map<String, Value> {
    some_of(
        dice,
        &[
            ("project_id", json!(["p1", "p2"])),
            ("user_id", json!(["u1", "u2"])),
            (
                "roles",
                json!([
                    ["Admin", "member", "fallback"],
                    ["member", "reader", "ärzte"],
                    ["x:y", "X_Admin"],
                    []
                ]),
            ),
            ("is_admin", json!([true, false])),
            ("level", json!([3, 4, "3"])),
            ("ratio", json!([1.5, 2.5])),
            ("nothing", json!([null, "x"])),
            ("share", json!(["100%", "50%", "50%%"])),
            ("tags", json!([["blue", "red"], ["red"], [["blue"]], []])),
            ("pair", json!(["['a', 1]", "x"])),
            ("deep", json!([{"a": [1.5, true]}, {"a": []}])),
            (
                "user",
                json!([
                    {"domain": {"id": "d1"}, "groups": [{"id": "g1"}, {"id": "g2"}]},
                    {"domain": {"id": "d2"}, "groups": []},
                ]),
            ),
        ],
    )
}

struct Case {
    production: usize,
    set: usize,
    rule: Value,
    target: Map<String, Value>,
    credentials: Map<String, Value>,
}

fn cases() -> Vec<Case> {
    let mut dice = Dice(1);
    (0..PRODUCTIONS.len() * EACH)
        .map(|number| {
            let production = number % PRODUCTIONS.len();
            Case {
                production,
                set: dice.below(2),
                rule: PRODUCTIONS[production].2(&mut dice),
                target: target(&mut dice),
                credentials: credentials(&mut dice),
            }
        })
        .collect()
}

/// The sets of rules: with and without a default.
fn sets() -> [&'static [(&'static str, &'static str)]; 2] {
    [RULES, &RULES[..RULES.len() - 1]]
}

/// What oslo.policy decides; `None` where it raises.
fn theirs(cases: &[Case]) -> Vec<Option<bool>> {
    let sets: Vec<_> = sets().iter().map(|rules| rules.iter().copied().collect::<BTreeMap<_, _>>()).collect();
    let cases = cases.iter().map(|Case { set, rule, target, credentials, .. }| {
        json!({"set": set, "rule": rule, "target": target, "credentials": credentials})
    });
    let lines: Vec<_> = std::iter::once(json!(sets)).chain(cases).map(|line| format!("{line}\n")).collect();
    let input = lines.concat();
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/identity/policy_verdicts.py");
    let mut child = Command::new(python().unwrap())
        .arg(program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let writing = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writing.join().unwrap().unwrap();
    assert!(output.status.success(), "{}", output.status);
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap().as_bool()).collect()
}

/// What ours decides; `None` where it does not.
fn ours(case: &Case) -> Option<bool> {
    let rules = RuleSet::of(sets()[case.set].iter().copied());
    let question = Question { target: &case.target, credentials: &case.credentials };
    let (check, _) = parse(&case.rule).unwrap();
    let mut answers = BTreeMap::new();
    loop {
        match evaluate(&check, &rules, question, &answers) {
            Ok(verdict) => return Some(verdict),
            Err(Halt::Ask(url)) => {
                let answer = url.ends_with("/yes");
                answers.insert(url, answer);
            }
            Err(Halt::MissingKey | Halt::Broken(_)) => return None,
        }
    }
}

#[test]
fn oslo_policy_and_ours_decide_thousands_of_cases_of_each_production_alike() {
    if !require("oslo.policy", Keystone::missing().as_deref()) {
        return;
    }
    let cases = cases();
    assert!(cases.len() >= 2000, "{} cases", cases.len());
    let theirs = theirs(&cases);
    assert_eq!(theirs.len(), cases.len());
    let mut wrong = Vec::new();
    let mut seen = vec![[0_usize; 3]; PRODUCTIONS.len()];
    for (case, theirs) in cases.iter().zip(theirs) {
        let ours = ours(case);
        let column = theirs.map_or(2, usize::from);
        seen[case.production][column] += 1;
        if ours != theirs {
            let (name, target, credentials) =
                (PRODUCTIONS[case.production].0, json!(case.target), json!(case.credentials));
            wrong.push(format!(
                "{name}: {} of {target} by {credentials}, set {}: {ours:?} instead of {theirs:?}",
                case.rule, case.set
            ));
        }
    }
    for ((name, goes, _), [no, yes, raised]) in PRODUCTIONS.iter().zip(seen) {
        let is_covered = match goes {
            Goes::Yes => yes == EACH,
            Goes::No => no == EACH,
            Goes::Raises => raised >= EACH / 2,
            Goes::EitherWay => yes >= EITHER_WAY && no >= EITHER_WAY,
        };
        if !is_covered {
            wrong.push(format!("{name} is not covered: {yes} yes, {no} no, {raised} raised"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        cases.len(),
        wrong[..wrong.len().min(20)].join("\n")
    );
}
