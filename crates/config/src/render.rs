//! The settings as text: the reference, the file to start from, and what is in force.

use std::fmt::Write;

use crate::environment::{OLD_NAMES, name_of};
use crate::loader::Loaded;
use crate::settings::Settings;
use crate::tree::{Node, Piece, Place};

/// All sections and settings in order; `templates` adds an example element to empty lists of
/// tables.
pub(crate) fn pieces(settings: &Settings, templates: bool) -> Vec<Piece> {
    let mut out = Vec::new();
    let root = Place { path: String::new(), header: String::new(), name: "", docs: &[], templates };
    settings.walk(&root, &mut out);
    out
}

/// `docs/configuration.md`.
pub fn reference_markdown() -> String {
    let mut text = String::from(
        "# Configuration\n\n\
         <!-- Made by `picasso config reference`; the text is in crates/config/src/settings. -->\n\n\
         `picasso serve --config FILE` reads a TOML file; `picasso config default` prints one to start\n\
         from. A setting is looked for in this order, and the last one found is in force:\n\n\
         1. its default,\n\
         2. the file,\n\
         3. the environment: `PICASSO_SECTION__KEY`, for example `PICASSO_LISTENERS__API__PORT`; lists\n   \
            with commas (`a,b`) or as TOML,\n\
         4. the options of the command line.\n\n\
         Other variables that begin with `PICASSO_` but hold no `__` are left alone, save the names of old\n\
         Picasso: ",
    );
    let old: Vec<String> =
        OLD_NAMES.iter().map(|(name, setting)| format!("`{name}` (`{setting}`)")).collect();
    let _ = writeln!(text, "{}.", old.join(",\n"));
    text.push_str(
        "\nUnknown settings are refused, and all faults are told at once. `picasso config check` looks for\n\
         them, `picasso config show` prints what is in force and where it came from; secrets are shown as\n\
         `***`.\n",
    );
    for piece in pieces(&Settings::default(), true) {
        match piece {
            Piece::Section { header, docs, repeated, .. } => {
                let (open, close) = if repeated { ("[[", "]]") } else { ("[", "]") };
                let _ = write!(text, "\n## `{open}{header}{close}`\n\n{}\n", paragraph(&docs));
            }
            Piece::Leaf { path, name, docs, kind, value } => {
                let value =
                    value.filter(|v| v != "\"\"").map_or(String::new(), |v| format!(", default `{v}`"));
                let _ = write!(text, "\n### `{name}`\n\n{}\n\n", paragraph(&docs));
                let kind = kind.trim_start_matches("a ").trim_start_matches("an ");
                let _ = write!(text, "Type: {kind}{value}.");
                if path.contains('[') {
                    text.push('\n');
                } else {
                    let _ = writeln!(text, " Environment: `{}`.", name_of(&path));
                }
            }
        }
    }
    text
}

/// A commented TOML file in which every setting stands, commented out, with its default.
pub fn default_toml() -> String {
    let mut text = String::from(
        "# Configuration of `picasso serve --config FILE`. Every setting is here with its default.\n\
         # Required: keystone.auth_url, keystone.username and a password.\n",
    );
    for piece in pieces(&Settings::default(), true) {
        match piece {
            Piece::Section { header, docs, repeated, template } => {
                let comment = if template { "# " } else { "" };
                let (open, close) = if repeated { ("[[", "]]") } else { ("[", "]") };
                let _ = write!(text, "\n{}{comment}{open}{header}{close}\n", comments(&docs));
            }
            Piece::Leaf { name, docs, value, .. } => {
                let value = value.unwrap_or_else(|| "\"\"".to_owned());
                let _ = write!(text, "\n{}# {name} = {value}\n", comments(&docs));
            }
        }
    }
    text
}

/// The settings in force, with their sources.
pub(crate) fn show(loaded: &Loaded) -> String {
    let mut text = String::new();
    for piece in pieces(&loaded.settings, false) {
        match piece {
            Piece::Section { header, repeated, .. } => {
                let (open, close) = if repeated { ("[[", "]]") } else { ("[", "]") };
                let gap = if text.is_empty() { "" } else { "\n" };
                let _ = writeln!(text, "{gap}{open}{header}{close}");
            }
            Piece::Leaf { path, name, value, .. } => {
                let source = loaded.source(&path);
                let _ = match value {
                    Some(value) => writeln!(text, "{:<48} # {source}", format!("{name} = {value}")),
                    None => writeln!(text, "{:<48} # {source}", format!("# {name} is not set")),
                };
            }
        }
    }
    text
}

fn paragraph(docs: &[&str]) -> String {
    docs.iter().map(|line| line.trim()).collect::<Vec<_>>().join("\n")
}

fn comments(docs: &[&str]) -> String {
    docs.iter().fold(String::new(), |mut text, line| {
        let _ = writeln!(text, "#{line}");
        text
    })
}
