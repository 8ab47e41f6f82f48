//! The real server on a disk that is full, or read-only: it refuses, says so once, loses nothing, and goes on when there is room
//! again.

mod faults_support;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use faults_support::{Folder, PATIENCE, Process, request, rsa_key, serve_in_vain};
use ravelin::algorithm::KeyAlgorithm;
use ravelin::inventory::audit::verify_chain;
use ravelin::inventory::{CertificateSearch, Inventory, TransactionState};
use ravelin::scep::client::{ClientError, DeviceKey, Outcome, Polling, Transaction};

/// A file system in memory, of this size; it goes when this does.
struct SmallDisk {
    mounted: std::path::PathBuf,
}

impl SmallDisk {
    /// `None` where this process may not mount.
    fn mount(folder: &Path, size: &str) -> Option<Self> {
        let options = format!("size={size},mode=700");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(folder).output();
        mounted.is_ok_and(|output| output.status.success()).then(|| Self { mounted: folder.to_owned() })
    }

    fn remount(&self, option: &str) {
        let done = Command::new("mount").args(["-o", &format!("remount,{option}")]).arg(&self.mounted).status().expect("it runs");
        assert!(done.success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.mounted).status();
    }
}

/// A data folder on a small disk of its own.
fn on_small_disk(size: &str) -> Option<(Folder, SmallDisk)> {
    let dir = tempfile::tempdir().expect("a folder");
    let Some(disk) = SmallDisk::mount(dir.path(), size) else {
        println!("skipped: this process may not mount a small file system");
        return None;
    };
    Some((Folder::inside(dir), disk))
}

/// Fills the disk to the last octet.
fn fill(ballast: &Path) {
    use std::io::Write;
    let mut file = std::fs::File::create(ballast).expect("made");
    for size in [65_536, 4096, 1] {
        while file.write(&vec![0; size]).is_ok_and(|written| written > 0) {}
    }
}

fn device(number: usize, challenge: &str) -> ravelin::scep::client::Request {
    let key = DeviceKey::generate(KeyAlgorithm::EcdsaP256).expect("a key");
    request(&key, &format!("r{number}"), challenge)
}

