//! The forms in which a signature stands in a certificate: alternative signatures, pairs, and every shipped profile.

mod support;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use ravelin::algorithm::{AlgorithmProfile, Digest, Form, KeyAlgorithm, SignatureAlgorithm};
use ravelin::crypto::{Signer, provider};
use ravelin::enroll::Outcome;
use ravelin::enroll::query::{Query, Question};
use ravelin::inventory::{AttemptState, CertificateRecord, CertificateSearch, CertificateStatus, TransactionState};
use ravelin::upstream::{Capabilities, IdempotencyKey, IssuanceOrder, Revoke, Submission, UpstreamCa, UpstreamError};
use ravelin::x509::crl::{RevocationReason, read_crl};
use ravelin::x509::csr::CsrTemplate;
use ravelin::x509::{Certificate, DistinguishedName, VerifiedCsr, X509Error, alternative, related};
use support::{Device, ROUTERS, World, Wrap};

/// A file of the vectors folder beside the project, if it is there.
fn vector(name: &str) -> Option<Vec<u8>> {
    let root = std::env::var_os("RAVELIN_SHARED_VECTORS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/vectors"), PathBuf::from);
    let read = std::fs::read(root.join(name)).ok();
    if read.is_none() {
        println!("skipped: the vectors folder has no {name}");
    }
    read
}

fn key(algorithm: KeyAlgorithm) -> Arc<dyn Signer> {
    provider().keys.generate(algorithm).unwrap()
}

// Alternative signatures

/// Self-signed certificates of Bouncy Castle with an alternative signature.
#[test]
fn catalyst_certificates_of_others_verify_until_a_bit_is_flipped() {
    let cases = [
        ("1.2.840.10045.4.3.2", "2.16.840.1.101.3.4.3.17", SignatureAlgorithm::EcdsaSha256, SignatureAlgorithm::MlDsa44),
        ("1.2.840.10045.4.3.4", "2.16.840.1.101.3.4.3.19", SignatureAlgorithm::EcdsaSha512, SignatureAlgorithm::MlDsa87),
        ("1.2.840.113549.1.1.11", "2.16.840.1.101.3.4.3.17", SignatureAlgorithm::RsaSha256, SignatureAlgorithm::MlDsa44),
    ];
    for (classical, post_quantum, signature, alternative) in cases {
        let name = |kind: &str| format!("pqc-certificates/bc/{kind}_{classical}_with_{post_quantum}_ta.der");
        let Some(der) = vector(&name("catalyst")) else { return };
        let certificate = Certificate::from_der(&der).unwrap();
        assert_eq!(certificate.signature_algorithm(), Some(signature));
        assert_eq!(certificate.alternative_signature_algorithm(), Some(alternative));
        assert!(!certificate.is_chameleon());
        certificate.verify_signed_by(certificate.spki()).unwrap();
        let spki = certificate.alternative_spki().unwrap().to_vec();
        certificate.verify_alternative(&spki).unwrap();

        // One bit in each part that the alternative signature covers, and in the signature itself.
        let find = |needle: &[u8]| der.windows(needle.len()).position(|window| window == needle).unwrap();
        let subject = certificate.subject().der().to_vec();
        let value = &certificate.extension(&alternative::ALT_SIGNATURE_VALUE).unwrap().value;
        for at in
            [find(certificate.serial()), find(&subject) + subject.len() - 1, find(certificate.spki()) + 60, find(value) + 100]
        {
            let mut flipped = der.clone();
            flipped[at] ^= 1;
            let damaged = Certificate::from_der(&flipped).unwrap();
            assert!(damaged.verify_alternative(&spki).is_err(), "octet {at} of {}", name("catalyst"));
        }
        // The alternative signature does not cover the ordinary one.
        let mut flipped = der.clone();
        *flipped.last_mut().unwrap() ^= 1;
        Certificate::from_der(&flipped).unwrap().verify_alternative(&spki).unwrap();

        let other = Certificate::from_der(&vector(&name("chameleon")).unwrap()).unwrap();
        assert!(other.is_chameleon() && !other.has_alternative_signature() && other.alternative_spki().is_none());
        assert!(other.verify_alternative(&spki).is_err());
    }
}

