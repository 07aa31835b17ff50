//! The process, its database, its key and its logs.

use std::path::PathBuf;

use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::mariadb_url;
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
        /// Serve without Keystone: only the IronFunctions face and the operator's listeners. What
        /// `picasso serve --standalone` sets.
        pub standalone: bool = false,
        /// How long calls may go on after SIGTERM before they are ended, seconds. A second signal
        /// ends them at once.
        pub shutdown_grace_s: u32 = 30,
    }
}

section! {
    /// The database.
    pub struct Database {
        /// Where the data is: `sqlite:` and a path, or just a path;
        /// `postgres://user:password@host/database` for PostgreSQL (options of libpq after a `?`,
        /// like `sslmode=verify-full`); `mysql://user:password@host/database` for MariaDB (also
        /// written `mariadb://` or `mysql+pymysql://`; options `ssl-mode`, `ssl-ca`, `ssl-cert`,
        /// `ssl-key`, `socket`). Default: `picasso.db` in `server.data_dir`. The old name
        /// `PICASSO_DB` sets it, too.
        pub url: Option<DatabaseUrl> = None,
        /// Connections to a database server, for each process, and one more that follows what other
        /// processes change; SQLite has its own way.
        pub max_connections: u32 = 20,
        /// While the database does not answer, functions whose route was read at most this many
        /// seconds ago go on answering synchronous calls. A node that is cut off from the database
        /// does not see in this time that a public function was made private, or deleted. 0: calls
        /// need the database once what is cached is half a minute old.
        pub serve_cached_s: u32 = 3600,
        /// Bring the tables of an older version up to date when the server starts. Otherwise it
        /// refuses to start until `picasso db upgrade` was run. A new database is always made.
        pub upgrade_on_start: bool = false,
    }
}

/// Where the data is. URLs of servers hold passwords: `Debug` does not show them.
#[derive(Debug, Clone)]
pub enum DatabaseUrl {
    /// A file.
    Sqlite(PathBuf),
    /// A PostgreSQL server, as `postgres://…`.
    Postgres(SecretString),
    /// A MariaDB server, as `mysql://…` with the options that the driver knows.
    MariaDb(SecretString),
}

impl DatabaseUrl {
    /// The URL as people may see it: without its password.
    pub fn shown(&self) -> String {
        match self {
            Self::Sqlite(path) => format!("sqlite:{}", path.display()),
            Self::Postgres(url) | Self::MariaDb(url) => without_password(url.expose_secret()),
        }
    }
}

impl Leaf for DatabaseUrl {
    fn kind() -> String {
        "a database's URL, or the path of a SQLite file".to_owned()
    }

    fn parse(entry: &Entry) -> Result<Self, String> {
        let Some(url) = text(entry) else {
            return Err(format!("must be text like \"sqlite:/path\", not {}", entry.item.kind()));
        };
        // No message quotes more than the scheme, because the rest may hold a password.
        let path = match url.split_once(':') {
            Some(("sqlite" | "sqlite3", rest)) => sqlite_path(rest),
            Some(("postgres" | "postgresql", rest)) => {
                return server_url("postgres", rest).map(|url| Self::Postgres(String::from(url).into()));
            }
            Some(("mysql" | "mariadb" | "mysql+pymysql" | "mariadb+pymysql", rest)) => {
                let url = mariadb_url::with_known_options(&server_url("mysql", rest)?)?;
                return Ok(Self::MariaDb(String::from(url).into()));
            }
            Some((scheme, _)) if !scheme.contains(['/', '.']) => {
                return Err(format!(
                    "names a kind of database that is not known ({scheme:?}); write \"sqlite:/path/to/picasso.db\", \
                     \"postgres://user:password@host/database\" or \"mysql://user:password@host/database\""
                ));
            }
            _ => url,
        };
        if path.is_empty() || path.contains(['?', '#', '\0']) || path == ":memory:" {
            return Err(
                "must name a database file, without options: \"sqlite:/path/to/picasso.db\"".to_owned()
            );
        }
        Ok(Self::Sqlite(PathBuf::from(path)))
    }

    fn show(&self) -> Option<String> {
        Some(quoted(&self.shown()))
    }
}

/// The URL of a server's database under the scheme that drivers know.
fn server_url(scheme: &str, rest: &str) -> Result<Url, String> {
    let url: Url = format!("{scheme}:{rest}").parse().map_err(|error| {
        format!("is no URL ({error}); special characters of a password are written as %40 and the like")
    })?;
    // A socket's folder comes as `?host=/run/…`.
    let has_host = url.has_host() || url.query_pairs().any(|(name, _)| name == "host");
    if !has_host || url.path().trim_start_matches('/').is_empty() {
        return Err(format!("must name a host and a database: \"{scheme}://user:password@host/database\""));
    }
    Ok(url)
}

/// Options may hold a password, too: they are left out.
fn without_password(url: &str) -> String {
    let Ok(mut url) = url.parse::<Url>() else { return "***".to_owned() };
    if url.password().is_some() && url.set_password(Some("***")).is_err() {
        return "***".to_owned();
    }
    url.set_query(None);
    url.set_fragment(None);
    url.to_string()
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
