//! The certificates and their issuers.

use jiff::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};

use super::rows::{self, damaged, select_certificate, time, timestamp};
use super::writer::Write;
use crate::inventory::{AuditEvent, CertificateRecord, CertificateSearch, CertificateStatus, InventoryError};
use crate::x509::crl::{RevocationReason, RevokedCertificate};

/// Reads the body and the issuer besides.
macro_rules! select {
    ($rest:literal) => {
        select_certificate!(concat!("JOIN certificate_bodies b USING (number) JOIN issuers i ON i.number = c.issuer ", $rest))
    };
}

/// Writes a certificate that nobody is given. An issuer signs anew what it is asked for again, and may use the serial again: that
/// is the certificate that we have, for all that revocation can tell.
pub(super) fn set_aside(write: &mut Write<'_>, record: &CertificateRecord, event: AuditEvent) -> Result<bool, InventoryError> {
    if by_serial(write.connection, &record.issuer, &record.serial)?.is_some() {
        return Ok(false);
    }
    insert(write.connection, &CertificateRecord { set_aside: true, ..record.clone() })?;
    write.chain.append(write.connection, vec![event])?;
    Ok(true)
}

/// Certificates of an upstream that nobody is given and whose CA has not been told.
pub(super) fn owed(
    connection: &Connection,
    upstream: &str,
    after: Timestamp,
    now: Timestamp,
    limit: usize,
) -> Result<Vec<CertificateRecord>, InventoryError> {
    let mut statement = connection.prepare_cached(select!(
        "WHERE c.owed = 1 AND c.upstream = ?1 AND c.issued_at > ?2 AND c.not_after > ?3 ORDER BY c.issued_at LIMIT ?4"
    ))?;
    let most = i64::try_from(limit).unwrap_or(i64::MAX);
    let found = statement.query_map(params![upstream, time(after), time(now), most], rows::certificate)?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// Writes that the CA of such a certificate was told.
pub(super) fn told(
    write: &mut Write<'_>,
    fingerprint: &[u8; 32],
    reason: RevocationReason,
    at: Timestamp,
    event: Option<AuditEvent>,
) -> Result<bool, InventoryError> {
    let changed = write
        .connection
        .prepare_cached(
            "UPDATE certificates SET owed = 0, status = 'revoked', revoked_at = coalesce(revoked_at, ?2),
                 revocation_reason = coalesce(revocation_reason, ?3) WHERE fingerprint = ?1 AND owed = 1",
        )?
        .execute(params![fingerprint, time(at), reason.name()])?;
    if changed > 0 {
        write.chain.append(write.connection, event.into_iter().collect())?;
    }
    Ok(changed > 0)
}

/// Writes a certificate.
pub(super) fn insert(connection: &Connection, record: &CertificateRecord) -> Result<(), InventoryError> {
    let issuer = issuer(connection, &record.issuer, &record.issuer_text)?;
    let names = serde_json::to_string(&record.subject_alt_names).map_err(|error| damaged(error.to_string()))?;
    // An issuer that is asked again may give the same certificate again.
    let inserted = connection
        .prepare_cached(
            "INSERT INTO certificates (fingerprint, issuer, serial, subject, common_name, subject_alt_names, not_before, not_after,
                 key_algorithm, spki_digest, signature_algorithm, status, revoked_at, revocation_reason, device_group, profile,
                 upstream, ca, device, transaction_id, authenticated_by, source, renews, issued_at, sibling_of, set_aside, owed)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24,
                 ?25, ?26, ?27)
             ON CONFLICT (fingerprint) DO NOTHING",
        )?
        .execute(params![
            record.fingerprint,
            issuer,
            record.serial,
            record.subject,
            record.common_name,
            names,
            time(record.not_before),
            time(record.not_after),
            record.key_algorithm,
            record.spki_digest,
            record.signature_algorithm,
            record.status.name(),
            record.revoked_at.map(time),
            record.revocation_reason.map(RevocationReason::name),
            record.group,
            record.profile,
            record.upstream,
            record.ca,
            record.device,
            record.transaction.0.as_bytes(),
            record.authenticated_by,
            record.source.map(|source| source.to_string()),
            record.renews,
            time(record.issued_at),
            record.sibling_of,
            record.set_aside,
            record.set_aside && record.status != CertificateStatus::Revoked,
        ])?;
    if inserted > 0 {
        connection
            .prepare_cached("INSERT INTO certificate_bodies (number, der) VALUES (?1, ?2)")?
            .execute(params![connection.last_insert_rowid(), record.der])?;
    } else {
        // Whatever was thought of it before: now it is given to somebody.
        connection
            .prepare_cached(
                "UPDATE certificates SET set_aside = 0, owed = 0 WHERE fingerprint = ?1 AND set_aside = 1 AND status = 'valid'",
            )?
            .execute([record.fingerprint])?;
    }
    Ok(())
}

