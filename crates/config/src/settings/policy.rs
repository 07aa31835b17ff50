//! Who may do what: where rules come from that take the place of the defaults.

use std::path::PathBuf;

use picasso_types::network::Destination;

use crate::leaf::word_leaf;
use crate::tree::section;

section! {
    /// Who may do what.
    pub struct Policy {
        /// File with rules in oslo.policy's language (YAML or JSON) that take the place of the
        /// defaults; `picasso policy sample` prints one. `server.user` has to be able to read it.
        /// Default: `/etc/picasso/policy.yaml`, where it exists.
        pub file: Option<PathBuf> = None,
        /// Folders with further files (`*.yaml`, `*.yml`, `*.json`), read after it in the order of
        /// their names; later rules take the place of earlier ones.
        pub dirs: Vec<PathBuf> = vec![PathBuf::from("/etc/picasso/policy.d")],
        /// How often the files are looked at for changes, seconds. Changes count without a restart;
        /// while a file is broken, the rules before it stay in force.
        pub reload_s: u32 = 5,
        /// Time for one question to a policy server (`http:` and `https:` checks), seconds.
        pub remote_timeout_s: u32 = 10,
        /// How such a question is written.
        pub remote_content_type: RemoteContentType = RemoteContentType::Form,
        /// Policy servers on private addresses and addresses of this host: `NETWORK[:PORT]`, IPv6 in
        /// brackets. `outbound.allow` does not count for them, and this not for tenants' requests.
        pub remote_allow: Vec<Destination> = Vec::new(),
        /// File with certificates (PEM) to trust beside the system's, for policy servers.
        pub remote_ca_file: Option<PathBuf> = None,
    }
}

word_leaf!(
    /// How a question to a policy server is written.
    RemoteContentType {
        /// A form whose fields are JSON.
        Form = "application/x-www-form-urlencoded",
        /// One JSON document.
        Json = "application/json",
    }
);
