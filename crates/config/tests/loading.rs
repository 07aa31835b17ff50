//! What the loader promises, from the outside.

#![expect(clippy::unwrap_used, reason = "a failed unwrap in a test is the failed test")]

use std::path::PathBuf;

use picasso_config::settings::DatabaseUrl;
use picasso_config::{ConfigFaults, Inputs, Loaded, Source, default_toml, reference_markdown};
use secrecy::ExposeSecret;

const MINIMAL: &str =
    "[keystone]\nauth_url = \"http://127.0.0.1:5000/v3\"\nusername = \"picasso\"\npassword = \"sesame-7\"\n";

struct Written {
    _folder: tempfile::TempDir,
    inputs: Inputs,
}

fn written(text: &str, variables: &[(&str, &str)]) -> Written {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("picasso.toml");
    std::fs::write(&file, text).unwrap();
    let variables = variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Written { _folder: folder, inputs: Inputs { file: Some(file), variables, options: vec![] } }
}

fn load(text: &str, variables: &[(&str, &str)]) -> Result<Loaded, ConfigFaults> {
    let written = written(text, variables);
    Loaded::load(&written.inputs)
}

/// The faults as people see them, with the temporary folder cut away.
fn told(text: &str, variables: &[(&str, &str)]) -> String {
    let written = written(text, variables);
    let folder = written.inputs.file.as_ref().unwrap().parent().unwrap().display().to_string();
    Loaded::load(&written.inputs).unwrap_err().to_string().replace(&folder, "")
}

#[test]
fn later_layers_win_and_each_value_knows_its_source() {
    let text = format!("{MINIMAL}[listeners.api]\nport = 1\n[listeners.functions]\nport = 2\n");
    let written = written(
        &text,
        &[("PICASSO_PORT", "3"), ("PICASSO_LISTENERS__API__PORT", "4"), ("PICASSO_SERVER__USER", "someone")],
    );
    let inputs = written.inputs.clone().with_option("server.user", "other", "--user");
    let loaded = Loaded::load(&inputs).unwrap();
    assert_eq!(loaded.settings.listeners.api.port, 4);
    assert_eq!(loaded.settings.listeners.functions.port, 2);
    assert_eq!(loaded.settings.listeners.admin.port, 10003);
    assert_eq!(loaded.settings.server.user, "other");
    assert_eq!(
        *loaded.source("listeners.api.port"),
        Source::Variable("PICASSO_LISTENERS__API__PORT".to_owned())
    );
    assert_eq!(
        *loaded.source("listeners.functions.port"),
        Source::File { path: inputs.file.unwrap(), line: 8 }
    );
    assert_eq!(*loaded.source("listeners.admin.port"), Source::Default);
    assert_eq!(*loaded.source("server.user"), Source::CommandLine("--user".to_owned()));
}

#[test]
fn old_names_are_taken_and_other_variables_left_alone() {
    let loaded = load(
        "",
        &[
            ("PICASSO_PORT", "11001"),
            ("PICASSO_DB", "sqlite:////srv/picasso.db"),
            ("KEYSTONE_ENDPOINT", "https://keystone.example.org/v3"),
            ("PICASSO_KEYSTONE__USERNAME", "picasso"),
            ("PICASSO_KEYSTONE__PASSWORD", "x"),
            ("PICASSO_TEST_REQUIRE", "all"),
            ("PICASSO_HOST", "0.0.0.0"),
            ("HOME__DIR", "x"),
        ],
    )
    .unwrap();
    let settings = &loaded.settings;
    assert_eq!(settings.listeners.api.port, 11001);
    let DatabaseUrl::Sqlite(path) = settings.database_url() else { panic!("{:?}", settings.database) };
    assert_eq!(path, PathBuf::from("/srv/picasso.db"));
    assert_eq!(settings.keystone.auth_url.as_ref().unwrap().as_str(), "https://keystone.example.org/v3");
}