/// What a certificate that was delivered takes the place of becomes superseded: what it renews, and the sibling of that. A pair is
/// delivered when its second certificate is there.
pub(super) fn supersede(write: &mut Write<'_>, record: &CertificateRecord) -> Result<(), InventoryError> {
    let connection = write.connection;
    let renewed: Option<[u8; 32]> = match &record.sibling_of {
        Some(first) => connection
            .prepare_cached("SELECT renews FROM certificates WHERE fingerprint = ?1")?
            .query_row([first], |row| row.get(0))
            .optional()?
            .flatten(),
        None => record.renews,
    };
    let Some(renewed) = renewed.filter(|renewed| *renewed != record.fingerprint) else { return Ok(()) };
    let first = first_of_pair(connection, &renewed)?;
    for of_pair in [
        "UPDATE certificates SET status = 'superseded' WHERE fingerprint = ?1 AND status = 'valid'",
        "UPDATE certificates SET status = 'superseded' WHERE sibling_of = ?1 AND status = 'valid'",
    ] {
        connection.prepare_cached(of_pair)?.execute([first])?;
    }
    Ok(())
}

/// The first certificate of the pair that this one is of; itself if it is of none.
fn first_of_pair(connection: &Connection, fingerprint: &[u8; 32]) -> Result<[u8; 32], InventoryError> {
    let first: Option<Option<[u8; 32]>> = connection
        .prepare_cached("SELECT sibling_of FROM certificates WHERE fingerprint = ?1")?
        .query_row([fingerprint], |row| row.get(0))
        .optional()?;
    Ok(first.flatten().unwrap_or(*fingerprint))
}

/// The other certificate of a pair.
pub(super) fn sibling(connection: &Connection, fingerprint: &[u8; 32]) -> Result<Option<CertificateRecord>, InventoryError> {
    let first = first_of_pair(connection, fingerprint)?;
    if first != *fingerprint {
        return by_fingerprint(connection, &first);
    }
    let mut statement = connection.prepare_cached(select!("WHERE c.sibling_of = ?1 ORDER BY c.number DESC LIMIT 1"))?;
    Ok(statement.query_row([fingerprint], rows::certificate).optional()?)
}

/// Revokes the first certificate of a pair that came to nothing: nobody was given it, and its CA has to hear of it.
pub(super) fn withdraw(write: &mut Write<'_>, fingerprint: &[u8; 32], at: Timestamp) -> Result<(), InventoryError> {
    set_revoked(write.connection, fingerprint, RevocationReason::CessationOfOperation, at)?;
    let mut statement =
        write.connection.prepare_cached("UPDATE certificates SET set_aside = 1, owed = 1 WHERE fingerprint = ?1")?;
    statement.execute([fingerprint])?;
    Ok(())
}

/// Both of a pair; gives how many were not revoked before.
fn set_revoked(
    connection: &Connection,
    fingerprint: &[u8; 32],
    reason: RevocationReason,
    at: Timestamp,
) -> Result<usize, InventoryError> {
    let first = first_of_pair(connection, fingerprint)?;
    let mut changed = 0;
    for of_pair in [
        "UPDATE certificates SET status = 'revoked', revoked_at = ?2, revocation_reason = ?3, owed = 0
         WHERE fingerprint = ?1 AND status <> 'revoked'",
        "UPDATE certificates SET status = 'revoked', revoked_at = ?2, revocation_reason = ?3, owed = 0
         WHERE sibling_of = ?1 AND status <> 'revoked'",
    ] {
        changed += connection.prepare_cached(of_pair)?.execute(params![first, time(at), reason.name()])?;
    }
    Ok(changed)
}

/// The certificate with this fingerprint.
pub(super) fn by_fingerprint(
    connection: &Connection,
    fingerprint: &[u8; 32],
) -> Result<Option<CertificateRecord>, InventoryError> {
    let mut statement = connection.prepare_cached(select!("WHERE c.fingerprint = ?1"))?;
    Ok(statement.query_row([fingerprint], rows::certificate).optional()?)
}

