//! A CA behind a network that fails in every way there is, and Ravelin killed (SIGKILL) in front of it: at most one certificate is
//! delivered, no transaction is lost, and nobody else notices. The CA is one of our own, which counts what it signs.

mod faults_support;
mod upstream_support;

use std::path::Path;
use std::time::{Duration, Instant};

use faults_support::{Folder, PATIENCE, Process, request};
use ravelin::algorithm::KeyAlgorithm;
use ravelin::inventory::audit::verify_chain;
use ravelin::inventory::{AttemptState, CertificateSearch, CertificateStatus, Inventory, TransactionState};
use ravelin::scep::client::{DeviceKey, Outcome, Polling, Transaction};
use ravelin::x509::Certificate;
use upstream_support::{FakeCa, Mode, challenges, client, folder, group, profile, serving};

/// Patience that outlasts a CA which answers at once.
const PATIENT: &str = "10s";

/// Hardly any.
const IMPATIENT: &str = "50ms";

async fn until<F: Future<Output = bool> + Send>(what: &str, process: &Process, mut holds: impl FnMut() -> F) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < PATIENCE, "{what}: in vain: {:#?}", process.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn wait_for_file(path: &Path, process: &Process) {
    until("the point is reached", process, || async { path.exists() }).await;
}

/// The key of one more device. Its replies are encrypted under its challenge, which has to outlive all that happens.
fn device() -> DeviceKey {
    DeviceKey::generate(KeyAlgorithm::EcdsaP256).expect("a key")
}

/// A device of a group asks; gives its transaction and the answer.
async fn asks(process: &Process, group: &str, name: &str, challenge: &str) -> (Transaction, Outcome) {
    let client = client(process, group);
    let transaction = client.prepare(request(&device(), name, challenge)).await.expect("prepares");
    let outcome = client.send(&transaction).await.unwrap_or_else(|error| panic!("{name}: {error}: {:#?}", process.log()));
    (transaction, outcome)
}

/// A device polls until it has its certificate.
async fn polls(process: &Process, group: &str, transaction: &Transaction) -> Vec<u8> {
    let polling = Polling { interval: Duration::from_millis(100), max: 300, resend: false };
    match client(process, group).wait(transaction, polling).await.expect("an answer") {
        Outcome::Issued(issued) => issued.certificate.der().to_vec(),
        other => panic!("{other:?}: {:#?}", process.log()),
    }
}

async fn count(folder: &Folder, state: TransactionState) -> usize {
    folder.inventory().transactions(state, 1000).await.expect("read").len()
}

async fn events(folder: &Folder, event: &str) -> usize {
    let log = folder.inventory().audit_log(0, 10_000).await.expect("read");
    log.iter().filter(|record| record.event.event == event).count()
}

fn command(folder: &Folder, arguments: &[&str]) -> String {
    tokio::task::block_in_place(|| folder.command(arguments))
}

/// What has to be true in the end: these certificates and no others are in the inventory, nothing is open, the log is whole.
async fn check(folder: &Folder, delivered: &[Vec<u8>], what: &str) {
    let inventory = folder.inventory();
    let mut all: Vec<_> =
        inventory.certificates(&CertificateSearch::default()).await.expect("read").into_iter().map(|c| c.der).collect();
    let mut delivered = delivered.to_vec();
    all.sort();
    delivered.sort();
    assert!(all == delivered, "{what}: {} in the inventory, {} delivered", all.len(), delivered.len());
    for state in [TransactionState::Issuing, TransactionState::Unknown, TransactionState::AwaitingApproval] {
        assert!(inventory.transactions(state, 10).await.expect("read").is_empty(), "{what}: something is left {state}");
    }
    verify_chain(&inventory).await.expect("read").unwrap_or_else(|broken| panic!("{what}: {broken:?}"));
}

