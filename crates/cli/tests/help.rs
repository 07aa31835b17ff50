//! The command line's grammar as people read it.

#![expect(clippy::unwrap_used, reason = "a failed unwrap in a test is the failed test")]

use clap::{CommandFactory, Parser};
use picasso_cli::args::Cli;

fn help(path: &[&str]) -> String {
    let mut words = vec!["picasso"];
    words.extend(path);
    words.push("--help");
    Cli::try_parse_from(words).unwrap_err().to_string()
}

#[test]
fn the_grammar_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_explains_itself() {
    insta::assert_snapshot!("picasso", help(&[]));
    insta::assert_snapshot!("serve", help(&["serve"]));
    insta::assert_snapshot!("image", help(&["image"]));
    insta::assert_snapshot!("image_load", help(&["image", "load"]));
    insta::assert_snapshot!("image_list", help(&["image", "list"]));
    insta::assert_snapshot!("image_rm", help(&["image", "rm"]));
    insta::assert_snapshot!("image_build", help(&["image", "build"]));
    insta::assert_snapshot!("config", help(&["config"]));
    insta::assert_snapshot!("config_show", help(&["config", "show"]));
    insta::assert_snapshot!("policy", help(&["policy"]));
    insta::assert_snapshot!("policy_list", help(&["policy", "list"]));
    insta::assert_snapshot!("policy_check", help(&["policy", "check"]));
    insta::assert_snapshot!("db_upgrade", help(&["db", "upgrade"]));
}

#[test]
fn a_mistyped_command_is_told_with_the_nearest_one() {
    let told = Cli::try_parse_from(["picasso", "serv"]).unwrap_err();
    insta::assert_snapshot!("mistyped_command", told.to_string());
    assert_eq!(told.exit_code(), 2);
}

#[test]
fn a_setting_without_a_value_is_told() {
    let told = Cli::try_parse_from(["picasso", "serve", "--set", "log.level"]).unwrap_err();
    insta::assert_snapshot!("setting_without_value", told.to_string());
}