/// The newest certificate with this issuer and serial.
pub(super) fn by_serial(
    connection: &Connection,
    issuer: &[u8],
    serial: &[u8],
) -> Result<Option<CertificateRecord>, InventoryError> {
    let mut statement =
        connection.prepare_cached(select!("WHERE c.serial = ?2 AND i.name = ?1 ORDER BY c.number DESC LIMIT 1"))?;
    Ok(statement.query_row([issuer, serial], rows::certificate).optional()?)
}

/// A certificate with this key that was revoked because the key is compromised; or else the newest valid one of another device or group.
///
/// One that was set aside counts like any other: while it is valid at its CA, its key is the one of the device that it names.
///
/// Each is found by an index in its order, however many certificates a key has.
pub(super) fn of_key_elsewhere(
    connection: &Connection,
    spki: &[u8; 32],
    group: &str,
    device: &str,
    now: Timestamp,
) -> Result<Option<CertificateRecord>, InventoryError> {
    let mut statement = connection.prepare_cached(select!(
        "WHERE c.number = coalesce(
             (SELECT number FROM certificates
              WHERE spki_digest = ?1 AND revocation_reason = 'keyCompromise' AND status = 'revoked' LIMIT 1),
             (SELECT number FROM certificates
              WHERE spki_digest = ?1 AND status = 'valid' AND not_after > ?4 AND NOT (device_group = ?2 AND device IS ?3)
              ORDER BY number DESC LIMIT 1))"
    ))?;
    Ok(statement.query_row(params![spki, group, device, time(now)], rows::certificate).optional()?)
}

/// How many certificates a device was given since then.
pub(super) fn count_of_device(
    connection: &Connection,
    group: &str,
    device: &str,
    since: Timestamp,
) -> Result<u64, InventoryError> {
    let mut statement = connection.prepare_cached(
        "SELECT count(*) FROM certificates WHERE device = ?1 AND device_group = ?2 AND issued_at >= ?3 AND sibling_of IS NULL
           AND set_aside = 0",
    )?;
    Ok(statement.query_row(params![device, group, time(since)], |row| rows::count(row, 0))?)
}

