//! The audit table: appending to the chain, and reading it.

use rusqlite::{Connection, OptionalExtension, params};

use super::rows::{count, damaged, time, timestamp};
use crate::inventory::audit::{chain_hash, storable, write_object};
use crate::inventory::{AuditEvent, AuditRecord, InventoryError};

/// The end of the chain within one database transaction; read when it is first needed.
#[derive(Clone, Default)]
pub(super) struct Chain {
    head: Option<(u64, [u8; 32])>,
}

impl Chain {
    /// Appends events.
    pub(super) fn append(&mut self, connection: &Connection, events: Vec<AuditEvent>) -> Result<(), InventoryError> {
        for event in events {
            let (sequence, previous) = match self.head {
                Some(head) => head,
                None => read_head(connection)?,
            };
            let sequence = sequence + 1;
            let event = storable(event);
            let hash = chain_hash(&previous, sequence, &event);
            let mut fields = Vec::new();
            write_object(&mut fields, &event.fields);
            let fields = String::from_utf8(fields).expect("JSON is UTF-8");
            connection
                .prepare_cached(
                    "INSERT INTO audit (sequence, at, event, actor, object, fields, hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                )?
                .execute(params![sequence as i64, time(event.at), event.event, event.actor, event.object, fields, hash])?;
            self.head = Some((sequence, hash));
        }
        Ok(())
    }
}

fn read_head(connection: &Connection) -> Result<(u64, [u8; 32]), InventoryError> {
    let head = connection
        .prepare_cached("SELECT sequence, hash FROM audit ORDER BY sequence DESC LIMIT 1")?
        .query_row([], |row| Ok((count(row, 0)?, row.get(1)?)))
        .optional()?;
    Ok(head.unwrap_or((0, [0; 32])))
}

/// Records after `after`, oldest first.
pub(super) fn log(connection: &Connection, after: u64, limit: usize) -> Result<Vec<AuditRecord>, InventoryError> {
    let mut statement = connection.prepare_cached(
        "SELECT sequence, at, event, actor, object, fields, hash FROM audit WHERE sequence > ?1 ORDER BY sequence LIMIT ?2",
    )?;
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let mut rows = statement.query(params![after, i64::try_from(limit).unwrap_or(i64::MAX)])?;
    let mut records = Vec::new();
    while let Some(row) = rows.next()? {
        let sequence = count(row, 0)?;
        let fields: String = row.get(5)?;
        let event = AuditEvent {
            at: timestamp(row, 1)?,
            event: row.get(2)?,
            actor: row.get(3)?,
            object: row.get(4)?,
            fields: serde_json::from_str(&fields).map_err(|error| damaged(format!("audit record {sequence}: {error}")))?,
        };
        records.push(AuditRecord { sequence, event, hash: hex::encode(row.get::<_, [u8; 32]>(6)?) });
    }
    Ok(records)
}
