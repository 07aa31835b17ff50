//! The process, its database, its key and its logs.

use std::path::PathBuf;

use crate::entry::Entry;
use crate::leaf::{Leaf, quoted, text, word_leaf};
use crate::tree::section;

section! {
    /// The process.
    pub struct Server {
        /// The user whom the part that speaks HTTP becomes when the server is started as root.
        pub user: String = "picasso".to_owned(),
        /// Folder of database, images, layers and the admin socket. Made when it is missing; two
        /// servers never share one.
        pub data_dir: PathBuf = PathBuf::from("/var/lib/picasso"),
        /// How long calls may go on after SIGTERM before they are ended, seconds. A second signal
        /// ends them at once.
        pub shutdown_grace_s: u32 = 30,
    }
}

section! {
    /// The database.
    pub struct Database {
        /// Where the data is: `sqlite:` and a path, or just a path. Default: `picasso.db` in
        /// `server.data_dir`. The old name `PICASSO_DB` sets it, too.
        pub url: Option<DatabaseUrl> = None,
        /// Bring the tables of an older version up to date when the server starts. Otherwise it
        /// refuses to start until `picasso db upgrade` was run. A new database is always made.
        pub upgrade_on_start: bool = false,
    }
}

/// The path of a SQLite database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseUrl {
    /// The file.
    pub path: PathBuf,
}

impl Leaf for DatabaseUrl {
    fn kind() -> String {
        "a SQLite URL or path".to_owned()
    }

    fn parse(entry: &Entry) -> Result<Self, String> {
        let Some(url) = text(entry) else {
            return Err(format!("must be text like \"sqlite:/path\", not {}", entry.item.kind()));
        };
        let sqlite = ["sqlite:", "sqlite3:"].iter().find_map(|scheme| url.strip_prefix(scheme));
        let path = match (sqlite, url.split_once(':')) {
            (Some(rest), _) => sqlite_path(rest),
            // Old Picasso's look like mysql+pymysql://user:password@host/functions. Only the scheme
            // is shown, because the rest holds a password.
            (None, Some((scheme, _))) if !scheme.contains(['/', '.']) => {
                return Err(format!(
                    "names a database that this version cannot use yet ({scheme:?}); it keeps its data in \
                     SQLite: write \"sqlite:/path/to/picasso.db\""
                ));
            }
            (None, _) => url,
        };
        if path.is_empty() || path.contains(['?', '#', '\0']) || path == ":memory:" {
            return Err(
                "must name a database file, without options: \"sqlite:/path/to/picasso.db\"".to_owned()
            );
        }
        Ok(Self { path: PathBuf::from(path) })
    }

    fn show(&self) -> Option<String> {
        Some(quoted(&format!("sqlite:{}", self.path.display())))
    }
}

/// The path behind `sqlite:`. `sqlite:///x` is `/x`, as in sqlx; SQLAlchemy's `sqlite:////x` too.
fn sqlite_path(rest: &str) -> &str {
    match rest.strip_prefix("//") {
        Some(path) if path.starts_with("//") => &path[1..],
        Some(path) => path,
        None => rest,
    }
}

section! {
    /// Encryption at rest.
    pub struct Encryption {
        /// File with the key under which stored bodies are encrypted: 32 random bytes. Made on the
        /// first start, readable by the user who starts the server only. Keep a copy: without it
        /// stored calls cannot be read. Default: `encryption.key` in `server.data_dir`.
        pub key_file: Option<PathBuf> = None,
    }
}

word_leaf!(
    /// How log lines look.
    LogFormat {
        /// A line for people.
        Text = "text",
        /// A JSON object a line.
        Json = "json",
    }
);

section! {
    /// Logs.
    pub struct Log {
        /// How lines look.
        pub format: LogFormat = LogFormat::Text,
        /// What is logged: a level (`error`, `warn`, `info`, `debug`, `trace`), or levels by module
        /// like `info,picasso_engine=debug`.
        pub level: String = "info".to_owned(),
    }
}
