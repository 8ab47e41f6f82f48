//! Opens the file, checks whose it is, and brings its schema up to date.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::rows::damaged;
use crate::inventory::InventoryError;

/// Opens (or makes) the file for the writer, with the newest schema.
pub(super) fn open_writer(path: &Path, busy_timeout: Duration) -> Result<Connection, InventoryError> {
    restrict(path)?;
    let mut connection = connect(path, busy_timeout, 4_000)?;
    // Stays in the file from then on; readers find it there.
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        return Err(InventoryError::Unavailable(format!(
            "the file system cannot share memory for a write-ahead log (mode {mode})"
        )));
    }
    migrate(&mut connection, path, STEPS)?;
    Ok(connection)
}

/// Opens one more connection that only reads.
pub(super) fn open_reader(path: &Path, busy_timeout: Duration) -> Result<Connection, InventoryError> {
    let connection = connect(path, busy_timeout, 1_000)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

/// `cache` is in KiB.
fn connect(path: &Path, busy_timeout: Duration, cache: i64) -> Result<Connection, InventoryError> {
    // Each connection is used by one thread at a time, which Rust sees to: SQLite need not lock it as well.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(busy_timeout)?;
    connection.set_prepared_statement_cache_capacity(64);
    // A bound value could otherwise change the plan where a partial index might fit it, and SQLite would compile such
    // statements anew for each value: that was half of all that an enrollment cost here.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "cache_size", -cache)?;
    // A log of 16 MiB: busy pages are written back to the file once where they would be four times.
    connection.pragma_update(None, "wal_autocheckpoint", 4_000)?;
    Ok(connection)
}

/// Makes the file if it is not there, and lets nobody but its owner read it. SQLite gives its side files the same mode.
fn restrict(path: &Path) -> Result<(), InventoryError> {
    let unavailable = |error: std::io::Error| InventoryError::Unavailable(format!("{}: {error}", path.display()));
    let file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path).map_err(unavailable)?;
    let mode = file.metadata().map_err(unavailable)?.permissions().mode();
    if mode & 0o077 != 0 {
        file.set_permissions(fs::Permissions::from_mode(0o600)).map_err(unavailable)?;
    }
    Ok(())
}

/// Runs the steps that the file has not seen, each in a transaction of its own.
fn migrate(connection: &mut Connection, path: &Path, steps: &[&str]) -> Result<(), InventoryError> {
    let known = steps.len() as i64;
    let found = version(connection)?;
    if found > known {
        return Err(InventoryError::TooNew { found, known });
    }
    let owner: i64 = connection.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if tables > 0 && owner != APPLICATION_ID {
        return Err(damaged(format!("{} is the database of another program", path.display())));
    }
    if found > 0 && found < known {
        let copy = back_up(connection, path, found)?;
        tracing::info!(from = found, to = known, copy = %copy.display(), "The inventory's schema is brought up to date.");
    }
    for (index, step) in steps.iter().enumerate() {
        let target = index as i64 + 1;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        // Read again under the lock: another process may have been faster.
        if version(&transaction)? >= target {
            continue;
        }
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", target)?;
        transaction.commit()?;
    }
    Ok(())
}

fn version(connection: &Connection) -> Result<i64, InventoryError> {
    Ok(connection.query_row("PRAGMA user_version", [], |row| row.get(0))?)
}

/// Copies the file, as it is committed, beside itself.
fn back_up(connection: &Connection, path: &Path, version: i64) -> Result<PathBuf, InventoryError> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".v{version}-{}.backup", Timestamp::now().as_microsecond()));
    let copy = path.with_file_name(name);
    // SQLite would make it readable to all; into an empty file it writes without changing its mode.
    restrict(&copy)?;
    let target = copy.to_str().ok_or_else(|| InventoryError::Unavailable("the path is not UTF-8".to_owned()))?;
    connection.execute("VACUUM INTO ?1", [target])?;
    Ok(copy)
}

/// Says that a SQLite file is ours: `Ravl`.
const APPLICATION_ID: i64 = 0x5261_766c;

