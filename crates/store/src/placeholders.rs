//! How statements that are the same text for every database name their values.

use std::fmt::Write as _;

use sqlx::AssertSqlSafe;

/// `?`, as SQLite and MariaDB have it.
pub(crate) const fn as_written(text: &'static str) -> &'static str {
    text
}

/// `$1`, `$2` and so on for each `?`, as PostgreSQL has it. The text stays one of ours: nothing of a
/// request is in it.
pub(crate) fn numbered(text: &'static str) -> AssertSqlSafe<String> {
    let mut numbered = String::with_capacity(text.len() + 32);
    for (number, piece) in text.split('?').enumerate() {
        if number > 0 {
            // Writing into a text cannot fail.
            let _ = write!(numbered, "${number}");
        }
        numbered.push_str(piece);
    }
    AssertSqlSafe(numbered)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_numbered_in_their_order() {
        assert_eq!(numbered("SELECT 1").0, "SELECT 1");
        let many = "?, ".repeat(10);
        let text: &'static str = Box::leak(format!("VALUES ({many}?)").into_boxed_str());
        assert_eq!(numbered(text).0, "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)");
    }
}
