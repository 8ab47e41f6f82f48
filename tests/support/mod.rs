//! A small world for flow tests: a data folder with an embedded CA, RA keys, an inventory and the enrollment core, and devices that
//! talk to the core without a wire.
#![allow(dead_code, reason = "each test binary uses its own part of the world")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::{SignedDuration, Timestamp};
use ravelin::algorithm::{Digest, KeyAlgorithm};
use ravelin::clock::Clock;
use ravelin::config::{self, Overrides, Parts as SnapshotParts};
use ravelin::crypto::{self, CryptoError, CryptoPool, Signer};
use ravelin::enroll::operate::NewChallenges;
use ravelin::enroll::{Answer, Enroller, EnrollmentRequest, Intent, Outcome, Parts, Peer, Reply};
use ravelin::inventory::Inventory;
use ravelin::inventory::sqlite::SqliteInventory;
use ravelin::ra::{RaKeys, RaStore, RaSubjects};
use ravelin::snapshot::Snapshot;
use ravelin::telemetry::Metrics;
use ravelin::upstream::UpstreamCa;
use ravelin::upstream::local::{LocalCa, NewCa};
use ravelin::worker::{Retention, Worker};
use ravelin::x509::csr::CsrTemplate;
use ravelin::x509::{Certificate, DistinguishedName, SubjectAltName, VerifiedCsr, builder};
use tempfile::TempDir;
use zeroize::Zeroizing;

/// A clock that tests turn.
pub struct TestClock(Mutex<Timestamp>);

impl TestClock {
    pub fn forward(&self, seconds: i64) {
        let mut now = self.0.lock().expect("no test panics with the clock in hand");
        *now = now.checked_add(SignedDuration::from_secs(seconds)).expect("in range");
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().expect("no test panics with the clock in hand")
    }
}

/// A reply that says what the outcome was, in words.
pub struct PlainReply {
    pub deliverable: bool,
    pub needs_challenge: bool,
}

impl Reply for PlainReply {
    fn deliverable(&self) -> Result<(), String> {
        if self.deliverable { Ok(()) } else { Err("the signer's key cannot decrypt, and there is no password".into()) }
    }

    fn needs_challenge(&self) -> bool {
        self.needs_challenge
    }

    fn encode(&self, outcome: &Outcome) -> Result<Vec<u8>, CryptoError> {
        Ok(match outcome {
            Outcome::Issued(issued) => {
                format!("issued {} {:?}", issued.certificate.serial_hex(), issued.password.as_deref().map(|p| p.to_string()))
            }
            Outcome::Pending { .. } => "pending".to_owned(),
            Outcome::Refused(rejection) => format!("refused {}", rejection.code),
            other => format!("{other:?}"),
        }
        .into_bytes())
    }
}

/// The world.
pub struct World {
    pub folder: TempDir,
    pub enroller: Enroller,
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    pub inventory: Arc<dyn Inventory>,
    pub clock: Arc<TestClock>,
    wrap: Wrap,
}

/// Puts another upstream around, or in the place of, one of the configuration.
pub type Wrap = Arc<dyn Fn(Arc<dyn UpstreamCa>) -> Arc<dyn UpstreamCa> + Send + Sync>;

/// A policy for most tests.
pub const ROUTERS: &str = r#"
description = "Routers"
profile = "ecdsa-p256"

[device]
id = ["subject.commonName"]

[authenticate]
challenge = { kind = "one-time", ttl = "1h" }
renewal = { issuers = ["own"], window = "30d" }

[enforce]
subject = { allow = "CN={name:[a-z0-9-]{1,32}},O=Example" }
san = { dns = ["{name}.example.net"] }
usages = { allow = ["clientAuth"], default = ["clientAuth"] }
"#;

const PASSPHRASE: &str = "for tests only";

/// The data folder that all worlds of one test binary start from: RSA keys take a while to make.
fn template() -> &'static Path {
    static TEMPLATE: OnceLock<TempDir> = OnceLock::new();
    TEMPLATE
        .get_or_init(|| {
            let dir = tempfile::tempdir().expect("a folder");
            let options = config::template::Options { policies: Vec::new(), ..Default::default() };
            config::template::write(dir.path(), &options).expect("the template is written");
            std::fs::create_dir_all(dir.path().join("secrets")).expect("made");
            std::fs::write(dir.path().join("secrets/key-passphrase"), PASSPHRASE).expect("written");
            let ca = dir.path().join("ca");
            let new = |name: &str, key| NewCa {
                subject: DistinguishedName::parse(&format!("O=Example,CN={name}"), true).expect("a name"),
                key,
                alternative: None,
                validity: Duration::from_secs(10 * 365 * 86400),
                not_before: Timestamp::now(),
                crl_urls: vec!["http://ca.example.net/crl".into()],
                path_len: Some(0),
                parent: None,
            };
            LocalCa::create_ca(&ca, PASSPHRASE, "ecdsa-p256", &new("Test CA", KeyAlgorithm::EcdsaP256)).expect("a CA");
            LocalCa::create_ca(&ca, PASSPHRASE, "rsa", &new("Test RSA CA", KeyAlgorithm::Rsa(2048))).expect("a CA");
            let pool = CryptoPool::start(1, 16);
            let local = LocalCa::load("local", &ca, PASSPHRASE, pool).expect("loads");
            let store = RaStore::new(dir.path().join("ra"), PASSPHRASE);
            store.create_keys(RaKeys::Pair { bits: 2048 }).expect("RA keys");
            let now = Timestamp::now();
            let year = Duration::from_secs(365 * 86400);
            store
                .self_made(&local, "rsa", &RaSubjects::named("Test RA").expect("a name"), now, year, now)
                .expect("RA certificates");
            dir
        })
        .path()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        match entry.file_type().expect("a type").is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), target).expect("copied")),
        }
    }
}