/// Certificates that fit, newest first.
pub(super) fn search(connection: &Connection, search: &CertificateSearch) -> Result<Vec<CertificateRecord>, InventoryError> {
    let mut conditions: Vec<&str> = Vec::new();
    let mut values: Vec<Value> = Vec::new();
    let mut require = |condition: &'static str, value: Option<Value>| {
        if let Some(value) = value {
            conditions.push(condition);
            values.push(value);
        }
    };
    let text = |value: &Option<String>| value.clone().map(Value::Text);
    let at = |value: Option<Timestamp>| value.map(|at| Value::Integer(time(at)));
    require("c.device_group = ?", text(&search.group));
    require("c.profile = ?", text(&search.profile));
    require("c.device = ?", text(&search.device));
    require("c.status = ?", search.status.map(|status| Value::Text(status.name().to_owned())));
    require("c.not_after < ?", at(search.expires_before));
    require("c.not_after > ?", at(search.expires_after));
    require("c.issued_at > ?", at(search.issued_after));
    require("c.signature_algorithm = ?", text(&search.signature_algorithm));
    require("c.key_algorithm = ?", text(&search.key_algorithm));
    require("(c.sibling_of IS NOT NULL) = ?", search.siblings.map(|only| Value::Integer(only.into())));
    if let Some(text) = &search.text {
        let pattern = format!("%{}%", escape(text));
        // People paste serials and fingerprints with colons or spaces; no pattern fits an empty prefix.
        let digits: String = text.chars().filter(|digit| !matches!(digit, ':' | ' ')).collect();
        let is_hex = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        let prefix = if is_hex { format!("{digits}%") } else { String::new() };
        // The encoding of a serial with its highest bit set begins with a zero octet, which nobody is shown.
        let after_zero = if is_hex { format!("00{digits}%") } else { String::new() };
        conditions.push(
            "(c.subject LIKE ? ESCAPE '\\' OR c.subject_alt_names LIKE ? ESCAPE '\\' OR c.device LIKE ? ESCAPE '\\'
              OR hex(c.serial) LIKE ? OR hex(c.serial) LIKE ? OR hex(c.fingerprint) LIKE ?
              OR (c.sibling_of IS NOT NULL AND hex(c.sibling_of) LIKE ?))",
        );
        let texts = [&pattern, &pattern, &pattern, &prefix, &after_zero, &prefix, &prefix];
        values.extend(texts.map(|value| Value::Text(value.clone())));
    }
    // Without statistics the planner would take any index that fits a column, and sort half the table after it. A device has
    // few certificates; for all else the newest are at the end of the index of ages, and the limit stops the walk.
    let index = if search.device.is_some() { "certificates_of_device" } else { "certificates_by_age" };
    let conditions = if conditions.is_empty() { "1".to_owned() } else { conditions.join(" AND ") };
    let limit = if search.limit == 0 { DEFAULT_LIMIT } else { search.limit };
    values.push(Value::Integer(i64::try_from(limit).unwrap_or(i64::MAX)));
    values.push(Value::Integer(i64::try_from(search.offset).unwrap_or(i64::MAX)));
    // The inner query finds the rows, the outer one reads the bodies of those alone.
    let sql = format!(
        "{} ORDER BY c.issued_at DESC, c.number DESC",
        select!("WHERE c.number IN (SELECT c.number FROM certificates c INDEXED BY {index} WHERE {conditions} ORDER BY c.issued_at DESC, c.number DESC LIMIT ? OFFSET ?)")
            .replace("{index}", index)
            .replace("{conditions}", &conditions)
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let found = statement.query_map(params_from_iter(values), rows::certificate)?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// Writes that a certificate is revoked, and its sibling with it; `false` if it was already, or is not there.
pub(super) fn revoke(
    write: &mut Write<'_>,
    fingerprint: &[u8; 32],
    reason: RevocationReason,
    at: Timestamp,
    event: AuditEvent,
) -> Result<bool, InventoryError> {
    let changed = set_revoked(write.connection, fingerprint, reason, at)?;
    if changed > 0 {
        write.chain.append(write.connection, vec![event])?;
    }
    Ok(changed > 0)
}

/// Revoked, unexpired certificates of an issuer.
pub(super) fn revoked(connection: &Connection, issuer: &[u8], now: Timestamp) -> Result<Vec<RevokedCertificate>, InventoryError> {
    let mut statement = connection.prepare_cached(
        "SELECT c.serial, c.revoked_at, c.revocation_reason FROM certificates c JOIN issuers i ON i.number = c.issuer
         WHERE i.name = ?1 AND c.status = 'revoked' AND c.not_after >= ?2 ORDER BY c.revoked_at, c.number",
    )?;
    let found = statement.query_map(params![issuer, time(now)], |row| {
        let reason: Option<String> = row.get(2)?;
        let reason = reason.and_then(|name| name.parse().ok()).unwrap_or(RevocationReason::Unspecified);
        Ok(RevokedCertificate { serial: row.get(0)?, revoked_at: timestamp(row, 1)?, reason })
    })?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// A number greater than any given before for this issuer.
pub(super) fn next_crl_number(write: &mut Write<'_>, issuer_name: &[u8]) -> Result<u64, InventoryError> {
    let number = issuer(write.connection, issuer_name, "")?;
    let mut statement = write
        .connection
        .prepare_cached("UPDATE issuers SET crl_number = crl_number + 1 WHERE number = ?1 RETURNING crl_number")?;
    Ok(statement.query_row([number], |row| rows::count(row, 0))?)
}

/// The number of an issuer, which is written if it is new.
fn issuer(connection: &Connection, name: &[u8], text: &str) -> Result<i64, InventoryError> {
    let found = connection
        .prepare_cached("SELECT number, text FROM issuers WHERE name = ?1")?
        .query_row([name], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)))
        .optional()?;
    let Some((number, known)) = found else {
        connection.prepare_cached("INSERT INTO issuers (name, text) VALUES (?1, ?2)")?.execute(params![name, text])?;
        return Ok(connection.last_insert_rowid());
    };
    if known.is_empty() && !text.is_empty() {
        connection.prepare_cached("UPDATE issuers SET text = ?2 WHERE number = ?1")?.execute(params![number, text])?;
    }
    Ok(number)
}

/// Makes the signs that LIKE reads as patterns stand for themselves.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for sign in text.chars() {
        if matches!(sign, '%' | '_' | '\\') {
            escaped.push('\\');
        }
        escaped.push(sign);
    }
    escaped
}

/// How many a search gives when it does not say.
const DEFAULT_LIMIT: usize = 100;