#[test]
fn a_databases_password_is_in_no_form_that_people_see() {
    for url in [
        "postgres://picasso:hunter2@db.example.org:5433/picasso?sslmode=require",
        "postgresql://picasso@db.example.org/picasso?password=hunter2",
        "mysql://picasso:hunter2@db.example.org:3307/picasso",
        "mariadb://picasso:hunter2@db.example.org/picasso?ssl-mode=required",
        "mysql+pymysql://picasso:hunter2@db.example.org/picasso?charset=utf8",
    ] {
        let loaded = load(MINIMAL, &[("PICASSO_DB", url)]).unwrap();
        let database = loaded.settings.database_url();
        let (DatabaseUrl::Postgres(kept) | DatabaseUrl::MariaDb(kept)) = &database else {
            panic!("{database:?}")
        };
        let scheme = if url.starts_with('p') { "postgres" } else { "mysql" };
        assert!(
            kept.expose_secret().starts_with(&format!("{scheme}://picasso"))
                && kept.expose_secret().contains("hunter2")
        );
        assert!(database.shown().contains("db.example.org"), "{}", database.shown());
        for shown in [database.shown(), format!("{:?}", loaded.settings)] {
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }
    for (url, what) in [
        ("postgres://u:hunter2@/d", "is no URL"),
        ("postgres://u:hunter2@h", "must name a host and a database"),
        ("postgres://u:hunter2/x@h:p/d", "is no URL"),
        ("mysql://u:hunter2@h", "must name a host and a database"),
        ("mysql+pymysql://u:hunter2@h/d?password=hunter2", "has an option that is not known"),
        ("oracle://u:hunter2@h/d", "not known"),
    ] {
        let told = told(MINIMAL, &[("PICASSO_DB", url)]);
        assert!(told.contains(what) && !told.contains("hunter2"), "{told}");
    }
}

#[test]
fn all_faults_are_told_at_once_with_their_places() {
    let text = "[server]\nuser = 7\nshutdown_grace = 3\n\n[listeners.api]\nport = 70000\n[listeners.api.prot]\nx = 1\n\
                [queue]\nworkers = 0\n[[images.registries]]\nhost = \"nothost\"\nhosst = 1\n";
    insta::assert_snapshot!(told(
        text,
        &[
            ("PICASSO_BOUNDS__MAX_MEMORY_MB", "lots"),
            ("PICASSO_DB", "mssql+pyodbc://root:hunter2@localhost/functions"),
            ("PICASSO_SERVER__USR", "x"),
        ]
    ));
}

#[test]
fn a_broken_file_is_told_by_its_line_and_never_quoted() {
    let told = told("[keystone]\npassword = \"hunter2\nx = 1\n", &[]);
    assert!(told.contains("/picasso.toml:2: not valid TOML"), "{told}");
    assert!(!told.contains("hunter2"), "{told}");
}

#[test]
fn a_missing_file_says_where_to_start() {
    let inputs = Inputs { file: Some("/nowhere/picasso.toml".into()), ..Inputs::default() };
    insta::assert_snapshot!(Loaded::load(&inputs).unwrap_err());
}

#[test]
fn a_secret_is_shown_nowhere() {
    let text = format!(
        "{MINIMAL}[[images.registries]]\nhost = \"r.example.org\"\n[[images.registries.credentials]]\n\
         project = \"*\"\nusername = \"u\"\npassword = \"sesame-8\"\n"
    );
    let loaded = load(&text, &[]).unwrap();
    assert_eq!(loaded.settings.keystone.password.as_ref().unwrap().expose_secret(), "sesame-7");
    let seen = format!("{} {loaded:?}", loaded.show());
    assert!(seen.contains("password = \"***\""), "{seen}");
    assert!(!seen.contains("sesame"), "{seen}");
    let wrong = told(&MINIMAL.replace("\"sesame-7\"", "[\"sesame-7\"]"), &[]);
    assert!(wrong.contains("must be text, not a list") && !wrong.contains("sesame"), "{wrong}");
}

#[test]
fn show_prints_valid_toml_with_sources() {
    let loaded = load(MINIMAL, &[("PICASSO_EGRESS__ALLOW", "10.0.0.0/8:443, 192.0.2.1")]).unwrap();
    let shown = loaded.show();
    assert!(toml::from_str::<toml::Table>(&shown).is_ok(), "{shown}");
    let line = shown.lines().find(|line| line.starts_with("allow = ")).unwrap();
    assert!(line.starts_with("allow = [\"10.0.0.0/8:443\", \"192.0.2.1/32\"]"), "{line}");
    assert!(line.ends_with("# PICASSO_EGRESS__ALLOW"), "{line}");
}

#[test]
fn lists_of_tables_can_come_from_a_variable() {
    let loaded = load(
        MINIMAL,
        &[("PICASSO_IMAGES__REGISTRIES", "[{ host = \"127.0.0.1:5000\", insecure_http = true }]")],
    )
    .unwrap();
    let registry = &loaded.settings.images.registries[0];
    assert_eq!((registry.host.as_str(), registry.insecure_http), ("127.0.0.1:5000", true));
}

#[test]
fn secret_files_are_read_once_and_handed_over() {
    let folder = tempfile::tempdir().unwrap();
    let keystone = folder.path().join("keystone");
    let registry = folder.path().join("registry");
    std::fs::write(&keystone, "first\nsecond\n").unwrap();
    std::fs::write(&registry, "third").unwrap();
    let text = format!(
        "[keystone]\nauth_url = \"http://k/v3\"\nusername = \"picasso\"\npassword_file = {keystone:?}\n\
         [[images.registries]]\nhost = \"r.example.org\"\n[[images.registries.credentials]]\n\
         project = \"*\"\nusername = \"u\"\npassword_file = {registry:?}\n"
    );
    let here = load(&text, &[]).unwrap().with_secret_files().unwrap();
    std::fs::remove_file(&keystone).unwrap();
    let there = Loaded::receive(&here.hand_over().unwrap()).unwrap();
    assert_eq!(there.settings.keystone.password.as_ref().unwrap().expose_secret(), "first");
    let credential = &there.settings.images.registries[0].credentials[0];
    assert_eq!(credential.password.as_ref().unwrap().expose_secret(), "third");
    assert_eq!(*there.source("keystone.password"), Source::SecretFile(keystone.clone()));

    let gone = load(&text, &[]).unwrap().with_secret_files().unwrap_err().to_string();
    assert!(gone.contains("keystone.password_file: cannot read"), "{gone}");
}

#[test]
fn the_default_file_with_every_line_in_force_means_the_defaults() {
    let text: String = default_toml()
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(rest) if rest.split_once(" = ").is_some_and(|(name, _)| is_name(name)) => {
                format!("{rest}\n")
            }
            _ => format!("{line}\n"),
        })
        .collect();
    let credentials = [
        ("PICASSO_KEYSTONE__AUTH_URL", "http://k/v3"),
        ("PICASSO_KEYSTONE__USERNAME", "u"),
        ("PICASSO_KEYSTONE__PASSWORD", "p"),
    ];
    let defaults = load("", &credentials).unwrap();
    // The example registry stays commented out; its settings go with it.
    let (before, rest) = text.split_once("\n# A registry that").unwrap();
    let after = &rest[rest.find("\n[sandbox]").unwrap()..];
    let spelled_out = load(&format!("{before}{after}"), &credentials).unwrap();
    let values = |loaded: &Loaded| -> Vec<String> {
        loaded
            .show()
            .lines()
            .map(|line| line.split(" # ").next().unwrap_or_default().trim().to_owned())
            .collect()
    };
    assert_eq!(values(&spelled_out), values(&defaults));
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
}

