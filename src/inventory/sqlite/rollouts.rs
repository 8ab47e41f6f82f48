//! Rollouts: where they stand, which devices fared badly, and the figures that gates look at.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::rows::{count, parsed, time, timestamp};
use super::writer::Write;
use crate::inventory::{Census, InventoryError, RolloutChange, Setback, SetbackSearch};
use crate::rollout::{DeviceKnowledge, Figures, Phase, RolloutState};

/// Where the rollout of a candidate stands.
pub(super) fn state(connection: &Connection, group: &str, candidate: &str) -> Result<Option<RolloutState>, InventoryError> {
    let mut statement = connection.prepare_cached(
        "SELECT device_group, candidate, phase, since, why, changed_by FROM rollouts WHERE device_group = ?1 AND candidate = ?2",
    )?;
    Ok(statement.query_row([group, candidate], read_state).optional()?)
}

/// Where all of them stand.
pub(super) fn states(connection: &Connection) -> Result<Vec<RolloutState>, InventoryError> {
    let mut statement = connection.prepare_cached(
        "SELECT device_group, candidate, phase, since, why, changed_by FROM rollouts ORDER BY device_group, candidate",
    )?;
    let found = statement.query_map([], read_state)?;
    Ok(found.collect::<Result<_, _>>()?)
}

fn read_state(row: &Row<'_>) -> rusqlite::Result<RolloutState> {
    Ok(RolloutState {
        group: row.get(0)?,
        candidate: row.get(1)?,
        phase: parsed(row, 2)?,
        since: timestamp(row, 3)?,
        why: row.get(4)?,
        by: row.get(5)?,
    })
}

/// Writes where a rollout stands, if it is where the change expects it.
pub(super) fn change(write: &mut Write<'_>, change: RolloutChange) -> Result<bool, InventoryError> {
    let RolloutChange { state: to, from, event } = change;
    let before = state(write.connection, &to.group, &to.candidate)?.map_or(Phase::Running, |state| state.phase);
    if !from.contains(&before) {
        return Ok(false);
    }
    write
        .connection
        .prepare_cached(
            "INSERT INTO rollouts (device_group, candidate, phase, since, why, changed_by) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT DO UPDATE SET phase = excluded.phase, since = excluded.since, why = excluded.why,
                 changed_by = excluded.changed_by",
        )?
        .execute(params![to.group, to.candidate, to.phase.name(), time(to.since), to.why, to.by])?;
    write.chain.append(write.connection, vec![event])?;
    Ok(true)
}

/// The newest certificate of a device, by the index of devices.
pub(super) fn knowledge(connection: &Connection, group: &str, device: &str) -> Result<DeviceKnowledge, InventoryError> {
    let mut statement = connection.prepare_cached(
        "SELECT profile FROM certificates INDEXED BY certificates_of_device WHERE device = ?1 AND device_group = ?2
           AND set_aside = 0 ORDER BY issued_at DESC, number DESC LIMIT 1",
    )?;
    Ok(DeviceKnowledge { newest_profile: statement.query_row([device, group], |row| row.get(0)).optional()? })
}

/// Remembers that a device fared badly.
pub(super) fn add_setback(write: &mut Write<'_>, setback: &Setback) -> Result<(), InventoryError> {
    write
        .connection
        .prepare_cached(
            "INSERT INTO setbacks (device_group, profile, kind, device, code, detail, first_at, at, count)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
             ON CONFLICT DO UPDATE SET code = excluded.code, detail = excluded.detail, at = excluded.at,
                 count = count + excluded.count",
        )?
        .execute(params![
            setback.group,
            setback.profile,
            setback.kind.name(),
            setback.device,
            setback.code,
            setback.detail,
            time(setback.first_at),
            time(setback.at),
            i64::try_from(setback.count).unwrap_or(i64::MAX),
        ])?;
    Ok(())
}

