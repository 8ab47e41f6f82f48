//! Between columns and the inventory's types.

use std::fmt::Display;
use std::str::FromStr;

use jiff::Timestamp;
use rusqlite::types::Type;
use rusqlite::{ErrorCode, Row};
use uuid::Uuid;

use crate::inventory::{
    Attempt, AttemptId, CertificateRecord, Challenge, InventoryError, Transaction, TransactionId, TransactionKey,
};

/// A transaction's columns, in the order that [`transaction`] reads; `$rest` may refer to `t` and `r`.
macro_rules! select_transaction {
    ($rest:literal) => {
        concat!(
            "SELECT t.number, t.id, t.endpoint, t.wire_id, t.signer_key, t.csr_key, t.renews, t.state, t.device_group, ",
            "t.received_at, t.updated_at, t.rejection, t.detail, t.certificate, t.challenge, ",
            "r.protocol, r.subject, r.source, r.snapshot, r.csr, r.issuance_order, s.secret, t.wish ",
            "FROM transactions t JOIN requests r USING (number) LEFT JOIN sealed_challenges s USING (number) ",
            $rest
        )
    };
}
pub(super) use select_transaction;

/// Reads what [`select_transaction`] selects.
pub(super) fn transaction(row: &Row<'_>) -> rusqlite::Result<Transaction> {
    let renews: Vec<u8> = row.get(6)?;
    let renews = if renews.is_empty() { None } else { Some(row.get(6)?) };
    let wish: Vec<u8> = row.get(22)?;
    let wish = if wish.is_empty() { [0; 32] } else { row.get(22)? };
    Ok(Transaction {
        id: TransactionId(uuid(row, 1)?),
        key: TransactionKey {
            endpoint: row.get(2)?,
            wire_id: row.get(3)?,
            signer_key: row.get(4)?,
            csr_key: row.get(5)?,
            renews,
            wish,
        },
        state: parsed(row, 7)?,
        group: row.get(8)?,
        received_at: timestamp(row, 9)?,
        updated_at: timestamp(row, 10)?,
        rejection: row.get(11)?,
        detail: row.get(12)?,
        certificate: row.get(13)?,
        challenge: row.get(14)?,
        protocol: row.get(15)?,
        subject: row.get(16)?,
        source: optional(row, 17)?,
        snapshot: row.get(18)?,
        csr: row.get(19)?,
        order: row.get(20)?,
        sealed_challenge: row.get(21)?,
    })
}

/// The empty blob stands for a first enrollment.
pub(super) fn renews(key: &TransactionKey) -> &[u8] {
    key.renews.as_ref().map_or(&[], |fingerprint| fingerprint.as_slice())
}

/// An attempt's columns, in the order that [`attempt`] reads.
macro_rules! select_attempt {
    ($rest:literal) => {
        concat!("SELECT a.id, a.state, a.upstream, a.ca, a.reference, a.due_at, a.held_by, a.held_until FROM attempts a ", $rest)
    };
}
pub(super) use select_attempt;

/// Reads what [`select_attempt`] selects.
pub(super) fn attempt(row: &Row<'_>) -> rusqlite::Result<Attempt> {
    Ok(Attempt {
        id: AttemptId(uuid(row, 0)?),
        state: parsed(row, 1)?,
        upstream: row.get(2)?,
        ca: row.get(3)?,
        reference: row.get(4)?,
        due_at: timestamp(row, 5)?,
        held_by: row.get(6)?,
        held_until: optional_timestamp(row, 7)?,
    })
}

/// A challenge's columns, in the order that [`challenge`] reads.
macro_rules! select_challenge {
    ($rest:literal) => {
        concat!(
            "SELECT id, digest, device_group, bind, note, created_by, created_at, expires_at, redeemed_by, redeemed_at, ",
            "revoked_at FROM challenges ",
            $rest
        )
    };
}
pub(super) use select_challenge;

/// Reads what [`select_challenge`] selects.
pub(super) fn challenge(row: &Row<'_>) -> rusqlite::Result<Challenge> {
    let redeemed_by: Option<[u8; 16]> = row.get(8)?;
    Ok(Challenge {
        id: row.get(0)?,
        digest: row.get(1)?,
        group: row.get(2)?,
        bind: json(row, 3)?,
        note: row.get(4)?,
        created_by: row.get(5)?,
        created_at: timestamp(row, 6)?,
        expires_at: timestamp(row, 7)?,
        redeemed_by: redeemed_by.map(|id| TransactionId(Uuid::from_bytes(id))),
        redeemed_at: optional_timestamp(row, 9)?,
        revoked_at: optional_timestamp(row, 10)?,
    })
}

