//! Transactions: what is known of a request, and how one begins.

use rusqlite::{CachedStatement, Connection, OptionalExtension, params};

use super::rows::{self, damaged, renews, select_transaction, time};
use super::writer::Write;
use super::{attempts, challenges};
use crate::inventory::{
    Attempt, DeviceLimit, InventoryError, Known, NewTransaction, Opened, RefusedTransaction, Transaction, TransactionId,
    TransactionKey, TransactionState,
};

/// What is already known of a request.
pub(super) fn recall(connection: &Connection, message: &[u8; 32], key: &TransactionKey) -> Result<Option<Known>, InventoryError> {
    let reply = connection
        .prepare_cached("SELECT transaction_number, reply FROM replies WHERE message = ?1")?
        .query_row([message], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?)))
        .optional()?;
    if let Some((number, reply)) = reply {
        let transaction = by_number(connection, number)?.ok_or_else(|| damaged("a reply without its transaction"))?;
        // A refusal may have been looked at afresh since, by a policy that changed: what came of that counts.
        if transaction.state == TransactionState::Refused
            && let Some(later) = by_key(connection, key)?
            && (later.state != TransactionState::Refused || later.rejection.as_deref() == Some(attempts::DENIED))
        {
            return Ok(Some(Known::Transaction(later)));
        }
        return Ok(Some(Known::Reply { transaction, reply }));
    }
    for find in [by_key, by_alias, open_of_keys] {
        if let Some(transaction) = find(connection, key)? {
            return Ok(Some(Known::Transaction(transaction)));
        }
    }
    Ok(None)
}

/// The transaction with this identifier.
pub(super) fn by_id(connection: &Connection, id: TransactionId) -> Result<Option<Transaction>, InventoryError> {
    one(connection.prepare_cached(select_transaction!("WHERE t.id = ?1"))?, params![id.0.as_bytes()])
}

/// The newest transaction with this wire identifier and signer key.
pub(super) fn by_wire_id(
    connection: &Connection,
    endpoint: &str,
    wire_id: &str,
    signer_key: &[u8; 32],
) -> Result<Option<Transaction>, InventoryError> {
    let keys = params![signer_key, endpoint, wire_id];
    let own = connection.prepare_cached(select_transaction!(
        "WHERE t.signer_key = ?1 AND t.endpoint = ?2 AND t.wire_id = ?3 ORDER BY t.number DESC LIMIT 1"
    ))?;
    if let Some(transaction) = one(own, keys)? {
        return Ok(Some(transaction));
    }
    let joined = connection.prepare_cached(select_transaction!(
        "JOIN aliases n USING (number) WHERE n.signer_key = ?1 AND n.endpoint = ?2 AND n.wire_id = ?3
         ORDER BY t.number DESC LIMIT 1"
    ))?;
    one(joined, keys)
}