#[test]
fn a_request_proves_an_alternative_key_or_is_refused() {
    let (own, second, stranger) = (key(KeyAlgorithm::EcdsaP256), key(KeyAlgorithm::MlDsa65), key(KeyAlgorithm::MlDsa65));
    let subject = DistinguishedName::parse("CN=dev-1", true).unwrap();
    let template = CsrTemplate {
        subject: &subject,
        subject_alt_names: &[],
        extended_key_usages: &[],
        key_usage: None,
        challenge_password: Some("a challenge"),
    };
    let plain = VerifiedCsr::from_der(&template.sign(own.as_ref(), Digest::Sha256).unwrap()).unwrap();
    assert_eq!(plain.alternative(), None);

    let der = template.sign_with_alternative(own.as_ref(), Digest::Sha256, second.as_ref()).unwrap();
    let csr = VerifiedCsr::from_der(&der).unwrap();
    let proved = csr.alternative().unwrap();
    assert_eq!((proved.key, proved.signature_algorithm), (KeyAlgorithm::MlDsa65, SignatureAlgorithm::MlDsa65));
    assert_eq!(proved.spki, second.spki());
    assert_eq!(csr.challenge_password(), Some("a challenge"));

    // Somebody else's alternative key, to which the proof does not fit: the request is signed anew with its own key.
    let claimed = replace(&der, second.spki(), stranger.spki());
    assert_eq!(VerifiedCsr::from_der(&resigned(&claimed, own.as_ref())), Err(X509Error::NoAlternativePossession));
    // With the own key's signature over it the untouched one still holds.
    assert!(VerifiedCsr::from_der(&resigned(&der, own.as_ref())).unwrap().alternative().is_some());
}

/// Made by Bouncy Castle: X.509 does not say how a request proves an alternative key, so that this is what others do.
#[test]
fn a_request_of_bouncy_castle_proves_an_alternative_key() {
    let der = include_bytes!("../testdata/x509/csr-alternative-bouncycastle.der");
    let csr = VerifiedCsr::from_der(der).unwrap();
    assert_eq!(csr.subject().to_string(), "CN=r1,O=Example");
    assert_eq!(csr.challenge_password(), Some("a challenge"));
    assert_eq!(csr.alternative().unwrap().key, KeyAlgorithm::MlDsa44);
}

fn replace(der: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let at = der.windows(from.len()).position(|window| window == from).unwrap();
    [&der[..at], to, &der[at + from.len()..]].concat()
}

/// The same CertificationRequestInfo with a fresh signature.
fn resigned(der: &[u8], signer: &dyn Signer) -> Vec<u8> {
    use der::{Decode, Encode};
    let mut request = x509_cert::request::CertReq::from_der(der).unwrap();
    let signature = signer.sign(SignatureAlgorithm::EcdsaSha256, &request.info.to_der().unwrap()).unwrap();
    request.signature = der::asn1::BitString::from_bytes(&signature).unwrap();
    request.to_der().unwrap()
}

// Related certificates

#[test]
fn a_certificate_is_named_by_the_digest_of_its_signature() {
    assert_eq!(related::RELATED_CERTIFICATE.to_string(), "1.3.6.1.5.5.7.1.36");
    let name = DistinguishedName::parse("CN=a", true).unwrap();
    let now = "2026-06-01T00:00:00Z".parse().unwrap();
    for (algorithm, digest, expected) in [
        (KeyAlgorithm::EcdsaP384, Digest::Sha384, Digest::Sha384),
        (KeyAlgorithm::EcdsaP256, Digest::Sha256, Digest::Sha256),
        (KeyAlgorithm::MlDsa44, Digest::Sha256, Digest::Sha256),
    ] {
        let key = key(algorithm);
        let der = ravelin::x509::builder::self_signed(&name, key.as_ref(), digest, now).unwrap();
        assert_eq!(related::digest_for(&Certificate::from_der(&der).unwrap()), expected);
    }
}

// Pairs

