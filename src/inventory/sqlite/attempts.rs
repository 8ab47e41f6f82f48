//! What becomes of a transaction: conclusions, decisions, and who works on it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rusqlite::{OptionalExtension, params};

use super::rows::{self, damaged, select_attempt, time};
use super::writer::Write;
use super::{certificates, challenges, transactions};
use crate::algorithm::IssuerRef;
use crate::inventory::{
    Attempt, AttemptResult, AttemptState, AuditEvent, Concluded, Conclusion, Decision, Due, InventoryError, Looked, Movable,
    Room, Transaction, TransactionId, TransactionState,
};

/// Writes what became of an attempt, and of its transaction with it.
pub(super) fn conclude(write: &mut Write<'_>, conclusion: &Conclusion) -> Result<Concluded, InventoryError> {
    let Conclusion { transaction, attempt, lease, result, at, reply, events } = conclusion;
    let (transaction, attempt, at) = (*transaction, *attempt, *at);
    let connection = write.connection;
    let row = connection
        .prepare_cached(
            "SELECT t.number, t.open, t.challenge, a.id IS NOT NULL, a.held_by, a.held_until,
                 EXISTS (SELECT 1 FROM attempts n WHERE n.number = t.number AND n.id > ?2), t.certificate
             FROM transactions t LEFT JOIN attempts a ON a.number = t.number AND a.id = ?2 WHERE t.id = ?1",
        )?
        .query_row(params![transaction.0.as_bytes(), attempt.0.as_bytes()], Standing::read)
        .optional()?;
    let Some(Standing { number, open, challenge, attempt_known, held, replaced, first_of_pair }) = row else {
        return Err(damaged(format!("no transaction {transaction}")));
    };
    if !open {
        return Ok(Concluded::AlreadyFinal(reread(write, transaction)?));
    }
    if !attempt_known {
        return Err(damaged(format!("no attempt {attempt} of transaction {transaction}")));
    }
    let is_certificate = matches!(result, AttemptResult::Issued { .. } | AttemptResult::FirstOfPair { .. });
    if replaced || (!is_certificate && held != lease.as_ref().map(|lease| (lease.node.clone(), time(lease.until)))) {
        return Ok(Concluded::Lost(reread(write, transaction)?));
    }
    let (attempt_state, reference, due_at) = match result {
        AttemptResult::Issued { .. } | AttemptResult::FirstOfPair { .. } => (AttemptState::Issued, None, None),
        AttemptResult::NotTaken { due_at, .. } => (AttemptState::Prepared, None, Some(*due_at)),
        AttemptResult::Unclear { due_at } => (AttemptState::Submitted, None, Some(*due_at)),
        AttemptResult::Waiting { reference, due_at } => (AttemptState::Waiting, Some(reference.as_str()), Some(*due_at)),
        AttemptResult::Rejected { .. } => (AttemptState::Rejected, None, None),
        AttemptResult::Unknown { .. } => (AttemptState::Unknown, None, None),
    };
    let moved = match &result {
        AttemptResult::NotTaken { next, .. } => next.as_ref(),
        _ => None,
    };
    connection
        .prepare_cached(
            "UPDATE attempts SET state = ?3, pending = ?4, reference = coalesce(?5, reference), due_at = coalesce(?6, due_at),
                 upstream = coalesce(?7, upstream), ca = coalesce(?8, ca), held_by = NULL, held_until = NULL
             WHERE number = ?1 AND id = ?2",
        )?
        .execute(params![
            number,
            attempt.0.as_bytes(),
            attempt_state.name(),
            attempt_state.is_open(),
            reference,
            due_at.map(time),
            moved.map(|issuer| &issuer.upstream),
            moved.map(|issuer| &issuer.ca),
        ])?;
    let mut update = Update::at(number, at);
    match result {
        AttemptResult::Issued { certificate, keep_secret } => {
            certificates::insert(connection, certificate)?;
            certificates::supersede(write, certificate)?;
            update.certificate = Some(certificate.sibling_of.as_ref().unwrap_or(&certificate.fingerprint));
            update.write(write, TransactionState::Issued, *keep_secret)?;
        }
        AttemptResult::FirstOfPair { certificate, next } => {
            certificates::insert(connection, certificate)?;
            transactions::insert_attempt(connection, number, next)?;
            update.certificate = Some(&certificate.fingerprint);
            update.write(write, TransactionState::Issuing, true)?;
        }
        AttemptResult::NotTaken { .. } | AttemptResult::Unclear { .. } | AttemptResult::Waiting { .. } => {
            update.write(write, TransactionState::Issuing, true)?;
        }
        AttemptResult::Rejected { code, detail } => {
            if let Some(digest) = &challenge {
                challenges::free(write, digest, transaction)?;
            }
            if let Some(first) = &first_of_pair {
                certificates::withdraw(write, first, at)?;
            }
            update.rejection = Some(code);
            update.detail = Some(detail);
            update.frees_challenge = true;
            update.write(write, TransactionState::Failed, false)?;
        }
        AttemptResult::Unknown { detail } => {
            update.detail = Some(detail);
            update.write(write, TransactionState::Unknown, true)?;
        }
    }
    // While it is open, the same message again is looked at afresh: only a final answer is kept.
    let is_final = matches!(result, AttemptResult::Issued { .. } | AttemptResult::Rejected { .. });
    if let Some((message, reply)) = reply.as_ref().filter(|_| is_final) {
        transactions::insert_reply(connection, number, message, reply, time(at))?;
    }
    write.chain.append(connection, events.clone())?;
    Ok(Concluded::Done)
}

