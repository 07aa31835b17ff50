//! Images: bounds and registries.

use std::path::PathBuf;

use secrecy::SecretString;

use crate::tree::{Tables, section};

section! {
    /// Images.
    pub struct Images {
        /// Largest image that is imported or pulled, compressed, bytes.
        pub max_image_bytes: u64 = 2 * 1024 * 1024 * 1024,
        /// Largest sum of the files of one unpacked layer, bytes.
        pub max_layer_bytes: u64 = 4 * 1024 * 1024 * 1024,
        /// Most entries of one layer.
        pub max_layer_inodes: u64 = 500_000,
        /// Most layers of one image.
        pub max_layers: u32 = 64,
        /// Most bytes of images one project may keep, compressed.
        pub project_quota_bytes: u64 = 10 * 1024 * 1024 * 1024,
        /// Time for a pull, seconds.
        pub pull_timeout_s: u32 = 600,
        /// Images being pulled or imported at one time.
        pub max_parallel: u32 = 2,
        /// A registry that images may be pulled from. Without any, only images that were loaded
        /// (`picasso image load`, or `PUT /v1/{project_id}/images/{name}`) can run.
        pub registries: Tables<Registry>,
    }
}

section! {
    /// A registry.
    pub struct Registry {
        /// Host name, with a port where it is not the usual one: `registry.example.org:5000`.
        pub host: String = String::new(),
        /// Talk HTTP without TLS to it.
        pub insecure_http: bool = false,
        /// It may be at a private or loopback address.
        pub allow_private: bool = false,
        /// File with the certificates (PEM) that sign its own. Default: the system's.
        pub ca_file: Option<PathBuf> = None,
        /// Who we are to it, by project. Other projects pull without credentials.
        pub credentials: Tables<RegistryCredential>,
    }
}

section! {
    /// Credentials for a registry.
    pub struct RegistryCredential {
        /// The id of the Keystone project whose routes pull with it, or `*` for all projects.
        pub project: String = String::new(),
        /// User name.
        pub username: String = String::new(),
        /// Password or token.
        pub password: Option<SecretString> = None,
        /// File whose first line is the password.
        pub password_file: Option<PathBuf> = None,
    }
}