const PAIRED: &str = "paired-ecdsa-p256-mldsa65";

fn on(profile: &str) -> String {
    ROUTERS.replace("profile = \"ecdsa-p256\"", &format!("profile = \"{profile}\""))
}

fn paired_world() -> World {
    paired_world_with(Arc::new(|upstream| upstream))
}

fn paired_world_with(wrap: Wrap) -> World {
    World::prepared(&[("routers", &on(PAIRED))], "", wrap, |folder| {
        support::create_ca(folder, "ml-dsa-65", KeyAlgorithm::MlDsa65, None);
    })
}

/// The records of the certificate that an answer names, and of its sibling.
async fn pair(world: &World, answer: &str) -> (CertificateRecord, CertificateRecord) {
    let first = world.certificate(answer).await;
    let record = world.inventory.certificate(&first.fingerprint()).await.unwrap().unwrap();
    let sibling = world.inventory.sibling(&first.fingerprint()).await.unwrap().expect("a sibling");
    assert_eq!(world.inventory.sibling(&sibling.fingerprint).await.unwrap(), Some(record.clone()));
    (record, sibling)
}

async fn enroll(world: &World, device: &Device) -> String {
    let challenge = world.challenge("routers").await;
    world.enroll(world.request("routers", device, Some(&challenge))).await
}

async fn status(world: &World, fingerprint: &[u8; 32]) -> CertificateStatus {
    world.inventory.certificate(fingerprint).await.unwrap().unwrap().status
}

#[tokio::test]
async fn a_pair_is_two_certificates_for_one_key() {
    let world = paired_world();
    let device = Device::new("r1");
    let answer = enroll(&world, &device).await;
    assert!(answer.starts_with("issued "), "{answer}");
    let (record, sibling) = pair(&world, &answer).await;
    assert_eq!(sibling.sibling_of, Some(record.fingerprint));
    let [first, second] = [&record, &sibling].map(|record| Certificate::from_der(&record.der).unwrap());
    assert_eq!((first.spki(), first.subject()), (second.spki(), second.subject()));
    assert_eq!(first.signature_algorithm(), Some(SignatureAlgorithm::EcdsaSha256));
    assert_eq!(second.signature_algorithm(), Some(SignatureAlgorithm::MlDsa65));
    assert_eq!((first.is_related_to(&second), second.is_related_to(&first)), (None, Some(true)));
    let snapshot = world.snapshot.load();
    for (certificate, ca) in [(&first, "ecdsa-p256"), (&second, "ml-dsa-65")] {
        let chain = snapshot.upstreams["local"].chain(ca).unwrap();
        certificate.verify_signed_by(chain[0].spki()).unwrap();
    }

    let transaction = world.inventory.transaction(record.transaction).await.unwrap().unwrap();
    assert_eq!((transaction.state, transaction.certificate), (TransactionState::Issued, Some(record.fingerprint)));
    let attempts = world.inventory.attempts(record.transaction).await.unwrap();
    let said: Vec<_> = attempts.iter().map(|attempt| (attempt.ca.as_str(), attempt.state)).collect();
    assert_eq!(said, [("ecdsa-p256", AttemptState::Issued), ("ml-dsa-65", AttemptState::Issued)]);
    let events: Vec<_> = world.inventory.audit_log(0, 10).await.unwrap().into_iter().map(|r| r.event.event).collect();
    assert_eq!(events, ["challenge.created", "order.placed", "certificate.issued", "certificate.issued"]);

    let search = async |siblings| {
        let search = CertificateSearch { siblings, ..Default::default() };
        world.inventory.certificates(&search).await.unwrap().len()
    };
    assert_eq!((search(None).await, search(Some(true)).await, search(Some(false)).await), (2, 1, 1));
    let search = CertificateSearch { text: Some(hex::encode(record.fingerprint)), ..Default::default() };
    assert_eq!(world.inventory.certificates(&search).await.unwrap().len(), 2, "who looks for one finds both");
    let since = record.issued_at - std::time::Duration::from_secs(60);
    assert_eq!(world.inventory.issued_to_device("routers", "commonName=r1", since).await.unwrap(), 1, "a pair counts once");
}

