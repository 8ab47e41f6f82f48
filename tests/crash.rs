//! The server is killed (SIGKILL) at every named point of an enrollment, and at moments that nobody chose; it starts again, and the
//! device comes again. Whatever the moment: at most one certificate is delivered, none is lost, and the challenge is spent once.
//!
//! `RAVELIN_CRASH_ROUNDS` sets how often each point is tried (3 if not set).

mod faults_support;

use std::path::Path;
use std::time::{Duration, Instant};

use faults_support::{Folder, PATIENCE, Process, request, rsa_key};
use ravelin::algorithm::KeyAlgorithm;
use ravelin::enroll::{challenge, fault};
use ravelin::inventory::audit::verify_chain;
use ravelin::inventory::{CertificateSearch, Inventory, TransactionState};
use ravelin::scep::client::{DeviceKey, Outcome, Polling, Transaction};
use ravelin::x509::Certificate;
use tokio::sync::Semaphore;

/// How the device comes again.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Retry {
    /// With the same octets.
    SameOctets,
    /// With a new message of the same key, of the same challenge: what most devices do.
    FreshMessage,
}

const RETRIES: [Retry; 2] = [Retry::SameOctets, Retry::FreshMessage];

/// The points that the worker passes when it carries on what people approved.
const WORKER_POINTS: [&str; 4] = ["before-submit", "after-submit", "before-conclude", "after-conclude"];

