//! Barbican, whose secrets functions can get.

use crate::tree::section;

section! {
    /// Barbican.
    pub struct KeyManager {
        /// Whether secrets of apps and routes can be references to secrets of Barbican
        /// (`barbican:UUID`), which are read when they are saved, with the token of whoever saves.
        pub enabled: bool = true,
        /// Which of the endpoints in Keystone's catalog is used: `public` or `internal`. Their
        /// addresses may be private: what the catalog names as the key manager is reached whatever its
        /// address, unless `outbound.deny` lists it. Certificates as for `outbound.ca_file`.
        pub interface: String = "public".to_owned(),
        /// The region of that endpoint. Default: the first that the catalog has.
        pub region: Option<String> = None,
    }
}
