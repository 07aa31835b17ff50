//! The TOML layer: a file's values with their lines.

use std::path::Path;

use toml::de::{DeTable, DeValue};

use crate::entry::{Entry, Item, Layer, Source};
use crate::fault::{ConfigFault, ConfigFaults};

/// Largest configuration file, bytes.
const MAX_BYTES: u64 = 1024 * 1024;

/// Reads and parses `path`.
pub(crate) fn read(path: &Path) -> Result<Layer, ConfigFaults> {
    let fault = |message: String, hint: &str| {
        ConfigFaults::one(ConfigFault {
            setting: String::new(),
            source: Source::Default,
            message,
            hint: Some(hint.to_owned()),
        })
    };
    let size = std::fs::metadata(path).map_err(|error| {
        fault(
            format!("cannot read {}: {error}", path.display()),
            "`picasso config default` prints a file to start from",
        )
    })?;
    if size.len() > MAX_BYTES {
        return Err(fault(
            format!("{} is larger than 1 MiB", path.display()),
            "name the TOML file of `picasso config default`",
        ));
    }
    let text = std::fs::read_to_string(path).map_err(|error| {
        fault(
            format!("cannot read {}: {error}", path.display()),
            "the file must be UTF-8 and readable by the user who starts picasso",
        )
    })?;
    parse(&text, path)
}

/// Parses `text`; `path` is only named.
pub(crate) fn parse(text: &str, path: &Path) -> Result<Layer, ConfigFaults> {
    let lines = Lines { text, path };
    let table = DeTable::parse(text).map_err(|error| {
        // Only the message: the parser's own display quotes the line, which may hold a password.
        ConfigFaults::one(ConfigFault {
            setting: String::new(),
            source: lines.source(error.span().map_or(0, |span| span.start)),
            message: format!("not valid TOML: {}", error.message()),
            hint: None,
        })
    })?;
    let mut layer = Layer::new();
    lines.flatten("", table.get_ref(), &mut layer);
    Ok(layer)
}

/// Parses a TOML value from text, for lists in variables and options.
pub(crate) fn parse_value(text: &str, source: &Source) -> Option<Item> {
    let value = DeValue::parse(text).ok()?;
    let lines = Lines { text, path: Path::new("") };
    let mut item = lines.item(value.get_ref());
    relocate(&mut item, source);
    Some(item)
}

/// Gives all values inside `item` the source of the variable that held them.
fn relocate(item: &mut Item, source: &Source) {
    let mut inner: Vec<&mut Entry> = match item {
        Item::List(entries) => entries.iter_mut().collect(),
        Item::Table(entries) => entries.values_mut().collect(),
        _ => Vec::new(),
    };
    for entry in &mut inner {
        entry.source = source.clone();
        relocate(&mut entry.item, source);
    }
}

struct Lines<'a> {
    text: &'a str,
    path: &'a Path,
}

impl Lines<'_> {
    fn source(&self, offset: usize) -> Source {
        let before = &self.text.as_bytes()[..offset.min(self.text.len())];
        let line = before.split(|byte| *byte == b'\n').count();
        Source::File { path: self.path.to_owned(), line }
    }

    /// Tables become dotted paths; everything else is a value.
    fn flatten(&self, prefix: &str, table: &DeTable<'_>, layer: &mut Layer) {
        for (key, value) in table {
            let path = format!("{prefix}{}", key.get_ref());
            match value.get_ref() {
                DeValue::Table(inner) if !inner.is_empty() => self.flatten(&format!("{path}."), inner, layer),
                DeValue::Table(_) => {}
                other => {
                    let entry = Entry { item: self.item(other), source: self.source(key.span().start) };
                    layer.insert(path, entry);
                }
            }
        }
    }

    fn item(&self, value: &DeValue<'_>) -> Item {
        match value {
            DeValue::String(text) => Item::Text(text.clone().into_owned()),
            // A number beyond i64 stays text that no number setting takes, and is told as such.
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .map_or_else(|_| Item::Plain(number.to_string()), Item::Integer),
            DeValue::Float(number) => {
                number.as_str().parse().map_or_else(|_| Item::Plain(number.to_string()), Item::Float)
            }
            DeValue::Boolean(value) => Item::Boolean(*value),
            DeValue::Datetime(_) => Item::Date,
            DeValue::Array(values) => Item::List(
                values
                    .iter()
                    .map(|v| Entry { item: self.item(v.get_ref()), source: self.source(v.span().start) })
                    .collect(),
            ),
            DeValue::Table(table) => Item::Table(
                table
                    .iter()
                    .map(|(key, v)| {
                        let source = self.source(key.span().start);
                        (key.get_ref().clone().into_owned(), Entry { item: self.item(v.get_ref()), source })
                    })
                    .collect(),
            ),
        }
    }
}
