//! Images: bounds and registries.

use std::path::PathBuf;

use secrecy::SecretString;

use crate::tree::{Tables, section};

section! {
    /// Images.
    pub struct Images {
        /// Largest archive that is imported or image that is pulled, bytes as they are sent.
        pub max_archive_bytes: u64 = 4 << 30,
        /// Most layers of one image.
        pub max_layers: u32 = 128,
        /// Largest sum of the files of one image once unpacked, bytes.
        pub max_unpacked_bytes: u64 = 8 << 30,
        /// Most files, folders and links of one image.
        pub max_inodes: u64 = 500_000,
        /// Time for unpacking one layer, seconds.
        pub unpack_timeout_s: u32 = 300,
        /// Time for a pull, seconds.
        pub pull_timeout_s: u32 = 900,
        /// How long the sender of an image may stay silent, seconds.
        pub idle_timeout_s: u32 = 60,
        /// Most image names of one project.
        pub max_names: u32 = 500,
        /// Imports and pulls at one time; one project gets at most half of them.
        pub max_parallel: u32 = 4,
        /// How long an image stays that no name and no route refers to, seconds.
        pub collect_grace_s: u32 = 600,
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
        /// Other hosts that it may send us to for blobs and tokens, such as its token service.
        pub also_hosts: Vec<String> = Vec::new(),
        /// File with certificates (PEM) to trust beside the system's.
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