/// The transaction is unknown, and stays so: nobody asks the CA again.
async fn stays_unknown(folder: &Folder, process: &Process, ca: &FakeCa, what: &str) -> String {
    until("the outcome is unknown", process, || async { count(folder, TransactionState::Unknown).await == 1 }).await;
    let asked = ca.asked().len();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(ca.asked().len(), asked, "{what}: the CA was asked again");
    let listed: serde_json::Value = serde_json::from_str(&command(folder, &["pending", "list", "--json"])).expect("JSON");
    let one = &listed["transactions"][0];
    assert_eq!(
        (&one["state"], &one["order"]["upstream"], &one["order"]["ca"]),
        (&"unknown".into(), &"est".into(), &"main".into())
    );
    let id = one["id"].as_str().expect("an id").to_owned();
    let shown = command(folder, &["pending", "show", &id]);
    for part in ["est/main", "asked last", "idempotency key", "look it up", "detail"] {
        assert!(shown.contains(part), "{part} is not in\n{shown}");
    }
    id
}

/// The operator ends what is unknown: with the certificate that the CA issued, or else by ordering anew.
async fn operator_decides(folder: &Folder, ca: &FakeCa, id: &str) {
    match ca.signed().last() {
        Some(signing) => {
            let file = folder.file("found.pem");
            std::fs::write(&file, signing.certificate.to_pem()).expect("written");
            let told = command(folder, &["pending", "adopt", id, "--certificate", file.to_str().expect("a path")]);
            assert!(told.contains("issued now"), "{told}");
        }
        None => drop(command(folder, &["pending", "approve", id])),
    }
}

/// Kills the server at a point. `people` says whether the order was approved first, so that the worker carries it.
async fn killed_at(point: &'static str, repeats: bool, people: bool) {
    let what = format!("killed at {point}, repeats {repeats}, by the worker {people}");
    let ca = FakeCa::start(repeats).await;
    let folder = folder(&ca, "");
    if people {
        folder.edit("policies/est.toml", |text| text + "[enforce]\napproval = \"manual\"\n");
    }
    let challenge = challenges(&folder, "est", 1).await.remove(0);
    let halted = folder.file("halted");
    let halt = format!("{point}:{}", halted.display());
    let process = serving(&folder, PATIENT, &[("RAVELIN_HALT_AT", &halt)]);
    let client = client(&process, "est");
    let transaction = client.prepare(request(&device(), "r1", &challenge)).await.expect("prepares");
    let sent = tokio::spawn({
        let transaction = transaction.clone();
        async move { client.send(&transaction).await }
    });
    if people {
        assert_eq!(sent.await.expect("no panic").expect("an answer"), Outcome::Pending, "{what}");
        let listed: serde_json::Value = serde_json::from_str(&command(&folder, &["pending", "list", "--json"])).expect("JSON");
        command(&folder, &["pending", "approve", listed["transactions"][0]["id"].as_str().expect("an id")]);
    }
    wait_for_file(&halted, &process).await;
    process.kill();

    let asked_before = ca.asked().len();
    let process = serving(&folder, PATIENT, &[]);
    if !repeats && point != "after-conclude" {
        let id = stays_unknown(&folder, &process, &ca, &what).await;
        assert_eq!(ca.asked().len(), asked_before, "{what}");
        let polled = upstream_support::client(&process, "est").send(&transaction).await.expect("an answer");
        assert_eq!(polled, Outcome::Pending, "{what}");
        operator_decides(&folder, &ca, &id).await;
    }
    let delivered = polls(&process, "est", &transaction).await;
    assert_eq!(polls(&process, "est", &transaction).await, delivered, "{what}: two certificates were delivered");
    let signed = ca.signed();
    assert_eq!(signed.len(), 1, "{what}: the CA signed {} times", signed.len());
    assert_eq!(signed[0].certificate.der(), delivered, "{what}");
    drop(process);
    check(&folder, &[delivered], &what).await;
}

