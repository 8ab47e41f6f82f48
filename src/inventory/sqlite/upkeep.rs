//! Counting, checking, and throwing away what is no longer needed.

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::rows::{count, time};
use super::writer::Write;
use crate::inventory::{InventoryError, Statistics};

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

/// Deletes up to `limit` old rows of one kind. Gives how many; zero says that there are no more.
pub(super) fn purge(write: &mut Write<'_>, kind: Purge, before: Timestamp, limit: usize) -> Result<u64, InventoryError> {
    let sql = match kind {
        // Replies are stored in the order of time, near enough: the oldest have the lowest numbers.
        Purge::Replies => {
            "DELETE FROM replies WHERE number IN
                 (SELECT number FROM (SELECT number, stored_at FROM replies ORDER BY number LIMIT ?2) WHERE stored_at < ?1)"
        }
        Purge::Refused => {
            "DELETE FROM transactions WHERE number IN
                 (SELECT number FROM transactions WHERE state = 'refused' AND updated_at < ?1 ORDER BY updated_at LIMIT ?2)"
        }
        Purge::SpentChallenges => {
            "DELETE FROM challenges WHERE number IN
                 (SELECT number FROM challenges WHERE coalesce(revoked_at, redeemed_at) < ?1 LIMIT ?2)"
        }
        Purge::ExpiredChallenges => {
            "DELETE FROM challenges WHERE number IN
                 (SELECT number FROM challenges WHERE redeemed_at IS NULL AND revoked_at IS NULL AND expires_at < ?1 LIMIT ?2)"
        }
        Purge::Setbacks => {
            "DELETE FROM setbacks WHERE (device_group, profile, kind, device) IN
                 (SELECT device_group, profile, kind, device FROM setbacks WHERE at < ?1 LIMIT ?2)"
        }
        // An open transaction may still need its secret.
        Purge::Secrets => {
            "DELETE FROM sealed_challenges WHERE number IN
                 (SELECT s.number FROM sealed_challenges s JOIN transactions t USING (number)
                  WHERE t.open = 0 AND t.updated_at < ?1 LIMIT ?2)"
        }
    };
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    Ok(write.connection.prepare_cached(sql)?.execute(params![time(before), limit])? as u64)
}

/// What [`purge`] can delete.
#[derive(Clone, Copy)]
pub(super) enum Purge {
    Replies,
    Refused,
    SpentChallenges,
    ExpiredChallenges,
    Setbacks,
    Secrets,
}

impl Purge {
    /// All kinds, replies before the transactions that they belong to.
    pub(super) const ALL: [Purge; 6] =
        [Purge::Replies, Purge::Refused, Purge::SpentChallenges, Purge::ExpiredChallenges, Purge::Setbacks, Purge::Secrets];
}
