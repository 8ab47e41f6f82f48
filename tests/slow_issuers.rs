//! Issuers that take their time: nobody waits for them who need not, and what comes late does no harm.

mod support;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use ravelin::crypto;
use ravelin::inventory::{AttemptState, CertificateSearch, CertificateStatus, TransactionState};
use ravelin::upstream::{Capabilities, IdempotencyKey, IssuanceOrder, Limits, Revoke, Submission, UpstreamCa, UpstreamError};
use ravelin::x509::Certificate;
use support::{Device, PlainReply, ROUTERS, World, text};
use tokio::sync::oneshot;

/// What the test lets the issuer say.
enum Verdict {
    Issue,
    Refuse,
}

/// How the slow issuer behaves, and what it was asked.
struct Behaviour {
    patience: Duration,
    /// Whether the same key brings the same serial number again.
    finds_again: bool,
    /// Whether it says so.
    says_so: bool,
    limits: Limits,
    /// How often somebody looked at them: whoever is about to ask does.
    looks: AtomicUsize,
    /// Whether it answers at once from now on.
    quick: AtomicBool,
    asked: Mutex<Vec<(IdempotencyKey, Option<oneshot::Sender<Verdict>>)>>,
}

impl Behaviour {
    fn new() -> Self {
        let (quick, asked) = (AtomicBool::new(false), Mutex::default());
        let (limits, looks) = (Limits::NONE, AtomicUsize::new(0));
        Self { patience: Duration::MAX, finds_again: true, says_so: true, limits, looks, quick, asked }
    }

    fn asked(&self) -> Vec<IdempotencyKey> {
        self.asked.lock().expect("no panic").iter().map(|(key, _)| *key).collect()
    }

    /// Answers one submission.
    fn answer(&self, number: usize, verdict: Verdict) {
        let sender = self.asked.lock().expect("no panic")[number].1.take().expect("it was not answered before");
        sender.send(verdict).map_err(drop).expect("somebody waits for the answer");
    }

    async fn is_asked(&self, times: usize) {
        until("the issuer is asked", async || self.asked().len() >= times).await;
    }
}

/// A CA that answers when the test lets it.
struct Slow {
    inner: Arc<dyn UpstreamCa>,
    behaviour: Arc<Behaviour>,
}

#[async_trait]
impl UpstreamCa for Slow {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn capabilities(&self, ca: &str) -> Option<Capabilities> {
        Some(Capabilities { can_find_again: self.behaviour.says_so, ..self.inner.capabilities(ca)? })
    }

    fn patience(&self) -> Duration {
        self.behaviour.patience
    }

    fn limits(&self) -> Limits {
        self.behaviour.looks.fetch_add(1, Ordering::SeqCst);
        self.behaviour.limits
    }

    async fn submit(&self, order: &IssuanceOrder, key: &IdempotencyKey) -> Submission {
        let (sender, receiver) = oneshot::channel();
        self.behaviour.asked.lock().expect("no panic").push((*key, Some(sender)));
        let quick = self.behaviour.quick.load(Ordering::SeqCst);
        let verdict = if quick { Verdict::Issue } else { receiver.await.expect("the test answers all") };
        let key = if self.behaviour.finds_again { *key } else { IdempotencyKey(crypto::provider().random()) };
        match verdict {
            Verdict::Issue => self.inner.submit(order, &key).await,
            Verdict::Refuse => Submission::Rejected { reason: "not today".into() },
        }
    }

    async fn poll(&self, order: &IssuanceOrder, reference: &str) -> Submission {
        self.inner.poll(order, reference).await
    }

    fn chain(&self, ca: &str) -> Option<Arc<[Arc<Certificate>]>> {
        self.inner.chain(ca)
    }

    async fn health(&self) -> Result<(), UpstreamError> {
        self.inner.health().await
    }

    fn revoke(&self) -> Option<&dyn Revoke> {
        self.inner.revoke()
    }
}

const UPSTREAM: &str = "\n[[upstream]]\nname = \"slow\"\nkind = \"local\"\ndir = \"ca\"\n";