/// How a transaction and one of its attempts stand when a conclusion comes.
struct Standing {
    number: i64,
    open: bool,
    challenge: Option<[u8; 32]>,
    attempt_known: bool,
    held: Option<(String, i64)>,
    /// Whether there is a later attempt.
    replaced: bool,
    /// The first certificate of a pair, once it is there.
    first_of_pair: Option<[u8; 32]>,
}

impl Standing {
    fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        let (by, until): (Option<String>, Option<i64>) = (row.get(4)?, row.get(5)?);
        Ok(Self {
            number: row.get(0)?,
            open: row.get(1)?,
            challenge: row.get(2)?,
            attempt_known: row.get(3)?,
            held: by.zip(until),
            replaced: row.get(6)?,
            first_of_pair: row.get(7)?,
        })
    }
}

/// Lets a waiting transaction go on, or refuses it. One whose outcome is unclear waits for people just as well.
pub(super) fn decide(
    write: &mut Write<'_>,
    id: TransactionId,
    decision: Decision,
) -> Result<Option<Transaction>, InventoryError> {
    let waiting: Option<(i64, Option<[u8; 32]>)> = write
        .connection
        .prepare_cached(
            "SELECT number, certificate FROM transactions WHERE id = ?1 AND state IN ('awaiting-approval', 'unknown')",
        )?
        .query_row([id.0.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((number, first_of_pair)) = waiting else { return Ok(None) };
    match decision {
        Decision::Approve { attempt, event } => {
            transactions::insert_attempt(write.connection, number, &attempt)?;
            Update::at(number, event.at).write(write, TransactionState::Issuing, true)?;
            write.chain.append(write.connection, vec![event])?;
        }
        Decision::Deny { detail, event } => {
            if let Some(first) = &first_of_pair {
                certificates::withdraw(write, first, event.at)?;
            }
            let mut update = Update::at(number, event.at);
            update.rejection = Some(DENIED);
            update.detail = Some(&detail);
            update.write(write, TransactionState::Refused, false)?;
            write.chain.append(write.connection, vec![event])?;
        }
    }
    reread(write, id).map(Some)
}

/// What can be claimed at an upstream (`?1`) at a time (`?2`).
macro_rules! due {
    () => {
        "FROM attempts a JOIN transactions t USING (number)
         WHERE a.pending = 1 AND a.upstream = ?1 AND a.due_at <= ?2 AND (a.held_until IS NULL OR a.held_until <= ?2)
           AND t.state = 'issuing'"
    };
}

/// The same, of what the issuer gave a reference for: few among many that wait for their turn, and found by an index of their own.
macro_rules! due_polls {
    () => {
        "FROM attempts a INDEXED BY attempts_polls JOIN transactions t USING (number)
         WHERE a.pending = 1 AND a.state = 'waiting' AND a.upstream = ?1 AND a.due_at <= ?2
           AND (a.held_until IS NULL OR a.held_until <= ?2) AND a.reference IS NOT NULL AND t.state = 'issuing'"
    };
}

/// The same, of everything else.
macro_rules! due_orders {
    () => {
        concat!(due!(), " AND NOT (a.state = 'waiting' AND a.reference IS NOT NULL)")
    };
}

/// Takes due work that nobody holds.
pub(super) fn claim(
    write: &mut Write<'_>,
    node: &str,
    now: Timestamp,
    until: Timestamp,
    limit: usize,
    room: &BTreeMap<String, Room>,
) -> Result<Vec<(Transaction, Attempt)>, InventoryError> {
    let connection = write.connection;
    let mut claimed = Vec::new();
    for upstream in upstreams(connection)? {
        let Room { orders, polls } = room.get(&upstream).copied().unwrap_or(Room { orders: limit, polls: limit });
        // One upstream at a time: what waits for one that is slow is not even looked at when another is asked.
        let mut due: Vec<([u8; 16], i64, [u8; 16])> = Vec::new();
        for (query, most) in [
            (concat!("SELECT t.id, a.number, a.id ", due_polls!(), " ORDER BY a.due_at, a.number LIMIT ?3"), polls),
            (concat!("SELECT t.id, a.number, a.id ", due_orders!(), " ORDER BY a.due_at, a.number LIMIT ?3"), orders),
        ] {
            if most == 0 {
                continue;
            }
            let mut statement = connection.prepare_cached(query)?;
            let rows = statement.query_map(params![upstream, time(now), i64::try_from(most).unwrap_or(i64::MAX)], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })?;
            for row in rows {
                due.push(row?);
            }
        }
        for (transaction, number, attempt) in due {
            let mut as_it_was = connection
                .prepare_cached(select_attempt!("WHERE a.number = ?1 AND a.id = ?2"))?
                .query_row(params![number, attempt], rows::attempt)?;
            (as_it_was.due_at, as_it_was.held_by, as_it_was.held_until) = (now, Some(node.to_owned()), Some(until));
            // Whoever claims it may ask the issuer now; one that is to be asked by reference stays what it is.
            connection
                .prepare_cached(
                    "UPDATE attempts SET held_by = ?3, held_until = ?4, due_at = ?5,
                         state = CASE WHEN state = 'waiting' AND reference IS NOT NULL THEN state ELSE 'submitted' END
                     WHERE number = ?1 AND id = ?2",
                )?
                .execute(params![number, attempt, node, time(until), time(now)])?;
            claimed.push((reread(write, TransactionId(uuid::Uuid::from_bytes(transaction)))?, as_it_was));
        }
    }
    Ok(claimed)
}

/// Makes an attempt that waits a submitted one.
pub(super) fn submits_again(write: &mut Write<'_>, id: TransactionId, attempt: &Attempt) -> Result<bool, InventoryError> {
    let Some(number) = transactions::number_of(write.connection, id)? else { return Ok(false) };
    let mut statement = write.connection.prepare_cached(
        "UPDATE attempts SET state = 'submitted'
         WHERE number = ?1 AND id = ?2 AND pending = 1 AND held_by = ?3 AND held_until = ?4",
    )?;
    let held_until = attempt.held_until.map(time);
    Ok(statement.execute(params![number, attempt.id.0.as_bytes(), attempt.held_by, held_until])? > 0)
}

/// What there is to claim at an upstream.
pub(super) fn due(connection: &rusqlite::Connection, upstream: &str, now: Timestamp) -> Result<Due, InventoryError> {
    let mut statement = connection.prepare_cached(concat!(
        "SELECT EXISTS (SELECT 1 ",
        due_orders!(),
        "), EXISTS (SELECT 1 ",
        due_polls!(),
        ")"
    ))?;
    Ok(statement.query_row(params![upstream, time(now)], |row| Ok(Due { orders: row.get(0)?, polls: row.get(1)? }))?)
}

/// What waits at an upstream and could go to another one: what is not sealed of an order is text that can be looked at.
pub(super) fn movable(
    connection: &rusqlite::Connection,
    upstream: &str,
    now: Timestamp,
    after: Looked,
    limit: usize,
) -> Result<Movable, InventoryError> {
    let mut statement = connection.prepare_cached(concat!(
        "SELECT t.id, a.number, a.id, a.due_at,
           EXISTS (SELECT 1 FROM requests r WHERE r.number = a.number AND instr(r.issuance_order, '\"failover\":[') > 0) ",
        due!(),
        " AND a.state = 'prepared' AND t.certificate IS NULL AND (a.due_at, a.number) > (?4, ?5)
          ORDER BY a.due_at, a.number LIMIT ?3"
    ))?;
    let most = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut rows = statement.query(params![upstream, time(now), most, after.due_at, after.number])?;
    let (mut looked, mut last, mut movable) = (0, after, Movable::default());
    while let Some(row) = rows.next()? {
        let (transaction, number, attempt): ([u8; 16], i64, [u8; 16]) = (row.get(0)?, row.get(1)?, row.get(2)?);
        (looked, last) = (looked + 1, Looked { due_at: row.get(3)?, number });
        if row.get(4)? {
            let attempt = connection
                .prepare_cached(select_attempt!("WHERE a.number = ?1 AND a.id = ?2"))?
                .query_row(params![number, attempt], rows::attempt)?;
            let transaction = transactions::by_id(connection, TransactionId(uuid::Uuid::from_bytes(transaction)))?;
            movable.found.extend(transaction.map(|transaction| (transaction, attempt)));
        }
    }
    movable.next = (looked >= limit).then_some(last);
    Ok(movable)
}

/// Makes an attempt one at another issuer.
pub(super) fn move_on(
    write: &mut Write<'_>,
    attempt: &Attempt,
    to: &IssuerRef,
    event: AuditEvent,
) -> Result<bool, InventoryError> {
    // By its upstream first, which has an index; identifiers are unique among all.
    let moved = write
        .connection
        .prepare_cached(
            "UPDATE attempts SET upstream = ?4, ca = ?5
             WHERE pending = 1 AND upstream = ?2 AND due_at = ?3 AND id = ?1 AND state = 'prepared' AND held_by IS NULL",
        )?
        .execute(params![attempt.id.0.as_bytes(), attempt.upstream, time(attempt.due_at), to.upstream, to.ca])?;
    if moved > 0 {
        write.chain.append(write.connection, vec![event])?;
    }
    Ok(moved > 0)
}

/// How many attempts are open at each upstream.
pub(super) fn open_by_upstream(connection: &rusqlite::Connection) -> Result<BTreeMap<String, u64>, InventoryError> {
    let mut statement = connection.prepare_cached("SELECT count(*) FROM attempts WHERE pending = 1 AND upstream = ?1")?;
    let count = |upstream: String| -> Result<(String, u64), InventoryError> {
        let open = statement.query_row([&upstream], |row| rows::count(row, 0))?;
        Ok((upstream, open))
    };
    upstreams(connection)?.into_iter().map(count).collect()
}

/// The upstreams with open attempts, each found by one step in the index.
fn upstreams(connection: &rusqlite::Connection) -> Result<Vec<String>, InventoryError> {
    let mut found: Vec<String> = Vec::new();
    let mut next = connection
        .prepare_cached("SELECT upstream FROM attempts WHERE pending = 1 AND upstream > ?1 ORDER BY upstream LIMIT 1")?;
    // No upstream has an empty name.
    while let Some(upstream) = next.query_row([found.last().map_or("", String::as_str)], |row| row.get(0)).optional()? {
        found.push(upstream);
    }
    Ok(found)
}

/// Gives back what a node holds.
pub(super) fn release(write: &mut Write<'_>, node: &str) -> Result<u64, InventoryError> {
    let mut statement = write
        .connection
        .prepare_cached("UPDATE attempts SET held_by = NULL, held_until = NULL WHERE pending = 1 AND held_by = ?1")?;
    Ok(statement.execute([node])? as u64)
}

/// The attempts of a transaction, oldest first.
pub(super) fn of_transaction(connection: &rusqlite::Connection, id: TransactionId) -> Result<Vec<Attempt>, InventoryError> {
    let mut statement =
        connection.prepare_cached(select_attempt!("JOIN transactions t USING (number) WHERE t.id = ?1 ORDER BY a.id"))?;
    let found = statement.query_map([id.0.as_bytes()], rows::attempt)?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// The rejection of a transaction that people denied.
pub(super) const DENIED: &str = "denied";

/// What changes in a transaction's row.
struct Update<'a> {
    number: i64,
    at: Timestamp,
    rejection: Option<&'a str>,
    detail: Option<&'a str>,
    certificate: Option<&'a [u8; 32]>,
    frees_challenge: bool,
}

impl Update<'_> {
    fn at(number: i64, at: Timestamp) -> Self {
        Self { number, at, rejection: None, detail: None, certificate: None, frees_challenge: false }
    }

    fn write(&self, write: &mut Write<'_>, state: TransactionState, keep_secret: bool) -> Result<(), InventoryError> {
        let connection = write.connection;
        connection
            .prepare_cached(
                "UPDATE transactions SET state = ?2, open = ?3, updated_at = ?4, rejection = ?5, detail = ?6,
                     certificate = coalesce(?7, certificate),
                     challenge = iif(?8, NULL, challenge) WHERE number = ?1",
            )?
            .execute(params![
                self.number,
                state.name(),
                !state.is_final(),
                time(self.at),
                self.rejection,
                self.detail,
                self.certificate,
                self.frees_challenge,
            ])?;
        if !keep_secret {
            connection.prepare_cached("DELETE FROM sealed_challenges WHERE number = ?1")?.execute([self.number])?;
        }
        Ok(())
    }
}

fn reread(write: &Write<'_>, id: TransactionId) -> Result<Transaction, InventoryError> {
    transactions::by_id(write.connection, id)?.ok_or_else(|| damaged(format!("transaction {id} has no request")))
}
