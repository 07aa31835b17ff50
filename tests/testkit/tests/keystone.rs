//! The testkit's Keystone is what the suites take it for.

use std::os::unix::fs::PermissionsExt;

use picasso_testkit::keystone::{Keystone, KeystoneOptions};
use picasso_testkit::process::require;

#[tokio::test]
async fn the_openstack_command_logs_in_and_finds_picasso_in_the_catalog() {
    if !require("Keystone", Keystone::missing().as_deref()) {
        return;
    }
    let functions_url = "http://127.0.0.1:12345".to_owned();
    let options = KeystoneOptions { functions_url: functions_url.clone(), ..KeystoneOptions::default() };
    let keystone = Keystone::start_with(options).await.unwrap();
    let shown = async || {
        let arguments = ["catalog", "show", "picasso", "-f", "json"];
        let output = keystone.openstack("demo1-reader", "demo1", &arguments).await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let entry: serde_json::Value = serde_json::from_str(&shown().await).unwrap();
    assert_eq!(entry["type"], "functions");
    assert!(entry["endpoints"].as_array().unwrap().iter().all(|e| e["url"] == functions_url.as_str()));
    keystone.set_functions_url("http://127.0.0.1:23456").await.unwrap();
    assert!(shown().await.contains("http://127.0.0.1:23456"));
}

#[tokio::test]
async fn a_stopped_keystone_comes_back_at_the_same_address_with_the_same_tokens() {
    if !require("Keystone", Keystone::missing().as_deref()) {
        return;
    }
    let keystone = Keystone::start().await.unwrap();
    let url = keystone.url().to_owned();
    let before = keystone.token("demo1-member", "demo1").await.unwrap();
    keystone.stop();
    assert!(keystone.token("demo1-member", "demo1").await.is_err());
    keystone.restart().await.unwrap();
    assert_eq!(keystone.url(), url);
    keystone.revoke(&before).await.unwrap();
}

#[tokio::test]
async fn passwords_lie_only_in_files_of_their_owner_and_in_no_command_line() {
    if !require("Keystone", Keystone::missing().as_deref()) {
        return;
    }
    let keystone = Keystone::start().await.unwrap();
    let folder = keystone.openrc("demo1-member").parent().unwrap().to_owned();
    let passwords: Vec<String> =
        ["admin", "picasso", "demo1-member"].map(|user| keystone.password(user)).to_vec();
    assert!(passwords.iter().all(|password| password.len() >= 30));
    let mut holding = 0;
    for entry in std::fs::read_dir(&folder).unwrap().map(Result::unwrap) {
        let bytes = std::fs::read(entry.path()).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        if passwords.iter().any(|password| text.contains(password)) {
            holding += 1;
            let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{}", entry.path().display());
        }
    }
    assert!(holding >= 3, "only {holding} files hold a password");
    assert_eq!(std::fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    for process in std::fs::read_dir("/proc").unwrap().map(Result::unwrap) {
        let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line);
        assert!(!passwords.iter().any(|password| line.contains(password)), "a password is an argument");
    }
}
