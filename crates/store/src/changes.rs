//! What a process hears of the changes that other processes made to apps, routes and versions, and of
//! running calls that are to end.
//!
//! Every such change leaves a row in `changes`, in its own transaction. Rows are numbered **in the
//! order of their commits**, each driver by its own means: so whoever has read up to a number has
//! missed nothing below it, and the next look reads on from there.

use std::collections::HashSet;

use picasso_types::{AppId, CallId};

use crate::StoreError;
use crate::rows::{self, Columns, column};

/// Most rows of one look; the next reads on.
pub(crate) const BATCH: u32 = 1000;

/// How far a process has followed the changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChangeMark(pub(crate) i64);

/// What changed since a mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// Where the next look begins.
    pub upto: ChangeMark,
    /// What changed.
    pub changed: Changed,
    /// Running calls whose owners want them to end. Who has no mark hears of none: the next
    /// extension of a call's lease tells, too.
    pub cancelled: Vec<CallId>,
    /// There may be more already.
    pub more: bool,
}

/// What may be different from what was read before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changed {
    /// These apps, with their routes and versions.
    Apps(HashSet<AppId>),
    /// All of them: there is no mark, or what followed it is not kept any more.
    Anything,
}

/// Where a follower without a mark begins; `newest` is the newest row's number.
pub(crate) fn from_newest(newest: Option<i64>) -> Changes {
    Changes {
        upto: ChangeMark(newest.unwrap_or(0)),
        changed: Changed::Anything,
        cancelled: Vec::new(),
        more: false,
    }
}

/// The rows from a mark's own on, in order; `None` when they do not reach back to the mark.
///
/// The newest row is never deleted, so the row of a mark is there unless newer ones have been
/// deleted too - or the database is not the one that the mark was taken in.
pub(crate) fn since<R: Columns>(after: ChangeMark, rows: &[R]) -> Result<Option<Changes>, StoreError> {
    let mut last = after.0;
    let (mut apps, mut cancelled) = (HashSet::new(), Vec::new());
    for (position, row) in rows.iter().enumerate() {
        let number: i64 = column(row, "number")?;
        if position == 0 && number == after.0 {
            continue;
        }
        // Numbers have no gaps: one that is missing was deleted.
        if number != last + 1 {
            return Ok(None);
        }
        last = number;
        match column::<Option<&str>>(row, "cancelled_call")? {
            Some(_) => cancelled.push(rows::parsed(row, "cancelled_call", CallId::parse)?),
            None => {
                apps.insert(rows::parsed(row, "app_id", AppId::parse)?);
            }
        }
    }
    if rows.is_empty() && after.0 != 0 {
        return Ok(None);
    }
    let more = rows.len() >= BATCH as usize;
    Ok(Some(Changes { upto: ChangeMark(last), changed: Changed::Apps(apps), cancelled, more }))
}
