//! The loader: defaults, then file, then environment, then command line, then the rules.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::entry::{Entry, Item, Layer, Source};
use crate::environment::{self, name_of};
use crate::fault::{ConfigFault, ConfigFaults};
use crate::settings::Settings;
use crate::suggest::nearest;
use crate::tree::{Node, Piece, Taker};
use crate::{file, render, secret_file, validate};

/// What the settings are made of.
#[derive(Debug, Clone, Default)]
pub struct Inputs {
    /// The TOML file, if one is named.
    pub file: Option<PathBuf>,
    /// The environment.
    pub variables: Vec<(String, String)>,
    /// Command-line options: (setting, value, option as the user wrote it).
    pub options: Vec<(String, String, String)>,
}

impl Inputs {
    /// A file and this process's environment. Variables that are not UTF-8 cannot be ours.
    pub fn of_process(file: Option<PathBuf>) -> Self {
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self { file, variables, options: Vec::new() }
    }

    /// Sets `setting` as by the command-line option `option`.
    #[must_use]
    pub fn with_option(mut self, setting: &str, value: &str, option: &str) -> Self {
        self.options.push((setting.to_owned(), value.to_owned(), option.to_owned()));
        self
    }
}

/// Settings that passed all checks, and where each came from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    sources: BTreeMap<String, Source>,
    layers: Layer,
}

/// The merged layers as they travel to a process that may not read the files itself.
#[derive(Serialize, Deserialize)]
struct Handover(Layer);

impl Loaded {
    /// Loads and checks the settings; the error names every fault.
    pub fn load(inputs: &Inputs) -> Result<Self, ConfigFaults> {
        Self::check(Self::merged(inputs)?, validate::broken_rules)
    }

    /// Loads the settings for a command that only looks for a running server or its database: a
    /// value that cannot be read is a fault, one that is missing is not.
    pub fn load_for_client(inputs: &Inputs) -> Result<Self, ConfigFaults> {
        Self::check(Self::merged(inputs)?, |_| Vec::new())
    }

    fn merged(inputs: &Inputs) -> Result<Layer, ConfigFaults> {
        let mut layers = match &inputs.file {
            Some(path) => file::read(path)?,
            None => Layer::new(),
        };
        for layer in environment::layers(&inputs.variables) {
            overlay(&mut layers, layer);
        }
        for (setting, value, option) in &inputs.options {
            let entry =
                Entry { item: Item::Plain(value.clone()), source: Source::CommandLine(option.clone()) };
            overlay(&mut layers, Layer::from([(setting.clone(), entry)]));
        }
        Ok(layers)
    }

    /// Reads the secrets that stand in files of their own (`password_file`).
    pub fn with_secret_files(self) -> Result<Self, ConfigFaults> {
        let (secrets, faults) = secret_file::read_all(&self.settings);
        ConfigFaults::check(faults)?;
        let mut layers = self.layers;
        for (setting, entry) in secrets {
            remove(&mut layers, &format!("{setting}_file"));
            insert(&mut layers, &setting, entry);
        }
        Self::check(layers, validate::broken_rules)
    }

    /// Where `setting` came from.
    pub fn source(&self, setting: &str) -> &Source {
        self.sources.get(setting).unwrap_or(&Source::Default)
    }

    /// The effective settings as TOML, each with its source; secrets are `***`.
    pub fn show(&self) -> String {
        render::show(self)
    }

    /// Everything, **with secrets**, for a process of ours that takes it by [`Loaded::receive`]
    /// through a descriptor.
    pub fn hand_over(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(&Handover(self.layers.clone()))
    }

    /// Takes what [`Loaded::hand_over`] gave.
    pub fn receive(bytes: &[u8]) -> Result<Self, ConfigFaults> {
        let Handover(layers) = serde_json::from_slice(bytes).map_err(|error| {
            ConfigFaults::one(ConfigFault {
                setting: String::new(),
                source: Source::Default,
                message: format!("the handed-over settings are not readable (line {})", error.line()),
                hint: None,
            })
        })?;
        Self::check(layers, validate::broken_rules)
    }

