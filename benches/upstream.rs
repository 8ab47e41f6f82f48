//! What a CA behind a network costs Ravelin, with the real program: CPU time of the server for an enrollment through a CA that answers
//! at once, beside one through the embedded CA; and the memory of a thousand requests that wait for a CA which does not answer.
//!
//! `cargo bench --bench upstream`. The CA is the one of the tests, in this process: what it does is not in the figures.

#[path = "../tests/faults_support/mod.rs"]
mod faults_support;
#[path = "../tests/upstream_support/mod.rs"]
mod upstream_support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use faults_support::{Folder, Process, request, rsa_key};
use ravelin::algorithm::KeyAlgorithm;
use ravelin::crypto::floor::Enrollment;
use ravelin::scep::client::{Client, DeviceKey, Options, Outcome, Transaction};
use tokio::sync::Semaphore;
use upstream_support::{FakeCa, Mode, challenges, client, folder, serving};

/// What can be asked for alone: `cargo bench --bench upstream -- memory`.
const PARTS: [&str; 2] = ["cpu", "memory"];

/// Enrollments a round.
const ENROLLMENTS: usize = 400;

/// At a time.
const AT_ONCE: usize = 8;

/// Requests that wait.
const WAITING: usize = 1000;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let handle = tokio::spawn(async {
            let asked: Vec<String> = std::env::args().skip(1).collect();
            let is_asked =
                |part: &str| asked.iter().any(|word| word == part) || !asked.iter().any(|word| PARTS.contains(&word.as_str()));
            if is_asked("cpu") {
                cpu().await;
            }
            if is_asked("memory") {
                memory().await;
            }
        });
        handle.await.expect("no panic");
    });
}

/// CPU time of a process so far, and what of its memory is resident, in KiB.
fn usage(process: &Process) -> (Duration, u64) {
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{}/{file}", process.id())).unwrap_or_default();
    let stat = read("stat");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    // utime and stime, in hundredths of a second, after the state.
    let ticks: u64 = [11, 12].iter().filter_map(|at| fields.get(*at)?.parse::<u64>().ok()).sum();
    let status = read("status");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    let resident = line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).unwrap_or_default();
    (Duration::from_millis(ticks * 10), resident)
}

async fn prepared(process: &Process, folder: &Folder, group: &str, count: usize) -> Vec<Transaction> {
    let key = rsa_key();
    let mut all = Vec::with_capacity(count);
    for (number, challenge) in challenges(folder, group, count).await.into_iter().enumerate() {
        let asked = request(&key, &format!("{group}-{number}"), &challenge);
        all.push(client(process, group).prepare(asked).await.expect("prepares"));
    }
    all
}

