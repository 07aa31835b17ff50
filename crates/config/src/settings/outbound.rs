//! Requests that tenants can aim.

use std::path::PathBuf;

use picasso_types::network::Destination;

use crate::tree::section;

section! {
    /// Outbound requests.
    pub struct Outbound {
        /// Destinations that are reachable although the rules above refuse them: `NETWORK[:PORT]`,
        /// IPv6 in brackets. An address of this host counts only where it is listed by itself.
        pub allow: Vec<Destination> = Vec::new(),
        /// Destinations that are never reachable, in the same form; wins over `allow`, and over
        /// `allow_private` of a registry.
        pub deny: Vec<Destination> = Vec::new(),
        /// File with certificates (PEM) to trust beside the system's, for destinations and callbacks.
        pub ca_file: Option<PathBuf> = None,
        /// Time for resolving a name, and for each connection, seconds.
        pub connect_timeout_s: u32 = 5,
        /// Time for one attempt of a delivery from its connection to the end of the answer, seconds.
        pub timeout_s: u32 = 30,
        /// Most bytes that are read of an answer; they are thrown away.
        pub max_answer_bytes: u32 = 64 << 10,
        /// Most bytes of a request or a result within a destination's document; longer ones are cut.
        pub max_payload_bytes: u32 = 256 << 10,
        /// Deliveries under way at one time.
        pub max_parallel: u32 = 64,
        /// The same of one project.
        pub max_parallel_per_project: u32 = 16,
        /// The same to one host and port.
        pub max_parallel_per_host: u32 = 8,
        /// How often a delivery is tried at most.
        pub max_attempts: u32 = 12,
        /// How long a delivery is tried at most, seconds.
        pub max_age_s: u32 = 86_400,
        /// The pause after the first attempt that failed, seconds; each further one is twice as long.
        pub retry_initial_s: u32 = 5,
        /// The longest pause, also of those that a receiver asks for (`Retry-After`), seconds.
        pub retry_max_s: u32 = 3600,
        /// How long the old signing key of an app still signs beside the new one, seconds.
        pub signing_key_overlap_s: u32 = 86_400,
    }
}
