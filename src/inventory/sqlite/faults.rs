//! Tests of what the writer does when the database takes no writes.

use super::rows::damaged;
use super::*;
use crate::inventory::audit::verify_chain;
use crate::inventory::{AuditEvent, InventoryError};

fn make(options: SqliteOptions) -> (SqliteInventory, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("folder");
    let inventory = SqliteInventory::open(folder.path().join("inventory.db"), options).expect("opens");
    (inventory, folder)
}

fn event(size: usize) -> AuditEvent {
    let event = "a".repeat(size);
    AuditEvent { at: Timestamp::now(), event, actor: String::new(), object: String::new(), fields: serde_json::Map::new() }
}

async fn set(inventory: &SqliteInventory, pragma: &'static str) {
    let done = inventory.writer.write(move |write| Ok(write.connection.execute_batch(pragma)?)).await;
    done.expect("a setting is no write");
}

#[tokio::test]
async fn a_full_database_refuses_and_recovers() {
    let (inventory, _folder) = make(SqliteOptions::default());
    inventory.audit(vec![event(10)]).await.expect("appends");
    set(&inventory, "PRAGMA max_page_count = 1").await;
    let big = inventory.audit(vec![event(10), event(100_000)]).await;
    assert!(matches!(big, Err(InventoryError::Unavailable(_))), "{big:?}");
    assert_eq!(inventory.audit_log(0, 10).await.expect("reads").len(), 1);
    set(&inventory, "PRAGMA max_page_count = 1000000").await;
    inventory.check().await.expect("it works again");
    inventory.audit(vec![event(100_000)]).await.expect("appends");
    assert_eq!(verify_chain(&inventory).await.expect("reads").expect("it holds").verified(), 2);
}

#[tokio::test]
async fn a_database_that_turned_read_only_refuses() {
    let (inventory, folder) = make(SqliteOptions::default());
    inventory.audit(vec![event(10)]).await.expect("appends");
    set(&inventory, "PRAGMA query_only = ON").await;
    for _ in 0..2 {
        let refused = inventory.audit(vec![event(10)]).await;
        assert!(matches!(refused, Err(InventoryError::Unavailable(_))), "{refused:?}");
        let check = inventory.check().await;
        assert!(matches!(check, Err(InventoryError::Unavailable(_))), "{check:?}");
    }
    assert_eq!(inventory.audit_log(0, 10).await.expect("reading goes on").len(), 1);
    drop(inventory);
    let again = SqliteInventory::open(folder.path().join("inventory.db"), SqliteOptions::default()).expect("opens");
    again.audit(vec![event(10)]).await.expect("appends");
    assert_eq!(verify_chain(&again).await.expect("reads").expect("it holds").verified(), 2);
}

#[tokio::test]
async fn a_command_that_panics_takes_nobody_along() {
    let (inventory, _folder) = make(SqliteOptions::default());
    let broken = inventory.writer.write(|write| -> Result<(), InventoryError> {
        write.chain.append(write.connection, vec![event(10)])?;
        panic!("on purpose")
    });
    let (broken, good) = tokio::join!(broken, inventory.audit(vec![event(10)]));
    assert!(matches!(broken, Err(InventoryError::Unavailable(_))));
    good.expect("appends");
    assert_eq!(verify_chain(&inventory).await.expect("reads").expect("it holds").verified(), 1);
}