/// Step `n` makes version `n + 1`. A step that has been released is never changed.
const STEPS: &[&str] = &[
    include_str!("v1.sql"),
    include_str!("v2.sql"),
    include_str!("v3.sql"),
    include_str!("v4.sql"),
    include_str!("v5.sql"),
    include_str!("v6.sql"),
    include_str!("v7.sql"),
    include_str!("v8.sql"),
    include_str!("v9.sql"),
    include_str!("v10.sql"),
];

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_millis(100);

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("file").permissions().mode() & 0o777
    }

    #[test]
    fn a_new_file_is_private_and_current() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("inventory.db");
        let connection = open_writer(&path, TIMEOUT).expect("opens");
        assert_eq!(version(&connection).expect("version"), STEPS.len() as i64);
        for file in fs::read_dir(folder.path()).expect("folder") {
            let file = file.expect("entry").path();
            assert_eq!(mode(&file), 0o600, "{}", file.display());
        }
        let full: i64 = connection.query_row("PRAGMA synchronous", [], |row| row.get(0)).expect("pragma");
        assert_eq!(full, 2);
    }

    #[test]
    fn a_newer_file_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("inventory.db");
        drop(open_writer(&path, TIMEOUT).expect("opens"));
        Connection::open(&path).expect("opens").pragma_update(None, "user_version", 99).expect("pragma");
        match open_writer(&path, TIMEOUT) {
            Err(InventoryError::TooNew { found: 99, known }) => assert_eq!(known, STEPS.len() as i64),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn another_programs_database_is_refused() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("other.db");
        Connection::open(&path).expect("opens").execute_batch("CREATE TABLE theirs (a)").expect("creates");
        assert!(matches!(open_writer(&path, TIMEOUT), Err(InventoryError::Damaged(_))));
        let text = folder.path().join("text");
        fs::write(&text, "this is a letter and not a database, long enough to have no valid header at all").expect("writes");
        assert!(matches!(open_writer(&text, TIMEOUT), Err(InventoryError::Damaged(_))));
    }

    #[test]
    fn a_migration_copies_first_and_a_failing_step_changes_nothing() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("inventory.db");
        let mut connection = connect_new(&path);
        migrate(&mut connection, &path, &["CREATE TABLE one (a)"]).expect("first");
        connection.execute("INSERT INTO one VALUES (7)", []).expect("inserts");
        assert_eq!(backups(folder.path()).len(), 0, "a new file has nothing to copy");

        let broken = ["CREATE TABLE one (a)", "CREATE TABLE two (a); INSERT INTO nowhere VALUES (1)"];
        assert!(migrate(&mut connection, &path, &broken).is_err());
        assert_eq!(version(&connection).expect("version"), 1);
        assert!(!connection.table_exists(None, "two").expect("query"));

        migrate(&mut connection, &path, &["CREATE TABLE one (a)", "ALTER TABLE one ADD COLUMN b"]).expect("second");
        assert_eq!(version(&connection).expect("version"), 2);
        let copies = backups(folder.path());
        assert_eq!(copies.len(), 2);
        for copy in copies {
            assert_eq!(mode(&copy), 0o600);
            let copy = Connection::open(copy).expect("opens");
            assert_eq!(version(&copy).expect("version"), 1);
            let kept: i64 = copy.query_row("SELECT a FROM one", [], |row| row.get(0)).expect("row");
            assert_eq!(kept, 7);
        }
    }

    #[test]
    fn what_an_earlier_version_set_aside_is_marked() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("inventory.db");
        let mut connection = connect_new(&path);
        migrate(&mut connection, &path, &STEPS[..8]).expect("version 8");
        connection.execute("INSERT INTO issuers (number, name, text) VALUES (1, x'3000', '')", []).expect("inserts");
        for (number, status) in [(1_u8, "valid"), (2, "valid"), (3, "revoked")] {
            connection
                .execute(
                    "INSERT INTO certificates (number, fingerprint, issuer, serial, subject, subject_alt_names, not_before, not_after,
                         key_algorithm, spki_digest, signature_algorithm, status, device_group, profile, upstream, ca, transaction_id,
                         authenticated_by, issued_at)
                     VALUES (?1, ?2, 1, x'01', '', '[]', 0, 0, '', x'', '', ?3, '', '', '', '', x'', '', 0)",
                    rusqlite::params![number, [0xAB, number], status],
                )
                .expect("inserts");
        }
        for (sequence, event, fingerprint) in
            [(1, "certificate.issued", "ab01"), (2, "certificate.set-aside", "ab02"), (3, "certificate.set-aside", "ab03")]
        {
            let fields = format!("{{\"fingerprint\":\"{fingerprint}\"}}");
            connection
                .execute("INSERT INTO audit VALUES (?1, 0, ?2, '', '', ?3, x'')", rusqlite::params![sequence, event, fields])
                .expect("inserts");
        }
        migrate(&mut connection, &path, STEPS).expect("the newest version");
        let mut statement = connection.prepare("SELECT set_aside, owed FROM certificates ORDER BY number").expect("prepares");
        let marks = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).expect("reads");
        let marks: Vec<(bool, bool)> = marks.collect::<Result<_, _>>().expect("reads");
        assert_eq!(marks, [(false, false), (true, true), (true, false)]);
    }

    fn connect_new(path: &Path) -> Connection {
        restrict(path).expect("makes");
        connect(path, TIMEOUT, 1_000).expect("opens")
    }

    fn backups(folder: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).expect("folder").map(|entry| entry.expect("entry").path());
        entries.filter(|path| path.extension().is_some_and(|extension| extension == "backup")).collect()
    }
}
