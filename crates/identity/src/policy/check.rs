//! What a rule is made of, parsed: the nodes of oslo.policy's language.

use super::template::Template;

/// A rule, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// `@`, and the empty rule: always.
    Always,
    /// `!`, and whatever could not be understood: never.
    Never,
    /// `not …`.
    Not(Box<Check>),
    /// `… and …`.
    All(Vec<Check>),
    /// `… or …`.
    Any(Vec<Check>),
    /// `rule:NAME`.
    Rule(String),
    /// `role:NAME`; the name may hold values of the target.
    Role(Template),
    /// `http:…` or `https:…`, with the scheme.
    Remote(Template),
    /// `LEFT:RIGHT`: a literal or an attribute of the credentials against a text with values of the
    /// target.
    Compare {
        /// What stands before the colon.
        left: Operand,
        /// What stands behind it.
        right: Template,
    },
}

/// The left side of a comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operand {
    /// A literal (`'member'`, `True`, `3`), as Python's `str()` writes its value.
    Literal(String),
    /// An attribute of the credentials; `user.domain` looks into what `user` holds.
    Attribute(Vec<String>),
    /// Neither: evaluating it is a fault, as it is in oslo.policy.
    Broken,
}

impl Check {
    /// The rules that this one refers to.
    pub(super) fn names_of_rules<'a>(&'a self, found: &mut Vec<&'a str>) {
        match self {
            Self::Rule(name) => found.push(name),
            Self::Not(inner) => inner.names_of_rules(found),
            Self::All(parts) | Self::Any(parts) => {
                for part in parts {
                    part.names_of_rules(found);
                }
            }
            Self::Always | Self::Never | Self::Role(_) | Self::Remote(_) | Self::Compare { .. } => {}
        }
    }
}