impl World {
    /// A world with these policies: name and text.
    pub fn new(policies: &[(&str, &str)]) -> Self {
        Self::with_endpoints(policies, "")
    }

    /// A world with these policies, and more text at the end of `ravelin.toml`.
    pub fn with_endpoints(policies: &[(&str, &str)], endpoints: &str) -> Self {
        Self::with_upstreams(policies, endpoints, Arc::new(|upstream| upstream))
    }

    /// The same, with other upstreams.
    pub fn with_upstreams(policies: &[(&str, &str)], endpoints: &str, wrap: Wrap) -> Self {
        Self::prepared(policies, endpoints, wrap, |_| ())
    }

    /// The same, with a data folder that is changed before it is opened.
    pub fn prepared(policies: &[(&str, &str)], endpoints: &str, wrap: Wrap, prepare: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        copy(template(), folder.path());
        prepare(folder.path());
        for (name, text) in policies {
            std::fs::write(folder.path().join(format!("policies/{name}.toml")), text).expect("written");
        }
        let main = folder.path().join("ravelin.toml");
        let text = std::fs::read_to_string(&main).expect("read") + endpoints;
        std::fs::write(&main, text).expect("written");
        let clock = Arc::new(TestClock(Mutex::new(Timestamp::now())));
        Self::open(folder, clock, 1, wrap)
    }

    fn open(folder: TempDir, clock: Arc<TestClock>, generation: u64, wrap: Wrap) -> Self {
        let snapshot = Arc::new(ArcSwap::from(load(&folder, &clock, generation, &wrap)));
        let inventory: Arc<dyn Inventory> =
            Arc::new(SqliteInventory::open(folder.path().join("inventory.sqlite"), Default::default()).expect("opens"));
        let enroller = Enroller::new(Parts {
            snapshot: Arc::clone(&snapshot),
            inventory: Arc::clone(&inventory),
            pool: CryptoPool::start(2, 256),
            metrics: Arc::new(Metrics::default()),
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            seal_key: [5; 32],
            node: "test".into(),
        });
        Self { folder, enroller, snapshot, inventory, clock, wrap }
    }

    /// The same data folder, opened by another process, so to speak.
    pub fn restart(self) -> Self {
        let World { folder, enroller, snapshot, inventory, clock, wrap } = self;
        let generation = snapshot.load().generation;
        drop((enroller, snapshot, inventory));
        Self::open(folder, clock, generation + 1, wrap)
    }

    /// Loads the configuration again, as a reload does.
    pub fn reload(&self) {
        let generation = self.snapshot.load().generation + 1;
        self.snapshot.store(load(&self.folder, &self.clock, generation, &self.wrap));
    }

