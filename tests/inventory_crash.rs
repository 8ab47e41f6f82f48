//! Kills a process with SIGKILL in the middle of a storm of writes, and looks at what is left.

mod inventory_support;

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use inventory_support::{certificate_of, challenge_of, conclusion_of, new_transaction};
use ravelin::inventory::audit::verify_chain;
use ravelin::inventory::sqlite::{SqliteInventory, SqliteOptions};
use ravelin::inventory::{Inventory, Opened, TransactionId, TransactionState};
use uuid::Uuid;

const CHILD: &str = "RAVELIN_CRASH_TEST_FILE";
const ROUNDS: u64 = 6;

/// It runs itself again as the victim; what the victim said to be written has to be there afterwards.
#[test]
fn a_killed_process_loses_nothing_that_it_confirmed() {
    if let Ok(path) = std::env::var(CHILD) {
        storm(Path::new(&path));
    }
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("inventory.db");
    let mut confirmed = HashMap::new();
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().expect("own path"))
            .args(["--exact", "a_killed_process_loses_nothing_that_it_confirmed", "--nocapture"])
            .env(CHILD, &path)
            .stdout(Stdio::piped())
            .spawn()
            .expect("starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        // It is under way once it confirmed something; then it is hit at a moment that differs from round to round.
        let first = lines.by_ref().map(|line| line.expect("text")).find(|line| line.contains("opened ")).expect("it works");
        std::thread::sleep(Duration::from_millis(20 + 37 * round));
        child.kill().expect("kills");
        let rest = lines.map_while(Result::ok);
        for line in std::iter::once(first).chain(rest) {
            // The last line may be cut off: what was not said in full was not confirmed.
            let Some((what, id)) = line.rsplit_once(' ') else { continue };
            let Ok(id) = id.parse::<Uuid>() else { continue };
            let what = if what.ends_with("opened") { TransactionState::Issuing } else { TransactionState::Issued };
            let entry = confirmed.entry(TransactionId(id)).or_insert(what);
            *entry = (*entry).max(what);
        }
        child.wait().expect("ends");
        inspect(&path, &confirmed);
    }
    let issued = confirmed.values().filter(|state| **state == TransactionState::Issued).count();
    println!("{} transactions confirmed, {issued} of them issued, over {ROUNDS} kills", confirmed.len());
    assert!(issued > 10, "the storm was no storm");
}

/// Writes as fast as it can, and says what was confirmed, until it is killed.
fn storm(path: &Path) -> ! {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().expect("runtime");
    runtime.block_on(async {
        let inventory = Arc::new(SqliteInventory::open(path, SqliteOptions::default()).expect("opens"));
        let mut clients = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let inventory = Arc::clone(&inventory);
            clients.spawn(async move {
                loop {
                    let mut new = new_transaction();
                    let challenge = challenge_of(&new);
                    new.redeem = Some(challenge.digest);
                    inventory.add_challenges(vec![challenge]).await.expect("adds");
                    assert_eq!(inventory.open(new.clone()).await.expect("opens"), Opened::Created);
                    println!("opened {}", new.transaction.id);
                    inventory.conclude(conclusion_of(&new)).await.expect("concludes");
                    println!("issued {}", new.transaction.id);
                }
            });
        }
        clients.join_all().await;
    });
    unreachable!("the clients never end")
}

fn inspect(path: &Path, confirmed: &HashMap<TransactionId, TransactionState>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
    runtime.block_on(async {
        let inventory = SqliteInventory::open(path, SqliteOptions::default()).expect("opens again");
        for (id, state) in confirmed {
            let stored = inventory.transaction(*id).await.expect("reads").expect("it was confirmed");
            assert!(stored.state == *state || stored.state == TransactionState::Issued, "{id} was confirmed as {state}");
        }
        let mut events = 0;
        for state in [TransactionState::Issuing, TransactionState::Issued] {
            for transaction in inventory.transactions(state, usize::MAX).await.expect("reads") {
                events += if state == TransactionState::Issued { 3 } else { 1 };
                let digest = transaction.challenge.expect("all redeem one");
                let challenge = inventory.challenge(&digest).await.expect("reads").expect("it is there");
                assert_eq!(challenge.redeemed_by, Some(transaction.id));
                let attempts = inventory.attempts(transaction.id).await.expect("reads");
                assert_eq!(attempts.len(), 1);
                let fingerprint = certificate_of(&transaction).fingerprint;
                let certificate = inventory.certificate(&fingerprint).await.expect("reads");
                assert_eq!(certificate.is_some(), state == TransactionState::Issued, "all or nothing");
                assert_eq!(transaction.certificate, certificate.map(|certificate| certificate.fingerprint));
            }
        }
        let chain = verify_chain(&inventory).await.expect("reads").expect("it holds");
        assert_eq!(chain.verified(), events, "each write brought its events, and nothing else did");
    });
}
