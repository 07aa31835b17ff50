//! The architecture as a table: which crate may use which, and where the heavy libraries may
//! appear. `ARCHITECTURE.md` repeats the table; this test holds both against the workspace. Within a
//! crate, modules beside each other do not import each other.

#![expect(clippy::unwrap_used, reason = "a workspace that cannot be read fails the test")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};
use picasso_suites::modules::{Pair, pairs};
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

/// Pairs of modules that import each other all the same, by crate; to become fewer. Whoever parts one
/// takes it out of here.
const PAIRS_LEFT: &[(&str, &str, &str)] = &[
    ("config", "loader", "render"),
    // A warm pool, its sandboxes and their keepers know each other; the engine's state holds the pools, and
    // their calls use it.
    ("engine", "engine", "hot"),
    ("engine", "hot/instance", "hot/pool"),
    ("engine", "hot/keeper", "hot/pool"),
    ("engine", "hot/pool", "hot/pools"),
    ("identity", "trusts", "wire"),
    ("image", "pull", "store"),
    ("sandbox", "docker/container", "docker/network"),
    ("sandbox", "native", "oci"),
    ("sandbox", "native", "supervisor"),
    ("sandbox", "native/linux", "native/sys"),
    // A change of an app's configuration makes versions of its routes; a route is changed under its app's lock.
    ("store", "mariadb/apps", "mariadb/routes"),
    ("store", "postgres/apps", "postgres/routes"),
    ("store", "sqlite/apps", "sqlite/routes"),
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

fn pairs_of(sources: impl IntoIterator<Item = (String, String)>) -> Vec<Pair> {
    pairs(&sources.into_iter().collect()).unwrap()
}

#[test]
fn modules_beside_each_other_do_not_import_each_other() {
    let mut left = PAIRS_LEFT.to_vec();
    let mut wrong = Vec::new();
    for name in crates().into_keys() {
        let folder = root().join("crates").join(&name).join("src");
        let sources = rust_files(&folder).into_iter().map(|file| {
            let below = file.strip_prefix(&folder).unwrap().to_str().unwrap().to_owned();
            (below, std::fs::read_to_string(&file).unwrap())
        });
        for pair in pairs_of(sources) {
            let [one, other] = &pair.modules;
            match left.iter().position(|known| *known == (name.as_str(), one.as_str(), other.as_str())) {
                Some(known) => {
                    left.swap_remove(known);
                }
                None => wrong.push(format!("in crates/{name}/src {pair}")),
            }
        }
    }
    assert!(wrong.is_empty(), "move what both need into a module of its own\n{}", wrong.join("\n"));
    assert!(left.is_empty(), "these do not import each other any more, take them out of the list: {left:?}");
}

#[test]
fn a_pair_of_modules_that_import_each_other_is_named_with_its_files_and_imports() {
    let made_up = |files: &[(&str, &str)]| -> Vec<String> {
        let sources = files.iter().map(|(file, text)| ((*file).to_owned(), (*text).to_owned()));
        pairs_of(sources).iter().map(Pair::to_string).collect()
    };
    let lib = ("lib.rs", "mod a; mod b;");
    let pair = "a and b import each other:\n    a.rs imports crate::b::B\n    b.rs imports crate::a::A";
    let a = ("a.rs", "use crate::b::{self as other, B}; pub struct A(B);");
    for b in [
        "use super::a::A; pub struct B(Box<A>);",
        "pub struct B(Box<crate::a::A>);",
        "pub fn b() { let _ = format!(\"{:?}\", vec![crate::a::A]); }",
        "mod inner { use super::super::a::A; }",
    ] {
        let [found] = made_up(&[lib, a, ("b.rs", b)]).try_into().unwrap();
        assert_eq!(found.replace("    a.rs imports crate::b\n", ""), pair, "{b}");
    }
    // A re-export is where it was defined, and folders are modules as files are.
    let hidden = made_up(&[
        ("lib.rs", "mod a; mod b; pub use b::deep::B;"),
        ("a.rs", "use crate::B as Other;"),
        ("b/mod.rs", "pub mod deep;"),
        ("b/deep.rs", "use crate::a;"),
    ]);
    assert_eq!(
        hidden,
        ["a and b import each other:\n    a.rs imports crate::b::deep::B\n    b/deep.rs imports crate::a"]
    );
    for fine in [
        "pub struct B;",
        "#[cfg(test)] mod tests { use crate::a::A; }",
        "#[cfg(test)] use crate::a::A;",
        "// use crate::a::A;",
        "pub const B: &str = \"crate::a::A\";",
        "use std::a::A;",
    ] {
        assert_eq!(made_up(&[lib, a, ("b.rs", fine)]), [""; 0], "{fine}");
    }
    let parent_and_child =
        [("a/mod.rs", "mod b; use b::B; pub struct A;"), ("a/b.rs", "use super::A; pub struct B;")];
    assert_eq!(made_up(&parent_and_child), [""; 0]);
    let for_tests = [
        ("lib.rs", "mod a; #[cfg(test)] mod b;"),
        ("a.rs", "use crate::b::B;"),
        ("b.rs", "use crate::a::A;"),
    ];
    assert_eq!(made_up(&for_tests), [""; 0]);
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
