//! The challenges table. Redeeming is part of opening a transaction.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::rows::{self, damaged, select_challenge, time};
use super::writer::Write;
use crate::inventory::{AuditEvent, Challenge, InventoryError, TransactionId};

/// Stores challenges.
pub(super) fn add(write: &mut Write<'_>, new: &[Challenge]) -> Result<(), InventoryError> {
    let mut statement = write.connection.prepare_cached(
        "INSERT INTO challenges (id, digest, device_group, bind, note, created_by, created_at, expires_at, redeemed_by,
             redeemed_at, revoked_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )?;
    for challenge in new {
        let bind = serde_json::to_string(&challenge.bind).map_err(|error| damaged(error.to_string()))?;
        statement.execute(params![
            challenge.id,
            challenge.digest,
            challenge.group,
            bind,
            challenge.note,
            challenge.created_by,
            time(challenge.created_at),
            time(challenge.expires_at),
            challenge.redeemed_by.as_ref().map(|id| id.0.as_bytes()),
            challenge.redeemed_at.map(time),
            challenge.revoked_at.map(time),
        ])?;
    }
    Ok(())
}

/// The challenge with this digest.
pub(super) fn by_digest(connection: &Connection, digest: &[u8; 32]) -> Result<Option<Challenge>, InventoryError> {
    let mut statement = connection.prepare_cached(select_challenge!("WHERE digest = ?1"))?;
    Ok(statement.query_row([digest], rows::challenge).optional()?)
}

/// Challenges, newest first; without the spent ones, those that can be redeemed at `now`.
pub(super) fn list(
    connection: &Connection,
    group: Option<&str>,
    include_spent: bool,
    limit: usize,
    now: Timestamp,
) -> Result<Vec<Challenge>, InventoryError> {
    let mut statement = connection.prepare_cached(select_challenge!(
        "INDEXED BY challenges_by_age
         WHERE (?1 IS NULL OR device_group = ?1)
           AND (?2 OR (redeemed_at IS NULL AND revoked_at IS NULL AND expires_at > ?3))
         ORDER BY created_at DESC, number DESC LIMIT ?4"
    ))?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let found = statement.query_map(params![group, include_spent, time(now), limit], rows::challenge)?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// Whether this transaction may redeem the challenge, or has done so.
pub(super) fn is_redeemable(
    connection: &Connection,
    digest: &[u8; 32],
    transaction: TransactionId,
    at: Timestamp,
) -> Result<bool, InventoryError> {
    let Some(challenge) = by_digest(connection, digest)? else { return Ok(false) };
    Ok(match challenge.redeemed_by {
        _ if challenge.revoked_at.is_some() => false,
        Some(redeemer) => redeemer == transaction,
        // Compared as it is stored, in microseconds.
        None => time(at) < time(challenge.expires_at),
    })
}

/// Spends a challenge that is redeemable.
pub(super) fn redeem(
    write: &mut Write<'_>,
    digest: &[u8; 32],
    transaction: TransactionId,
    at: Timestamp,
) -> Result<(), InventoryError> {
    write
        .connection
        .prepare_cached("UPDATE challenges SET redeemed_by = ?2, redeemed_at = ?3 WHERE digest = ?1 AND redeemed_by IS NULL")?
        .execute(params![digest, transaction.0.as_bytes(), time(at)])?;
    Ok(())
}

/// Frees the challenge that a transaction redeemed.
pub(super) fn free(write: &mut Write<'_>, digest: &[u8; 32], transaction: TransactionId) -> Result<(), InventoryError> {
    write
        .connection
        .prepare_cached("UPDATE challenges SET redeemed_by = NULL, redeemed_at = NULL WHERE digest = ?1 AND redeemed_by = ?2")?
        .execute(params![digest, transaction.0.as_bytes()])?;
    Ok(())
}

/// Revokes the one challenge whose id starts with `prefix`, if it is unspent.
pub(super) fn revoke(write: &mut Write<'_>, prefix: &str, event: AuditEvent) -> Result<bool, InventoryError> {
    if prefix.is_empty() {
        return Ok(false);
    }
    let found: Vec<(i64, String, bool)> = write
        .connection
        .prepare_cached(
            "SELECT number, id, redeemed_at IS NULL AND revoked_at IS NULL FROM challenges
             WHERE id >= ?1 AND id < ?1 || char(1114111) ORDER BY id LIMIT 2",
        )?
        .query_map([prefix], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<Result<_, _>>()?;
    // A prefix that fits several is a mistake to be told, not a guess to be made; a whole id comes first and fits only itself.
    let chosen = match found.as_slice() {
        [only] => Some(only),
        several => several.first().filter(|(_, id, _)| id == prefix),
    };
    let Some((number, _, true)) = chosen else { return Ok(false) };
    write
        .connection
        .prepare_cached("UPDATE challenges SET revoked_at = ?2 WHERE number = ?1")?
        .execute(params![number, time(event.at)])?;
    write.chain.append(write.connection, vec![event])?;
    Ok(true)
}
