//! Secrets that stand in files of their own (`password_file`): read once, by whoever starts the
//! server, so that the user it becomes needs no right to read them.

use std::path::Path;

use crate::entry::{Entry, Item, Layer, Source};
use crate::fault::ConfigFault;
use crate::settings::Settings;

/// Largest secret, bytes.
const MAX_BYTES: usize = 64 * 1024;

/// The secrets that `settings` names files for, as a layer.
pub(crate) fn read_all(settings: &Settings) -> (Layer, Vec<ConfigFault>) {
    let keystone = &settings.keystone;
    let mut files = vec![
        ("keystone.password".to_owned(), &keystone.password_file),
        ("keystone.application_credential_secret".to_owned(), &keystone.application_credential_secret_file),
        ("keystone.memcached_key".to_owned(), &keystone.memcached_key_file),
        ("queue.url".to_owned(), &settings.queue.url_file),
        ("iron.jwt_auth_key".to_owned(), &settings.iron.jwt_auth_key_file),
        ("calls.s3_secret_key".to_owned(), &settings.calls.s3_secret_key_file),
    ];
    for (i, registry) in settings.images.registries.iter().enumerate() {
        for (j, credential) in registry.credentials.iter().enumerate() {
            let setting = format!("images.registries[{i}].credentials[{j}].password");
            files.push((setting, &credential.password_file));
        }
    }
    let mut layer = Layer::new();
    let mut faults = Vec::new();
    for (setting, file) in files {
        let Some(path) = file else { continue };
        match read(path) {
            Ok(secret) => {
                let source = Source::SecretFile(path.clone());
                layer.insert(setting, Entry { item: Item::Text(secret), source });
            }
            Err(message) => faults.push(ConfigFault {
                setting: format!("{setting}_file"),
                source: Source::Default,
                message,
                hint: Some(
                    "the file holds the secret in its first line; whoever starts picasso must be able to read it"
                        .to_owned(),
                ),
            }),
        }
    }
    (layer, faults)
}

fn read(path: &Path) -> Result<String, String> {
    let text = read_bounded(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let line = text.lines().next().unwrap_or_default();
    if line.is_empty() { Err(format!("{} is empty", path.display())) } else { Ok(line.to_owned()) }
}

fn read_bounded(path: &Path) -> std::io::Result<String> {
    use std::io::Read;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(MAX_BYTES as u64).read_to_end(&mut bytes)?;
    String::from_utf8(bytes).map_err(|_| std::io::Error::other("not UTF-8 text"))
}