async fn wait_until_ready(process: &Process) {
    let began = Instant::now();
    loop {
        let (status, body) = tokio::task::block_in_place(|| process.admin("/readyz"));
        if status == 200 {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{body}: {:#?}", process.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn finish(process: &Process, transaction: &Transaction) -> Outcome {
    let client = process.client();
    let first = client.send(transaction).await.expect("an answer");
    match first {
        Outcome::Pending => {
            let polling = Polling { interval: Duration::from_millis(200), max: 150, resend: true };
            client.wait(transaction, polling).await.expect("an answer")
        }
        answered => answered,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_full_disk_is_refused_politely_and_nothing_is_lost() {
    let Some((folder, _disk)) = on_small_disk("12m") else { return };
    let ballast = folder.file("ballast");
    let challenges = folder.challenges(60).await;
    let process = Process::start(&folder);
    let room = || std::fs::remove_file(&ballast).expect("removed");
    nothing_is_lost(&folder, process, &challenges, || fill(&ballast), room).await;
}

/// A disk that takes no more for another reason: here the size of the server's files is limited, which needs no rights.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_disk_that_fails_is_refused_politely_and_nothing_is_lost() {
    let folder = Folder::new();
    let challenges = folder.challenges(60).await;
    let process = Process::start_shielded(&folder);
    let id = process.id().to_string();
    let limit = |size: &str| {
        let done = Command::new("prlimit").args(["--pid", &id, &format!("--fsize={size}:")]).status();
        done.is_ok_and(|status| status.success())
    };
    if !limit("unlimited") {
        println!("skipped: there is no prlimit here");
        return;
    }
    // Every file of the inventory is larger than this already.
    let squeeze = || assert!(limit("4096"), "it worked before");
    let room = || assert!(limit("unlimited"), "it worked before");
    nothing_is_lost(&folder, process, &challenges, squeeze, room).await;
}

/// Enrolls until the server refuses, looks at what it says, makes room, and lets all come again.
async fn nothing_is_lost(folder: &Folder, process: Process, challenges: &[String], squeeze: impl Fn(), room: impl Fn()) {
    let client = process.client();
    let before = client.enroll(device(0, &challenges[0])).await.expect("an answer");
    assert!(matches!(before.outcome, Outcome::Issued(_)), "{:?}", before.outcome);

    squeeze();
    // What has room in the log that SQLite writes ahead may still go through; soon nothing does.
    let mut issued = vec![before.transaction];
    let mut refused = Vec::new();
    for (number, challenge) in challenges.iter().enumerate().skip(1) {
        let transaction = client.prepare(device(number, challenge)).await.expect("prepares");
        match client.send(&transaction).await {
            Ok(Outcome::Issued(_)) => issued.push(transaction),
            Ok(Outcome::Pending) => refused.push(transaction),
            Err(ClientError::Status { status, .. }) => {
                assert_eq!(status.as_u16(), 503);
                refused.push(transaction);
            }
            other => panic!("{other:?}: {:#?}", process.log()),
        }
        if refused.len() == 12 {
            break;
        }
    }
    assert_eq!(refused.len(), 12, "{} were issued on a full disk", issued.len());
    let (status, head, body) = tokio::task::block_in_place(|| process.post(refused[11].message()));
    assert_eq!(status, 503, "{head}{body}");
    assert!(head.contains("retry-after:"), "{head}");
    let (ready, why) = tokio::task::block_in_place(|| process.admin("/readyz"));
    assert_eq!(ready, 503, "{why}");
    assert!(why.contains("the inventory cannot be written"), "{why}");
    // The health of the process is another matter: to restart it would not help.
    assert_eq!(tokio::task::block_in_place(|| process.admin("/healthz")).0, 200);

    tokio::time::sleep(Duration::from_millis(2500)).await;
    let count = |part: &str| process.log().iter().filter(|line| line.contains(part)).count();
    let said = count("The inventory cannot be written.");
    assert_eq!(said, 1, "once for each cause, not for each request: {:#?}", process.log());
    assert!(count("round failed") <= 1, "{:#?}", process.log());
    assert_eq!(count("can be written again"), 0);

    room();
    wait_until_ready(&process).await;
    // The line is on its way through a pipe.
    let began = Instant::now();
    while count("can be written again") == 0 {
        assert!(began.elapsed() < PATIENCE, "{:#?}", process.log());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(count("can be written again"), 1, "{:#?}", process.log());
    // Who was refused comes again, with the same octets and the challenge of then; who was served gets the same again.
    for transaction in refused.iter().chain(&issued) {
        let outcome = finish(&process, transaction).await;
        assert!(matches!(outcome, Outcome::Issued(_)), "{outcome:?}: {:#?}", process.log());
    }
    process.kill();

    let inventory = folder.inventory();
    let search = CertificateSearch { limit: 1000, ..Default::default() };
    let certificates = inventory.certificates(&search).await.expect("read");
    assert_eq!(certificates.len(), issued.len() + refused.len());
    let mut devices: Vec<_> = certificates.iter().map(|record| record.subject.clone()).collect();
    devices.sort();
    devices.dedup();
    assert_eq!(devices.len(), certificates.len(), "one certificate for each device");
    assert!(inventory.transactions(TransactionState::Issuing, 10).await.expect("read").is_empty());
    verify_chain(&inventory).await.expect("read").expect("it holds");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_does_not_start_on_a_read_only_disk_and_says_why() {
    let Some((folder, disk)) = on_small_disk("12m") else { return };
    let challenge = folder.challenges(1).await.remove(0);
    disk.remount("ro");
    let (code, log) = serve_in_vain(&folder);
    assert_eq!(code, Some(1), "a matter of the moment, not of the configuration: {log:#?}");
    let log = log.join("\n");
    assert!(log.to_lowercase().contains("read-only"), "{log}");
    disk.remount("rw");
    let process = Process::start(&folder);
    let done = process.client().enroll(request(&rsa_key(), "r1", &challenge)).await.expect("an answer").outcome;
    assert!(matches!(done, Outcome::Issued(_)), "{done:?}");
}
