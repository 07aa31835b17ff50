//! Who may do what: rules in oslo.policy's language, with defaults in code and files that put
//! others in their place.
//!
//! Contract: oslo.policy 6.0 (`_parser.py`, `_checks.py`, `_external.py`, `policy.py`). It differs
//! where it is safer: values within the URL of an `http:` check are percent-encoded, an answer counts
//! only with a status of 200 to 299, and where oslo.policy raises, nothing is allowed.

mod check;
mod credentials;
pub mod defaults;
mod enforcer;
mod evaluate;
mod file;
mod files;
mod parser;
mod python;
mod remote;
mod rules;
mod sample;
mod template;

pub use check::{Check, Operand};
pub use credentials::Credentials;
pub use defaults::{NamedRule, RuleDefault};
pub use enforcer::{Enforcer, RemoteSettings};
pub use evaluate::{Halt, Question, evaluate};
pub use file::{FileFault, MAX_FILE_BYTES, parse_file};
pub use files::{PolicyFiles, Stamp};
pub use parser::{MAX_RULE_BYTES, parse, parse_text};
pub use remote::{MAX_ANSWER_BYTES, RemoteCheck, RemoteFault, RemoteFormat};
pub use rules::{Override, RuleSet};
pub use sample::sample;
pub use template::Template;
