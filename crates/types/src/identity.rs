//! Whom a function is in OpenStack: what its owner granted it, and whether that still holds.
//!
//! An identity belongs to the user who granted it. When another user changes what the function runs,
//! it is suspended until that user consents: nobody acts as somebody else by changing their function.

use std::fmt;

use crate::clock::Timestamp;
use crate::fault::FieldFault;
use crate::ids::{ProjectId, RouteId};
use crate::sealed::Sealed;
use crate::text_enum::text_enum;

/// Most roles of a trust.
pub const MAX_ROLES: usize = 32;
/// Longest name of a role, characters; Keystone's own limit.
const MAX_ROLE_NAME: usize = 255;

text_enum!(
    /// How a function acts in OpenStack.
    IdentityKind, "type" {
        /// By a trust: with chosen roles of the user who granted it.
        Trust = "trust",
        /// By an application credential that its owner handed over.
        ApplicationCredential = "application_credential",
    }
);

/// What is known of a route's identity wherever the route is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteIdentityState {
    /// How it acts.
    pub kind: IdentityKind,
    /// Whether it waits for the consent of who granted it.
    pub is_suspended: bool,
}

/// What a user grants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdentityGrant {
    /// A trust of Keystone's, with impersonation.
    Trust {
        /// Its id.
        id: TrustId,
    },
    /// An application credential.
    ApplicationCredential {
        /// Its id.
        id: String,
        /// Its secret, sealed for [`crate::SealedFor::IdentitySecret`] of the route.
        secret: Sealed,
    },
}

impl IdentityGrant {
    /// How a function acts by it.
    pub const fn kind(&self) -> IdentityKind {
        match self {
            Self::Trust { .. } => IdentityKind::Trust,
            Self::ApplicationCredential { .. } => IdentityKind::ApplicationCredential,
        }
    }

    /// The trust, where it is one.
    pub const fn trust(&self) -> Option<&TrustId> {
        match self {
            Self::Trust { id } => Some(id),
            Self::ApplicationCredential { .. } => None,
        }
    }
}

/// The id of a trust: what stands in a URL of Keystone's, so nothing else than letters and digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TrustId(String);

impl TrustId {
    /// Parses an id; the fault names `trust_id`.
    pub fn parse(text: &str) -> Result<Self, FieldFault> {
        let good = (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric());
        if good {
            return Ok(Self(text.to_owned()));
        }
        Err(FieldFault::new("trust_id", "must be 1 to 64 letters or digits"))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TrustId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why an identity waits for consent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspension {
    /// The user whose change it was.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// What was changed, in a few words.
    pub reason: String,
}

/// A route's identity as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteIdentity {
    /// The route.
    pub route_id: RouteId,
    /// The project that it acts in: the route's own.
    pub project_id: ProjectId,
    /// The user who granted it, and as whom the function acts.
    pub user_id: String,
    /// What was granted.
    pub grant: IdentityGrant,
    /// With which roles, by name.
    pub roles: Vec<String>,
    /// When it was granted.
    pub granted_at: Timestamp,
    /// Why it waits for consent, where it does.
    pub suspension: Option<Suspension>,
}

impl RouteIdentity {
    /// What is known of it wherever its route is.
    pub fn state(&self) -> RouteIdentityState {
        RouteIdentityState { kind: self.grant.kind(), is_suspended: self.suspension.is_some() }
    }
}

/// A trust that nothing needs any more and that Keystone may still have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustRevocation {
    /// The trust.
    pub trust: TrustId,
    /// How often it was tried to revoke it.
    pub attempts: u32,
}

/// Checks the names of a trust's roles: 1 to [`MAX_ROLES`], each once; a fault names `roles`.
pub fn parse_roles(mut names: Vec<String>) -> Result<Vec<String>, FieldFault> {
    let fault = |message: String| Err(FieldFault::new("roles", message));
    if !(1..=MAX_ROLES).contains(&names.len()) {
        return fault(format!("must name 1 to {MAX_ROLES} roles"));
    }
    let is_good = |name: &String| {
        !name.is_empty() && name.chars().count() <= MAX_ROLE_NAME && !name.chars().any(char::is_control)
    };
    if !names.iter().all(is_good) {
        return fault(format!("must have names of 1 to {MAX_ROLE_NAME} characters"));
    }
    names.sort();
    names.dedup();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_named_once_each_and_bounded_in_number_and_length() {
        let names = |all: &[&str]| all.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(parse_roles(names(&["reader", "member", "reader"])).unwrap(), ["member", "reader"]);
        let long = "x".repeat(256);
        for bad in [&[][..], &[""], &["a\nb"], &[&long]] {
            assert_eq!(parse_roles(names(bad)).unwrap_err().field, "roles");
        }
        assert!(parse_roles((0..33).map(|n| n.to_string()).collect()).is_err());
    }

    #[test]
    fn a_trust_id_that_could_lead_elsewhere_in_a_url_is_refused() {
        assert!(TrustId::parse("7da9cdbfaea14e9a8a1790d783a06279").is_ok());
        for bad in ["", "../users", "a/b", "a?b", "a b", &"a".repeat(65)] {
            assert!(TrustId::parse(bad).is_err(), "{bad}");
        }
    }
}