/// Commands that can be run again share a transaction without savepoints: one that fails after it wrote is undone with all, and the
/// others are written once all the same.
#[tokio::test]
async fn a_repeatable_command_that_fails_takes_nobody_along() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    let (inventory, _folder) = make(SqliteOptions::default());
    let (hold, held) = std::sync::mpsc::channel::<()>();
    let (started, starts) = std::sync::mpsc::channel::<()>();
    let block = inventory.writer.write(move |_| {
        started.send(()).expect("the test waits");
        held.recv().map_err(|_| damaged("nobody lets go"))
    });
    let runs = Arc::new(AtomicUsize::new(0));
    let append = |fails: bool| {
        let runs = Arc::clone(&runs);
        inventory.writer.write_again(move |write| {
            runs.fetch_add(1, Ordering::Relaxed);
            write.chain.append(write.connection, vec![event(10)])?;
            if fails { Err(damaged("on purpose")) } else { Ok(()) }
        })
    };
    let rest = async {
        starts.recv().expect("the writer is at it");
        tokio::join!(append(false), append(true), append(false), async { hold.send(()).expect("it waits") })
    };
    let (block, (before, broken, after, ())) = tokio::join!(block, rest);
    block.expect("it was alone in its batch");
    before.expect("appends");
    after.expect("appends");
    assert!(matches!(broken, Err(InventoryError::Damaged(_))), "{broken:?}");
    assert_eq!(runs.load(Ordering::Relaxed), 5, "two runs until one failed, and then all three");
    assert_eq!(verify_chain(&inventory).await.expect("reads").expect("it holds").verified(), 2);

    // With nobody failing, each runs once.
    runs.store(0, Ordering::Relaxed);
    let (first, second) = tokio::join!(append(false), append(false));
    first.and(second).expect("append");
    assert_eq!(runs.load(Ordering::Relaxed), 2);
    assert_eq!(verify_chain(&inventory).await.expect("reads").expect("it holds").verified(), 4);
}

/// The commands that share a commit fail together when it fails, and none of them is half there.
#[tokio::test]
async fn a_failed_commit_fails_all_who_shared_it() {
    let (inventory, _folder) = make(SqliteOptions::default());
    let (hold, held) = std::sync::mpsc::channel::<()>();
    let (started, starts) = std::sync::mpsc::channel::<()>();
    let block = inventory.writer.write(move |_| {
        started.send(()).expect("the test waits");
        held.recv().map_err(|_| damaged("nobody lets go"))
    });
    // What is queued while the writer is at something shares the next commit.
    let rest = async {
        starts.recv().expect("the writer is at it");
        // Ends the transaction under the batch's feet, as SQLite does by itself after some failures of the disk.
        let undo = inventory.writer.write(|write| Ok(write.connection.execute_batch("ROLLBACK")?));
        tokio::join!(inventory.audit(vec![event(1)]), undo, inventory.audit(vec![event(2)]), async {
            hold.send(()).expect("it waits");
        })
    };
    let (block, (before, undo, after, ())) = tokio::join!(block, rest);
    block.expect("it was alone in its batch");
    for result in [before, undo, after] {
        assert!(matches!(result, Err(InventoryError::Unavailable(_))), "{result:?}");
    }
    assert!(inventory.audit_log(0, 10).await.expect("reads").is_empty());
    inventory.audit(vec![event(3)]).await.expect("the next batch is none the worse");
    assert_eq!(verify_chain(&inventory).await.expect("reads").expect("it holds").verified(), 1);
}

#[tokio::test]
async fn a_full_queue_answers_at_once() {
    let (inventory, _folder) = make(SqliteOptions { queue: 2, batch: 1, ..SqliteOptions::default() });
    let (hold, held) = std::sync::mpsc::channel::<()>();
    let (started, starts) = std::sync::mpsc::channel::<()>();
    let block = inventory.writer.write(move |_| {
        started.send(()).expect("the test waits");
        held.recv().map_err(|_| damaged("nobody lets go"))
    });
    let rest = async {
        starts.recv().expect("the writer is at it");
        let three = tokio::join!(
            inventory.audit(vec![event(1)]),
            inventory.audit(vec![event(2)]),
            inventory.audit(vec![event(3)]),
            async { hold.send(()).expect("it waits") },
        );
        [three.0, three.1, three.2]
    };
    let (block, rest) = tokio::join!(block, rest);
    block.expect("it was let go");
    assert!(matches!(rest, [Ok(()), Ok(()), Err(InventoryError::Busy)]), "{rest:?}");
}
