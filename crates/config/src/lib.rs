//! Configuration: one [`Settings`] tree, its loader and its reference text.
//!
//! Settings come from defaults, then a TOML file, then the environment, then command-line
//! options; all faults of all of them are told at once. The doc comments of the fields are the
//! reference: `picasso config reference` prints them, `docs/configuration.md` is that text.

mod entry;
mod environment;
mod fault;
mod file;
mod leaf;
mod loader;
mod render;
mod secret_file;
pub mod settings;
mod suggest;
mod tree;
mod validate;

pub use entry::Source;
pub use fault::{ConfigFault, ConfigFaults};
pub use loader::{Inputs, Loaded};
pub use render::{default_toml, reference_markdown};
pub use settings::Settings;