#[test]
fn the_committed_reference_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        committed == reference_markdown(),
        "docs/configuration.md is out of date; run: cargo run -q -p picasso -- config reference > docs/configuration.md"
    );
}

#[test]
fn rules_over_several_settings_are_checked() {
    for (text, setting) in [
        ("[listeners.functions]\nport = 10001\n", "listeners.functions.port"),
        ("[listeners.api.tls]\ncertificate_file = \"/c\"\n", "listeners.api.tls.key_file"),
        ("[listeners.admin.tls]\nkey_file = \"/k\"\n", "listeners.admin.tls.certificate_file"),
        ("[listeners.api.unix]\npath = \"run/api.sock\"\n", "listeners.api.unix.path"),
        ("[listeners.api.unix]\nmode = \"0888\"\n", "listeners.api.unix.mode"),
        ("[listeners.functions.unix]\nmode = \"u+rw\"\n", "listeners.functions.unix.mode"),
        (
            "[listeners.api.unix]\npath = \"/s\"\n[listeners.functions.unix]\npath = \"/s\"\n",
            "listeners.functions.unix.path",
        ),
        (
            "[listeners.api.unix]\npath = \"/s\"\n\
             [listeners.api.tls]\ncertificate_file = \"/c\"\nkey_file = \"/k\"\n",
            "listeners.api.tls.certificate_file",
        ),
        ("[bounds]\ndefault_memory_mb = 9000\n", "bounds.default_memory_mb"),
        ("[server]\nuser = \"root\"\n", "server.user"),
        ("[keystone]\napplication_credential_id = \"x\"\n", "keystone.application_credential_id"),
        ("[egress]\nsubnet = \"10.0.0.0/30\"\n", "egress.subnet"),
    ] {
        let text = if text.starts_with("[keystone]\n") {
            MINIMAL.replace("[keystone]\n", text)
        } else {
            format!("{MINIMAL}{text}")
        };
        let faults = load(&text, &[]).unwrap_err();
        assert!(faults.faults().iter().any(|fault| fault.setting == setting), "{setting}: {faults}");
    }
}