async fn enrolled(process: &Process, group: &'static str, all: Vec<Transaction>) -> Duration {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let (before, _) = usage(process);
    let mut tasks = tokio::task::JoinSet::new();
    for transaction in all {
        let (places, client) = (Arc::clone(&places), client(process, group));
        tasks.spawn(async move {
            let _place = places.acquire_owned().await.expect("open");
            let outcome = client.send(&transaction).await.expect("an answer");
            assert!(matches!(outcome, Outcome::Issued(_)), "{outcome:?}");
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("no panic");
    }
    usage(process).0 - before
}

fn thread_cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// One key for all devices: RSA keys take a while to make.
fn shared_keys(folder: &Folder, group: &str) {
    folder.edit(&format!("policies/{group}.toml"), |text| match text.contains("[enforce]") {
        true => text.replace("[enforce]", "[enforce]\nallow-shared-keys = true"),
        false => text + "[enforce]\nallow-shared-keys = true\n",
    });
}

async fn cpu() {
    let ca = FakeCa::start(false).await;
    let folder = folder(&ca, "");
    for group in ["est", "default"] {
        shared_keys(&folder, group);
    }
    let process = serving(&folder, "30s", &[("RAVELIN__LOG__FILTER", "warn,ravelin::server=info")]);
    let mut rounds: Vec<[f64; 2]> = Vec::new();
    for round in 0..4 {
        let mut figures = [0.0; 2];
        for (figure, group) in figures.iter_mut().zip(["default", "est"]) {
            let all = prepared(&process, &folder, group, ENROLLMENTS).await;
            let took = enrolled(&process, group, all).await;
            #[allow(clippy::cast_precision_loss, reason = "a few hundred")]
            let each = took.as_secs_f64() * 1000.0 / ENROLLMENTS as f64;
            *figure = each;
        }
        // The first round warms up.
        if round > 0 {
            rounds.push(figures);
        }
    }
    let median = |which: usize| {
        let mut all: Vec<f64> = rounds.iter().map(|round| round[which]).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    // What Ravelin computes itself: all but the signature of the CA, and with the check of it.
    let floor = Enrollment::prepare().and_then(|floor| floor.measure(300, thread_cpu_time)).expect("a floor");
    let own: f64 = floor.parts.0.iter().filter(|(name, _)| !name.contains("sign-certificate")).map(|(_, us)| us / 1000.0).sum();
    println!("its own cryptography {own:.3} ms of a floor of {:.3}", floor.floor_us / 1000.0);
    println!("the enrollment through the CA behind a network is {:.2} times that", median(1) / own);
    println!(
        "server CPU ms an enrollment at {AT_ONCE} connections: embedded CA {:.2}, CA behind a network {:.2}",
        median(0),
        median(1)
    );
    println!("by rounds: {rounds:.2?}");
}

async fn memory() {
    let ca = FakeCa::start(false).await;
    let folder = folder(&ca, "trip-after = 1000000\n");
    folder.edit("ravelin.toml", |text| text.replace("timeout = \"2s\"", "timeout = \"70s\""));
    let limits = [
        ("RAVELIN__LIMITS__MAX_REQUESTS", "8192"),
        ("RAVELIN__LIMITS__MAX_CONNECTIONS", "4096"),
        ("RAVELIN__LOG__FILTER", "warn,ravelin::server=info"),
    ];
    let process = serving(&folder, "120s", &limits);
    ca.set(Mode::Stalls);
    let mut all = Vec::with_capacity(WAITING);
    for (number, challenge) in challenges(&folder, "est", WAITING).await.into_iter().enumerate() {
        let key = DeviceKey::generate(KeyAlgorithm::EcdsaP256).expect("a key");
        all.push(client(&process, "est").prepare(request(&key, &format!("w{number}"), &challenge)).await.expect("prepares"));
    }
    let (_, before) = usage(&process);
    let mut tasks = tokio::task::JoinSet::new();
    for transaction in all {
        let patient = Options { timeout: Duration::from_secs(300), ..Options::default() };
        let client = Client::new(&format!("http://{}/scep/est", process.devices), patient).expect("an address");
        tasks.spawn(async move {
            // Who comes with all the others at once may find the queue for cryptography full, and comes again.
            while client.send(&transaction).await.is_err() {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        });
    }
    let began = Instant::now();
    let (mut most, mut waited) = (before, 0);
    let waiting = loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        most = most.max(usage(&process).1);
        let (_, metrics) = tokio::task::block_in_place(|| process.admin("/metrics"));
        let line = metrics.lines().find(|line| line.contains("kind=\"waited-for\"")).unwrap_or_default().to_owned();
        let waiting: usize = line.rsplit(' ').next().and_then(|count| count.parse().ok()).unwrap_or_default();
        waited = waiting.max(waited);
        if waiting >= WAITING || began.elapsed() > Duration::from_secs(100) {
            break waited;
        }
    };
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (_, after) = usage(&process);
    let mib = |kib: u64| kib / 1024;
    println!(
        "{waiting} requests wait: {} MiB resident before, {} MiB with them, {} MiB at most",
        mib(before),
        mib(after),
        mib(most.max(after))
    );
}
