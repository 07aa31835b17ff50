//! The IronFunctions face beside its listener.

use std::path::PathBuf;

use secrecy::SecretString;

use crate::tree::section;

section! {
    /// The IronFunctions face.
    pub struct Iron {
        /// The key of the tokens (JWT, HS256, HS384 or HS512) that `/v1` and `/tasks` ask for.
        /// Without it `/v1` is open to whoever reaches the listener, and `/tasks` to nobody. The old
        /// name `JWT_AUTH_KEY` sets it, too.
        pub jwt_auth_key: Option<SecretString> = None,
        /// File whose first line is that key.
        pub jwt_auth_key_file: Option<PathBuf> = None,
    }
}