#[tokio::test]
async fn the_sibling_is_fetched_by_its_serial() {
    let world = paired_world();
    let device = Device::new("r1");
    let answer = enroll(&world, &device).await;
    let (record, sibling) = pair(&world, &answer).await;
    let snapshot = world.snapshot.load_full();
    let endpoint = Arc::clone(snapshot.endpoints.iter().find(|e| e.name == "routers").unwrap());
    let signer = Arc::new(Certificate::from_der(&record.der).unwrap());
    let ask = async |question| {
        let (snapshot, endpoint, signer) = (Arc::clone(&snapshot), Arc::clone(&endpoint), Arc::clone(&signer));
        world.enroller.query(Query { snapshot, endpoint, signer, question }).await.unwrap()
    };
    // By its issuer, and by the name of the RA, which is all that a client may know.
    let ra = snapshot.ra.signer_certificate.subject().der().to_vec();
    for issuer in [sibling.issuer.clone(), ra] {
        match ask(Question::Certificate { issuer, serial: sibling.serial.clone() }).await {
            Outcome::Certificate(found) => assert_eq!(found.der(), sibling.der),
            other => panic!("{other:?}"),
        }
    }
    assert!(world.enroller.revoke(&sibling, RevocationReason::KeyCompromise, "tester").await.unwrap());
    for record in [&record, &sibling] {
        assert_eq!(status(&world, &record.fingerprint).await, CertificateStatus::Revoked);
        match ask(Question::Crl { issuer: record.issuer.clone(), serial: record.serial.clone() }).await {
            Outcome::Crl(crl) => assert_eq!(read_crl(&crl).unwrap().revoked[0].serial, record.serial),
            other => panic!("{other:?}"),
        }
    }
    assert!(
        !world.enroller.revoke(&record, RevocationReason::KeyCompromise, "tester").await.unwrap(),
        "both are revoked already"
    );
}

/// A renewal makes a new pair and takes the place of the old one, whichever of the two the device shows.
#[tokio::test]
async fn a_pair_is_renewed_as_a_pair() {
    for shows_sibling in [false, true] {
        let world = paired_world();
        let mut device = Device::new("r1");
        let answer = enroll(&world, &device).await;
        let old = pair(&world, &answer).await;
        let shown = if shows_sibling { &old.1 } else { &old.0 };
        device.certificate = Some(Arc::new(Certificate::from_der(&shown.der).unwrap()));
        world.clock.forward(340 * 86_400);
        let answer = world.enroll(world.request("routers", &device, None)).await;
        assert!(answer.starts_with("issued "), "{answer}");
        let new = pair(&world, &answer).await;
        assert_eq!(new.0.renews, Some(shown.fingerprint));
        if !shows_sibling {
            assert_eq!(new.1.renews, Some(old.1.fingerprint));
        }
        for (record, expected) in [
            (&old.0, CertificateStatus::Superseded),
            (&old.1, CertificateStatus::Superseded),
            (&new.0, CertificateStatus::Valid),
            (&new.1, CertificateStatus::Valid),
        ] {
            assert_eq!(status(&world, &record.fingerprint).await, expected);
        }

        // Another form takes the place of both.
        device.certificate = Some(Arc::new(Certificate::from_der(&new.0.der).unwrap()));
        world.change_policy("routers", &on("ml-dsa-65"));
        world.clock.forward(340 * 86_400);
        let answer = world.enroll(world.request("routers", &device, None)).await;
        let single = world.certificate(&answer).await;
        assert_eq!(single.signature_algorithm(), Some(SignatureAlgorithm::MlDsa65));
        assert_eq!(world.inventory.sibling(&single.fingerprint()).await.unwrap(), None);
        for record in [&new.0, &new.1] {
            assert_eq!(status(&world, &record.fingerprint).await, CertificateStatus::Superseded);
        }
    }
}

/// What the sibling's issuer says to the next submissions, instead of issuing.
struct Moody {
    inner: Arc<dyn UpstreamCa>,
    says: Arc<Mutex<Vec<Submission>>>,
    asked: Arc<AtomicUsize>,
    finds_again: bool,
}

