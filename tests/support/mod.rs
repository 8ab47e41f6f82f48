//! A small world for flow tests: a data folder with an embedded CA, RA keys, an inventory and the enrollment core, and devices that
//! talk to the core without a wire.
#![allow(dead_code, reason = "each test binary uses its own part of the world")]

use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};

use arc_swap::ArcSwap;
use jiff::{SignedDuration, Timestamp};
use ravelin::algorithm::{Digest, KeyAlgorithm};
use ravelin::clock::Clock;
use ravelin::config::{self, Overrides};
use ravelin::crypto::{self, CryptoError, CryptoPool, Signer};
use ravelin::enroll::operate::NewChallenges;
use ravelin::enroll::{Answer, EnrollmentRequest, Enroller, Intent, Outcome, Parts, Peer, Reply};
use ravelin::inventory::Inventory;
use ravelin::inventory::sqlite::SqliteInventory;
use ravelin::ra::{RaKeys, RaStore, RaSubjects};
use ravelin::snapshot::{self, Snapshot};
use ravelin::telemetry::Metrics;
use ravelin::upstream::UpstreamCa;
use ravelin::upstream::local::{LocalCa, NewCa};
use ravelin::worker::Worker;
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
            Outcome::Issued(issued) => format!("issued {} {:?}", issued.certificate.serial_hex(), issued.password.as_deref().map(|p| p.to_string())),
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
    pub node: String,
}

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

/// The data folder that all worlds of one test binary start from: RSA keys take a while to make.
fn template() -> &'static Path {
    static TEMPLATE: OnceLock<TempDir> = OnceLock::new();
    TEMPLATE
        .get_or_init(|| {
            let dir = tempfile::tempdir().expect("a folder");
            config::template::write(dir.path(), &config::template::Options { policies: Vec::new(), ..Default::default() })
                .expect("the template is written");
            std::fs::create_dir_all(dir.path().join("secrets")).expect("made");
            std::fs::write(dir.path().join("secrets/key-passphrase"), "for tests only").expect("written");
            let ca = dir.path().join("ca");
            let new = |name: &str, key| NewCa {
                subject: DistinguishedName::parse(&format!("O=Example,CN={name}"), true).expect("a name"),
                key,
                validity: std::time::Duration::from_secs(10 * 365 * 86400),
                crl_urls: vec!["http://ca.example.net/crl".into()],
                path_len: Some(0),
                parent: None,
            };
            LocalCa::create_ca(&ca, "for tests only", "ecdsa-p256", &new("Test CA", KeyAlgorithm::EcdsaP256)).expect("a CA");
            LocalCa::create_ca(&ca, "for tests only", "rsa", &new("Test RSA CA", KeyAlgorithm::Rsa(2048))).expect("a CA");
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
