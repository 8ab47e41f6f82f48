//! Connections that read. Readers of a write-ahead log never wait for the writer, nor for each other.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rusqlite::Connection;

use super::schema;
use crate::inventory::InventoryError;

/// Idle connections; one more is opened when all are in use.
pub(super) struct Readers {
    path: PathBuf,
    busy_timeout: Duration,
    idle: Mutex<Vec<Connection>>,
    keep: usize,
}

impl Readers {
    /// Keeps up to `keep` idle connections; opens the first one at once, so that a broken file shows early.
    pub(super) fn new(path: PathBuf, busy_timeout: Duration, keep: usize) -> Result<Self, InventoryError> {
        let first = schema::open_reader(&path, busy_timeout)?;
        Ok(Self { path, busy_timeout, idle: Mutex::new(vec![first]), keep })
    }

    /// Runs `work` on the calling thread, in one snapshot of the database.
    pub(super) fn read<T>(&self, work: impl FnOnce(&Connection) -> Result<T, InventoryError>) -> Result<T, InventoryError> {
        let taken = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match taken {
            Some(connection) => connection,
            None => schema::open_reader(&self.path, self.busy_timeout)?,
        };
        connection.prepare_cached("BEGIN")?.execute([])?;
        let result = work(&connection);
        // A connection that cannot end its snapshot is not used again: it would hold the log back.
        if connection.prepare_cached("COMMIT")?.execute([]).is_ok() {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            if idle.len() < self.keep {
                idle.push(connection);
            }
        }
        result
    }
}
