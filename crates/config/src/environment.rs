//! The environment layer: `PICASSO_SECTION__KEY`, and the old service's names.

use crate::entry::{Entry, Item, Layer, Source};

/// Names of the Python service and of IronFunctions that keep working, and the settings they mean.
pub(crate) const OLD_NAMES: [(&str, &str); 4] = [
    ("PICASSO_PORT", "listeners.api.port"),
    ("PICASSO_DB", "database.url"),
    ("KEYSTONE_ENDPOINT", "keystone.auth_url"),
    ("JWT_AUTH_KEY", "iron.jwt_auth_key"),
];

const PREFIX: &str = "PICASSO_";

/// The layers of `variables`: old names first, so that a new name wins over an old one.
///
/// Only names with `__` are ours; other `PICASSO_…` variables belong to tests and clients.
pub(crate) fn layers(variables: &[(String, String)]) -> [Layer; 2] {
    let mut old = Layer::new();
    let mut new = Layer::new();
    for (name, value) in variables {
        let entry = Entry { item: Item::Plain(value.clone()), source: Source::Variable(name.clone()) };
        if let Some((_, setting)) = OLD_NAMES.iter().find(|(known, _)| known == name) {
            old.insert((*setting).to_owned(), entry);
        } else if let Some(rest) = name.strip_prefix(PREFIX)
            && rest.contains("__")
        {
            new.insert(rest.to_ascii_lowercase().replace("__", "."), entry);
        }
    }
    [old, new]
}

/// The variable that sets `setting`.
pub(crate) fn name_of(setting: &str) -> String {
    format!("{PREFIX}{}", setting.replace('.', "__").to_ascii_uppercase())
}