#[test]
fn a_shared_token_cache_needs_servers_and_a_key_that_cannot_be_guessed() {
    let key = "k".repeat(32);
    let with = |lines: &str| load(&MINIMAL.replace("[keystone]\n", &format!("[keystone]\n{lines}\n")), &[]);
    let servers = "memcached_servers = [\"a:11211\", \"b\"]";
    for (lines, setting) in [
        (servers.to_owned(), "keystone.memcached_key"),
        (format!("memcached_key = {key:?}"), "keystone.memcached_servers"),
        ("memcached_key_file = \"/k\"".to_owned(), "keystone.memcached_servers"),
        (format!("{servers}\nmemcached_key = \"guess-me\""), "keystone.memcached_key"),
        (
            format!("{servers}\nmemcached_key = {key:?}\nmemcached_key_file = \"/k\""),
            "keystone.memcached_key_file",
        ),
        ("memcached_timeout_ms = 0".to_owned(), "keystone.memcached_timeout_ms"),
    ] {
        let faults = with(&lines).unwrap_err();
        assert!(faults.faults().iter().any(|fault| fault.setting == setting), "{setting}: {faults}");
        assert!(!faults.to_string().contains("guess-me"), "{faults}");
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    let in_file = with(&format!("{servers}\nmemcached_key_file = {file:?}")).unwrap();
    for (text, is_good) in [(key.as_str(), true), ("short", false)] {
        std::fs::write(&file, text).unwrap();
        let loaded = in_file.clone().with_secret_files();
        assert_eq!(loaded.is_ok(), is_good, "{text}");
        assert!(loaded.is_err() || !loaded.unwrap().show().contains(&key));
    }
}

#[test]
fn bounds_of_hot_sandboxes_must_fit_each_other() {
    for (setting, value) in [
        ("default_sandbox_concurrency", "1001"),
        ("default_sandbox_concurrency", "0"),
        ("max_sandbox_concurrency", "0"),
        ("default_idle_timeout_s", "3601"),
        ("max_idle_timeout_s", "99999999"),
        ("max_min_instances", "1000000"),
        ("max_retry_attempts", "0"),
        ("max_retry_backoff_s", "0"),
        ("max_call_age_s", "0"),
        ("max_delay_s", "99999999"),
    ] {
        let told = told(&format!("{MINIMAL}[bounds]\n{setting} = {value}\n"), &[]);
        assert!(told.contains(&format!("bounds.{setting}")), "{setting} = {value}: {told}");
    }
}