/// Transactions in this state, oldest first.
pub(super) fn in_state(
    connection: &Connection,
    state: TransactionState,
    limit: usize,
) -> Result<Vec<Transaction>, InventoryError> {
    // The index of states has only the open ones, which are few; final ones are read as they stand.
    let mut statement = if state.is_final() {
        connection.prepare_cached(select_transaction!("WHERE t.state = ?1 ORDER BY t.number LIMIT ?2"))?
    } else {
        connection.prepare_cached(select_transaction!("WHERE t.state = ?1 AND t.open = 1 ORDER BY t.number LIMIT ?2"))?
    };
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let found = statement.query_map(params![state.name(), limit], rows::transaction)?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// Writes a transaction with its first attempt, and redeems its challenge.
pub(super) fn open(write: &mut Write<'_>, new: &NewTransaction) -> Result<Opened, InventoryError> {
    let transaction = &new.transaction;
    if transaction.state.is_final() {
        return Err(damaged("a transaction begins open"));
    }
    let connection = write.connection;
    if let Some(existing) = existing(connection, transaction)? {
        join(write, existing.id, &transaction.key.wire_id)?;
        return Ok(Opened::Existing(existing));
    }
    if let Some(digest) = &new.redeem
        && !challenges::is_redeemable(connection, digest, transaction.id, transaction.received_at)?
    {
        return Ok(Opened::ChallengeSpent);
    }
    if let Some(limit) = &new.limit
        && given_to_device(connection, limit)? >= u64::from(limit.count)
    {
        return Ok(Opened::LimitReached);
    }
    if let Some(digest) = &new.redeem {
        challenges::redeem(write, digest, transaction.id, transaction.received_at)?;
    }
    let challenge = new.redeem.or(transaction.challenge);
    let number = insert(connection, transaction, challenge.as_ref(), new.limit.as_ref().map(|limit| limit.device.as_str()))?;
    if let Some(attempt) = &new.attempt {
        insert_attempt(connection, number, attempt)?;
    }
    write.chain.append(connection, new.events.clone())?;
    Ok(Opened::Created)
}

/// A transaction that stands in the way of a new one: the same one, an open one of the same keys, or one that was under way
/// when the request came and issued while it was looked at.
fn existing(connection: &Connection, new: &Transaction) -> Result<Option<Transaction>, InventoryError> {
    if let Some(same) = by_id(connection, new.id)? {
        return Ok(Some(same));
    }
    if let Some(open) = open_of_keys(connection, &new.key)? {
        return Ok(Some(open));
    }
    for find in [by_key, by_alias] {
        let found = find(connection, &new.key)?;
        let overtook =
            |earlier: &Transaction| earlier.state == TransactionState::Issued && time(earlier.updated_at) > time(new.received_at);
        if let Some(issued) = found.filter(overtook) {
            return Ok(Some(issued));
        }
    }
    Ok(None)
}

/// Remembers a further wire identifier of a transaction.
pub(super) fn join(write: &mut Write<'_>, id: TransactionId, wire_id: &str) -> Result<(), InventoryError> {
    write
        .connection
        .prepare_cached(
            "INSERT INTO aliases (signer_key, endpoint, wire_id, number)
             SELECT signer_key, endpoint, ?2, number FROM transactions WHERE id = ?1 AND wire_id <> ?2
             ON CONFLICT DO NOTHING",
        )?
        .execute(params![id.0.as_bytes(), wire_id])?;
    Ok(())
}

/// Writes a transaction that was refused. Written twice, it changes nothing.
pub(super) fn refuse(write: &mut Write<'_>, refused: RefusedTransaction) -> Result<(), InventoryError> {
    let transaction = &refused.transaction;
    if transaction.state != TransactionState::Refused {
        return Err(damaged("a refused transaction is in the state `refused`"));
    }
    if number_of(write.connection, transaction.id)?.is_some() {
        return Ok(());
    }
    let number = insert(write.connection, transaction, transaction.challenge.as_ref(), None)?;
    if let Some((message, reply)) = &refused.reply {
        insert_reply(write.connection, number, message, reply, time(transaction.updated_at))?;
    }
    write.chain.append(write.connection, refused.events)
}

/// Stores a reply; the first one to a message stays, unless it was a refusal that was looked at afresh.
pub(super) fn store_reply(
    write: &mut Write<'_>,
    transaction: TransactionId,
    message: &[u8; 32],
    reply: &[u8],
    at: i64,
) -> Result<(), InventoryError> {
    let number = number_of(write.connection, transaction)?.ok_or_else(|| damaged(format!("no transaction {transaction}")))?;
    insert_reply(write.connection, number, message, reply, at)
}

/// See [`store_reply`].
pub(super) fn insert_reply(
    connection: &Connection,
    number: i64,
    message: &[u8; 32],
    reply: &[u8],
    at: i64,
) -> Result<(), InventoryError> {
    connection
        .prepare_cached(
            "INSERT INTO replies (message, transaction_number, stored_at, reply) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (message) DO UPDATE SET transaction_number = excluded.transaction_number, stored_at = excluded.stored_at,
                 reply = excluded.reply
             WHERE (SELECT state FROM transactions t WHERE t.number = replies.transaction_number) = 'refused'",
        )?
        .execute(params![message, number, at, reply])?;
    Ok(())
}

/// Writes an attempt of a transaction.
pub(super) fn insert_attempt(connection: &Connection, number: i64, attempt: &Attempt) -> Result<(), InventoryError> {
    connection
        .prepare_cached(
            "INSERT INTO attempts (number, id, state, pending, upstream, ca, reference, due_at, held_by, held_until)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?
        .execute(params![
            number,
            attempt.id.0.as_bytes(),
            attempt.state.name(),
            // Work is left until an attempt has an end: what its holder loses in a crash is taken up by the next.
            attempt.state.is_open(),
            attempt.upstream,
            attempt.ca,
            attempt.reference,
            time(attempt.due_at),
            attempt.held_by,
            attempt.held_until.map(time),
        ])?;
    Ok(())
}

/// The row number of a transaction.
pub(super) fn number_of(connection: &Connection, id: TransactionId) -> Result<Option<i64>, InventoryError> {
    let mut statement = connection.prepare_cached("SELECT number FROM transactions WHERE id = ?1")?;
    Ok(statement.query_row([id.0.as_bytes()], |row| row.get(0)).optional()?)
}

fn insert(
    connection: &Connection,
    transaction: &Transaction,
    challenge: Option<&[u8; 32]>,
    device: Option<&str>,
) -> Result<i64, InventoryError> {
    let key = &transaction.key;
    connection
        .prepare_cached(
            "INSERT INTO transactions (id, endpoint, wire_id, signer_key, csr_key, renews, state, open, device_group, device,
                 received_at, updated_at, rejection, detail, certificate, challenge, wish)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)",
        )?
        .execute(params![
            transaction.id.0.as_bytes(),
            key.endpoint,
            key.wire_id,
            key.signer_key,
            key.csr_key,
            renews(key),
            transaction.state.name(),
            !transaction.state.is_final(),
            transaction.group,
            device,
            time(transaction.received_at),
            time(transaction.updated_at),
            transaction.rejection,
            transaction.detail,
            transaction.certificate,
            challenge,
            key.wish,
        ])?;
    let number = connection.last_insert_rowid();
    connection
        .prepare_cached(
            "INSERT INTO requests (number, protocol, subject, source, snapshot, csr, issuance_order)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            number,
            transaction.protocol,
            transaction.subject,
            transaction.source.map(|source| source.to_string()),
            transaction.snapshot,
            transaction.csr,
            transaction.order,
        ])?;
    if let Some(secret) = &transaction.sealed_challenge {
        connection
            .prepare_cached("INSERT INTO sealed_challenges (number, secret) VALUES (?1, ?2)")?
            .execute(params![number, secret])?;
    }
    Ok(number)
}