const POINTS: [&str; 4] = ["before-submit", "after-submit", "before-conclude", "after-conclude"];

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn killed_at_every_point_before_a_ca_that_repeats_itself() {
    for people in [false, true] {
        for point in POINTS {
            killed_at(point, true, people).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn killed_at_every_point_before_a_ca_that_cannot_be_asked_again() {
    for people in [false, true] {
        for point in POINTS {
            killed_at(point, false, people).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_planned_stop_hears_a_slow_ca_to_the_end_and_begins_nothing() {
    let ca = FakeCa::start(false).await;
    let folder = folder(&ca, "connections = 1\n");
    let challenges = challenges(&folder, "est", 3).await;
    let process = serving(&folder, IMPATIENT, &[]);
    ca.set(Mode::Slow);
    let mut waiting = Vec::new();
    for (number, challenge) in challenges.iter().enumerate() {
        let (transaction, outcome) = asks(&process, "est", &format!("r{number}"), challenge).await;
        assert_eq!(outcome, Outcome::Pending, "the CA is slower than the client is patient");
        waiting.push(transaction);
    }
    until("the CA is asked", &process, || async { !ca.asked().is_empty() }).await;
    assert_eq!(tokio::task::block_in_place(|| process.terminate()), Some(0));
    // By the request's own task or by the worker: what it was asked for is written down, and nothing else was.
    let asked = ca.asked().len();
    assert!(asked < 3, "it went on asking");
    assert_eq!((count(&folder, TransactionState::Issued).await, ca.signed().len()), (asked, asked));
    assert_eq!(count(&folder, TransactionState::Issuing).await, 3 - asked);
    let process = serving(&folder, PATIENT, &[]);
    let mut delivered = Vec::new();
    for transaction in &waiting {
        delivered.push(polls(&process, "est", transaction).await);
    }
    assert_eq!(ca.signed().len(), 3, "none twice");
    drop(process);
    check(&folder, &delivered, "a planned stop").await;
}

/// At an EST server a poll is the request once more: after a crash over it nobody sends it a third time.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn killed_over_a_poll_that_may_issue() {
    for point in ["before-submit", "after-submit", "before-conclude"] {
        let ca = FakeCa::start(false).await;
        let folder = folder(&ca, "");
        let challenge = challenges(&folder, "est", 1).await.remove(0);
        let process = serving(&folder, IMPATIENT, &[]);
        ca.set(Mode::Waits);
        let (transaction, outcome) = asks(&process, "est", "r1", &challenge).await;
        assert_eq!(outcome, Outcome::Pending, "{point}");
        let inventory = folder.inventory();
        let id = inventory.transactions(TransactionState::Issuing, 1).await.expect("read")[0].id;
        // Between two polls: the next one comes in a second.
        until("it waits", &process, || async {
            let attempts = inventory.attempts(id).await.expect("read");
            attempts[0].state == AttemptState::Waiting && attempts[0].held_by.is_none()
        })
        .await;
        process.kill();
        ca.set(Mode::Signs);
        let halted = folder.file("halted");
        let halt = format!("{point}:{}", halted.display());
        let process = serving(&folder, PATIENT, &[("RAVELIN_HALT_AT", &halt)]);
        wait_for_file(&halted, &process).await;
        process.kill();
        let process = serving(&folder, PATIENT, &[]);
        let id = stays_unknown(&folder, &process, &ca, point).await;
        operator_decides(&folder, &ca, &id).await;
        let delivered = polls(&process, "est", &transaction).await;
        assert_eq!(ca.signed().len(), 1, "{point}");
        drop(process);
        check(&folder, &[delivered], point).await;
    }
}

/// The CA fails at one step of an order, and is well afterwards.
async fn ca_fails(mode: Option<Mode>, repeats: bool) {
    let what = format!("{mode:?}, repeats {repeats}");
    let ca = FakeCa::start(repeats).await;
    let folder = folder(&ca, "trip-after = 100\n");
    let challenge = challenges(&folder, "est", 1).await.remove(0);
    let process = serving(&folder, PATIENT, &[]);
    match mode {
        Some(mode) => ca.set(mode),
        None => ca.down().await,
    }
    let (transaction, outcome) = asks(&process, "est", "r1", &challenge).await;
    assert_eq!(outcome, Outcome::Pending, "{what}");
    match mode {
        Some(_) => ca.set(Mode::Signs),
        None => ca.up(),
    }
    let unclear = matches!(mode, Some(Mode::CutsBefore | Mode::CutsAfter | Mode::Stalls));
    if unclear && !repeats {
        let id = stays_unknown(&folder, &process, &ca, &what).await;
        operator_decides(&folder, &ca, &id).await;
    }
    let delivered = polls(&process, "est", &transaction).await;
    let signed = ca.signed();
    assert_eq!(signed.len(), 1, "{what}: the CA signed {} times", signed.len());
    assert_eq!(signed[0].certificate.der(), delivered, "{what}");
    drop(process);
    check(&folder, &[delivered], &what).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_a_ca_does_nothing_is_issued_twice_and_nothing_is_lost() {
    let mut runs = tokio::task::JoinSet::new();
    for repeats in [true, false] {
        for mode in [None, Some(Mode::Busy), Some(Mode::CutsBefore), Some(Mode::CutsAfter), Some(Mode::Stalls), Some(Mode::Waits)]
        {
            runs.spawn(ca_fails(mode, repeats));
        }
        while let Some(done) = runs.join_next().await {
            done.unwrap_or_else(|failed| std::panic::resume_unwind(failed.into_panic()));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_ca_is_asked_at_its_rate_and_in_order() {
    const BURST: usize = 30;
    let ca = FakeCa::start(false).await;
    let folder = folder(&ca, "rate = \"7/second\"\n");
    let challenges = challenges(&folder, "est", BURST).await;
    let process = serving(&folder, "30s", &[]);
    let mut sent = tokio::task::JoinSet::new();
    for (number, challenge) in challenges.into_iter().enumerate() {
        let client = client(&process, "est");
        let name = format!("r{number:02}");
        let transaction = client.prepare(request(&device(), &name, &challenge)).await.expect("prepares");
        sent.spawn(async move { client.send(&transaction).await });
        // So that they come in their order; all are there long before the CA has signed for all.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut issued = 0;
    while let Some(answer) = sent.join_next().await {
        issued += usize::from(matches!(answer.expect("no panic").expect("an answer"), Outcome::Issued(_)));
    }
    assert_eq!(issued, BURST, "all waited for their turn: {:#?}", process.log());
    let names: Vec<_> = ca.signed().into_iter().map(|signing| format!("CN={}", signing.name)).collect();
    let written = folder.inventory().transactions(TransactionState::Issued, BURST).await.expect("read");
    for (at, transaction) in written.iter().enumerate() {
        let signed_at = names.iter().position(|name| *name == transaction.subject).expect("it was signed");
        // Two that came in the same moment may have changed places on the way.
        assert!(signed_at.abs_diff(at) <= 2, "{names:?}");
    }
    let asked = ca.asked();
    for (first, eighth) in asked.iter().zip(asked.iter().skip(8)) {
        assert!(eighth.duration_since(*first) > Duration::from_millis(950), "more than 8 in a second");
    }
    let took = asked[BURST - 1].duration_since(asked[0]);
    println!("{BURST} orders at 7 a second took {took:?}");
    assert!(took > Duration::from_millis(4000) && took < Duration::from_secs(8), "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_dead_ca_costs_other_groups_nothing() {
    const DEVICES: usize = 40;
    let ca = FakeCa::start(true).await;
    let folder = folder(&ca, "connections = 4\n");
    let (snails, others) = (challenges(&folder, "est", DEVICES).await, challenges(&folder, "default", 20).await);
    // Of 64 requests at a time a quarter may wait for one CA.
    let process = serving(&folder, "20s", &[("RAVELIN__LIMITS__MAX_REQUESTS", "64")]);
    ca.set(Mode::Stalls);
    let mut slow = tokio::task::JoinSet::new();
    for (number, challenge) in snails.into_iter().enumerate() {
        let client = client(&process, "est");
        let transaction = client.prepare(request(&device(), &format!("s{number}"), &challenge)).await.expect("prepares");
        slow.spawn(async move {
            let began = Instant::now();
            (client.send(&transaction).await.expect("an answer, and no refusal"), began.elapsed())
        });
    }
    for (number, challenge) in others.iter().enumerate() {
        let (_, outcome) = asks(&process, "default", &format!("q{number}"), challenge).await;
        assert!(matches!(outcome, Outcome::Issued(_)), "{outcome:?}: {:#?}", process.log());
    }
    let mut at_once = 0;
    while let Some(answer) = slow.join_next().await {
        let (outcome, took) = answer.expect("no panic");
        assert_eq!(outcome, Outcome::Pending);
        at_once += usize::from(took < Duration::from_millis(1900));
    }
    println!("{at_once} of {DEVICES} were told at once to come again");
    assert!(at_once >= DEVICES / 4, "only {at_once}");
    let (_, metrics) = process.admin("/metrics");
    assert!(metrics.contains("ravelin_upstream_breaker{upstream=\"est\",state=\"open\"} 1"), "{metrics}");
    let (status, body) = process.admin("/readyz");
    assert_eq!(status, 200, "{body}");
    assert!(body.contains("is left alone after failures"), "{body}");
    assert!(command(&folder, &["status"]).contains("left alone after failures"));
    // Now everybody is told at once.
    let challenge = challenges(&folder, "est", 1).await.remove(0);
    let began = Instant::now();
    let (transaction, outcome) = asks(&process, "est", "late", &challenge).await;
    assert!(outcome == Outcome::Pending && began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    // When it is back, all that waited gets its certificate.
    ca.set(Mode::Signs);
    let last = polls(&process, "est", &transaction).await;
    until("all are issued", &process, || async { count(&folder, TransactionState::Issuing).await == 0 }).await;
    assert_eq!(count(&folder, TransactionState::Issued).await, DEVICES + 20 + 1);
    assert_eq!(ca.signed().len(), DEVICES + 1, "none twice");
    assert!(ca.signed().iter().any(|signing| signing.certificate.der() == last));
    let (_, metrics) = process.admin("/metrics");
    assert!(metrics.contains("ravelin_upstream_breaker{upstream=\"est\",state=\"closed\"} 1"), "{metrics}");
}

/// Asking after orders that wait is asking, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_ca_that_dies_over_orders_that_wait_is_left_alone() {
    let ca = FakeCa::start(false).await;
    let folder = folder(&ca, "trip-after = 3\n");
    let challenges = challenges(&folder, "est", 3).await;
    let process = serving(&folder, IMPATIENT, &[]);
    ca.set(Mode::Waits);
    let mut waiting = Vec::new();
    for (number, challenge) in challenges.iter().enumerate() {
        let (transaction, outcome) = asks(&process, "est", &format!("r{number}"), challenge).await;
        assert_eq!(outcome, Outcome::Pending);
        waiting.push(transaction);
    }
    until("all wait for the CA", &process, || async { ca.asked().len() >= 3 }).await;
    ca.down().await;
    until("the CA is left alone", &process, || async {
        let (_, metrics) = tokio::task::block_in_place(|| process.admin("/metrics"));
        metrics.contains("ravelin_upstream_breaker{upstream=\"est\",state=\"open\"} 1")
    })
    .await;
    ca.set(Mode::Signs);
    ca.up();
    for transaction in &waiting {
        polls(&process, "est", transaction).await;
    }
    assert_eq!(ca.signed().len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_queue_has_a_bound_and_drains_in_order() {
    let ca = FakeCa::start(false).await;
    let folder = folder(&ca, "queue = 4\ntrip-after = 1\nconnections = 1\n");
    let challenges = challenges(&folder, "est", 5).await;
    let process = serving(&folder, IMPATIENT, &[]);
    ca.down().await;
    let mut waiting = Vec::new();
    for (number, challenge) in challenges[..4].iter().enumerate() {
        let (transaction, outcome) = asks(&process, "est", &format!("r{number}"), challenge).await;
        assert_eq!(outcome, Outcome::Pending);
        waiting.push(transaction);
    }
    let client = client(&process, "est");
    let last = client.prepare(request(&device(), "r4", &challenges[4])).await.expect("prepares");
    let error = client.send(&last).await.expect_err("the queue is full");
    assert!(error.to_string().contains("503"), "{error}");
    assert_eq!(count(&folder, TransactionState::Issuing).await, 4, "nothing was written");
    ca.up();
    for transaction in &waiting {
        polls(&process, "est", transaction).await;
    }
    // The first one rests after its failure; those that never failed keep their order.
    let names: Vec<_> = ca.signed().iter().map(|signing| signing.name.clone()).filter(|name| name != "r0").collect();
    assert_eq!(names, ["r1", "r2", "r3"]);
    let (_, outcome) = asks(&process, "est", "r4", &challenges[4]).await;
    assert_eq!(ca.signed().len(), if matches!(outcome, Outcome::Issued(_)) { 5 } else { 4 });
}

/// Who issued a certificate, by the inventory.
async fn issuer_of(folder: &Folder, der: &[u8]) -> String {
    let fingerprint = Certificate::from_der(der).expect("a certificate").fingerprint();
    let record = folder.inventory().certificate(&fingerprint).await.expect("read").expect("it is there");
    assert_eq!(record.status, CertificateStatus::Valid);
    format!("{}/{}", record.upstream, record.ca)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn another_ca_issues_what_the_first_one_surely_did_not_take() {
    let (first, second) = (FakeCa::start(false).await, FakeCa::start(false).await);
    let folder = folder(&first, "trip-after = 2\n");
    second.configure(&folder, "spare", "");
    let issuers = "issuer = { upstream = \"est\", ca = \"main\" }\nfailover = [{ upstream = \"spare\", ca = \"main\" }]";
    group(&folder, "both", &profile(issuers));
    let challenges = challenges(&folder, "both", 6).await;
    let process = serving(&folder, PATIENT, &[]);
    let issued = async |number: usize| -> Vec<u8> {
        let (_, outcome) = asks(&process, "both", &format!("r{number}"), &challenges[number]).await;
        match outcome {
            Outcome::Issued(issued) => issued.certificate.der().to_vec(),
            other => panic!("{other:?}: {:#?}", process.log()),
        }
    };
    assert_eq!(issuer_of(&folder, &issued(0).await).await, "est/main");
    first.down().await;
    for number in 1..4 {
        assert_eq!(issuer_of(&folder, &issued(number).await).await, "spare/main", "within the patience of one request");
    }
    // The first two were tried at the first CA; since then it is left alone.
    assert_eq!((events(&folder, "issuance.failover").await, second.signed().len(), first.signed().len()), (2, 3, 1));
    first.up();
    until("the first one is asked again", &process, || async {
        let (_, metrics) = tokio::task::block_in_place(|| process.admin("/metrics"));
        !metrics.contains("ravelin_upstream_breaker{upstream=\"est\",state=\"open\"}")
    })
    .await;
    assert_eq!(issuer_of(&folder, &issued(4).await).await, "est/main");
    // What may have been taken goes nowhere else.
    first.set(Mode::CutsAfter);
    let (_, outcome) = asks(&process, "both", "r5", &challenges[5]).await;
    assert_eq!(outcome, Outcome::Pending);
    until("nobody knows", &process, || async { count(&folder, TransactionState::Unknown).await == 1 }).await;
    assert_eq!((first.signed().len(), second.signed().len()), (3, 3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_waits_before_a_dead_ca_goes_to_the_next_one() {
    let (first, second) = (FakeCa::start(true).await, FakeCa::start(true).await);
    let folder = folder(&first, "trip-after = 1\nrate = \"1/second\"\n");
    second.configure(&folder, "spare", "");
    let issuers = "issuer = { upstream = \"est\", ca = \"main\" }\nfailover = [{ upstream = \"spare\", ca = \"main\" }]";
    group(&folder, "both", &profile(issuers));
    let challenges = challenges(&folder, "both", 6).await;
    let process = serving(&folder, IMPATIENT, &[]);
    let mut waiting = Vec::new();
    for (number, challenge) in challenges.iter().enumerate() {
        waiting.push(asks(&process, "both", &format!("r{number}"), challenge).await.0);
    }
    // By its rate the first CA has signed once or twice; all others stand in its queue when it goes.
    first.down().await;
    let mut delivered = Vec::new();
    for transaction in &waiting {
        delivered.push(polls(&process, "both", transaction).await);
    }
    assert!(second.signed().len() >= 2, "the first one signed {}", first.signed().len());
    assert_eq!(first.signed().len() + second.signed().len(), 6);
    drop(process);
    check(&folder, &delivered, "failover out of the queue").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn orders_are_spread_over_the_issuers_that_are_well() {
    let (first, second) = (FakeCa::start(false).await, FakeCa::start(false).await);
    let folder = folder(&first, "");
    second.configure(&folder, "spare", "");
    let issuers =
        "issuer = { upstream = \"est\", ca = \"main\" }\nfailover = [{ upstream = \"spare\", ca = \"main\" }]\nspread = true";
    group(&folder, "both", &profile(issuers));
    let challenges = challenges(&folder, "both", 30).await;
    let process = serving(&folder, PATIENT, &[]);
    for (number, challenge) in challenges[..24].iter().enumerate() {
        let (_, outcome) = asks(&process, "both", &format!("r{number}"), challenge).await;
        assert!(matches!(outcome, Outcome::Issued(_)), "{outcome:?}");
    }
    let (a, b) = (first.signed().len(), second.signed().len());
    // Each half alone by chance: once in eight million runs.
    assert!(a > 0 && b > 0 && a + b == 24, "{a} and {b}");
    second.down().await;
    for (number, challenge) in challenges[24..].iter().enumerate() {
        let (_, outcome) = asks(&process, "both", &format!("t{number}"), challenge).await;
        assert!(matches!(outcome, Outcome::Issued(_)), "{outcome:?}: {:#?}", process.log());
    }
    assert_eq!((first.signed().len(), second.signed().len()), (a + 6, b));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_policy_does_not_allow_is_set_aside_and_never_delivered() {
    let ca = FakeCa::start(false).await;
    let folder = folder(&ca, "");
    let challenge = challenges(&folder, "est", 1).await.remove(0);
    let process = serving(&folder, PATIENT, &[]);
    ca.set(Mode::Misbehaves);
    let (_, outcome) = asks(&process, "est", "r1", &challenge).await;
    assert!(matches!(outcome, Outcome::Failed(_)), "{outcome:?}");
    let [aside] = &folder.inventory().certificates(&CertificateSearch::default()).await.expect("read")[..] else { panic!("one") };
    assert_eq!(aside.der, ca.signed()[0].certificate.der());
    assert_eq!((events(&folder, "certificate.set-aside").await, events(&folder, "certificate.issued").await), (1, 0));
    assert!(process.log().iter().any(|line| line.contains("cannot be told to revoke") && line.contains("serverAuth")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn check_config_asks_the_real_ca() {
    let ca = FakeCa::start(false).await;
    let folder = folder(&ca, "");
    assert!(command(&folder, &["check-config", "--online"]).contains("is good"));
    ca.down().await;
    let done = tokio::task::block_in_place(|| {
        std::process::Command::new(env!("CARGO_BIN_EXE_ravelin"))
            .arg("-c")
            .arg(folder.file("ravelin.toml"))
            .args(["check-config", "--online"])
            .output()
            .expect("it runs")
    });
    let told = String::from_utf8_lossy(&done.stderr);
    assert!(!done.status.success());
    for part in ["error[upstream-unreachable]", "CA `main` of upstream `est`", "ravelin.toml:", "name = \"main\""] {
        assert!(told.contains(part), "{part} is not in\n{told}");
    }
}
