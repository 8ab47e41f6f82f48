//! A disk that is full or read-only: refuse, say so, lose nothing, and go on when it is mended.

mod inventory_support;

use std::path::{Path, PathBuf};
use std::process::Command;

use inventory_support::{conclusion_of, new_transaction};
use ravelin::inventory::audit::verify_chain;
use ravelin::inventory::sqlite::{SqliteInventory, SqliteOptions};
use ravelin::inventory::{Inventory, InventoryError, Opened, TransactionState};

/// A file system in memory, of this size; it goes when this does.
struct SmallDisk {
    folder: tempfile::TempDir,
}

impl SmallDisk {
    /// `None` where this process may not mount.
    fn mount(size: &str) -> Option<Self> {
        let folder = tempfile::tempdir().expect("folder");
        let options = format!("size={size},mode=700");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(folder.path()).output();
        mounted.is_ok_and(|output| output.status.success()).then_some(Self { folder })
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn database(&self) -> PathBuf {
        self.path().join("inventory.db")
    }

    fn remount(&self, option: &str) {
        let options = format!("remount,{option}");
        let done = Command::new("mount").args(["-o", &options]).arg(self.path()).status().expect("mount runs");
        assert!(done.success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_and_recovers() {
    let Some(disk) = SmallDisk::mount("3m") else {
        println!("skipped: this process may not mount a small file system");
        return;
    };
    let inventory = SqliteInventory::open(disk.database(), SqliteOptions::default()).expect("opens");
    // Something else takes up room, and will give it back.
    let ballast = disk.path().join("ballast");
    std::fs::write(&ballast, vec![0_u8; 1_500_000]).expect("fits");

    let mut written = Vec::new();
    let refusal = loop {
        let new = new_transaction();
        match inventory.open(new.clone()).await {
            Ok(opened) => assert_eq!(opened, Opened::Created),
            Err(error) => break (error, new),
        }
        match inventory.conclude(conclusion_of(&new)).await {
            Ok(_) => written.push(new.transaction.id),
            Err(error) => break (error, new),
        }
        assert!(written.len() < 10_000, "the disk never fills");
    };
    println!("full after {} enrollments: {}", written.len(), refusal.0);
    assert!(matches!(refusal.0, InventoryError::Unavailable(_)), "{:?}", refusal.0);
    // Reading goes on; writing does not, and readiness says so.
    let mut refused = Vec::new();
    for _ in 0..5 {
        let new = new_transaction();
        if inventory.open(new.clone()).await.is_err() {
            refused.push(new.transaction.id);
        }
    }
    assert!(!refused.is_empty());
    for id in &refused {
        assert_eq!(inventory.transaction(*id).await.expect("reads"), None, "nothing is half written");
    }
    for id in &written {
        let stored = inventory.transaction(*id).await.expect("reads").expect("it is there");
        assert_eq!(stored.state, TransactionState::Issued);
    }

    std::fs::remove_file(&ballast).expect("removes");
    inventory.check().await.expect("it works again");
    let new = new_transaction();
    assert_eq!(inventory.open(new.clone()).await.expect("opens"), Opened::Created);
    inventory.conclude(conclusion_of(&new)).await.expect("concludes");
    verify_chain(&inventory).await.expect("reads").expect("it holds");
    drop(inventory);
    let again = SqliteInventory::open(disk.database(), SqliteOptions::default()).expect("opens again");
    let certificates = again.statistics().await.expect("counts").certificates;
    assert!(certificates > written.len() as u64);
    verify_chain(&again).await.expect("reads").expect("it holds");
}

#[tokio::test]
async fn a_read_only_disk_refuses_to_open() {
    let Some(disk) = SmallDisk::mount("8m") else {
        println!("skipped: this process may not mount a small file system");
        return;
    };
    drop(SqliteInventory::open(disk.database(), SqliteOptions::default()).expect("opens"));
    disk.remount("ro");
    let refused = SqliteInventory::open(disk.database(), SqliteOptions::default()).err();
    assert!(matches!(refused, Some(InventoryError::Unavailable(_))), "{refused:?}");
    disk.remount("rw");
    SqliteInventory::open(disk.database(), SqliteOptions::default()).expect("opens again");
}
