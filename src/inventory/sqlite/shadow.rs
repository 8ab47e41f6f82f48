//! Shadow runs.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, params};

use super::rows::{count, time, timestamp};
use super::writer::Write;
use crate::inventory::{InventoryError, ShadowOutcome, ShadowTally, Spread};

/// Remembers what a run came to.
pub(super) fn add(write: &mut Write<'_>, outcome: &ShadowOutcome) -> Result<(), InventoryError> {
    let number = |value: Option<u64>| value.map(|value| i64::try_from(value).unwrap_or(i64::MAX));
    write
        .connection
        .prepare_cached(
            "INSERT INTO shadow_outcomes
                 (device_group, candidate, device, code, detail, reply, signing_micros, first_at, at, count)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
             ON CONFLICT DO UPDATE SET code = excluded.code, detail = excluded.detail, reply = excluded.reply,
                 signing_micros = excluded.signing_micros, at = excluded.at, count = count + excluded.count",
        )?
        .execute(params![
            outcome.group,
            outcome.candidate,
            outcome.device,
            outcome.code,
            outcome.detail,
            number(outcome.reply),
            number(outcome.signing_micros),
            time(outcome.first_at),
            time(outcome.at),
            number(Some(outcome.count)),
        ])?;
    Ok(())
}

/// Sums up.
pub(super) fn tally(
    connection: &Connection,
    group: &str,
    candidate: &str,
    examples: usize,
) -> Result<ShadowTally, InventoryError> {
    let mut tally = ShadowTally::default();
    let mut statement = connection.prepare_cached(
        "SELECT code, count(*), sum(count), min(first_at) FROM shadow_outcomes
         WHERE device_group = ?1 AND candidate = ?2 GROUP BY code",
    )?;
    let mut rows = statement.query([group, candidate])?;
    let mut devices: BTreeMap<String, u64> = BTreeMap::new();
    while let Some(row) = rows.next()? {
        devices.insert(row.get(0)?, count(row, 1)?);
        tally.runs += count(row, 2)?;
        let first = timestamp(row, 3)?;
        tally.since = Some(tally.since.map_or(first, |since| since.min(first)));
    }
    tally.devices = devices;
    tally.reply = spread(
        connection,
        [
            "SELECT count(reply), max(reply) FROM shadow_outcomes WHERE device_group = ?1 AND candidate = ?2",
            "SELECT reply FROM shadow_outcomes WHERE device_group = ?1 AND candidate = ?2 AND reply IS NOT NULL
             ORDER BY reply LIMIT 1 OFFSET ?3",
        ],
        [group, candidate],
    )?;
    tally.signing_micros = spread(
        connection,
        [
            "SELECT count(signing_micros), max(signing_micros) FROM shadow_outcomes WHERE device_group = ?1 AND candidate = ?2",
            "SELECT signing_micros FROM shadow_outcomes
             WHERE device_group = ?1 AND candidate = ?2 AND signing_micros IS NOT NULL
             ORDER BY signing_micros LIMIT 1 OFFSET ?3",
        ],
        [group, candidate],
    )?;
    let mut statement = connection.prepare_cached(
        "SELECT device_group, candidate, device, code, detail, reply, signing_micros, first_at, at, count FROM shadow_outcomes
         WHERE device_group = ?1 AND candidate = ?2 AND code <> 'ok' ORDER BY at DESC, device LIMIT ?3",
    )?;
    let limit = i64::try_from(examples).unwrap_or(i64::MAX);
    let found = statement.query_map(params![group, candidate, limit], |row| {
        let optional = |at: usize| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(at)?.map(i64::unsigned_abs));
        Ok(ShadowOutcome {
            group: row.get(0)?,
            candidate: row.get(1)?,
            device: row.get(2)?,
            code: row.get(3)?,
            detail: row.get(4)?,
            reply: optional(5)?,
            signing_micros: optional(6)?,
            first_at: timestamp(row, 7)?,
            at: timestamp(row, 8)?,
            count: count(row, 9)?,
        })
    })?;
    tally.examples = found.collect::<Result<_, _>>()?;
    Ok(tally)
}

/// The largest and the middle one; the first statement counts them.
fn spread(connection: &Connection, [whole, middle]: [&str; 2], of: [&str; 2]) -> Result<Spread, InventoryError> {
    let (count, max): (i64, Option<i64>) =
        connection.prepare_cached(whole)?.query_row(of, |row| Ok((row.get(0)?, row.get(1)?)))?;
    let offset = (count - 1).max(0) / 2;
    let median: Option<i64> =
        connection.prepare_cached(middle)?.query_row(params![of[0], of[1], offset], |row| row.get(0)).optional()?;
    Ok(Spread { median: median.map(i64::unsigned_abs), max: max.map(i64::unsigned_abs) })
}
