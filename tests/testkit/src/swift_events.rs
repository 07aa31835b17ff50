//! Our filter for Swift's proxy (`clients/swift-middleware`), set up for a test: its section, and the spool
//! in which its events wait.

use crate::keystone::{Keystone, root};
use crate::process::TestDir;
use crate::swift::Filter;

/// The folder of events that wait, apart from Swift's own files: what is in it is searched for secrets.
#[derive(Debug)]
pub struct EventSpool {
    dir: TestDir,
}

impl EventSpool {
    /// An empty one.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self { dir: TestDir::new("spool")? })
    }

    /// The filter that tells the Picasso at this URL of changes, as the user `picasso`. `options` are more
    /// lines of its section (`clients/swift-middleware/README.md`).
    pub fn filter(&self, keystone: &Keystone, picasso: &str, options: &str) -> Filter {
        let settings = format!(
            "paste.filter_factory = picasso_swift:filter_factory\nendpoint = {picasso}\nauth_url = {}\n\
             username = picasso\npassword = {}\nproject_name = service\nspool_dir = {}\nretry_max = 1\n\
             {options}",
            keystone.auth_url(),
            keystone.password("picasso"),
            self.dir.path().display(),
        );
        Filter { name: "picasso".to_owned(), settings, python_path: root().join("clients/swift-middleware") }
    }

    /// What waits; empty where nothing does.
    pub fn text(&self) -> String {
        let files = std::fs::read_dir(self.dir.path()).into_iter().flatten().flatten();
        files.filter_map(|file| std::fs::read_to_string(file.path()).ok()).collect()
    }
}
