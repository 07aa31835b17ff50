//! The real binary as people meet it: messages, streams and exit codes.

#![expect(clippy::unwrap_used, reason = "a failed unwrap in a test is the failed test")]

use std::path::Path;
use std::process::{Command, Output};

fn picasso(arguments: &[&str], environment: &[(&str, &str)], folder: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_picasso"))
        .args(arguments)
        .env_clear()
        .envs(environment.iter().copied())
        .current_dir(folder)
        .output()
        .unwrap()
}

/// Exit code, standard output and standard error, with the folder's name cut away.
fn told(arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let output = picasso(arguments, environment, folder.path());
    let text =
        |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(&folder.path().display().to_string(), "…");
    format!(
        "exit {}\n--- stdout\n{}--- stderr\n{}",
        output.status.code().unwrap(),
        text(&output.stdout),
        text(&output.stderr)
    )
}

#[test]
fn a_server_that_does_not_run_is_told_with_its_socket() {
    insta::assert_snapshot!(told(&["image", "list", "--socket", "/nowhere/admin.sock"], &[]));
}

#[test]
fn the_socket_comes_from_the_configuration() {
    insta::assert_snapshot!(told(&["image", "rm", "hello:1"], &[("PICASSO_SERVER__DATA_DIR", "/nowhere")]));
}

#[test]
fn a_missing_archive_is_told() {
    insta::assert_snapshot!(told(
        &["image", "load", "no.tar", "--name", "hello:1", "--socket", "/nowhere"],
        &[]
    ));
}

#[test]
fn a_malformed_image_name_is_told_before_anything_is_sent() {
    insta::assert_snapshot!(told(&["image", "load", "no.tar", "--name", "Hello World"], &[]));
}

#[test]
fn faults_of_the_configuration_are_told_all_at_once() {
    insta::assert_snapshot!(told(
        &["config", "check", "--set", "listeners.api.port=high"],
        &[("PICASSO_KEYSTONE__PASWORD", "sesame-1"), ("PICASSO_DB", "postgresql://u:sesame-2@h")]
    ));
}

#[test]
fn serve_tells_the_same_faults() {
    insta::assert_snapshot!(told(&["serve", "--set", "server.user=root"], &[]));
}

#[test]
fn an_unknown_command_ends_with_2() {
    insta::assert_snapshot!(told(&["imag", "list"], &[]));
}

#[test]
fn config_show_tells_sources_and_no_secret() {
    let told = told(
        &["config", "show", "--set", "log.level=debug"],
        &[
            ("KEYSTONE_ENDPOINT", "http://127.0.0.1:5000/v3"),
            ("PICASSO_KEYSTONE__USERNAME", "picasso"),
            ("PICASSO_KEYSTONE__PASSWORD", "sesame-3"),
        ],
    );
    assert!(told.starts_with("exit 0"), "{told}");
    assert!(told.contains("password = \"***\""), "{told}");
    assert!(!told.contains("sesame"), "{told}");
    let line = told.lines().find(|line| line.starts_with("level = ")).unwrap();
    assert_eq!(line.split_whitespace().collect::<Vec<_>>(), ["level", "=", "\"debug\"", "#", "--set"]);
}

#[test]
fn what_config_default_prints_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let printed = picasso(&["config", "default"], &[], folder.path());
    std::fs::write(folder.path().join("picasso.toml"), &printed.stdout).unwrap();
    let environment = [
        ("PICASSO_KEYSTONE__AUTH_URL", "http://127.0.0.1:5000/v3"),
        ("PICASSO_KEYSTONE__USERNAME", "picasso"),
        ("PICASSO_KEYSTONE__PASSWORD", "sesame"),
    ];
    let checked = picasso(&["config", "check", "--config", "picasso.toml"], &environment, folder.path());
    assert!(checked.status.success(), "{checked:?}");
    assert!(checked.stdout.is_empty());
}

#[test]
fn building_the_same_files_twice_gives_the_same_digest() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("tree/bin")).unwrap();
    std::fs::write(folder.path().join("tree/bin/tool"), "#!/bin/sh\n").unwrap();
    std::os::unix::fs::symlink("tool", folder.path().join("tree/bin/link")).unwrap();
    let build = |output: &str, more: &[&str]| {
        let arguments =
            [&["image", "build", "--file", "tree:/opt", "--entrypoint", "/opt/bin/tool", "-o", output], more]
                .concat();
        let built = picasso(&arguments, &[], folder.path());
        assert!(built.status.success(), "{built:?}");
        String::from_utf8(built.stdout).unwrap()
    };
    let first = build("one.tar", &[]);
    assert!(first.starts_with("sha256:") && first.trim().len() == 71, "{first}");
    assert_eq!(build("two.tar", &[]), first);
    assert_ne!(build("three.tar", &["--env", "A=b"]), first);
    let one = std::fs::read(folder.path().join("one.tar")).unwrap();
    assert_eq!(one, std::fs::read(folder.path().join("two.tar")).unwrap());
}

#[test]
fn a_file_that_is_not_there_or_no_file_is_refused_by_name() {
    insta::assert_snapshot!(told(
        &["image", "build", "--file", "no", "--entrypoint", "/no", "-o", "x.tar"],
        &[]
    ));
    insta::assert_snapshot!(told(
        &["image", "build", "--file", "/dev/null:/n", "--entrypoint", "/n", "-o", "x.tar"],
        &[]
    ));
}
