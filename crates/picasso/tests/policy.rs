//! `picasso policy`: the real binary, with policy files and tokens of a real Keystone.

#![expect(clippy::unwrap_used, reason = "a failed unwrap in a test is the failed test")]

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use picasso_testkit::keystone::Keystone;
use picasso_testkit::process::require;

/// What came of a command.
#[derive(Debug)]
struct Told {
    code: Option<i32>,
    out: String,
    error: String,
}

/// Runs `picasso policy WORDS` with the policy file of `folder`.
fn policy(words: &[&str], folder: &Path, environment: &[(&str, &str)], input: &str) -> Told {
    let mut child = Command::new(env!("CARGO_BIN_EXE_picasso"))
        .arg("policy")
        .args(words)
        .env_clear()
        .env("PICASSO_POLICY__FILE", folder.join("policy.yaml"))
        .envs(environment.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that does not read it may be gone already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap().replace(&folder.display().to_string(), "…");
    Told { code: output.status.code(), out: text(output.stdout), error: text(output.stderr) }
}

fn folder_with(text: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("policy.yaml"), text).unwrap();
    folder
}

#[test]
fn the_sample_is_a_policy_file_that_changes_nothing() {
    let folder = folder_with("");
    let sample = policy(&["sample"], folder.path(), &[], "");
    assert_eq!((sample.code, sample.error.as_str()), (Some(0), ""), "{sample:?}");
    assert!(
        sample.out.contains("#\"functions:app:create\": \"rule:project_member_or_admin\"\n"),
        "{sample:?}"
    );
    assert!(sample.out.contains("# POST  /v1/{project_id}/apps\n"), "{sample:?}");
    std::fs::write(folder.path().join("policy.yaml"), &sample.out).unwrap();
    let listed = policy(&["list"], folder.path(), &[], "");
    assert_eq!((listed.code, listed.error.as_str()), (Some(0), ""), "{listed:?}");
    assert!(listed.out.lines().all(|line| line.ends_with("  # default")), "{listed:?}");
    assert_eq!(listed.out.lines().count(), sample.out.lines().filter(|line| line.starts_with("#\"")).count());
}

#[test]
fn list_tells_where_rules_come_from_and_prints_a_file_that_says_the_same() {
    let text = "\"functions:app:list\": \"role:x and rule:mine\"\nmine: [[\"role:a\", \"role:b\"], \"@\"]\n";
    let folder = folder_with(text);
    let listed = policy(&["list"], folder.path(), &[], "");
    assert_eq!((listed.code, listed.error.as_str()), (Some(0), ""), "{listed:?}");
    let lines = [
        "\"functions:app:list\": \"role:x and rule:mine\"  # …/policy.yaml:1",
        "\"mine\": [[\"role:a\",\"role:b\"],\"@\"]  # …/policy.yaml:2",
    ];
    for line in lines {
        assert!(listed.out.lines().any(|listed| listed == line), "{listed:?}");
    }
    let again = folder_with(&listed.out);
    let cut =
        |out: &str| out.lines().map(|line| line.split("  # ").next().unwrap().to_owned()).collect::<Vec<_>>();
    let listed_again = policy(&["list"], again.path(), &[], "");
    assert_eq!(cut(&listed_again.out), cut(&listed.out));
    let json = policy(&["list", "--json"], folder.path(), &[], "");
    assert!(json.out.contains("\"source\": \"…/policy.yaml:2\""), "{json:?}");
    assert!(json.out.contains("\"path\": \"/v1/{project_id}/apps\""), "{json:?}");
}

#[test]
fn list_ends_with_1_and_a_suggestion_where_names_are_unknown() {
    let folder = folder_with("\"functions:apps:list\": \"@\"\n\"functions:app:get\": \"rule:admin_apo\"\n");
    let listed = policy(&["list"], folder.path(), &[], "");
    assert_eq!(listed.code, Some(1), "{listed:?}");
    assert!(listed.out.contains("\"functions:app:list\": "), "{listed:?}");
    let expected = "warning: …/policy.yaml:1: \"functions:apps:list\" is no rule of Picasso's, and no rule refers \
                    to it; did you mean \"functions:app:list\"?\n";
    assert!(listed.error.contains(expected), "{listed:?}");
    assert!(listed.error.contains("which there is not; did you mean \"admin_api\"?"), "{listed:?}");
}

