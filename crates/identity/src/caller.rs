//! The caller of a request, from a validated token.

use picasso_types::{ProjectId, Timestamp};

/// Who is calling and with which roles in which project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Keystone's user id.
    pub user_id: String,
    /// The user's name, for logs.
    pub user_name: String,
    /// The project the token is scoped to.
    pub project_id: ProjectId,
    /// The roles in that project, lower-cased.
    pub roles: Vec<String>,
    /// When the token ends; checked again on every request.
    pub expires_at: Timestamp,
}

/// What a caller may do until the policy engine of a later release decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// May read.
    Read,
    /// May change resources and run private functions.
    Write,
}

impl Caller {
    /// Whether a role of the caller is `role`.
    pub fn has_role(&self, role: &str) -> bool {
        self.roles.iter().any(|r| r == role)
    }

    /// Whether the caller may act in every project.
    pub fn is_admin(&self) -> bool {
        self.has_role("admin")
    }

    /// What the caller's roles allow in its project: reader reads, member and admin also write,
    /// any other role gives nothing.
    pub fn access(&self) -> Option<Access> {
        if self.is_admin() || self.has_role("member") {
            Some(Access::Write)
        } else if self.has_role("reader") {
            Some(Access::Read)
        } else {
            None
        }
    }
}