/// Devices that fared badly, the latest first.
pub(super) fn setbacks(connection: &Connection, search: &SetbackSearch) -> Result<Vec<Setback>, InventoryError> {
    let mut statement = connection.prepare_cached(
        "SELECT device_group, profile, kind, device, code, detail, first_at, at, count FROM setbacks
         WHERE device_group = ?1 AND (?2 IS NULL OR profile = ?2) AND at >= ?3 ORDER BY at DESC, device LIMIT ?4",
    )?;
    let limit = i64::try_from(search.limit).unwrap_or(i64::MAX);
    let found = statement.query_map(params![search.group, search.profile, time(search.since), limit], |row| {
        Ok(Setback {
            group: row.get(0)?,
            profile: row.get(1)?,
            kind: parsed(row, 2)?,
            device: row.get(3)?,
            code: row.get(4)?,
            detail: row.get(5)?,
            first_at: timestamp(row, 6)?,
            at: timestamp(row, 7)?,
            count: count(row, 8)?,
        })
    })?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// How the devices of a group fared under each profile. No index is of groups: what is read is what was issued since then.
pub(super) fn figures(
    connection: &Connection,
    group: &str,
    since: Timestamp,
    within: Duration,
) -> Result<BTreeMap<String, Figures>, InventoryError> {
    let mut all: BTreeMap<String, Figures> = BTreeMap::new();
    let within = i64::try_from(within.as_micros()).unwrap_or(i64::MAX / 4).min(i64::MAX / 4);
    let mut statement = connection.prepare_cached(
        "SELECT c.profile, count(DISTINCT c.device), count(DISTINCT CASE WHEN EXISTS (
                    SELECT 1 FROM certificates n INDEXED BY certificates_of_device
                    WHERE n.device = c.device AND n.device_group = c.device_group AND n.number <> c.number AND n.sibling_of IS NULL
                      AND n.set_aside = 0 AND n.issued_at >= c.issued_at
                      AND n.issued_at <= c.issued_at + min(?3, (c.not_after - c.not_before) / 2)
                      AND (n.issued_at > c.issued_at OR n.number > c.number)
                ) THEN c.device END)
         FROM certificates c INDEXED BY certificates_by_age
         WHERE c.issued_at >= ?2 AND c.device_group = ?1 AND c.device IS NOT NULL AND c.sibling_of IS NULL
           AND c.set_aside = 0 GROUP BY c.profile",
    )?;
    let mut rows = statement.query(params![group, time(since), within])?;
    while let Some(row) = rows.next()? {
        let figures = all.entry(row.get(0)?).or_default();
        (figures.issued, figures.returned) = (count(row, 1)?, count(row, 2)?);
        figures.devices = figures.issued;
    }
    let mut statement = connection.prepare_cached(
        "SELECT s.profile, s.kind, count(*) FROM setbacks s WHERE s.device_group = ?1 AND s.at >= ?2 GROUP BY s.profile, s.kind",
    )?;
    let mut rows = statement.query(params![group, time(since)])?;
    while let Some(row) = rows.next()? {
        let figures = all.entry(row.get(0)?).or_default();
        match parsed(row, 1)? {
            crate::inventory::SetbackKind::Refused => figures.refused = count(row, 2)?,
            crate::inventory::SetbackKind::UpstreamError => figures.upstream_errors = count(row, 2)?,
        }
    }
    // Who was refused first and given a certificate then is one device.
    let mut statement = connection.prepare_cached(
        "SELECT s.profile, count(DISTINCT s.device) FROM setbacks s WHERE s.device_group = ?1 AND s.at >= ?2 AND NOT EXISTS (
             SELECT 1 FROM certificates c INDEXED BY certificates_of_device
             WHERE c.device = s.device AND c.device_group = ?1 AND c.issued_at >= ?2 AND c.profile = s.profile
               AND c.set_aside = 0)
         GROUP BY s.profile",
    )?;
    let mut rows = statement.query(params![group, time(since)])?;
    while let Some(row) = rows.next()? {
        all.entry(row.get(0)?).or_default().devices += count(row, 1)?;
    }
    Ok(all)
}

/// Valid certificates of a group by profile and kind of key.
pub(super) fn census(connection: &Connection, group: &str, now: Timestamp) -> Result<Vec<Census>, InventoryError> {
    let mut statement = connection.prepare_cached(
        "SELECT profile, key_algorithm, count(*) FROM certificates INDEXED BY certificates_by_expiry
         WHERE not_after > ?2 AND device_group = ?1 AND status = 'valid' AND sibling_of IS NULL AND set_aside = 0
         GROUP BY profile, key_algorithm
         ORDER BY profile, key_algorithm",
    )?;
    let found = statement.query_map(params![group, time(now)], |row| {
        Ok(Census { profile: row.get(0)?, key_algorithm: row.get(1)?, count: count(row, 2)? })
    })?;
    Ok(found.collect::<Result<_, _>>()?)
}
