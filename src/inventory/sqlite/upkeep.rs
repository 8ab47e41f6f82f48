//! Counting, checking, and throwing away what is no longer needed.

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::rows::{count, time};
use super::writer::Write;
use crate::inventory::{InventoryError, PurgeBefore, Statistics};

/// Row counts, each from a small index.
pub(super) fn statistics(connection: &Connection, now: Timestamp) -> Result<Statistics, InventoryError> {
    let mut statement = connection.prepare_cached(
        "SELECT (SELECT coalesce(max(number), 0) FROM certificates),
                (SELECT count(*) FROM transactions WHERE open = 1 AND state = 'awaiting-approval'),
                (SELECT count(*) FROM transactions WHERE open = 1 AND state = 'issuing'),
                (SELECT count(*) FROM transactions WHERE open = 1 AND state = 'unknown'),
                (SELECT count(*) FROM challenges WHERE redeemed_at IS NULL AND revoked_at IS NULL AND expires_at > ?1)",
    )?;
    Ok(statement.query_row([time(now)], |row| {
        Ok(Statistics {
            certificates: count(row, 0)?,
            awaiting_approval: count(row, 1)?,
            issuing: count(row, 2)?,
            unknown: count(row, 3)?,
            outstanding_challenges: count(row, 4)?,
        })
    })?)
}

/// To have come this far, the command got the write lock. If the last commit failed, that is not enough: only a write can tell.
pub(super) fn check(write: &mut Write<'_>) -> Result<(), InventoryError> {
    if write.failing {
        write.connection.prepare_cached("UPDATE probe SET count = count + 1")?.execute([])?;
    }
    Ok(())
}

/// Looks at up to `limit` rows of one kind, from `from` on, and deletes the old ones.
///
/// Tables grow at the end, so that what is old has the lowest numbers, near enough. Walking there costs enrollments nothing, where an
/// index by age would be one more page to write for each of them.
pub(super) fn purge(
    write: &mut Write<'_>,
    kind: Purge,
    before: PurgeBefore,
    from: i64,
    limit: usize,
) -> Result<Step, InventoryError> {
    let age = time(if matches!(kind, Purge::Transactions) { before.transactions } else { before.leavings });
    let most = i64::try_from(limit).unwrap_or(i64::MAX);
    let connection = write.connection;
    let Some((look, delete)) = kind.statements() else {
        let mut statement = connection.prepare_cached(
            "DELETE FROM setbacks WHERE (device_group, profile, kind, device) IN
                 (SELECT device_group, profile, kind, device FROM setbacks WHERE at < ?1 LIMIT ?2)",
        )?;
        let deleted = statement.execute(params![age, most])? as u64;
        return Ok(Step { deleted, next: (deleted >= limit as u64).then_some(0) });
    };
    let rows: Vec<(i64, bool, bool)> = connection
        .prepare_cached(look)?
        .query_map(params![age, from, most], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<Result<_, _>>()?;
    let mut step = Step { deleted: 0, next: None };
    let mut statement = connection.prepare_cached(delete)?;
    for (number, old, _) in &rows {
        if *old {
            step.deleted += statement.execute([number])? as u64;
        }
    }
    if let Some((last, _, young)) = rows.last().filter(|_| rows.len() >= limit)
        && !young
    {
        step.next = Some(last + 1);
    }
    Ok(step)
}

/// What one step did.
pub(super) struct Step {
    pub(super) deleted: u64,
    /// Where to go on; `None` at the end.
    pub(super) next: Option<i64>,
}

/// What [`purge`] can delete.
#[derive(Clone, Copy)]
pub(super) enum Purge {
    Replies,
    Transactions,
    Refused,
    Challenges,
    Setbacks,
    Secrets,
}

impl Purge {
    /// All kinds, replies before the transactions that they belong to.
    pub(super) const ALL: [Purge; 6] =
        [Purge::Replies, Purge::Refused, Purge::Transactions, Purge::Challenges, Purge::Setbacks, Purge::Secrets];

    /// How to look at rows from a number on, and how to delete one of them.
    const fn statements(self) -> Option<(&'static str, &'static str)> {
        // Of each row: its number, whether it is old and done with, and whether all that follow are surely too young.
        let statements = match self {
            Purge::Replies => (
                "SELECT number, stored_at < ?1, stored_at >= ?1 FROM replies WHERE number >= ?2 ORDER BY number LIMIT ?3",
                "DELETE FROM replies WHERE number = ?1",
            ),
            Purge::Transactions => (
                "SELECT number, open = 0 AND state <> 'refused' AND updated_at < ?1, received_at >= ?1 FROM transactions
                 WHERE number >= ?2 ORDER BY number LIMIT ?3",
                "DELETE FROM transactions WHERE number = ?1",
            ),
            // Those have an index: there may be many among few that are kept longer.
            Purge::Refused => (
                "SELECT number, 1, 0 FROM transactions WHERE state = 'refused' AND updated_at < ?1 AND ?2 >= 0 ORDER BY updated_at LIMIT ?3",
                "DELETE FROM transactions WHERE number = ?1",
            ),
            // What was never redeemed and is expired long since, and what was redeemed or revoked long ago. Without its row nobody
            // can redeem a challenge any more.
            Purge::Challenges => (
                "SELECT number, coalesce(revoked_at, redeemed_at, expires_at) < ?1, created_at >= ?1 FROM challenges
                 WHERE number >= ?2 ORDER BY number LIMIT ?3",
                "DELETE FROM challenges WHERE number = ?1",
            ),
            // An open transaction may still need its secret.
            Purge::Secrets => (
                "SELECT s.number, t.open = 0 AND t.updated_at < ?1, t.received_at >= ?1 FROM sealed_challenges s JOIN transactions t USING (number)
                 WHERE s.number >= ?2 ORDER BY s.number LIMIT ?3",
                "DELETE FROM sealed_challenges WHERE number = ?1",
            ),
            // No numbers, and few: one row a device.
            Purge::Setbacks => return None,
        };
        Some(statements)
    }
}
