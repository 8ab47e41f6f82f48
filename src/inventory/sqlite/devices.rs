//! Devices: what they were given, and what was learned of them.

use jiff::Timestamp;
use rusqlite::{Connection, Row, params};

use super::rows::{parsed, time, timestamp};
use super::writer::Write;
use crate::inventory::{AuditEvent, DeviceFinding, InventoryError, StandingPage};
use crate::rollout::Given;
use crate::rollout::forecast::Standing;

/// The newest certificates of a device, by the index of devices.
pub(super) fn given(connection: &Connection, group: &str, device: &str, limit: usize) -> Result<Vec<Given>, InventoryError> {
    let mut statement = connection.prepare_cached(
        "SELECT fingerprint, profile, issued_at, not_before, not_after FROM certificates INDEXED BY certificates_of_device
         WHERE device = ?1 AND device_group = ?2 AND sibling_of IS NULL AND status <> 'revoked'
           AND set_aside = 0
         ORDER BY issued_at DESC, number DESC LIMIT ?3",
    )?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let found = statement.query_map(params![device, group, limit], |row| {
        Ok(Given {
            fingerprint: row.get(0)?,
            profile: row.get(1)?,
            issued_at: timestamp(row, 2)?,
            not_before: timestamp(row, 3)?,
            not_after: timestamp(row, 4)?,
        })
    })?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// A page of the valid certificates of a group.
pub(super) fn standing(
    connection: &Connection,
    group: &str,
    after: i64,
    limit: usize,
    now: Timestamp,
) -> Result<StandingPage, InventoryError> {
    let mut statement = connection.prepare_cached(
        "SELECT c.number, c.device, c.profile, c.not_before, c.not_after, EXISTS (
             SELECT 1 FROM certificates n INDEXED BY certificates_of_device
             WHERE n.device = c.device AND n.device_group = c.device_group AND n.issued_at > c.issued_at
               AND n.sibling_of IS NULL AND n.status <> 'revoked' AND n.set_aside = 0), c.signature_algorithm
         FROM certificates c WHERE c.number > ?2 AND c.device_group = ?1 AND c.status = 'valid' AND c.not_after > ?4 AND c.sibling_of IS NULL
           AND c.set_aside = 0
         ORDER BY c.number LIMIT ?3",
    )?;
    let most = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut rows = statement.query(params![group, after, most, time(now)])?;
    let (mut page, mut last) = (StandingPage::default(), after);
    while let Some(row) = rows.next()? {
        last = row.get(0)?;
        page.certificates.push(Standing {
            device: row.get(1)?,
            profile: row.get(2)?,
            not_before: timestamp(row, 3)?,
            not_after: timestamp(row, 4)?,
            followed: row.get(5)?,
            signature: row.get(6)?,
        });
    }
    page.next = (page.certificates.len() == limit).then_some(last);
    Ok(page)
}

/// How far through its life each of the latest superseded certificates was when its device was given the next one.
pub(super) fn renewal_shares(connection: &Connection, group: &str, limit: usize) -> Result<Vec<f64>, InventoryError> {
    let mut statement = connection.prepare_cached(
        "SELECT c.not_before, c.not_after, (
             SELECT min(n.issued_at) FROM certificates n INDEXED BY certificates_of_device
             WHERE n.device = c.device AND n.device_group = c.device_group AND n.issued_at > c.issued_at AND n.sibling_of IS NULL
               AND n.set_aside = 0)
         FROM certificates c INDEXED BY certificates_by_age
         WHERE c.device_group = ?1 AND c.status = 'superseded' AND c.device IS NOT NULL AND c.sibling_of IS NULL
         ORDER BY c.issued_at DESC LIMIT ?2",
    )?;
    let most = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut rows = statement.query(params![group, most])?;
    let mut shares = Vec::new();
    while let Some(row) = rows.next()? {
        let (from, until, next): (i64, i64, Option<i64>) = (row.get(0)?, row.get(1)?, row.get(2)?);
        if let Some(next) = next
            && until > from
        {
            shares.push((next - from) as f64 / (until - from) as f64);
        }
    }
    Ok(shares)
}

/// All that was ever learned of a device.
pub(super) fn of(connection: &Connection, group: &str, device: &str) -> Result<Vec<DeviceFinding>, InventoryError> {
    let mut statement = connection.prepare_cached(
        "SELECT device_group, device, profile, kind, detail, at, gone_at FROM device_findings
         WHERE device_group = ?1 AND device = ?2 ORDER BY profile",
    )?;
    let found = statement.query_map([group, device], read)?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// What holds, the latest first.
pub(super) fn all(connection: &Connection, group: Option<&str>, limit: usize) -> Result<Vec<DeviceFinding>, InventoryError> {
    let mut statement = connection.prepare_cached(
        "SELECT device_group, device, profile, kind, detail, at, gone_at FROM device_findings
         WHERE gone_at IS NULL AND (?1 IS NULL OR device_group = ?1) ORDER BY at DESC, device, profile LIMIT ?2",
    )?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let found = statement.query_map(params![group, limit], read)?;
    Ok(found.collect::<Result<_, _>>()?)
}

fn read(row: &Row<'_>) -> rusqlite::Result<DeviceFinding> {
    let gone: Option<i64> = row.get(6)?;
    Ok(DeviceFinding {
        group: row.get(0)?,
        device: row.get(1)?,
        profile: row.get(2)?,
        kind: parsed(row, 3)?,
        detail: row.get(4)?,
        at: timestamp(row, 5)?,
        gone_at: gone.map(|_| timestamp(row, 6)).transpose()?,
    })
}

/// Writes what was learned, unless it holds already.
pub(super) fn learn(write: &mut Write<'_>, finding: &DeviceFinding, event: AuditEvent) -> Result<bool, InventoryError> {
    let written = write
        .connection
        .prepare_cached(
            "INSERT INTO device_findings (device_group, device, profile, kind, detail, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT DO UPDATE SET kind = excluded.kind, detail = excluded.detail, at = excluded.at, gone_at = NULL
             WHERE gone_at IS NOT NULL",
        )?
        .execute(params![
            finding.group,
            finding.device,
            finding.profile,
            finding.kind.name(),
            finding.detail,
            time(finding.at)
        ])?;
    if written > 0 {
        write.chain.append(write.connection, vec![event])?;
    }
    Ok(written > 0)
}

/// Takes it back, if it holds.
pub(super) fn unlearn(
    write: &mut Write<'_>,
    [group, device, profile]: [&str; 3],
    at: Timestamp,
    event: AuditEvent,
) -> Result<bool, InventoryError> {
    let written = write
        .connection
        .prepare_cached(
            "UPDATE device_findings SET gone_at = ?4
             WHERE device_group = ?1 AND device = ?2 AND profile = ?3 AND gone_at IS NULL",
        )?
        .execute(params![group, device, profile, time(at)])?;
    if written > 0 {
        write.chain.append(write.connection, vec![event])?;
    }
    Ok(written > 0)
}