/// Certificates given to the device in the period, and transactions that may yet give it one.
fn given_to_device(connection: &Connection, limit: &DeviceLimit) -> Result<u64, InventoryError> {
    let mut statement = connection.prepare_cached(
        "SELECT (SELECT count(*) FROM certificates
                 WHERE device = ?1 AND device_group = ?2 AND issued_at >= ?3 AND sibling_of IS NULL AND set_aside = 0)
              + (SELECT count(*) FROM transactions
                 WHERE device = ?1 AND device_group = ?2 AND open = 1 AND received_at >= ?3 AND certificate IS NULL)",
    )?;
    Ok(statement.query_row(params![limit.device, limit.group, time(limit.since)], |row| rows::count(row, 0))?)
}

fn by_number(connection: &Connection, number: i64) -> Result<Option<Transaction>, InventoryError> {
    one(connection.prepare_cached(select_transaction!("WHERE t.number = ?1"))?, params![number])
}

/// By the full key: an open one, or else the newest.
fn by_key(connection: &Connection, key: &TransactionKey) -> Result<Option<Transaction>, InventoryError> {
    let statement = connection.prepare_cached(select_transaction!(
        "WHERE t.signer_key = ?1 AND t.endpoint = ?2 AND t.wire_id = ?3 AND t.csr_key = ?4 AND t.renews = ?5
           AND t.wish IN (?6, x'')
         ORDER BY t.open DESC, t.number DESC LIMIT 1"
    ))?;
    one(statement, params![key.signer_key, key.endpoint, key.wire_id, key.csr_key, renews(key), key.wish])
}

/// By the full key, under a wire identifier that joined later.
fn by_alias(connection: &Connection, key: &TransactionKey) -> Result<Option<Transaction>, InventoryError> {
    let statement = connection.prepare_cached(select_transaction!(
        "JOIN aliases n USING (number)
         WHERE n.signer_key = ?1 AND n.endpoint = ?2 AND n.wire_id = ?3 AND t.csr_key = ?4 AND t.renews = ?5
           AND t.wish IN (?6, x'')
         ORDER BY t.open DESC, t.number DESC LIMIT 1"
    ))?;
    one(statement, params![key.signer_key, key.endpoint, key.wire_id, key.csr_key, renews(key), key.wish])
}

/// The open one of the same keys, whatever its wire identifier.
fn open_of_keys(connection: &Connection, key: &TransactionKey) -> Result<Option<Transaction>, InventoryError> {
    let statement = connection.prepare_cached(select_transaction!(
        "WHERE t.signer_key = ?1 AND t.csr_key = ?2 AND t.endpoint = ?3 AND t.renews = ?4
           AND t.wish IN (?5, x'') AND t.open = 1"
    ))?;
    one(statement, params![key.signer_key, key.csr_key, key.endpoint, renews(key), key.wish])
}

fn one(mut statement: CachedStatement<'_>, keys: impl rusqlite::Params) -> Result<Option<Transaction>, InventoryError> {
    Ok(statement.query_row(keys, rows::transaction).optional()?)
}