/// A certificate's columns, in the order that [`certificate`] reads; `$rest` may refer to `c` and `i`.
macro_rules! select_certificate {
    ($rest:expr) => {
        concat!(
            "SELECT c.fingerprint, b.der, c.serial, i.name, i.text, c.subject, c.common_name, c.subject_alt_names, c.not_before, ",
            "c.not_after, c.key_algorithm, c.spki_digest, c.signature_algorithm, c.status, c.revoked_at, c.revocation_reason, ",
            "c.device_group, c.profile, c.upstream, c.ca, c.device, c.transaction_id, c.authenticated_by, c.source, c.renews, ",
            "c.issued_at, c.sibling_of, c.set_aside FROM certificates c ",
            $rest
        )
    };
}
pub(super) use select_certificate;

/// Reads what [`select_certificate`] selects.
pub(super) fn certificate(row: &Row<'_>) -> rusqlite::Result<CertificateRecord> {
    Ok(CertificateRecord {
        fingerprint: row.get(0)?,
        der: row.get(1)?,
        serial: row.get(2)?,
        issuer: row.get(3)?,
        issuer_text: row.get(4)?,
        subject: row.get(5)?,
        common_name: row.get(6)?,
        subject_alt_names: json(row, 7)?,
        not_before: timestamp(row, 8)?,
        not_after: timestamp(row, 9)?,
        key_algorithm: row.get(10)?,
        spki_digest: row.get(11)?,
        signature_algorithm: row.get(12)?,
        status: parsed(row, 13)?,
        revoked_at: optional_timestamp(row, 14)?,
        revocation_reason: optional(row, 15)?,
        group: row.get(16)?,
        profile: row.get(17)?,
        upstream: row.get(18)?,
        ca: row.get(19)?,
        device: row.get(20)?,
        transaction: TransactionId(uuid(row, 21)?),
        authenticated_by: row.get(22)?,
        source: optional(row, 23)?,
        renews: row.get(24)?,
        issued_at: timestamp(row, 25)?,
        sibling_of: row.get(26)?,
        set_aside: row.get(27)?,
    })
}

/// A time as it is stored: whole microseconds, which reach over all years that a certificate can name.
pub(super) fn time(at: Timestamp) -> i64 {
    at.as_microsecond()
}

/// Reads a time.
pub(super) fn timestamp(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    Timestamp::from_microsecond(row.get(column)?).map_err(|error| malformed(column, Type::Integer, error.to_string()))
}

/// Reads a time that may be missing.
pub(super) fn optional_timestamp(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Timestamp>> {
    let stored: Option<i64> = row.get(column)?;
    stored.map(|_| timestamp(row, column)).transpose()
}

/// Reads a number that is never negative.
pub(super) fn count(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let stored: i64 = row.get(column)?;
    u64::try_from(stored).map_err(|error| malformed(column, Type::Integer, error.to_string()))
}

fn uuid(row: &Row<'_>, column: usize) -> rusqlite::Result<Uuid> {
    Ok(Uuid::from_bytes(row.get(column)?))
}

/// Reads something that was stored under its name.
pub(super) fn parsed<T>(row: &Row<'_>, column: usize) -> rusqlite::Result<T>
where
    T: FromStr,
    T::Err: Display,
{
    let text = row.get_ref(column)?.as_str()?;
    text.parse().map_err(|error: T::Err| malformed(column, Type::Text, error.to_string()))
}

fn optional<T>(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<T>>
where
    T: FromStr,
    T::Err: Display,
{
    match row.get_ref(column)?.data_type() {
        Type::Null => Ok(None),
        _ => parsed(row, column).map(Some),
    }
}

fn json<T: serde::de::DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text = row.get_ref(column)?.as_str()?;
    serde_json::from_str(text).map_err(|error| malformed(column, Type::Text, error.to_string()))
}

fn malformed(column: usize, kind: Type, message: String) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, kind, message.into())
}

/// What is stored is not what should be there.
pub(super) fn damaged(message: impl Into<String>) -> InventoryError {
    InventoryError::Damaged(message.into())
}

impl From<rusqlite::Error> for InventoryError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => InventoryError::Busy,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::ConstraintViolation) => {
                InventoryError::Damaged(error.to_string())
            }
            Some(_) => InventoryError::Unavailable(error.to_string()),
            None => InventoryError::Damaged(error.to_string()),
        }
    }
}