fn rounds() -> usize {
    std::env::var("RAVELIN_CRASH_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(3)
}

/// What the inventory has to say at a point: the state of the transaction, and whether the challenge is spent.
fn expected_at(point: &str) -> (Option<TransactionState>, bool) {
    match point {
        "received" | "before-open" => (None, false),
        "after-open" | "before-submit" | "after-submit" | "before-conclude" => (Some(TransactionState::Issuing), true),
        "after-conclude" | "before-reply" => (Some(TransactionState::Issued), true),
        unknown => panic!("say what holds at {unknown}"),
    }
}

async fn wait_for_file(path: &Path, process: &Process) {
    let began = Instant::now();
    while !path.exists() {
        assert!(began.elapsed() < PATIENCE, "the point was not reached: {:#?}", process.log());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn serving(folder: &Folder) -> Process {
    tokio::task::block_in_place(|| Process::start(folder))
}

/// A server that halts at `point`, once it has written `file`.
fn halting(folder: &Folder, point: &str, file: &Path) -> Process {
    let value = format!("{point}:{}", file.display());
    tokio::task::block_in_place(|| Process::start_with(folder, &[("RAVELIN_HALT_AT", &value)]))
}

/// Gives the certificate that the device gets in the end.
async fn until_issued(process: &Process, transaction: &Transaction, first: Outcome) -> Vec<u8> {
    let polling = Polling { interval: Duration::from_millis(100), max: 300, resend: false };
    let outcome = match first {
        Outcome::Pending => process.client().wait(transaction, polling).await.expect("an answer"),
        answered => answered,
    };
    match outcome {
        Outcome::Issued(issued) => issued.certificate.der().to_vec(),
        other => panic!("{other:?}: {:#?}", process.log()),
    }
}

/// The device comes again in every way there is; gives all that it is ever given.
async fn come_again(process: &Process, key: &DeviceKey, challenge: &str, old: &Transaction, retry: Retry) -> Vec<Vec<u8>> {
    let client = process.client();
    let fresh = client.prepare(request(key, "r1", challenge)).await.expect("prepares");
    assert_ne!(fresh.message(), old.message());
    assert_eq!(fresh.id(), old.id());
    let order = match retry {
        Retry::SameOctets => [old, &fresh],
        Retry::FreshMessage => [&fresh, old],
    };
    let mut delivered = Vec::new();
    for transaction in [order[0], order[1], order[0]] {
        let first = client.send(transaction).await.unwrap_or_else(|error| panic!("{error}: {:#?}", process.log()));
        delivered.push(until_issued(process, transaction, first).await);
    }
    delivered
}

/// What has to be true in the end, whatever happened on the way.
async fn check(folder: &Folder, process: Process, spent: &str, delivered: &[Vec<u8>], what: &str) {
    assert!(delivered.iter().all(|certificate| *certificate == delivered[0]), "{what}: two certificates were delivered");
    // Another device with the same challenge gets nothing.
    let other = DeviceKey::generate(KeyAlgorithm::EcdsaP256).expect("a key");
    let answer = process.client().enroll(request(&other, "r2", spent)).await.expect("an answer").outcome;
    assert!(matches!(answer, Outcome::Failed(_)), "{what}: the challenge was good for a second device");
    drop(process);

    let inventory = folder.inventory();
    let certificates = inventory.certificates(&CertificateSearch::default()).await.expect("read");
    assert_eq!(certificates.len(), 1, "{what}");
    assert_eq!(certificates[0].der, delivered[0], "{what}: what was delivered is not what was written down");
    let row = inventory.challenge(&challenge::digest(spent)).await.expect("read").expect("it is there");
    assert_eq!(row.redeemed_by, Some(certificates[0].transaction), "{what}");
    for state in [TransactionState::Issuing, TransactionState::AwaitingApproval, TransactionState::Unknown] {
        assert!(inventory.transactions(state, 10).await.expect("read").is_empty(), "{what}: something is left {state:?}");
    }
    verify_chain(&inventory)
        .await
        .expect("read")
        .unwrap_or_else(|broken| panic!("{what}: the audit chain is broken: {broken:?}"));
    let log = inventory.audit_log(0, 1000).await.expect("read");
    let count = |event: &str| log.iter().filter(|record| record.event.event == event).count();
    assert_eq!(count("certificate.issued"), 1, "{what}: {log:#?}");
    assert_eq!(count("order.placed") + count("approval.requested"), 1, "{what}: {log:#?}");
}

/// Kills the server at `point`, with automatic approval.
async fn killed_at(point: &str, retry: Retry) {
    let what = format!("killed at {point}, {retry:?}");
    let folder = Folder::new();
    let challenge = folder.challenges(1).await.remove(0);
    let key = match retry {
        Retry::SameOctets => rsa_key(),
        // Its reply is encrypted under the challenge, which has to outlive the crash too.
        Retry::FreshMessage => DeviceKey::generate(KeyAlgorithm::EcdsaP256).expect("a key"),
    };
    let halted = folder.file("halted");
    let process = halting(&folder, point, &halted);
    let client = process.client();
    let transaction = client.prepare(request(&key, "r1", &challenge)).await.expect("prepares");
    let sent = tokio::spawn({
        let transaction = transaction.clone();
        async move { client.send(&transaction).await }
    });
    wait_for_file(&halted, &process).await;
    process.kill();
    let heard = sent.await.expect("no panic");
    assert!(heard.is_err(), "{what}: the device heard {heard:?} from a server that was halted");

    {
        let inventory = folder.inventory();
        let (state, spent) = expected_at(point);
        let row = inventory.challenge(&challenge::digest(&challenge)).await.expect("read").expect("it is there");
        assert_eq!(row.redeemed_by.is_some(), spent, "{what}");
        for known in [TransactionState::Issuing, TransactionState::Issued, TransactionState::Refused] {
            let found = inventory.transactions(known, 10).await.expect("read").len();
            assert_eq!(found, usize::from(Some(known) == state), "{what}: {known:?}");
        }
    }

    let process = serving(&folder);
    let delivered = come_again(&process, &key, &challenge, &transaction, retry).await;
    check(&folder, process, &challenge, &delivered, &what).await;
}

/// Kills the server some moment after the message was sent. Gives whether the device had its answer already.
async fn killed_after(delay: Duration, retry: Retry) -> bool {
    let what = format!("killed after {delay:?}, {retry:?}");
    let folder = Folder::new();
    let challenge = folder.challenges(1).await.remove(0);
    let key = rsa_key();
    let process = serving(&folder);
    let client = process.client();
    let transaction = client.prepare(request(&key, "r1", &challenge)).await.expect("prepares");
    let sent = tokio::spawn({
        let transaction = transaction.clone();
        async move { client.send(&transaction).await }
    });
    tokio::time::sleep(delay).await;
    process.kill();
    let heard = sent.await.expect("no panic");
    let process = serving(&folder);
    let mut delivered = come_again(&process, &key, &challenge, &transaction, retry).await;
    let answered = heard.is_ok();
    match heard {
        Ok(Outcome::Issued(issued)) => delivered.push(issued.certificate.der().to_vec()),
        Ok(Outcome::Pending) | Err(_) => {}
        Ok(failed) => panic!("{what}: {failed:?}"),
    }
    check(&folder, process, &challenge, &delivered, &what).await;
    answered
}

fn manual() -> Folder {
    let folder = Folder::new();
    folder.edit("policies/default.toml", |text| {
        assert!(text.contains("approval = \"automatic\""));
        text.replace("approval = \"automatic\"", "approval = \"manual\"")
    });
    folder
}

fn approve(folder: &Folder) {
    tokio::task::block_in_place(|| {
        let listed: serde_json::Value = serde_json::from_str(&folder.command(&["pending", "list", "--json"])).expect("JSON");
        let waiting = listed["transactions"].as_array().expect("a list");
        assert_eq!(waiting.len(), 1, "{listed}");
        folder.command(&["pending", "approve", waiting[0]["id"].as_str().expect("an id")]);
    });
}

/// Kills the server while its worker issues what was approved. The key is an EC key: its reply needs the challenge, which has to
/// be there still after the restart.
async fn worker_killed_at(point: &str, retry: Retry) {
    let what = format!("worker killed at {point}, {retry:?}");
    let folder = manual();
    let challenge = folder.challenges(1).await.remove(0);
    let key = DeviceKey::generate(KeyAlgorithm::EcdsaP256).expect("a key");
    let halted = folder.file("halted");
    let process = halting(&folder, point, &halted);
    let asked = process.client().enroll(request(&key, "r1", &challenge)).await.expect("an answer");
    assert_eq!(asked.outcome, Outcome::Pending, "{what}");
    approve(&folder);
    wait_for_file(&halted, &process).await;
    process.kill();

    let process = serving(&folder);
    let delivered = come_again(&process, &key, &challenge, &asked.transaction, retry).await;
    check(&folder, process, &challenge, &delivered, &what).await;
}

/// Kills the server on the way to PENDING; the approval comes after the restart.
async fn killed_before_approval(point: &str, retry: Retry) {
    let what = format!("killed at {point} before approval, {retry:?}");
    let folder = manual();
    let challenge = folder.challenges(1).await.remove(0);
    let key = DeviceKey::generate(KeyAlgorithm::EcdsaP256).expect("a key");
    let halted = folder.file("halted");
    let process = halting(&folder, point, &halted);
    let client = process.client();
    let transaction = client.prepare(request(&key, "r1", &challenge)).await.expect("prepares");
    let sent = tokio::spawn({
        let transaction = transaction.clone();
        async move { client.send(&transaction).await }
    });
    wait_for_file(&halted, &process).await;
    process.kill();
    assert!(sent.await.expect("no panic").is_err(), "{what}");

    let process = serving(&folder);
    assert_eq!(process.client().send(&transaction).await.expect("an answer"), Outcome::Pending, "{what}");
    approve(&folder);
    let delivered = come_again(&process, &key, &challenge, &transaction, retry).await;
    check(&folder, process, &challenge, &delivered, &what).await;
}

/// Kills the server between the two certificates of a pair: whoever is given the first one, the second one exists.
async fn pair_killed_at(point: &str, retry: Retry) {
    let what = format!("pair killed at {point}, {retry:?}");
    let folder = Folder::new();
    folder.edit("policies/default.toml", |text| {
        let paired = text.replace("\"ecdsa-p256\"", "\"paired-ecdsa-p256-mldsa65\"");
        assert_ne!(text, paired);
        paired
    });
    let challenge = folder.challenges(1).await.remove(0);
    let key = rsa_key();
    let halted = folder.file("halted");
    let process = halting(&folder, point, &halted);
    let client = process.client();
    let transaction = client.prepare(request(&key, "r1", &challenge)).await.expect("prepares");
    let sent = tokio::spawn({
        let transaction = transaction.clone();
        async move { client.send(&transaction).await }
    });
    wait_for_file(&halted, &process).await;
    process.kill();
    assert!(sent.await.expect("no panic").is_err(), "{what}");

    let process = serving(&folder);
    let delivered = come_again(&process, &key, &challenge, &transaction, retry).await;
    assert!(delivered.iter().all(|certificate| *certificate == delivered[0]), "{what}: two certificates were delivered");
    drop(process);
    let inventory = folder.inventory();
    let certificates = inventory.certificates(&CertificateSearch::default()).await.expect("read");
    let [sibling, first] = &certificates[..] else { panic!("{what}: {} certificates", certificates.len()) };
    assert_eq!((&first.der, sibling.sibling_of), (&delivered[0], Some(first.fingerprint)), "{what}");
    let [first, sibling] = [first, sibling].map(|record| Certificate::from_der(&record.der).expect("a certificate"));
    assert_eq!(sibling.is_related_to(&first), Some(true), "{what}");
    for state in [TransactionState::Issuing, TransactionState::Unknown] {
        assert!(inventory.transactions(state, 10).await.expect("read").is_empty(), "{what}: something is left {state:?}");
    }
    let log = inventory.audit_log(0, 1000).await.expect("read");
    let count = |event: &str| log.iter().filter(|record| record.event.event == event).count();
    assert_eq!((count("order.placed"), count("certificate.issued"), count("certificate.revoked")), (1, 2, 0), "{what}");
}

/// A few at a time: most of the time goes to opening keys, which is slow on purpose.
async fn all(runs: Vec<std::pin::Pin<Box<dyn Future<Output = ()> + Send>>>) {
    let places = std::sync::Arc::new(Semaphore::new(4));
    let mut tasks = tokio::task::JoinSet::new();
    for run in runs {
        let places = std::sync::Arc::clone(&places);
        tasks.spawn(async move {
            let _place = places.acquire_owned().await.expect("open");
            run.await;
        });
    }
    while let Some(done) = tasks.join_next().await {
        if let Err(failed) = done {
            std::panic::resume_unwind(failed.into_panic());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn killed_at_every_point_nothing_is_lost_and_nothing_is_issued_twice() {
    let mut runs: Vec<std::pin::Pin<Box<dyn Future<Output = ()> + Send>>> = Vec::new();
    for _ in 0..rounds() {
        for point in fault::POINTS {
            for retry in RETRIES {
                runs.push(Box::pin(killed_at(point, retry)));
            }
        }
    }
    println!("{} runs", runs.len());
    all(runs).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn killed_between_the_certificates_of_a_pair_both_are_there_in_the_end() {
    let mut runs: Vec<std::pin::Pin<Box<dyn Future<Output = ()> + Send>>> = Vec::new();
    for _ in 0..rounds().div_ceil(2) {
        for point in fault::POINTS_OF_PAIRS.iter().chain(&["before-conclude", "after-conclude"]) {
            for retry in RETRIES {
                runs.push(Box::pin(pair_killed_at(point, retry)));
            }
        }
    }
    println!("{} runs", runs.len());
    all(runs).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn killed_at_any_moment_the_same_holds() {
    let mut runs: Vec<std::pin::Pin<Box<dyn Future<Output = ()> + Send>>> = Vec::new();
    for round in 0..4 * rounds() {
        // Spread over the time that an enrollment takes in a debug build.
        let delay = Duration::from_millis((round as u64 * 37) % 120);
        let retry = RETRIES[round % 2];
        runs.push(Box::pin(async move {
            let answered = killed_after(delay, retry).await;
            println!(
                "killed after {delay:?}: {}",
                if answered { "the device had its answer" } else { "the device heard nothing" }
            );
        }));
    }
    all(runs).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn killed_around_an_approval_the_same_holds() {
    let mut runs: Vec<std::pin::Pin<Box<dyn Future<Output = ()> + Send>>> = Vec::new();
    for _ in 0..rounds().div_ceil(2) {
        for retry in RETRIES {
            for point in WORKER_POINTS {
                runs.push(Box::pin(worker_killed_at(point, retry)));
            }
            for point in ["received", "before-reply"] {
                runs.push(Box::pin(killed_before_approval(point, retry)));
            }
        }
    }
    println!("{} runs", runs.len());
    all(runs).await;
}