    fn check(layers: Layer, rules: fn(&Settings) -> Vec<validate::BrokenRule>) -> Result<Self, ConfigFaults> {
        let mut taker = Taker { entries: layers.clone(), ..Taker::default() };
        let settings = Settings::default().load("", &mut taker);
        let mut faults = std::mem::take(&mut taker.faults);
        faults.extend(unknown(&taker.entries));
        for (setting, message, hint) in rules(&settings) {
            // A value that could not be read was told already; what rests on its default is noise.
            if faults.iter().any(|fault| fault.setting == setting) {
                continue;
            }
            let source = taker.taken.get(&setting).cloned().unwrap_or(Source::Default);
            let hint = hint.or_else(|| (source == Source::Default).then(|| how_to_set(&setting)).flatten());
            faults.push(ConfigFault { setting, source, message, hint });
        }
        ConfigFaults::check(faults)?;
        Ok(Self { settings, sources: taker.taken, layers })
    }
}

/// How to set what nobody set yet.
fn how_to_set(setting: &str) -> Option<String> {
    (!setting.contains('[')).then(|| format!("set it in the file or by {}", name_of(setting)))
}

/// What is left in the layers after every setting took its own.
fn unknown(left: &Layer) -> Vec<ConfigFault> {
    let known: Vec<String> = known_paths();
    left.iter()
        .map(|(path, entry)| {
            let plain = without_indices(path);
            let below = format!("{plain}.");
            let (message, hint) = if let Some(inside) = known.iter().find(|name| name.starts_with(&below)) {
                ("is a section, not a setting".to_owned(), Some(format!("it has settings like {inside}")))
            } else {
                let meant = nearest(&plain, known.iter().map(String::as_str));
                let hint = meant.map(|name| match &entry.source {
                    Source::Variable(_) => format!("did you mean {}?", name_of(name)),
                    _ => format!("did you mean {name}?"),
                });
                ("unknown setting".to_owned(), hint)
            };
            ConfigFault { setting: path.clone(), source: entry.source.clone(), message, hint }
        })
        .collect()
}

/// The paths of all settings, without indices.
fn known_paths() -> Vec<String> {
    render::pieces(&Settings::default(), true)
        .into_iter()
        .filter_map(|piece| match piece {
            Piece::Leaf { path, .. } => Some(without_indices(&path)),
            Piece::Section { .. } => None,
        })
        .collect()
}

fn without_indices(path: &str) -> String {
    let mut plain = String::with_capacity(path.len());
    let mut inside = false;
    for character in path.chars() {
        match character {
            '[' => inside = true,
            ']' => inside = false,
            other if !inside => plain.push(other),
            _ => {}
        }
    }
    plain
}

fn overlay(layers: &mut Layer, over: Layer) {
    layers.extend(over);
}

/// The table in a list of tables that holds `path` (`a.b[0].c[1].d`), and the rest of the path.
fn insert(layers: &mut Layer, path: &str, entry: Entry) {
    match table_of(layers, path) {
        Some((table, name)) => {
            table.insert(name, entry);
        }
        None => {
            layers.insert(path.to_owned(), entry);
        }
    }
}

fn remove(layers: &mut Layer, path: &str) {
    match table_of(layers, path) {
        Some((table, name)) => {
            table.remove(&name);
        }
        None => {
            layers.remove(path);
        }
    }
}

fn table_of<'a>(layers: &'a mut Layer, path: &str) -> Option<(&'a mut Layer, String)> {
    let (list, rest) = path.split_once('[')?;
    let (index, rest) = rest.split_once("].")?;
    let entry = layers.get_mut(list)?;
    if let Item::Plain(text) = &entry.item {
        entry.item = file::parse_value(text, &entry.source)?;
    }
    let Item::List(elements) = &mut entry.item else { return None };
    let Item::Table(table) = &mut elements.get_mut(index.parse::<usize>().ok()?)?.item else { return None };
    if rest.contains('[') { table_of(table, rest) } else { Some((table, rest.to_owned())) }
}
