//! Zaqar, whose queues can be destinations of ended calls.

use crate::tree::section;

section! {
    /// Zaqar.
    pub struct Messaging {
        /// Whether queues of Zaqar can be destinations.
        pub enabled: bool = true,
        /// Which of the endpoints in Keystone's catalog is used: `public` or `internal`. Their
        /// addresses may be private: what the catalog names as the messaging service is reached
        /// whatever its address, unless `outbound.deny` lists it. Certificates as for
        /// `outbound.ca_file`.
        pub interface: String = "public".to_owned(),
        /// The region of that endpoint. Default: the first that the catalog has.
        pub region: Option<String> = None,
        /// How long leave to post into a queue is asked for, seconds. It ends then, and the route's
        /// destination has to be named again.
        pub grant_s: u32 = 31_536_000,
        /// Most bytes of a message: `max_messages_post_size` of Zaqar.
        pub max_message_bytes: u32 = 256 << 10,
    }
}
