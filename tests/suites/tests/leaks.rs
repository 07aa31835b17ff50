//! The last test of a run: no token, password or key that the tests used is in anything that
//! the tests made Picasso write.
//!
//! Runs where `PICASSO_TEST_EVIDENCE` names the folder that collected it (`make test`).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use aho_corasick::AhoCorasick;
use picasso_testkit::evidence;

/// Folders of other services, which keep their own passwords where they must.
const NOT_OURS: &[&str] = &[
    "picasso-keystone-",
    "picasso-middleware-",
    "picasso-docker-",
    "picasso-registry-",
    "picasso-broker-",
    "picasso-postgres-",
    "picasso-mariadb-",
    "picasso-swift-",
    "picasso-zaqar-",
    "picasso-barbican-",
    "picasso-nova-",
    "picasso-aodh-",
];
/// Folders in which the tests hand secrets to Picasso, as an operator would.
const HANDED_OVER: &[&str] = &["etc"];

#[test]
fn no_secret_of_the_tests_was_written_anywhere() {
    let Some(folder) = evidence::folder() else {
        assert_ne!(
            std::env::var("PICASSO_TEST_REQUIRE").as_deref(),
            Ok("all"),
            "PICASSO_TEST_EVIDENCE is not set: nothing was collected"
        );
        return;
    };
    let secrets: BTreeSet<String> = std::fs::read_to_string(folder.join("secrets"))
        .expect("the tests noted their secrets")
        .lines()
        .map(str::to_owned)
        .collect();
    assert!(secrets.len() >= 10, "only {} secrets were noted; the suites did not run", secrets.len());

    let files = written_files(&folder, 0);
    let logs = files.iter().filter(|f| f.extension().is_some_and(|e| e == "log")).count();
    assert!(logs > 0, "no log was collected");
    let search = AhoCorasick::new(&secrets).unwrap();
    let mut found = Vec::new();
    for file in &files {
        for hit in hits(&search, &std::fs::read(file).unwrap_or_default()) {
            // The secret itself is not printed: CI output is a log, too.
            found.push(format!("{} holds a secret of {hit} characters", file.display()));
        }
    }
    assert!(found.is_empty(), "{} files searched; secrets are in:\n{}", files.len(), found.join("\n"));
}

/// The lengths of the secrets that stand in `bytes`, each once.
fn hits(search: &AhoCorasick, bytes: &[u8]) -> BTreeSet<usize> {
    search.find_overlapping_iter(bytes).map(|hit| hit.len()).collect()
}

fn written_files(folder: &Path, depth: usize) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut files = Vec::new();
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            let ours = !NOT_OURS.iter().any(|prefix| name.starts_with(prefix));
            if ours && !HANDED_OVER.contains(&name.as_str()) {
                files.extend(written_files(&entry.path(), depth + 1));
            }
        } else if kind.is_file() && !(depth == 0 && name == "secrets") {
            files.push(entry.path());
        }
    }
    files
}

#[test]
fn the_search_finds_what_is_there() {
    let search = AhoCorasick::new(["gAAAAAb", "secret-password"]).unwrap();
    assert_eq!(hits(&search, b"xx\0ggAAAAAbyy secret-password gAAAAAb"), BTreeSet::from([7, 15]));
    assert!(hits(&search, b"gAAAAA secret-passwor").is_empty());
}