const PROFILE: &str = "accepts = [\"ecdsa-p256\"]\nsignature = \"ecdsa-sha256\"\nvalidity = \"90d\"\n\
                       issuer = { upstream = \"slow\", ca = \"ecdsa-p256\" }\n";

/// A world with the groups `routers` at the embedded CA and `snails` at the slow one.
fn world(behaviour: Behaviour, approval: &str) -> (Arc<World>, Arc<Behaviour>) {
    let behaviour = Arc::new(behaviour);
    let routers = ROUTERS.replace("[enforce]", &format!("[enforce]\napproval = \"{approval}\""));
    let snails = routers.replace("ecdsa-p256", "slow");
    let shared = Arc::clone(&behaviour);
    let wrap = move |inner: Arc<dyn UpstreamCa>| -> Arc<dyn UpstreamCa> {
        if inner.name() == "slow" { Arc::new(Slow { inner, behaviour: Arc::clone(&shared) }) } else { inner }
    };
    let files = [("routers", routers.as_str()), ("snails", &snails), ("../algorithms/slow", PROFILE)];
    (Arc::new(World::with_upstreams(&files, UPSTREAM, Arc::new(wrap))), behaviour)
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds().await {
        assert!(Instant::now() < deadline, "{what}: in vain");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn count(world: &World, state: TransactionState) -> usize {
    world.inventory.transactions(state, 100).await.expect("read").len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_issuer_holds_up_nobody_else() {
    let (world, slow) = world(Behaviour::new(), "manual");
    for (group, devices) in [("snails", 20), ("routers", 1)] {
        for device in 0..devices {
            let challenge = world.challenge(group).await;
            let request = world.request(group, &Device::new(&format!("r{device}")), Some(&challenge));
            assert_eq!(world.enroll(request).await, "pending");
        }
    }
    for waiting in world.inventory.transactions(TransactionState::AwaitingApproval, 100).await.expect("read") {
        world.enroller.approve(waiting.id, "tester").await.expect("approved");
    }
    let worker = world.worker();
    for _ in 0..3 {
        let round = tokio::time::timeout(Duration::from_secs(20), worker.round()).await;
        round.expect("a round waits for no issuer").expect("a round");
    }
    until("the quick one issues", async || count(&world, TransactionState::Issued).await == 1).await;
    slow.is_asked(16).await;
    // What finds no place is not held: its lease would run out over the wait.
    let mut free = 0;
    for open in world.inventory.transactions(TransactionState::Issuing, 100).await.expect("read") {
        let attempts = world.inventory.attempts(open.id).await.expect("read");
        free += usize::from(attempts[0].held_by.is_none() && attempts[0].state == AttemptState::Prepared);
    }
    assert_eq!((slow.asked().len(), free), (16, 4));
    for number in 0..16 {
        slow.answer(number, Verdict::Issue);
    }
    worker.settle().await;
    slow.quick.store(true, Ordering::SeqCst);
    worker.round().await.expect("a round");
    worker.settle().await;
    assert_eq!(count(&world, TransactionState::Issued).await, 21);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_does_not_come_is_asked_for_again() {
    let (world, slow) = world(Behaviour { patience: Duration::from_millis(50), ..Behaviour::new() }, "automatic");
    let challenge = world.challenge("snails").await;
    let request = world.request("snails", &Device::new("r1"), Some(&challenge));
    assert_eq!(world.enroll(request.clone()).await, "pending");
    until("the wait ends", async || {
        let open = world.inventory.transactions(TransactionState::Issuing, 10).await.expect("read");
        world.inventory.attempts(open[0].id).await.expect("read")[0].held_by.is_none()
    })
    .await;
    slow.quick.store(true, Ordering::SeqCst);
    world.clock.forward(16);
    assert_eq!(world.work().await, 1);
    assert!(world.enroll(request).await.starts_with("issued "));
    let [first, second] = slow.asked()[..] else { panic!("asked {} times", slow.asked().len()) };
    assert_eq!(first, second, "with the same key");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_cannot_be_found_again_is_for_people() {
    let (world, slow) = world(Behaviour { patience: Duration::from_millis(50), says_so: false, ..Behaviour::new() }, "automatic");
    let challenge = world.challenge("snails").await;
    assert_eq!(world.enroll(world.request("snails", &Device::new("r1"), Some(&challenge))).await, "pending");
    until("the wait ends", async || count(&world, TransactionState::Unknown).await == 1).await;
    world.clock.forward(1000);
    assert_eq!(world.work().await, 0);
    assert_eq!(slow.asked().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_takes_nothing_is_asked_once_in_a_while() {
    let limits = Limits { places: 4, queue: 100, trip_after: 100, cooldown: Duration::from_secs(10), ..Limits::NONE };
    let (world, slow) = world(Behaviour { limits, quick: AtomicBool::new(true), ..Behaviour::new() }, "manual");
    let challenge = world.challenge("snails").await;
    assert_eq!(world.enroll(world.request("snails", &Device::new("r1"), Some(&challenge))).await, "pending");
    // No attempt can be taken up.
    let store = rusqlite::Connection::open(world.folder.path().join("inventory.sqlite")).expect("opens");
    let refuse = "CREATE TRIGGER full BEFORE UPDATE OF held_by ON attempts BEGIN SELECT RAISE(ABORT, 'full'); END";
    store.execute_batch(refuse).expect("made");
    let waiting = world.inventory.transactions(TransactionState::AwaitingApproval, 10).await.expect("read");
    world.enroller.approve(waiting[0].id, "tester").await.expect("approved");
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let worker = tokio::spawn(world.worker().run(stopped));
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let looks = slow.looks.load(Ordering::SeqCst);
    assert!(looks < 200, "{looks} looks in a second and a half");
    store.execute_batch("DROP TRIGGER full").expect("dropped");
    until("it is issued", async || count(&world, TransactionState::Issued).await == 1).await;
    stop.send(true).expect("it runs");
    worker.await.expect("no panic");
}

/// Two ask for the same order, because the first held it for too long.
async fn asked_by_two(world: &Arc<World>, slow: &Behaviour) -> (tokio::task::JoinHandle<String>, ravelin::worker::Worker) {
    let challenge = world.challenge("snails").await;
    let request = world.request("snails", &Device::new("r1"), Some(&challenge));
    let enroller = world.enroller.clone();
    let first = tokio::spawn(async move { text(&enroller.enroll(request).await.expect("an answer")) });
    slow.is_asked(1).await;
    world.clock.forward(119);
    let worker = world.worker();
    assert_eq!(worker.round().await.expect("a round"), 0, "the request's own task holds it");
    world.clock.forward(2);
    assert_eq!(worker.round().await.expect("a round"), 1, "its lease ran out");
    slow.is_asked(2).await;
    (first, worker)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_certificate_that_comes_late_is_revoked() {
    let (world, slow) = world(Behaviour { finds_again: false, ..Behaviour::new() }, "automatic");
    let (first, worker) = asked_by_two(&world, &slow).await;
    slow.answer(1, Verdict::Issue);
    worker.settle().await;
    slow.answer(0, Verdict::Issue);
    let answer = first.await.expect("no panic");
    let delivered = world.certificate(&answer).await;
    let all = async || world.inventory.certificates(&CertificateSearch::default()).await.expect("read");
    until("the other is revoked", async || all().await.iter().any(|c| c.status == CertificateStatus::Revoked)).await;
    let [late, early] = &all().await[..] else { panic!("two certificates") };
    assert_eq!((early.fingerprint, early.status), (delivered.fingerprint(), CertificateStatus::Valid));
    assert_ne!(late.serial, early.serial);
    let log = world.inventory.audit_log(0, 10).await.expect("a log");
    let events: Vec<_> = log.iter().map(|record| record.event.event.as_str()).collect();
    let expected = ["challenge.created", "order.placed", "certificate.issued", "certificate.set-aside", "certificate.revoked"];
    assert_eq!(events, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_certificate_that_comes_twice_stays_valid() {
    let (world, slow) = world(Behaviour::new(), "automatic");
    let (first, worker) = asked_by_two(&world, &slow).await;
    slow.answer(1, Verdict::Issue);
    worker.settle().await;
    slow.answer(0, Verdict::Issue);
    let answer = first.await.expect("no panic");
    let delivered = world.certificate(&answer).await;
    let [only] = &world.inventory.certificates(&CertificateSearch::default()).await.expect("read")[..] else { panic!("one") };
    assert_eq!((only.fingerprint, only.status), (delivered.fingerprint(), CertificateStatus::Valid));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_refusal_does_not_undo_what_another_has_under_way() {
    let (world, slow) = world(Behaviour::new(), "automatic");
    let (first, worker) = asked_by_two(&world, &slow).await;
    slow.answer(0, Verdict::Refuse);
    assert_eq!(first.await.expect("no panic"), "pending");
    assert_eq!(count(&world, TransactionState::Issuing).await, 1);
    slow.answer(1, Verdict::Issue);
    worker.settle().await;
    assert_eq!(count(&world, TransactionState::Issued).await, 1);
}

/// An EC key cannot decrypt: the answer needs a challenge. Whoever joins without one hears that, and the first request gets its answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_joins_without_its_challenge_is_refused() {
    let (world, slow) = world(Behaviour::new(), "automatic");
    let device = Device::new("r1");
    let challenge = world.challenge("snails").await;
    let mut requests = [Some(challenge.as_str()), None].map(|challenge| world.request("snails", &device, challenge));
    requests[0].reply = Arc::new(PlainReply { deliverable: true, needs_challenge: true });
    requests[1].reply = Arc::new(PlainReply { deliverable: false, needs_challenge: true });
    let [first, second] = requests.map(|request| {
        let enroller = world.enroller.clone();
        async move { text(&enroller.enroll(request).await.expect("an answer")) }
    });
    let first = tokio::spawn(first);
    slow.is_asked(1).await;
    let second = tokio::spawn(second);
    // It has joined once the transaction has its name, which is the same; give it the time to wait for the conclusion.
    tokio::time::sleep(Duration::from_millis(200)).await;
    slow.answer(0, Verdict::Issue);
    assert!(first.await.expect("no panic").starts_with("issued "));
    assert_eq!(second.await.expect("no panic"), "refused not-deliverable");
    assert_eq!(count(&world, TransactionState::Issued).await, 1);
    assert_eq!(count(&world, TransactionState::Refused).await, 0, "the transaction stays what it is");
}

/// A CA that names an order first, and has its certificate when it is asked after.
struct TwoSteps(Arc<dyn UpstreamCa>);

#[async_trait]
impl UpstreamCa for TwoSteps {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn capabilities(&self, ca: &str) -> Option<Capabilities> {
        Some(Capabilities { can_wait: true, ..self.0.capabilities(ca)? })
    }

    async fn submit(&self, _: &IssuanceOrder, key: &IdempotencyKey) -> Submission {
        Submission::Waiting { reference: key.to_string(), retry_after: Duration::ZERO }
    }

    async fn poll(&self, order: &IssuanceOrder, reference: &str) -> Submission {
        let key = hex::decode(reference).expect("what was given").try_into().expect("16 octets");
        self.0.submit(order, &IdempotencyKey(key)).await
    }

    fn chain(&self, ca: &str) -> Option<Arc<[Arc<Certificate>]>> {
        self.0.chain(ca)
    }

    async fn health(&self) -> Result<(), UpstreamError> {
        self.0.health().await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_an_issuer_of_two_steps_waits_for_both() {
    let snails = ROUTERS.replace("ecdsa-p256", "slow");
    let wrap = |inner: Arc<dyn UpstreamCa>| -> Arc<dyn UpstreamCa> {
        if inner.name() == "slow" { Arc::new(TwoSteps(inner)) } else { inner }
    };
    let files = [("snails", snails.as_str()), ("../algorithms/slow", PROFILE)];
    let world = Arc::new(World::with_upstreams(&files, UPSTREAM, Arc::new(wrap)));
    let challenge = world.challenge("snails").await;
    let request = world.request("snails", &Device::new("r1"), Some(&challenge));
    let device = tokio::spawn({
        let world = Arc::clone(&world);
        async move { world.enroll(request).await }
    });
    until("the order is asked after", async || world.work().await > 0).await;
    let answer = device.await.expect("no panic");
    assert!(answer.starts_with("issued "), "{answer}");
}
