//! What the inventory costs: reads by key, whole enrollments at 1, 8 and 64 clients, searching and opening among 100,000
//! certificates. The enrollments also say how much CPU time of the whole process each one took.

#[path = "../tests/inventory_support/mod.rs"]
mod inventory_support;

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use inventory_support::{certificate_of, challenge_of, conclusion_of, digest_of, new_transaction};
use ravelin::inventory::sqlite::{SqliteInventory, SqliteOptions};
use ravelin::inventory::{CertificateSearch, Concluded, Inventory, NewTransaction, Opened};
use tokio::runtime::Runtime;

const CERTIFICATES: usize = 100_000;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().expect("runtime")
}

fn open(path: &Path) -> SqliteInventory {
    SqliteInventory::open(path, SqliteOptions::default()).expect("opens")
}

/// Requests with unspent challenges of their own.
async fn prepare(inventory: &SqliteInventory, count: usize) -> Vec<NewTransaction> {
    let mut requests: Vec<_> = (0..count).map(|_| new_transaction()).collect();
    for portion in requests.chunks_mut(1000) {
        let challenges: Vec<_> = portion.iter().map(challenge_of).collect();
        portion.iter_mut().zip(&challenges).for_each(|(request, challenge)| request.redeem = Some(challenge.digest));
        inventory.add_challenges(challenges).await.expect("adds");
    }
    requests
}

/// What one enrollment asks of the inventory.
async fn enroll(inventory: &SqliteInventory, request: NewTransaction) {
    let message = digest_of(request.transaction.id, b'm');
    assert!(inventory.recall(&message, &request.transaction.key).await.expect("reads").is_none());
    let challenge = inventory.challenge(&request.redeem.expect("it has one")).await.expect("reads");
    assert!(challenge.is_some());
    let conclusion = conclusion_of(&request);
    assert_eq!(inventory.open(request).await.expect("opens"), Opened::Created);
    assert_eq!(inventory.conclude(conclusion).await.expect("concludes"), Concluded::Done);
}

/// Enrolls all, so many at a time; gives the wall time.
async fn enroll_all(inventory: &Arc<SqliteInventory>, requests: Vec<NewTransaction>, clients: usize) -> Duration {
    let mut shares: Vec<Vec<NewTransaction>> = (0..clients).map(|_| Vec::new()).collect();
    for (index, request) in requests.into_iter().enumerate() {
        shares[index % clients].push(request);
    }
    let begun = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for share in shares {
        let inventory = Arc::clone(inventory);
        tasks.spawn(async move {
            for request in share {
                enroll(&inventory, request).await;
            }
        });
    }
    tasks.join_all().await;
    begun.elapsed()
}

/// CPU time that this process has used, all threads together.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::try_from(time).expect("it is not negative")
}

fn enrollments(criterion: &mut Criterion) {
    let runtime = runtime();
    let folder = tempfile::tempdir().expect("folder");
    let inventory = Arc::new(open(&folder.path().join("inventory.db")));
    // Not a new file: trees of one page would flatter.
    runtime.block_on(async {
        let requests = prepare(&inventory, 5_000).await;
        enroll_all(&inventory, requests, 64).await;
    });
    for clients in [1, 8, 64] {
        const COUNT: usize = 4_000;
        let requests = runtime.block_on(prepare(&inventory, COUNT));
        let before = cpu_time();
        let wall = runtime.block_on(enroll_all(&inventory, requests, clients));
        let cpu = (cpu_time() - before).as_secs_f64() * 1e6 / COUNT as f64;
        let rate = COUNT as f64 / wall.as_secs_f64();
        println!("{clients:2} clients: {cpu:.0} us of CPU time each, {rate:.0} enrollments/s");
    }
    let mut group = criterion.benchmark_group("enrollment");
    group.sample_size(10).measurement_time(Duration::from_secs(3));
    for clients in [1, 8, 64] {
        group.bench_function(format!("{clients} clients"), |bencher| {
            bencher.iter_custom(|count| {
                // Each client has something to do, whatever the number of iterations.
                let total = (count as usize).next_multiple_of(clients);
                let requests = runtime.block_on(prepare(&inventory, total));
                let wall = runtime.block_on(enroll_all(&inventory, requests, clients));
                wall.mul_f64(count as f64 / total as f64)
            });
        });
    }
    group.finish();
}

fn reads(criterion: &mut Criterion) {
    let runtime = runtime();
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("inventory.db");
    let known = runtime.block_on(async {
        let inventory = Arc::new(open(&path));
        let requests = prepare(&inventory, CERTIFICATES).await;
        let known = requests[CERTIFICATES / 2].clone();
        enroll_all(&inventory, requests, 256).await;
        known
    });

    let mut group = criterion.benchmark_group("100,000 certificates");
    group.sample_size(20);
    group.bench_function("open", |bencher| bencher.iter(|| drop(black_box(open(&path)))));

    let inventory = open(&path);
    let unknown = new_transaction();
    group.bench_function("recall, unknown", |bencher| {
        let message = digest_of(unknown.transaction.id, b'm');
        bencher.iter(|| runtime.block_on(inventory.recall(&message, &unknown.transaction.key)).expect("reads").is_none());
    });
    group.bench_function("recall, reply", |bencher| {
        let message = digest_of(known.transaction.id, b'm');
        bencher.iter(|| runtime.block_on(inventory.recall(&message, &known.transaction.key)).expect("reads").expect("known"));
    });
    group.bench_function("challenge", |bencher| {
        let digest = known.redeem.expect("it has one");
        bencher.iter(|| runtime.block_on(inventory.challenge(&digest)).expect("reads").expect("known"));
    });
    group.bench_function("certificate", |bencher| {
        let fingerprint = certificate_of(&known.transaction).fingerprint;
        bencher.iter(|| runtime.block_on(inventory.certificate(&fingerprint)).expect("reads").expect("known"));
    });
    group.bench_function("statistics", |bencher| {
        bencher.iter(|| runtime.block_on(inventory.statistics()).expect("counts"));
    });
    let record = certificate_of(&known.transaction);
    let searches = [
        ("search, newest of a group", CertificateSearch { group: Some(record.group), ..CertificateSearch::default() }),
        ("search, device", CertificateSearch { device: record.device, ..CertificateSearch::default() }),
        ("search, one name", CertificateSearch { text: record.common_name, ..CertificateSearch::default() }),
        ("search, nothing fits", CertificateSearch { text: Some("nothing like it".to_owned()), ..CertificateSearch::default() }),
    ];
    for (name, search) in searches {
        group.bench_function(name, |bencher| {
            bencher.iter(|| runtime.block_on(inventory.certificates(&search)).expect("searches").len());
        });
    }
    group.finish();
}

criterion_group!(benches, enrollments, reads);
criterion_main!(benches);
