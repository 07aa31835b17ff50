//! Rows that cannot be read, among others that can: damage, or something of a later release.
//!
//! One of them must not keep all the others from being worked on or shown. It is left out, and the log
//! has it: once, as such rows are looked at again and again.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use picasso_types::text::cut;

use crate::StoreError;

/// Rows that are remembered; beyond it they may be told of again.
const MAX_TOLD: usize = 1000;
/// Longest reason that is told, bytes.
const MAX_REASON: usize = 500;

/// What a process told of rows that it cannot read: their ids and why.
#[derive(Debug, Default)]
pub(crate) struct Unreadable(Mutex<HashMap<String, String>>);

impl Unreadable {
    /// What was read of a trigger's row; `None` when the row is at fault, not the database.
    pub(crate) fn leave_out<T>(
        &self,
        id: &str,
        read: Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        match read {
            Err(error @ StoreError::Damaged { .. }) => {
                let whole = error.to_string();
                let reason = cut(&whole, MAX_REASON);
                if self.is_news(id, reason) {
                    tracing::error!(trigger = id, reason, "a trigger cannot be read; it waits");
                }
                Ok(None)
            }
            read => read.map(Some),
        }
    }

    /// Whether that was not told of the row before.
    fn is_news(&self, id: &str, reason: &str) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.get(id).is_some_and(|before| before == reason) {
            return false;
        }
        if told.len() >= MAX_TOLD {
            told.clear();
        }
        told.insert(id.to_owned(), reason.to_owned());
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn damaged(detail: &str) -> Result<(), StoreError> {
        Err(StoreError::Damaged { what: "options", detail: detail.to_owned() })
    }

    #[test]
    fn a_row_is_told_of_once_for_each_reason() {
        let rows = Unreadable::default();
        assert!(rows.is_news("a", "torn"));
        assert!(!rows.is_news("a", "torn"));
        assert!(rows.is_news("b", "torn"));
        assert!(rows.is_news("a", "of a later release"));
        for number in 0..2 * MAX_TOLD {
            assert!(rows.is_news(&number.to_string(), "torn"));
        }
        assert!(rows.0.lock().unwrap().len() <= MAX_TOLD);
    }

    #[test]
    fn only_the_fault_of_a_row_is_passed_over() {
        let rows = Unreadable::default();
        assert_eq!(rows.leave_out("a", Ok(7)).unwrap(), Some(7));
        assert_eq!(rows.leave_out("a", damaged("torn")).unwrap(), None);
        let away = StoreError::Unavailable { context: "reading", source: "gone".into() };
        assert!(matches!(rows.leave_out::<()>("a", Err(away)), Err(StoreError::Unavailable { .. })));
    }
}
