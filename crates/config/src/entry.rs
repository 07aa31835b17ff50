//! Values on their way into the settings, each with where it came from.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where a setting's value came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// Nobody set it.
    Default,
    /// A line of a TOML file.
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// A variable of the environment.
    Variable(String),
    /// An option of the command line.
    CommandLine(String),
    /// A file that another setting names (`password_file`).
    SecretFile(PathBuf),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => f.write_str(name),
            Self::CommandLine(option) => f.write_str(option),
            Self::SecretFile(path) => write!(f, "read from {}", path.display()),
        }
    }
}

/// A value that is not checked yet.
///
/// It may hold a secret, so it has no `Debug` that shows it.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) enum Item {
    /// Text of the environment or the command line: its type is whatever the setting wants.
    Plain(String),
    /// A TOML string.
    Text(String),
    /// A TOML integer, decimal.
    Integer(i64),
    /// A TOML float.
    Float(f64),
    /// A TOML boolean.
    Boolean(bool),
    /// A TOML date or time, which no setting takes.
    Date,
    /// A TOML array.
    List(Vec<Entry>),
    /// A TOML table inside an array.
    Table(BTreeMap<String, Entry>),
}

impl Item {
    /// What it is, for a message about a wrong type.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Plain(_) | Self::Text(_) => "text",
            Self::Integer(_) => "a whole number",
            Self::Float(_) => "a fraction",
            Self::Boolean(_) => "true or false",
            Self::Date => "a date",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

impl fmt::Debug for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())
    }
}

/// A value and where it came from.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) item: Item,
    pub(crate) source: Source,
}

/// One layer of configuration: values by dotted path.
pub(crate) type Layer = BTreeMap<String, Entry>;
