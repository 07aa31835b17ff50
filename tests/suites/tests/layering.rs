//! The architecture as a table: which crate may use which, and where the heavy libraries may
//! appear. `ARCHITECTURE.md` repeats the table; this test holds both against the workspace.

#![expect(clippy::unwrap_used, reason = "a workspace that cannot be read fails the test")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};
use picasso_testkit::process::run;

/// Crate → the crates of ours that it may depend on (dev-dependencies are free).
const ALLOWED: &[(&str, &[&str])] = &[
    ("types", &[]),
    ("config", &["types"]),
    ("identity", &["types"]),
    ("store", &["types"]),
    ("queue", &["types"]),
    ("notify", &["types"]),
    ("outbound", &["types"]),
    ("objects", &["types"]),
    ("image", &["types", "outbound"]),
    ("sandbox", &["types", "image"]),
    ("engine", &["types", "outbound", "objects", "store", "queue", "image", "sandbox"]),
    ("trigger", &["types", "outbound", "store", "engine"]),
    ("api", &["types", "identity", "notify", "outbound", "store", "queue", "image", "engine", "trigger"]),
    (
        "server",
        &[
            "types", "config", "identity", "notify", "outbound", "objects", "store", "queue", "image",
            "sandbox", "engine", "trigger", "api",
        ],
    ),
    ("cli", &["types", "config", "image"]),
    ("picasso", &["server", "cli", "config", "sandbox"]),
];

/// Library → the crates it may appear in.
const CONFINED: &[(&str, &[&str])] = &[
    ("axum", &["api"]),
    ("sqlx", &["store", "queue"]),
    ("lapin", &["queue", "notify", "trigger"]),
    ("async-nats", &["queue"]),
    ("redis", &["queue"]),
    ("reqwest", &["identity", "objects"]),
    ("saphyr-parser", &["identity"]),
    ("croner", &["types"]),
    ("object_store", &["objects"]),
    ("hyper-rustls", &["outbound"]),
    ("bollard", &["sandbox"]),
    ("libc", &["sandbox"]),
    ("clap", &["cli", "picasso"]),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn metadata() -> Metadata {
    MetadataCommand::new().manifest_path(root().join("Cargo.toml")).no_deps().exec().unwrap()
}

fn short(name: &str) -> &str {
    name.strip_prefix("picasso-").unwrap_or(name)
}

/// The crates under `crates/` with their ordinary and build dependencies.
fn crates() -> BTreeMap<String, BTreeSet<String>> {
    let metadata = metadata();
    let ours = metadata.packages.iter().filter(|p| p.manifest_path.as_str().contains("/crates/"));
    ours.map(|package| {
        let dependencies = package
            .dependencies
            .iter()
            .filter(|d| d.kind != DependencyKind::Development)
            .map(|d| d.name.clone())
            .collect();
        (short(&package.name).to_owned(), dependencies)
    })
    .collect()
}

#[test]
fn every_crate_uses_only_the_crates_its_layer_allows() {
    let allowed: BTreeMap<_, BTreeSet<_>> =
        ALLOWED.iter().map(|(name, uses)| (*name, uses.iter().copied().collect())).collect();
    let crates = crates();
    assert_eq!(
        crates.keys().map(String::as_str).collect::<BTreeSet<_>>(),
        allowed.keys().copied().collect(),
        "the table names other crates than the workspace has"
    );
    for (name, dependencies) in &crates {
        let ours: BTreeSet<_> = dependencies.iter().filter_map(|d| d.strip_prefix("picasso-")).collect();
        let forbidden: Vec<_> = ours.difference(&allowed[name.as_str()]).collect();
        assert!(forbidden.is_empty(), "{name} must not depend on {forbidden:?}");
    }
}

#[test]
fn heavy_libraries_stay_in_their_crates() {
    for (name, dependencies) in crates() {
        for (library, homes) in CONFINED {
            assert!(
                !dependencies.contains(*library) || homes.contains(&name.as_str()),
                "{library} appears in {name}; it belongs in {homes:?}"
            );
        }
    }
}

#[test]
fn unsafe_code_stays_in_the_sandbox_crate() {
    for source in rust_files(&root().join("crates")) {
        if source.starts_with(root().join("crates/sandbox")) {
            continue;
        }
        let text = std::fs::read_to_string(&source).unwrap();
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            assert!(
                !code.contains("unsafe {") && !code.contains("unsafe fn") && !code.contains("unsafe_code"),
                "{}:{} has unsafe code",
                source.display(),
                number + 1
            );
        }
    }
}

#[test]
fn only_the_build_of_the_tests_has_failpoints() {
    let features_of = |selection: &[&str]| {
        let tree = ["tree", "--locked", "--offline", "--prefix", "none", "--edges"];
        run(env!("CARGO"), [&tree, selection].concat()).unwrap()
    };
    std::env::set_current_dir(root()).unwrap();
    let released = features_of(&["normal,build,features", "--package", "picasso"]);
    assert!(released.contains("picasso-engine") && !released.contains("failpoints"), "{released}");
    assert!(features_of(&["all,features", "--workspace"]).contains("failpoints"));
}

#[test]
fn the_architecture_page_shows_the_same_table() {
    let page = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    for (name, uses) in ALLOWED {
        let uses = if uses.is_empty() { "nothing of ours".to_owned() } else { uses.join(", ") };
        let row = format!("| `{name}` | {uses} |");
        assert!(page.contains(&row), "ARCHITECTURE.md lacks the row: {row}");
    }
    for (library, homes) in CONFINED {
        let row = format!("| {library} | {} |", homes.join(", "));
        assert!(page.contains(&row), "ARCHITECTURE.md lacks the row: {row}");
    }
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found
}
