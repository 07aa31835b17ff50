//! `picasso db check` and `picasso db upgrade`, with real databases.

#![expect(clippy::unwrap_used, reason = "a failed unwrap in a test is the failed test")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use picasso_testkit::mariadb::MariaDbServer;
use picasso_testkit::postgres::PostgresServer;
use picasso_testkit::process::require;

/// A folder of a server with its key.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("encryption.key");
    std::fs::write(&key, [7; 32]).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    folder
}

/// Exit code, and what is told.
fn db(task: &str, folder: &Path, url: &str) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_picasso"))
        .args(["db", task])
        .env_clear()
        .env("KEYSTONE_ENDPOINT", "http://127.0.0.1:5000/v3")
        .env("PICASSO_KEYSTONE__USERNAME", "picasso")
        .env("PICASSO_KEYSTONE__PASSWORD", "sesame-of-keystone")
        .env("PICASSO_SERVER__DATA_DIR", folder)
        .env("PICASSO_DATABASE__URL", url)
        .output()
        .unwrap();
    let told = [output.stdout, output.stderr].concat();
    let told = String::from_utf8(told).unwrap();
    assert!(!told.contains("sesame"), "{told}");
    (output.status.code(), told)
}

#[test]
fn a_sqlite_file_that_is_not_there_is_told_and_not_made() {
    let folder = folder();
    let url = format!("sqlite:{}", folder.path().join("picasso.db").display());
    let (code, told) = db("check", folder.path(), &url);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("there is no database"), "{told}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "the key alone");
}

#[tokio::test]
async fn a_postgresql_database_is_checked_upgraded_and_never_shown_with_its_password() {
    if !require("PostgreSQL", PostgresServer::missing().as_deref()) {
        return;
    }
    let server = PostgresServer::start().await.unwrap();
    let url = server.create_database("picasso").unwrap();
    checked_upgraded_and_never_shown(
        &url,
        &server.url_with_password("picasso", "sesame-wrong"),
        "password authentication failed",
    );
}

#[tokio::test]
async fn a_mariadb_database_is_checked_upgraded_and_never_shown_with_its_password() {
    if !require("MariaDB", MariaDbServer::missing().as_deref()) {
        return;
    }
    let server = MariaDbServer::start().await.unwrap();
    let url = server.create_database("picasso").unwrap();
    let url = url.replace("mysql://", "mysql+pymysql://");
    checked_upgraded_and_never_shown(
        &url,
        &server.url_with_password("picasso", "sesame-wrong"),
        "Access denied for user",
    );
}

fn checked_upgraded_and_never_shown(url: &str, wrong_password: &str, denied: &str) {
    let folder = folder();
    for _ in 0..2 {
        let (code, told) = db("check", folder.path(), url);
        assert_eq!(code, Some(1), "{told}");
        assert!(told.contains("its schema is empty, needed is version"), "{told}");
    }
    let (code, told) = db("upgrade", folder.path(), url);
    assert_eq!(code, Some(0), "{told}");
    let (code, told) = db("check", folder.path(), url);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("has the schema that this picasso needs"), "{told}");

    let (code, told) = db("check", folder.path(), wrong_password);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains(denied) && told.contains("hint:"), "{told}");
    let scheme = url.split_once(':').unwrap().0;
    let (code, told) = db("check", folder.path(), &format!("{scheme}://picasso:sesame@127.0.0.1:1/picasso"));
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("refused") && told.contains("is the server running"), "{told}");
}