#[test]
fn a_broken_file_is_told_with_line_and_reason_and_no_server_starts_with_it() {
    let folder = folder_with("\"functions:app:list\": \"@\"\n\"functions:app:get\":\n");
    let expected =
        "error: the policy files cannot be used: …/policy.yaml:2: \"functions:app:get\" has no value";
    let listed = policy(&["list"], folder.path(), &[], "");
    assert_eq!((listed.code, listed.out.as_str()), (Some(1), ""), "{listed:?}");
    assert!(listed.error.starts_with(expected) && listed.error.contains("hint: "), "{listed:?}");
    let output = Command::new(env!("CARGO_BIN_EXE_picasso"))
        .args(["serve", "--set", "sandbox.runtime=docker"])
        .env_clear()
        .env("PICASSO_POLICY__FILE", folder.path().join("policy.yaml"))
        .env("PICASSO_SERVER__DATA_DIR", folder.path().join("data"))
        .env("KEYSTONE_ENDPOINT", "http://127.0.0.1:5000/v3")
        .env("PICASSO_KEYSTONE__USERNAME", "picasso")
        .env("PICASSO_KEYSTONE__PASSWORD", "sesame")
        .output()
        .unwrap();
    let told = String::from_utf8(output.stderr).unwrap().replace(&folder.path().display().to_string(), "…");
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.starts_with(expected), "{told}");
    assert!(!folder.path().join("data").exists(), "nothing was made");
}

#[test]
fn a_token_is_asked_for_where_there_is_none_and_a_mistyped_rule_is_told() {
    let folder = folder_with("");
    let told = policy(&["check"], folder.path(), &[], "");
    assert_eq!(told.code, Some(1), "{told:?}");
    assert!(
        told.error.contains("there is no token in OS_TOKEN") && told.error.contains("hint: "),
        "{told:?}"
    );
    let told = policy(&["check", "--rule", "functions:app:lists"], folder.path(), &[("OS_TOKEN", "x")], "");
    assert_eq!(told.code, Some(1), "{told:?}");
    assert!(told.error.contains("there is no rule \"functions:app:lists\""), "{told:?}");
    assert!(told.error.contains("did you mean \"functions:app:list\"?"), "{told:?}");
    let told = policy(&["check", "--target", "app"], folder.path(), &[], "");
    assert_eq!(told.code, Some(2), "{told:?}");
}

#[tokio::test]
async fn check_tells_which_rules_a_token_passes() {
    if !require("Keystone", Keystone::missing().as_deref()) {
        return;
    }
    let keystone = Keystone::shared().await.unwrap();
    let reader = keystone.token("demo1-reader", "demo1").await.unwrap();
    let member = keystone.token("demo1-member", "demo1").await.unwrap();
    let other = keystone.project_id("demo2").await.unwrap();
    let (auth_url, password) = (keystone.auth_url(), keystone.password("picasso"));
    let folder = folder_with("\"functions:app:delete\": \"role:member and 'mine':%(app)s\"\n");
    let environment = |token: &'static str| {
        [
            ("KEYSTONE_ENDPOINT", auth_url.as_str()),
            ("PICASSO_KEYSTONE__USERNAME", "picasso"),
            ("PICASSO_KEYSTONE__PASSWORD", password.as_str()),
            ("OS_TOKEN", token),
        ]
    };
    let mut with_reader = environment("");
    with_reader[3].1 = reader.as_str();

    let all = policy(&["check"], folder.path(), &with_reader, "");
    assert_eq!((all.code, all.error.as_str()), (Some(0), ""), "{all:?}");
    for line in
        ["passed: functions:app:list", "failed: functions:app:create", "failed: functions:function:invoke"]
    {
        assert!(all.out.lines().any(|told| told == line), "{line}: {all:?}");
    }
    let code = |words: &[&str], input: &str| {
        let words = [&["check"], words].concat();
        let told = policy(&words, folder.path(), &with_reader, input);
        assert!(!told.out.contains(&reader) && !told.error.contains(&reader), "{told:?}");
        told.code
    };
    let create = ["--rule", "functions:app:create"];
    assert_eq!(code(&create, ""), Some(1), "a reader");
    let file = folder.path().join("token");
    std::fs::write(&file, format!("{member}\n")).unwrap();
    let file = file.display().to_string();
    assert_eq!(code(&[&create[..], &["--token-file", &file]].concat(), ""), Some(0), "a member");
    assert_eq!(
        code(&[&create[..], &["--token-file", "-"]].concat(), &member),
        Some(0),
        "from standard input"
    );
    let elsewhere = [&create[..], &["--token-file", "-", "--project", &other]].concat();
    assert_eq!(code(&elsewhere, &member), Some(1), "in another project");
    let delete = ["--rule", "functions:app:delete", "--token-file", "-", "--target"];
    assert_eq!(code(&[&delete[..], &["app=mine"]].concat(), &member), Some(0), "an operator's rule");
    assert_eq!(code(&[&delete[..], &["app=yours"]].concat(), &member), Some(1), "an operator's rule");

    let garbage = policy(&["check"], folder.path(), &environment("sesame-of-nobody"), "");
    assert_eq!(garbage.code, Some(1), "{garbage:?}");
    assert!(garbage.error.contains("Keystone does not take the token"), "{garbage:?}");
    assert!(!garbage.error.contains("sesame"), "{garbage:?}");
}
