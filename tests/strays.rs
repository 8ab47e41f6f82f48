//! Certificates that nobody is to be given, and those that somebody was: what a CA gives back and what an operator does concern the right
//! ones only.

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use ravelin::crypto::CryptoError;
use ravelin::enroll::operate::OperateError;
use ravelin::enroll::{EnrollmentRequest, Outcome, Reply};
use ravelin::inventory::{
    AttemptState, CertificateRecord, CertificateSearch, CertificateStatus, TransactionId, TransactionState,
};
use ravelin::upstream::{Capabilities, IdempotencyKey, IssuanceOrder, Revoke, Submission, UpstreamCa, UpstreamError};
use ravelin::x509::crl::RevocationReason;
use ravelin::x509::{Certificate, DistinguishedName};
use support::{Device, PlainReply, ROUTERS, World};

/// What the CA gives next, instead of what was ordered.
enum Gives {
    /// A certificate with another name.
    Another,
    /// One that it gave before.
    Again(Arc<Certificate>),
    /// It signs, and the answer is lost for good.
    Nothing,
}

type Hook = Box<dyn FnOnce() + Send>;

/// What the test tells the CA, and what the CA was told.
#[derive(Default)]
struct Told {
    gives: Mutex<Vec<Gives>>,
    signed: Mutex<Vec<Arc<Certificate>>>,
    revoked: Mutex<Vec<Vec<u8>>>,
    /// It does not take revocations.
    deaf: AtomicBool,
    /// Happens when a certificate is about to be looked at.
    hook: Mutex<Option<Hook>>,
}

impl Told {
    fn next(&self, gives: Gives) {
        self.gives.lock().expect("no panic").push(gives);
    }

    fn last(&self) -> Arc<Certificate> {
        Arc::clone(self.signed.lock().expect("no panic").last().expect("it signed"))
    }

    fn revoked(&self) -> Vec<Vec<u8>> {
        self.revoked.lock().expect("no panic").clone()
    }
}

struct Ca {
    inner: Arc<dyn UpstreamCa>,
    told: Arc<Told>,
}

#[async_trait]
impl UpstreamCa for Ca {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn capabilities(&self, ca: &str) -> Option<Capabilities> {
        self.inner.capabilities(ca)
    }

    async fn submit(&self, order: &IssuanceOrder, key: &IdempotencyKey) -> Submission {
        let gives = self.told.gives.lock().expect("no panic").pop();
        let subject = match &gives {
            Some(Gives::Another) => DistinguishedName::parse("CN=somebody else", true).expect("a name").der().to_vec(),
            _ => order.subject.clone(),
        };
        if let Some(Gives::Again(certificate)) = gives {
            return Submission::Issued { certificate, chain: Vec::new() };
        }
        let answer = self.inner.submit(&IssuanceOrder { subject, ..order.clone() }, key).await;
        if let Submission::Issued { certificate, .. } = &answer {
            self.told.signed.lock().expect("no panic").push(Arc::clone(certificate));
        }
        match gives {
            Some(Gives::Nothing) => Submission::Lost { reason: "no answer".into() },
            _ => answer,
        }
    }

    async fn poll(&self, order: &IssuanceOrder, reference: &str) -> Submission {
        self.inner.poll(order, reference).await
    }

    fn chain(&self, ca: &str) -> Option<Arc<[Arc<Certificate>]>> {
        self.inner.chain(ca)
    }

    fn chain_above(&self, ca: &str, certificate: &Certificate) -> Option<Arc<[Arc<Certificate>]>> {
        if let Some(hook) = self.told.hook.lock().expect("no panic").take() {
            hook();
        }
        self.inner.chain_above(ca, certificate)
    }

    async fn health(&self) -> Result<(), UpstreamError> {
        self.inner.health().await
    }

    fn revoke(&self) -> Option<&dyn Revoke> {
        Some(self)
    }
}

#[async_trait]
impl Revoke for Ca {
    async fn revoke(&self, _: &str, certificate: &Certificate, _: RevocationReason) -> Result<(), UpstreamError> {
        if self.told.deaf.load(Ordering::SeqCst) {
            return Err(UpstreamError::Failed { upstream: self.name().to_owned(), reason: "unreachable".into() });
        }
        self.told.revoked.lock().expect("no panic").push(certificate.serial().to_vec());
        Ok(())
    }
}

fn world(policy: &str) -> (Arc<World>, Arc<Told>) {
    let told = Arc::new(Told::default());
    let shared = Arc::clone(&told);
    let wrap = move |inner| -> Arc<dyn UpstreamCa> { Arc::new(Ca { inner, told: Arc::clone(&shared) }) };
    (Arc::new(World::with_upstreams(&[("routers", policy)], "", Arc::new(wrap))), told)
}