    /// Changes a policy and loads it.
    pub fn change_policy(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(format!("policies/{name}.toml")), text).expect("written");
        self.reload();
    }

    /// One round of the worker.
    pub async fn work(&self) -> usize {
        let worker = self.worker();
        let count = worker.round().await.expect("a round");
        worker.settle().await;
        count
    }

    /// A worker that the test drives.
    pub fn worker(&self) -> Worker {
        let retention = Retention { leavings: Duration::from_secs(86400), transactions: Duration::from_secs(10 * 86400) };
        Worker::new(self.enroller.clone(), retention)
    }

    /// A fresh one-time challenge.
    pub async fn challenge(&self, group: &str) -> String {
        let new = NewChallenges { group: group.into(), ..Default::default() };
        self.enroller.mint_challenges(new, "tester").await.expect("a challenge").remove(0).0
    }

    /// The request of a device, at the endpoint with this name.
    pub fn request(&self, endpoint: &str, device: &Device, challenge: Option<&str>) -> EnrollmentRequest {
        let snapshot = self.snapshot.load_full();
        let endpoint =
            Arc::clone(snapshot.endpoints.iter().find(|e| e.name == endpoint).unwrap_or_else(|| panic!("endpoint {endpoint}")));
        let csr = Arc::new(device.csr(challenge));
        let intent = match &device.certificate {
            Some(certificate) => Intent::Renewal(Arc::clone(certificate)),
            None => Intent::Initial,
        };
        let wire_id = hex::encode(crypto::provider().digester.sha256(device.key.spki()));
        EnrollmentRequest {
            message: crypto::provider().random(),
            snapshot,
            endpoint,
            protocol: "scep",
            peer: Peer { address: "192.0.2.7:4711".parse().expect("an address"), tls: false },
            received_at: self.clock.now(),
            wire_id,
            intent,
            signer: Arc::new(device.signer_certificate()),
            csr,
            challenge: challenge.map(|text| Arc::new(Zeroizing::new(text.to_owned()))),
            reply: Arc::new(PlainReply { deliverable: true, needs_challenge: false }),
        }
    }

    /// What the core answers, in the words of [`PlainReply`].
    pub async fn enroll(&self, request: EnrollmentRequest) -> String {
        text(&self.enroller.enroll(request).await.expect("an answer"))
    }

    /// The certificate whose serial an answer names.
    pub async fn certificate(&self, answer: &str) -> Arc<Certificate> {
        let serial = answer.split(' ').nth(1).unwrap_or_else(|| panic!("no certificate in {answer:?}"));
        let record = self.enroller.find_certificate(serial).await.expect("in the inventory");
        Arc::new(Certificate::from_der(&record.der).expect("a certificate"))
    }
}

/// A new embedded CA in a data folder of [`World::prepared`].
pub fn create_ca(folder: &Path, name: &str, key: KeyAlgorithm, alternative: Option<KeyAlgorithm>) {
    let new = NewCa {
        subject: DistinguishedName::parse(&format!("O=Example,CN={name} CA"), true).expect("a name"),
        key,
        alternative,
        validity: Duration::from_secs(10 * 365 * 86400),
        not_before: Timestamp::now(),
        crl_urls: vec!["http://ca.example.net/crl".into()],
        path_len: Some(0),
        parent: None,
    };
    LocalCa::create_ca(&folder.join("ca"), PASSPHRASE, name, &new).expect("a CA");
}

fn load(folder: &TempDir, clock: &Arc<TestClock>, generation: u64, wrap: &Wrap) -> Arc<Snapshot> {
    let config = config::load(folder.path(), &Overrides::none()).unwrap_or_else(|findings| panic!("{findings}"));
    let pool = CryptoPool::start(2, 256);
    let upstreams = config.upstreams.iter().map(|settings| {
        let local = LocalCa::load(&settings.name, &folder.path().join("ca"), PASSPHRASE, pool.clone()).expect("loads");
        wrap(Arc::new(local.with_clock(Arc::clone(clock) as Arc<dyn Clock>)))
    });
    let upstreams = upstreams.collect();
    let ra = Arc::new(RaStore::new(folder.path().join("ra"), PASSPHRASE).load().expect("an RA"));
    let mut ras = BTreeMap::new();
    for settings in &config.ras {
        let other = RaStore::new(&settings.dir, PASSPHRASE).load().expect("another RA");
        ras.insert(settings.name.clone(), Arc::new(other));
    }
    let parts = SnapshotParts { upstreams, ra, ras, generation, now: clock.now() };
    Arc::new(Snapshot::build(&config, parts).unwrap_or_else(|findings| panic!("{findings}")))
}

/// The reply of an answer as text.
pub fn text(answer: &Answer) -> String {
    String::from_utf8(answer.reply.to_vec()).expect("text")
}

/// A device: a key, a name, and a certificate once it has one.
pub struct Device {
    pub name: String,
    pub key: Arc<dyn Signer>,
    pub certificate: Option<Arc<Certificate>>,
}

impl Device {
    pub fn new(name: &str) -> Self {
        let key = crypto::provider().keys.generate(KeyAlgorithm::EcdsaP256).expect("a key");
        Self { name: name.into(), key, certificate: None }
    }

    pub fn subject(&self) -> DistinguishedName {
        DistinguishedName::parse(&format!("CN={},O=Example", self.name), true).expect("a name")
    }

    pub fn csr(&self, challenge: Option<&str>) -> VerifiedCsr {
        let names = [SubjectAltName::Dns(format!("{}.example.net", self.name))];
        let template = CsrTemplate {
            subject: &self.subject(),
            subject_alt_names: &names,
            extended_key_usages: &[],
            key_usage: None,
            challenge_password: challenge,
        };
        VerifiedCsr::from_der(&template.sign(self.key.as_ref(), Digest::Sha256).expect("signed")).expect("a CSR")
    }

    fn signer_certificate(&self) -> Certificate {
        match &self.certificate {
            Some(certificate) => Certificate::clone(certificate),
            None => {
                let der =
                    builder::self_signed(&self.subject(), self.key.as_ref(), Digest::Sha256, Timestamp::now()).expect("made");
                Certificate::from_der(&der).expect("a certificate")
            }
        }
    }
}