#[async_trait]
impl UpstreamCa for Moody {
    fn name(&self) -> &str {
        self.inner.name()
    }
    fn capabilities(&self, ca: &str) -> Option<Capabilities> {
        let can = self.inner.capabilities(ca)?;
        Some(Capabilities { can_find_again: self.finds_again || ca != "ml-dsa-65", ..can })
    }
    async fn submit(&self, order: &IssuanceOrder, key: &IdempotencyKey) -> Submission {
        if order.issuer.ca == "ml-dsa-65" {
            self.asked.fetch_add(1, Ordering::SeqCst);
            assert_eq!((order.form, order.signature), (Form::Single, SignatureAlgorithm::MlDsa65));
            if let Some(said) = self.says.lock().unwrap().pop() {
                return said;
            }
        }
        self.inner.submit(order, key).await
    }
    async fn poll(&self, order: &IssuanceOrder, reference: &str) -> Submission {
        assert_eq!(reference, "ticket");
        self.inner.submit(order, &IdempotencyKey([1; 16])).await
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

fn moody(says: Vec<Submission>, finds_again: bool) -> (World, Arc<AtomicUsize>) {
    let (says, asked) = (Arc::new(Mutex::new(says)), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&asked);
    let world = paired_world_with(Arc::new(move |inner| {
        Arc::new(Moody { inner, says: Arc::clone(&says), asked: Arc::clone(&count), finds_again })
    }));
    (world, asked)
}

#[tokio::test]
async fn the_worker_carries_on_between_the_legs() {
    let not_now = Submission::NotTaken { reason: "not now".into(), retry_after: None };
    let later = Submission::Waiting { reference: "ticket".into(), retry_after: std::time::Duration::from_secs(5) };
    for said in [not_now, later] {
        let (world, _) = moody(vec![said], true);
        let device = Device::new("r1");
        let challenge = world.challenge("routers").await;
        let request = world.request("routers", &device, Some(&challenge));
        assert_eq!(world.enroll(request.clone()).await, "pending");
        let [first] = &world.inventory.certificates(&CertificateSearch::default()).await.unwrap()[..] else { panic!("one") };
        // Nobody was given it, and a restart finds the open attempt.
        let world = world.restart();
        world.clock.forward(20);
        assert_eq!(world.work().await, 1);
        let mut again = request;
        again.message = [9; 32];
        again.snapshot = world.snapshot.load_full();
        let answer = world.enroll(again).await;
        assert!(answer.starts_with("issued "), "{answer}");
        let (record, _) = pair(&world, &answer).await;
        assert_eq!(record.fingerprint, first.fingerprint, "the first one was not issued twice");
        assert_eq!(world.inventory.statistics().await.unwrap().certificates, 2);
        assert_eq!(world.work().await, 0);
    }
}

#[tokio::test]
async fn a_sibling_that_is_refused_takes_the_first_one_with_it() {
    let never = Submission::Rejected { reason: "never".into() };
    let (world, asked) = moody(vec![never], true);
    let device = Device::new("r1");
    let challenge = world.challenge("routers").await;
    let answer = world.enroll(world.request("routers", &device, Some(&challenge))).await;
    assert_eq!((answer.as_str(), asked.load(Ordering::SeqCst)), ("refused upstream-rejected", 1));
    let [first] = &world.inventory.certificates(&CertificateSearch::default()).await.unwrap()[..] else { panic!("one") };
    assert_eq!(first.status, CertificateStatus::Revoked);
    assert_eq!(first.revocation_reason, Some(RevocationReason::CessationOfOperation));
    // The challenge is free again, and the next try brings a whole pair.
    let answer = world.enroll(world.request("routers", &device, Some(&challenge))).await;
    let (record, sibling) = pair(&world, &answer).await;
    assert_eq!((record.status, sibling.status), (CertificateStatus::Valid, CertificateStatus::Valid));
    assert_ne!(record.serial, first.serial);
}

#[tokio::test]
async fn an_operator_decides_about_the_leg_that_is_unclear() {
    for approves in [true, false] {
        let unclear = Submission::Unknown { reason: "the line broke".into() };
        let (world, asked) = moody(vec![unclear], false);
        let device = Device::new("r1");
        let challenge = world.challenge("routers").await;
        let request = world.request("routers", &device, Some(&challenge));
        assert_eq!(world.enroll(request.clone()).await, "pending");
        let [open] = &world.inventory.transactions(TransactionState::Unknown, 10).await.unwrap()[..] else { panic!("one") };
        let first = open.certificate.expect("the first certificate");
        match approves {
            true => {
                world.enroller.approve(open.id, "tester").await.unwrap();
                assert_eq!(world.work().await, 1);
                let issued = world.inventory.transaction(open.id).await.unwrap().unwrap();
                assert_eq!((issued.state, issued.certificate), (TransactionState::Issued, Some(first)));
                assert!(world.inventory.sibling(&first).await.unwrap().is_some());
                assert_eq!(asked.load(Ordering::SeqCst), 2);
            }
            false => {
                world.enroller.deny(open.id, "too late", "tester").await.unwrap();
                assert_eq!(status(&world, &first).await, CertificateStatus::Revoked);
                assert!(world.enroll(request).await.starts_with("refused"));
            }
        }
    }
}

// Every shipped profile

/// Every profile that comes along is made ready by the command that check-config names, and issues; what it issues is what it says.
#[tokio::test]
async fn every_shipped_profile_issues() {
    let (forms, seen) = issue_under_all(|profile| !profile.signature.is_slow()).await;
    assert_eq!(forms, ["catalyst", "composite", "paired", "single"]);
    assert!(seen > ravelin::config::shipped::PROFILES.len());
}

/// The same for SLH-DSA, beside the others: without optimisation a key takes seconds.
#[tokio::test]
async fn every_slow_shipped_profile_issues() {
    assert_eq!(issue_under_all(|profile| profile.signature.is_slow()).await, (vec!["single"], 2));
}

/// Gives the forms that were seen, and how many certificates were issued.
async fn issue_under_all(which: impl Fn(&AlgorithmProfile) -> bool) -> (Vec<&'static str>, usize) {
    let shipped = ravelin::config::shipped::PROFILES.iter();
    let profiles = shipped.map(|shipped| ravelin::config::read_profile(shipped.name, shipped.text).unwrap());
    let profiles: Vec<_> = profiles.filter(which).collect();
    let policies: Vec<_> = profiles.iter().map(|profile| (profile.name.as_str(), on(&profile.name))).collect();
    let policies: Vec<_> = policies.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let world = World::prepared(&policies, "", Arc::new(|upstream| upstream), |folder| {
        for profile in &profiles {
            let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_ravelin"));
            command.arg("-c").arg(folder.join("ravelin.toml")).args(["ca", "create", "--profile", &profile.name]);
            let output = command.output().expect("the program runs");
            assert!(output.status.success(), "{}: {}", profile.name, String::from_utf8_lossy(&output.stderr));
        }
    });
    let snapshot = world.snapshot.load_full();
    let (mut forms, mut seen) = (std::collections::BTreeSet::new(), 0);
    for profile in &profiles {
        forms.insert(profile.form.name());
        let keys = [KeyAlgorithm::EcdsaP256, KeyAlgorithm::EcdsaP384, KeyAlgorithm::MlDsa65];
        // One certificate by SLH-DSA is slow enough.
        let most = if profile.signature.is_slow() { 1 } else { keys.len() };
        for algorithm in keys.into_iter().filter(|key| profile.accepts(*key)).take(most) {
            let device = Device { name: format!("r{seen}"), key: key(algorithm), certificate: None };
            seen += 1;
            let challenge = world.challenge(&profile.name).await;
            let mut request = world.request(&profile.name, &device, Some(&challenge));
            let mut answer = world.enroll(request.clone()).await;
            // A slow machine takes longer than a device's patience: it asks again, as devices do.
            for turn in 0..10 {
                if answer != "pending" {
                    break;
                }
                request.message = [turn; 32];
                answer = world.enroll(request.clone()).await;
            }
            assert!(answer.starts_with("issued "), "{} {algorithm}: {answer}", profile.name);
            let certificate = world.certificate(&answer).await;
            check(&world, profile, &certificate, profile.signature, &profile.issuer.ca).await;
            let size = certificate.der().len();
            let (smallest, largest) = profile.certificate_lens();
            // Names of the issuer and the CRL, and the signature of an RSA key of another size, make the difference.
            assert!(smallest - 250 <= size && size <= largest + 250, "{}: {size} is not in {smallest}..{largest}", profile.name);

            let alternative = profile.alternative.filter(|_| profile.form == Form::Catalyst);
            assert_eq!(certificate.alternative_signature_algorithm(), alternative);
            if alternative.is_some() {
                let ca = snapshot.chain_of(&profile.issuer)[0].clone();
                certificate.verify_alternative(ca.alternative_spki().unwrap()).unwrap();
            }
            let sibling = world.inventory.sibling(&certificate.fingerprint()).await.unwrap();
            match (profile.sibling(), sibling) {
                (None, None) => {}
                (Some((signature, issuer)), Some(sibling)) => {
                    let sibling = Certificate::from_der(&sibling.der).unwrap();
                    assert_eq!(sibling.is_related_to(&certificate), Some(true));
                    check(&world, profile, &sibling, signature, &issuer.ca).await;
                }
                (ordered, found) => panic!("{}: {ordered:?}, {found:?}", profile.name),
            }
        }
    }
    (forms.into_iter().collect(), seen)
}

/// Chain, usages and CRL.
async fn check(world: &World, profile: &AlgorithmProfile, certificate: &Certificate, signature: SignatureAlgorithm, ca: &str) {
    let chain = world.snapshot.load().upstreams["local"].chain(ca).unwrap();
    assert_eq!(certificate.signature_algorithm(), Some(signature), "{}", profile.name);
    certificate.verify_signed_by(chain[0].spki()).unwrap_or_else(|error| panic!("{}: {error}", profile.name));
    assert_eq!(certificate.key_usage(), Some(ravelin::x509::KeyUsage::DIGITAL_SIGNATURE));
    if signature.is_slow() {
        return;
    }
    let crl = world.enroller.crl("local", ca).await.unwrap();
    ravelin::x509::crl::verify_crl(&crl, chain[0].spki()).unwrap();
    if let Some(spki) = chain[0].alternative_spki() {
        alternative::verify_crl(&crl, spki).unwrap();
    }
}

/// A device that proves an alternative key gets it into its certificate, where the form has a place for it.
#[tokio::test]
async fn an_alternative_key_of_a_device_is_certified() {
    let catalyst = "catalyst-ecdsa-p256-mldsa65";
    let world = World::prepared(&[("routers", &on(catalyst)), ("plain", ROUTERS)], "", Arc::new(|upstream| upstream), |folder| {
        support::create_ca(folder, catalyst, KeyAlgorithm::EcdsaP256, Some(KeyAlgorithm::MlDsa65));
    });
    let second = key(KeyAlgorithm::MlDsa44);
    for (group, certified) in [("routers", true), ("plain", false)] {
        let device = Device::new("r1");
        let challenge = world.challenge(group).await;
        let mut request = world.request(group, &device, Some(&challenge));
        let subject = device.subject();
        let template = CsrTemplate {
            subject: &subject,
            subject_alt_names: &[],
            extended_key_usages: &[],
            key_usage: None,
            challenge_password: Some(&challenge),
        };
        let der = template.sign_with_alternative(device.key.as_ref(), Digest::Sha256, second.as_ref()).unwrap();
        request.csr = Arc::new(VerifiedCsr::from_der(&der).unwrap());
        let answer = world.enroll(request).await;
        let certificate = world.certificate(&answer).await;
        assert_eq!(certificate.alternative_spki(), certified.then(|| second.spki()));
        assert_eq!(certificate.has_alternative_signature(), certified);
    }
}