/// A request of a device that is no repetition of any other.
async fn fresh(world: &World, device: &Device) -> EnrollmentRequest {
    let challenge = world.challenge("routers").await;
    let request = world.request("routers", device, Some(&challenge));
    EnrollmentRequest { wire_id: challenge, ..request }
}

async fn all(world: &World) -> Vec<CertificateRecord> {
    world.inventory.certificates(&CertificateSearch::default()).await.expect("read")
}

/// The only transaction in this state.
async fn only(world: &World, state: TransactionState) -> TransactionId {
    let found = world.inventory.transactions(state, 10).await.expect("read");
    assert_eq!(found.len(), 1, "{state}: {found:#?}");
    found[0].id
}

async fn count(world: &World, event: &str) -> usize {
    let log = world.inventory.audit_log(0, 1000).await.expect("a log");
    log.iter().filter(|record| record.event.event == event).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn denying_what_was_issued_meanwhile_revokes_nothing() {
    let (world, told) = world(&ROUTERS.replace("[enforce]", "[enforce]\napproval = \"manual\""));
    let request = fresh(&world, &Device::new("r1")).await;
    assert_eq!(world.enroll(request).await, "pending");
    let id = only(&world, TransactionState::AwaitingApproval).await;
    world.enroller.approve(id, "alice").await.expect("approved");
    assert_eq!(world.work().await, 1);
    let denied = world.enroller.deny(id, "no", "bob").await;
    assert!(matches!(denied, Err(OperateError::NotWaiting(_))), "{denied:?}");
    assert_eq!(told.revoked(), Vec::<Vec<u8>>::new());
    assert_eq!(all(&world).await[0].status, CertificateStatus::Valid);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_on_record_is_no_answer_to_another_order() {
    let (world, told) = world(ROUTERS);
    let device = Device::new("r1");
    let answer = world.enroll(fresh(&world, &device).await).await;
    let first = world.certificate(&answer).await;

    told.next(Gives::Again(Arc::clone(&first)));
    assert_eq!(world.enroll(fresh(&world, &device).await).await, "refused upstream-misbehaved");
    assert_eq!((told.revoked().len(), count(&world, "certificate.set-aside").await), (0, 0), "it is somebody's");

    told.next(Gives::Nothing);
    assert_eq!(world.enroll(fresh(&world, &device).await).await, "pending");
    let id = only(&world, TransactionState::Unknown).await;
    let adopt = async |certificate: &Certificate| world.enroller.adopt(id, certificate.clone(), "alice").await;
    for status in [CertificateStatus::Valid, CertificateStatus::Revoked] {
        let [record] = &all(&world).await[..] else { panic!("one") };
        assert_eq!(record.status, status);
        let error = adopt(&first).await.expect_err("it is not the one");
        assert!(error.to_string().contains("it is no new one"), "{error}");
        assert_eq!(only(&world, TransactionState::Unknown).await, id);
        if status == CertificateStatus::Valid {
            world.enroller.revoke(record, RevocationReason::Superseded, "alice").await.expect("revoked");
        }
    }
    let adopted = adopt(&told.last()).await.expect("that one is");
    assert_eq!((adopted.state, adopted.certificate), (TransactionState::Issued, Some(told.last().fingerprint())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_set_aside_leaves_a_device_its_share() {
    let (world, told) = world(&(ROUTERS.to_owned() + "[limits]\nper-device = \"1/year\"\n"));
    let device = Device::new("r1");
    told.next(Gives::Another);
    assert_eq!(world.enroll(fresh(&world, &device).await).await, "refused upstream-misbehaved");
    assert_eq!(all(&world).await.len(), 1);
    assert!(world.enroll(fresh(&world, &device).await).await.starts_with("issued "));
    assert_eq!(world.enroll(fresh(&world, &device).await).await, "refused limit-reached", "that one counts");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ca_that_could_not_be_told_is_told_again() {
    let (world, told) = world(ROUTERS);
    told.deaf.store(true, Ordering::SeqCst);
    for number in 0..5 {
        told.next(Gives::Another);
        assert_eq!(world.enroll(fresh(&world, &Device::new(&format!("r{number}"))).await).await, "refused upstream-misbehaved");
        world.clock.forward(1);
    }
    let tell = async || world.enroller.tell_again().await.expect("read");
    assert_eq!(tell().await, 0, "it is deaf still");
    assert!(all(&world).await.iter().all(|record| record.status == CertificateStatus::Valid && record.set_aside));
    told.deaf.store(false, Ordering::SeqCst);
    // Three failures ended the last round; this one goes on behind them, and the next one begins anew.
    assert_eq!((tell().await, tell().await, tell().await), (2, 3, 0));
    assert_eq!((told.revoked().len(), count(&world, "certificate.revoked").await), (5, 5));
    assert!(all(&world).await.iter().all(|record| record.status == CertificateStatus::Revoked));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_overtaken_hears_that_the_certificate_is_given_to_nobody() {
    let (world, told) = world(ROUTERS);
    told.next(Gives::Nothing);
    assert_eq!(world.enroll(fresh(&world, &Device::new("r1")).await).await, "pending");
    let id = only(&world, TransactionState::Unknown).await;
    let (enroller, runtime) = (world.enroller.clone(), tokio::runtime::Handle::current());
    let approve = move || {
        let approved = std::thread::spawn(move || runtime.block_on(enroller.approve(id, "bob")));
        approved.join().expect("no panic").expect("approved");
    };
    *told.hook.lock().expect("no panic") = Some(Box::new(approve));
    let lost = told.last();
    let adopted = world.enroller.adopt(id, Certificate::clone(&lost), "alice").await;
    let Err(OperateError::Overtaken { state: TransactionState::Issuing, .. }) = adopted else { panic!("{adopted:?}") };
    assert_eq!(told.revoked(), [lost.serial().to_vec()]);
    assert_eq!(world.work().await, 1);
    let [delivered, aside] = &all(&world).await[..] else { panic!("two") };
    assert_eq!((aside.fingerprint, aside.status, aside.set_aside), (lost.fingerprint(), CertificateStatus::Revoked, true));
    assert_eq!((delivered.status, delivered.set_aside), (CertificateStatus::Valid, false));
}

/// A reply that cannot be made.
struct Unwilling;

impl Reply for Unwilling {
    fn deliverable(&self) -> Result<(), String> {
        Ok(())
    }

    fn needs_challenge(&self) -> bool {
        false
    }

    fn encode(&self, _: &Outcome) -> Result<Vec<u8>, CryptoError> {
        Err(CryptoError::Backend)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reply_that_cannot_be_made_costs_no_certificate() {
    let (world, told) = world(ROUTERS);
    let request = fresh(&world, &Device::new("r1")).await;
    let unwilling = EnrollmentRequest { reply: Arc::new(Unwilling), ..request.clone() };
    world.enroller.enroll(unwilling).await.expect_err("there is no answer");
    let [record] = &all(&world).await[..] else { panic!("one") };
    assert_eq!((record.status, record.set_aside, told.revoked().len()), (CertificateStatus::Valid, false, 0));
    let again = EnrollmentRequest { reply: Arc::new(PlainReply { deliverable: true, needs_challenge: false }), ..request };
    let answer = world.enroll(again).await;
    assert_eq!(world.certificate(&answer).await.fingerprint(), record.fingerprint);
}

const UPSTREAM: &str = "\n[[upstream]]\nname = \"spare\"\nkind = \"local\"\ndir = \"ca\"\n";

const PROFILE: &str = "accepts = [\"ecdsa-p256\"]\nsignature = \"ecdsa-sha256\"\nvalidity = \"90d\"\n\
                       issuer = { upstream = \"spare\", ca = \"ecdsa-p256\" }\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_never_sent_waits_for_an_upstream_that_was_taken_away() {
    let policy = ROUTERS.replace("[enforce]", "[enforce]\napproval = \"manual\"").replace("ecdsa-p256", "spare");
    let files = [("routers", policy.as_str()), ("../algorithms/spare", PROFILE)];
    let world = World::with_upstreams(&files, UPSTREAM, Arc::new(|upstream| upstream));
    let request = fresh(&world, &Device::new("r1")).await;
    assert_eq!(world.enroll(request).await, "pending");
    let id = only(&world, TransactionState::AwaitingApproval).await;
    world.enroller.approve(id, "alice").await.expect("approved");

    let main = world.folder.path().join("ravelin.toml");
    let text = std::fs::read_to_string(&main).expect("read");
    std::fs::write(&main, text.replace(UPSTREAM, "")).expect("written");
    std::fs::remove_file(world.folder.path().join("algorithms/spare.toml")).expect("removed");
    world.change_policy("routers", ROUTERS);
    for _ in 0..3 {
        assert_eq!(world.work().await, 1);
        let stored = world.inventory.transaction(id).await.expect("read").expect("it is there");
        assert_eq!(stored.state, TransactionState::Issuing);
        let [attempt] = &world.inventory.attempts(id).await.expect("read")[..] else { panic!("one") };
        assert_eq!(attempt.state, AttemptState::Prepared);
        let known = world.enroller.known_order(&stored).await.expect("read").expect("there is an order");
        assert_eq!((known.next_try_at, known.asked_at), (Some(attempt.due_at), None), "it was not asked");
        world.clock.forward(400);
    }
    world.clock.forward(3600);
    assert_eq!(world.work().await, 1);
    let stored = world.inventory.transaction(id).await.expect("read").expect("it is there");
    assert_eq!(stored.state, TransactionState::Unknown);
    assert!(stored.detail.as_deref().is_some_and(|detail| detail.ends_with("was never sent there")), "{stored:?}");
    let known = world.enroller.known_order(&stored).await.expect("read").expect("there is an order");
    assert!(known.asked_at.is_some() && known.next_try_at.is_none(), "{known:?}");
}
