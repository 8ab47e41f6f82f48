//! The embedded CA as a whole, with the `openssl` command as the judge where it is there.

use std::process::Command;
use std::sync::Mutex as StdMutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use tempfile::TempDir;

use super::*;
use crate::algorithm::{Form, IssuerRef};
use crate::crypto::provider;
use crate::x509::crl::RevokedCertificate;
use crate::x509::{DistinguishedName, KeyUsage, SubjectAltName, extension};

const PASSPHRASE: &str = "a passphrase for tests";
const DAY: Duration = Duration::from_secs(86_400);

fn name(text: &str) -> DistinguishedName {
    DistinguishedName::parse(text, true).unwrap()
}

/// Whole seconds, an hour ago.
fn hour_ago() -> Timestamp {
    Timestamp::from_second(Timestamp::now().as_second() - 3600).unwrap()
}

fn new_ca(subject: &str, key: KeyAlgorithm) -> NewCa {
    NewCa {
        subject: name(subject),
        key,
        alternative: None,
        not_before: hour_ago(),
        validity: 3650 * DAY,
        crl_urls: vec![format!("http://crl.example.net/{}.crl", subject.len())],
        path_len: None,
        parent: None,
    }
}

fn load(dir: &TempDir) -> LocalCa {
    LocalCa::load("local", dir.path(), PASSPHRASE, CryptoPool::start(1, 8)).unwrap()
}

/// A folder with one P-256 root called `root`.
fn with_root() -> (TempDir, LocalCa) {
    let dir = tempfile::tempdir().unwrap();
    LocalCa::create_ca(dir.path(), PASSPHRASE, "root", &new_ca("CN=Root,O=Example", KeyAlgorithm::EcdsaP256)).unwrap();
    let ca = load(&dir);
    (dir, ca)
}

fn order(ca: &LocalCa, name_of_ca: &str, key: KeyAlgorithm) -> IssuanceOrder {
    let spki = provider().keys.generate(key).unwrap().spki().to_vec();
    IssuanceOrder {
        group: "routers".into(),
        rule: "test".into(),
        profile: "test".into(),
        form: Form::Single,
        signature: ca.preferred_signature(name_of_ca).unwrap(),
        issuer: IssuerRef { upstream: "local".into(), ca: name_of_ca.into() },
        issuer_key: None,
        failover: Vec::new(),
        spread: false,
        alternative: None,
        sibling: None,
        related: None,
        csr: Vec::new(),
        spki,
        key,
        alternative_spki: Vec::new(),
        subject: name("CN=router-1,O=Example").der().to_vec(),
        subject_alt_names: extension::subject_alt_names(&[SubjectAltName::Dns("router-1.example.net".into())]).unwrap(),
        key_usage: KeyUsage::DIGITAL_SIGNATURE.union(KeyUsage::KEY_ENCIPHERMENT),
        extended_key_usages: vec!["1.3.6.1.5.5.7.3.2".into()],
        allowed: None,
        extensions: Default::default(),
        not_before: hour_ago(),
        not_after: hour_ago() + 30 * DAY,
        device: None,
        renews: None,
        snapshot: String::new(),
    }
}

fn issued(submission: Submission) -> Arc<Certificate> {
    match submission {
        Submission::Issued { certificate, .. } => certificate,
        other => panic!("not issued: {other:?}"),
    }
}

fn rejected(submission: Submission) -> (String, bool) {
    match submission {
        Submission::Rejected { reason } => (reason, false),
        Submission::NotTaken { reason, .. } => (reason, true),
        other => panic!("not rejected: {other:?}"),
    }
}

const KEY: IdempotencyKey = IdempotencyKey([7; 16]);

#[derive(Default)]
struct Register {
    revoked: StdMutex<Vec<RevokedCertificate>>,
    number: AtomicU64,
    read_only: std::sync::atomic::AtomicBool,
}

impl Register {
    fn revoke(&self, certificate: &Certificate, reason: RevocationReason) {
        let revoked_at = hour_ago();
        self.revoked.lock().unwrap().push(RevokedCertificate { serial: certificate.serial().to_vec(), revoked_at, reason });
    }

    /// How many CRLs were made.
    fn made(&self) -> u64 {
        self.number.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl RevocationRegister for Register {
    async fn revoked(&self, _issuer: &Certificate) -> Result<Vec<RevokedCertificate>, UpstreamError> {
        Ok(self.revoked.lock().unwrap().clone())
    }

    async fn next_crl_number(&self, _issuer: &Certificate) -> Result<u64, UpstreamError> {
        if self.read_only.load(Ordering::SeqCst) {
            return Err(UpstreamError::Failed { upstream: "inventory".into(), reason: "the disk is full".into() });
        }
        Ok(self.number.fetch_add(1, Ordering::SeqCst) + 1)
    }
}

/// Asks OpenSSL; `None` where it is not there.
fn openssl_verify(
    root: &Certificate,
    between: &[Arc<Certificate>],
    crl: &[u8],
    leaf: &Certificate,
) -> Option<Result<(), String>> {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let run = |command: &mut Command| command.output().map(|o| (o.status.success(), format!("{o:?}")));
    let crl_pem = dir.path().join("crl.pem");
    let converted =
        run(Command::new("openssl").args(["crl", "-inform", "DER", "-in"]).arg(file("crl.der", crl)).arg("-out").arg(&crl_pem));
    match converted {
        Ok((true, _)) => {}
        Ok((false, said)) => return Some(Err(said)),
        Err(_) => {
            println!("skipped: no openssl command here");
            return None;
        }
    }
    let between: String = between.iter().map(|c| c.to_pem()).collect();
    let mut verify = Command::new("openssl");
    verify.args(["verify", "-x509_strict", "-crl_check", "-CAfile"]).arg(file("root.pem", root.to_pem().as_bytes()));
    if !between.is_empty() {
        verify.arg("-untrusted").arg(file("between.pem", between.as_bytes()));
    }
    verify.arg("-CRLfile").arg(&crl_pem).arg(file("leaf.pem", leaf.to_pem().as_bytes()));
    let (good, said) = run(&mut verify).unwrap();
    Some(if good { Ok(()) } else { Err(said) })
}

#[tokio::test]
async fn what_is_issued_satisfies_openssl() {
    let dir = tempfile::tempdir().unwrap();
    let create = |name: &str, new: NewCa| LocalCa::create_ca(dir.path(), PASSPHRASE, name, &new).unwrap();
    create("rsa", new_ca("CN=RSA root,O=Example", KeyAlgorithm::Rsa(2048)));
    create("p256", new_ca("CN=P-256 root,O=Example", KeyAlgorithm::EcdsaP256));
    let below =
        |parent: &str| NewCa { parent: Some(parent.into()), path_len: Some(0), ..new_ca("CN=Issuing", KeyAlgorithm::EcdsaP384) };
    create("issuing", below("p256"));
    create("p521", new_ca("CN=P-521 root", KeyAlgorithm::EcdsaP521));
    create("rsa-below-ec", NewCa { key: KeyAlgorithm::Rsa(3072), subject: name("CN=Mixed"), ..below("p521") });
    let ca = load(&dir);
    assert_eq!(ca.names(), ["issuing", "p256", "p521", "rsa", "rsa-below-ec"]);

    for name_of_ca in ca.names() {
        let register = Register::default();
        let crl = CrlSource::crl(&ca, &name_of_ca, &register).await.unwrap();
        let chain = ca.chain(&name_of_ca).unwrap();
        let (root, between) = chain.split_last().unwrap();
        let mut leaves = Vec::new();
        for key in [KeyAlgorithm::Rsa(2048), KeyAlgorithm::EcdsaP256] {
            for signature in ca.capabilities(&name_of_ca).unwrap().signatures {
                let order = IssuanceOrder { signature, ..order(&ca, &name_of_ca, key) };
                let leaf = issued(ca.submit(&order, &KEY).await);
                assert_eq!(leaf.signature_algorithm(), Some(signature));
                leaf.verify_signed_by(chain[0].spki()).unwrap();
                if let Some(verdict) = openssl_verify(root, between, &crl, &leaf) {
                    verdict.unwrap_or_else(|said| panic!("{name_of_ca} {key} {signature}: {said}"));
                }
                leaves.push(leaf);
            }
        }

        let (gone, stays) = (&leaves[0], &leaves[1]);
        register.revoke(gone, RevocationReason::KeyCompromise);
        Revoke::revoke(&ca, &name_of_ca, gone, RevocationReason::KeyCompromise).await.unwrap();
        let crl = CrlSource::crl(&ca, &name_of_ca, &register).await.unwrap();
        if let Some(verdict) = openssl_verify(root, between, &crl, gone) {
            assert!(verdict.unwrap_err().contains("certificate revoked"));
            openssl_verify(root, between, &crl, stays).unwrap().unwrap();
        }
    }
}

#[tokio::test]
async fn the_certificate_says_what_was_ordered_and_no_more() {
    let (_dir, ca) = with_root();
    let order = order(&ca, "root", KeyAlgorithm::EcdsaP256);
    let leaf = issued(ca.submit(&order, &KEY).await);

    assert_eq!(leaf.subject().der(), order.subject);
    assert_eq!(leaf.issuer(), ca.certificate("root").unwrap().subject());
    assert_eq!(leaf.spki(), order.spki);
    assert_eq!((leaf.not_before(), leaf.not_after()), (order.not_before, order.not_after));
    assert_eq!(leaf.key_usage(), Some(KeyUsage::DIGITAL_SIGNATURE), "an EC key transports no keys");
    assert!(!leaf.is_ca());
    assert_eq!(leaf.serial().len(), 16);
    let said: Vec<_> = leaf.extensions().iter().map(|e| (e.oid.to_string(), e.critical)).collect();
    let expected = [
        ("2.5.29.19", true),
        ("2.5.29.15", true),
        ("2.5.29.37", false),
        ("2.5.29.17", false),
        ("2.5.29.14", false),
        ("2.5.29.35", false),
        ("2.5.29.31", false),
    ];
    assert_eq!(said, expected.map(|(oid, critical)| (oid.to_owned(), critical)));

    let nobody = IssuanceOrder { subject: name("").der().to_vec(), ..order.clone() };
    let leaf = issued(ca.submit(&nobody, &KEY).await);
    assert!(leaf.extensions().iter().any(|e| e.oid.to_string() == "2.5.29.17" && e.critical));
}

#[tokio::test]
async fn the_same_attempt_makes_the_same_certificate() {
    let dir = tempfile::tempdir().unwrap();
    LocalCa::create_ca(dir.path(), PASSPHRASE, "root", &new_ca("CN=Root", KeyAlgorithm::Rsa(2048))).unwrap();
    let ca = load(&dir);
    let order = order(&ca, "root", KeyAlgorithm::EcdsaP256);
    let first = issued(ca.submit(&order, &KEY).await);
    // After a restart too. RSASSA-PKCS1-v1_5 is deterministic, so that all of it can be compared.
    let again = issued(load(&dir).submit(&order, &KEY).await);
    assert_eq!(first.der(), again.der());

    let other_attempt = issued(ca.submit(&order, &IdempotencyKey([8; 16])).await);
    assert_ne!(first.serial(), other_attempt.serial());
    let mut other_order = order.clone();
    other_order.extended_key_usages.clear();
    assert_ne!(first.serial(), issued(ca.submit(&other_order, &KEY).await).serial(), "two certificates, two serial numbers");
}

#[tokio::test]
async fn refusals_say_why() {
    let (_dir, ca) = with_root();
    let good = order(&ca, "root", KeyAlgorithm::EcdsaP256);
    let refused = async |change: fn(&mut IssuanceOrder)| {
        let mut order = good.clone();
        change(&mut order);
        rejected(ca.submit(&order, &KEY).await)
    };
    let (reason, retryable) = refused(|o| o.issuer.ca = "other".into()).await;
    assert!(reason.contains("no CA \"other\"") && !retryable, "{reason}");
    let (reason, retryable) = refused(|o| o.signature = SignatureAlgorithm::RsaSha256).await;
    assert!(reason.contains("cannot sign with rsa-sha256") && reason.contains("ecdsa-sha256") && !retryable, "{reason}");
    let (reason, _) = refused(|o| o.key_usage = KeyUsage::KEY_ENCIPHERMENT).await;
    assert!(reason.contains("key usages"), "{reason}");
    let (reason, _) = refused(|o| o.key = KeyAlgorithm::EcdsaP384).await;
    assert!(reason.contains("not the ecdsa-p384"), "{reason}");
    let (reason, _) = refused(|o| {
        o.subject = name("").der().to_vec();
        o.subject_alt_names.clear();
    })
    .await;
    assert!(reason.contains("nobody"), "{reason}");
    let (reason, retryable) = refused(|o| o.not_after = o.not_before).await;
    assert!(reason.contains("ends before it begins") && !retryable, "{reason}");
    let (reason, retryable) = refused(|o| {
        o.not_before += 4000 * DAY;
        o.not_after = o.not_before + DAY;
    })
    .await;
    assert!(reason.contains("roll the CA over") && retryable, "{reason}");

    let own_key = ca.certificate("root").unwrap().spki().to_vec();
    let order = IssuanceOrder { spki: own_key, ..good.clone() };
    assert!(rejected(ca.submit(&order, &KEY).await).0.contains("key of the CA itself"));
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_full_pool_orders_wait_and_crls_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let create = |name: &str, key| LocalCa::create_ca(dir.path(), PASSPHRASE, name, &new_ca("CN=Root", key)).unwrap();
    create("root", KeyAlgorithm::EcdsaP384);
    create("brief", KeyAlgorithm::EcdsaP256);
    let pool = CryptoPool::start(1, 1);
    let ca = Arc::new(LocalCa::load("local", dir.path(), PASSPHRASE, pool.clone()).unwrap());
    let brief = order(&ca, "brief", KeyAlgorithm::EcdsaP256);
    let order = order(&ca, "root", KeyAlgorithm::EcdsaP256);
    let (go_on, wait) = std::sync::mpsc::channel::<()>();
    let busy = tokio::spawn(async move { pool.run(move || wait.recv()).await });
    while ca.pool.free() > 0 {
        tokio::task::yield_now().await;
    }

    let waiting = tokio::spawn({
        let ca = Arc::clone(&ca);
        async move { ca.submit(&order, &KEY).await }
    });
    let refused = CrlSource::crl(&*ca, "root", &Register::default()).await.unwrap_err();
    assert!(refused.to_string().contains("pool is full"), "{refused}");
    // A brief signature needs no place in the pool.
    issued(ca.submit(&brief, &KEY).await);
    assert!(!waiting.is_finished());
    go_on.send(()).unwrap();
    busy.await.unwrap().unwrap().unwrap();
    issued(waiting.await.unwrap());
}

#[tokio::test]
async fn validity_stays_within_that_of_the_ca() {
    let (_dir, ca) = with_root();
    let own = ca.certificate("root").unwrap();
    let mut order = order(&ca, "root", KeyAlgorithm::EcdsaP256);
    order.not_before = own.not_before() - DAY;
    order.not_after = own.not_after() + DAY;
    let leaf = issued(ca.submit(&order, &KEY).await);
    assert_eq!((leaf.not_before(), leaf.not_after()), (own.not_before(), own.not_after()));
}

struct Later(Duration);

impl Clock for Later {
    fn now(&self) -> Timestamp {
        Timestamp::now() + self.0
    }
}

#[tokio::test]
async fn a_crl_is_kept_until_it_is_half_over_or_something_is_revoked() {
    let (dir, ca) = with_root();
    let register = Register::default();
    let first = CrlSource::crl(&ca, "root", &register).await.unwrap();
    assert_eq!(CrlSource::crl(&ca, "root", &register).await.unwrap(), first);
    assert_eq!(register.made(), 1);

    let leaf = issued(ca.submit(&order(&ca, "root", KeyAlgorithm::EcdsaP256), &KEY).await);
    register.revoke(&leaf, RevocationReason::Superseded);
    let second = CrlSource::crl(&ca, "root", &register).await.unwrap();
    assert_ne!(first, second);
    assert_eq!(CrlSource::crl(&ca, "root", &register).await.unwrap(), second);
    assert_eq!(register.made(), 2);

    // With the default of seven days.
    let ca = ca.with_clock(Arc::new(Later(3 * DAY)));
    assert_eq!(CrlSource::crl(&ca, "root", &register).await.unwrap(), second);
    let ca = ca.with_clock(Arc::new(Later(4 * DAY)));
    // Where no new one can be made, the old one is good until its end, unless something was revoked.
    register.read_only.store(true, Ordering::SeqCst);
    assert_eq!(CrlSource::crl(&ca, "root", &register).await.unwrap(), second);
    let ca = ca.with_clock(Arc::new(Later(8 * DAY)));
    assert!(CrlSource::crl(&ca, "root", &register).await.is_err());
    let ca = ca.with_clock(Arc::new(Later(4 * DAY)));
    let entry = register.revoked.lock().unwrap().pop().unwrap();
    assert!(CrlSource::crl(&ca, "root", &register).await.is_err());
    register.revoked.lock().unwrap().push(entry);
    register.read_only.store(false, Ordering::SeqCst);
    assert_ne!(CrlSource::crl(&ca, "root", &register).await.unwrap(), second);
    assert_eq!(register.made(), 3);

    let stranger = load(&dir).with_clock(Arc::new(Later(4000 * DAY)));
    assert!(stranger.health().await.unwrap_err().to_string().contains("\"root\" ended"));
    assert!(ca.health().await.is_ok());
}

#[tokio::test]
async fn only_own_certificates_are_revoked() {
    let (dir, ca) = with_root();
    LocalCa::create_ca(dir.path(), PASSPHRASE, "other", &new_ca("CN=Root,O=Example", KeyAlgorithm::EcdsaP256)).unwrap();
    ca.reload().unwrap();
    // The other one has the same name, and another key.
    let leaf = issued(ca.submit(&order(&ca, "other", KeyAlgorithm::EcdsaP256), &KEY).await);
    assert!(Revoke::revoke(&ca, "other", &leaf, RevocationReason::Unspecified).await.is_ok());
    let refused = Revoke::revoke(&ca, "root", &leaf, RevocationReason::Unspecified).await.unwrap_err();
    assert!(refused.to_string().contains("not issued by the CA \"root\""), "{refused}");
}

#[tokio::test]
async fn a_ca_rolls_over() {
    let (dir, ca) = with_root();
    let register = Register::default();
    let old = ca.certificate("root").unwrap();
    let old_leaf = issued(ca.submit(&order(&ca, "root", KeyAlgorithm::EcdsaP256), &KEY).await);
    assert!(ca.next_certificate("root").is_none());
    assert!(matches!(ca.activate_next("root"), Err(LocalCaError::NoNext { .. })));

    let next = NextCa { key: Some(KeyAlgorithm::EcdsaP384), alternative: None, not_before: hour_ago(), validity: 5000 * DAY };
    let prepared = ca.prepare_next("root", &next).unwrap();
    assert_eq!(ca.next_certificate("root").unwrap(), prepared);
    assert_eq!(prepared.subject(), old.subject());
    assert!(matches!(ca.prepare_next("root", &next), Err(LocalCaError::NextPrepared { .. })));
    // Until it is activated, the old key signs.
    assert_eq!(ca.certificate("root").unwrap(), old);
    assert_eq!(ca.ca_signer("root").unwrap().spki(), old.spki());

    ca.activate_next("root").unwrap();
    for ca in [&ca, &load(&dir)] {
        assert_eq!(ca.certificate("root").unwrap(), prepared);
        assert_eq!(ca.ca_signer("root").unwrap().spki(), prepared.spki());
        assert_eq!(ca.chain("root").unwrap()[..], [Arc::clone(&prepared)]);
        assert_eq!(ca.previous_certificates("root"), [Arc::clone(&old)]);
        assert!(ca.next_certificate("root").is_none());
    }
    let new_leaf = issued(ca.submit(&order(&ca, "root", KeyAlgorithm::EcdsaP256), &KEY).await);
    new_leaf.verify_signed_by(prepared.spki()).unwrap();

    // What the old key signed can still be revoked, and has a CRL by the old key.
    Revoke::revoke(&ca, "root", &old_leaf, RevocationReason::Superseded).await.unwrap();
    let old_crl = ca.crl_of("root", &old, &register).await.unwrap().unwrap();
    let new_crl = CrlSource::crl(&ca, "root", &register).await.unwrap();
    if let Some(verdict) = openssl_verify(&old, &[], &old_crl, &old_leaf) {
        verdict.unwrap();
        openssl_verify(&prepared, &[], &new_crl, &new_leaf).unwrap().unwrap();
        openssl_verify(&prepared, &[], &new_crl, &old_leaf).unwrap().unwrap_err();
    }
    assert_eq!(ca.crl_of("root", &new_leaf, &register).await.unwrap(), None, "no CA of ours");

    // Twice is fine.
    ca.prepare_next("root", &NextCa { key: None, ..next }).unwrap();
    ca.activate_next("root").unwrap();
    assert_eq!(ca.previous_certificates("root"), [old, prepared]);
}

#[tokio::test]
async fn a_rollover_that_was_broken_off_is_ended() {
    let (dir, ca) = with_root();
    let below = NewCa { parent: Some("root".into()), ..new_ca("CN=Issuing", KeyAlgorithm::EcdsaP256) };
    LocalCa::create_ca(dir.path(), PASSPHRASE, "issuing", &below).unwrap();
    ca.reload().unwrap();
    let next = NextCa { key: None, alternative: None, not_before: hour_ago(), validity: 100 * DAY };
    let prepared = ca.prepare_next("issuing", &next).unwrap();
    let old = ca.certificate("issuing").unwrap();

    let place = dir.path().join("issuing");
    files::keep_as(&place.join("key.pem"), &place.join("previous-1-key.pem")).unwrap();
    files::keep_as(&place.join("certificate.pem"), &place.join("previous-1-certificate.pem")).unwrap();
    assert_eq!(load(&dir).certificate("issuing").unwrap(), old, "nothing has happened yet");
    assert!(load(&dir).previous_certificates("issuing").is_empty());
    files::rename(&place.join("next-key.pem"), &place.join("key.pem")).unwrap();
    // Power cut.
    let ca = load(&dir);
    assert_eq!(ca.certificate("issuing").unwrap(), prepared);
    assert_eq!(ca.previous_certificates("issuing"), [old]);
    assert_eq!(ca.chain("issuing").unwrap().len(), 2);
    assert!(ca.next_certificate("issuing").is_none());
    issued(ca.submit(&order(&ca, "issuing", KeyAlgorithm::EcdsaP256), &KEY).await).verify_signed_by(prepared.spki()).unwrap();
}

#[test]
fn unsuitable_cas_are_not_made() {
    let (dir, _) = with_root();
    let create = |name: &str, new: &NewCa| LocalCa::create_ca(dir.path(), PASSPHRASE, name, new);
    let good = new_ca("CN=Other", KeyAlgorithm::EcdsaP256);
    for bad in ["", "..", "a/b", ".hidden", "UPPER", "-x"] {
        assert!(matches!(create(bad, &good), Err(LocalCaError::BadName { .. })), "{bad:?}");
    }
    assert!(matches!(create("root", &good), Err(LocalCaError::Exists { .. })));
    let weak = NewCa { key: KeyAlgorithm::Rsa(1024), ..good.clone() };
    assert!(matches!(create("weak", &weak), Err(LocalCaError::UnsuitableKey { .. })));
    let orphan = NewCa { parent: Some("nobody".into()), ..good.clone() };
    assert!(matches!(create("orphan", &orphan), Err(LocalCaError::NoSuchCa { .. })));
    let last = NewCa { parent: Some("root".into()), path_len: Some(0), ..good.clone() };
    create("last", &last).unwrap();
    let below = NewCa { parent: Some("last".into()), ..good.clone() };
    assert!(matches!(create("below", &below), Err(LocalCaError::UnsuitableParent { .. })));
    let url = NewCa { crl_urls: vec!["file:///x".into()], ..good };
    assert!(matches!(create("url", &url), Err(LocalCaError::Settings { .. })));
    // What failed left nothing behind.
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
}

#[test]
fn damaged_folders_are_named() {
    let (dir, _) = with_root();
    let place = dir.path().join("root");
    let failure = |passphrase: &str| LocalCa::load("local", dir.path(), passphrase, CryptoPool::start(1, 1)).err();
    assert!(matches!(failure("wrong"), Some(LocalCaError::Key(_))));

    LocalCa::create_ca(dir.path(), PASSPHRASE, "other", &new_ca("CN=Other", KeyAlgorithm::EcdsaP256)).unwrap();
    let certificate = std::fs::read(place.join("certificate.pem")).unwrap();
    std::fs::copy(dir.path().join("other/certificate.pem"), place.join("certificate.pem")).unwrap();
    assert!(matches!(failure(PASSPHRASE), Some(LocalCaError::KeyMismatch { .. })));
    std::fs::write(place.join("certificate.pem"), certificate).unwrap();

    std::fs::copy(dir.path().join("other/certificate.pem"), place.join("chain.pem")).unwrap();
    assert!(matches!(failure(PASSPHRASE), Some(LocalCaError::BrokenChain { .. })));
    std::fs::remove_file(place.join("chain.pem")).unwrap();

    std::fs::write(place.join("serial.key"), "short").unwrap();
    assert!(matches!(failure(PASSPHRASE), Some(LocalCaError::Settings { .. })));
    std::fs::remove_file(place.join("serial.key")).unwrap();
    assert!(failure(PASSPHRASE).is_none(), "a CA from elsewhere gets a serial key");
    assert!(place.join("serial.key").is_file());
}

#[tokio::test]
async fn a_ca_with_an_alternative_key_signs_twice() {
    let dir = tempfile::tempdir().unwrap();
    let create = |name: &str, new: NewCa| LocalCa::create_ca(dir.path(), PASSPHRASE, name, &new);
    let root = NewCa { alternative: Some(KeyAlgorithm::MlDsa65), ..new_ca("CN=Root,O=Example", KeyAlgorithm::EcdsaP256) };
    create("root", root.clone()).unwrap();
    create("below", NewCa { parent: Some("root".into()), subject: name("CN=Below"), ..root.clone() }).unwrap();
    create("plain-below", NewCa { parent: Some("root".into()), ..new_ca("CN=Plain below", KeyAlgorithm::EcdsaP256) }).unwrap();
    for unsuitable in [
        NewCa { alternative: Some(KeyAlgorithm::EcdsaP256), ..root.clone() },
        NewCa { key: KeyAlgorithm::MlDsa65, ..root.clone() },
    ] {
        assert!(matches!(create("no", unsuitable), Err(LocalCaError::UnsuitableKey { .. })));
    }
    let ca = load(&dir);
    let able = ca.capabilities("root").unwrap();
    assert_eq!((able.signatures[0], able.alternatives), (SignatureAlgorithm::EcdsaSha256, vec![SignatureAlgorithm::MlDsa65]));
    assert_eq!(ca.capabilities("plain-below").unwrap().alternatives, []);

    // The CA's own certificates carry the key, and are signed twice, as far as the issuer can.
    let own = ca.certificate("root").unwrap();
    for name in ["root", "below", "plain-below"] {
        let certificate = ca.certificate(name).unwrap();
        certificate.verify_signed_by(own.spki()).unwrap();
        certificate.verify_alternative(own.alternative_spki().unwrap()).unwrap();
        assert_eq!(certificate.alternative_spki().is_some(), name != "plain-below");
        assert!(certificate.extensions().iter().filter(|e| e.oid.to_string().starts_with("2.5.29.7")).all(|e| !e.critical));
    }

    let device = provider().keys.generate(KeyAlgorithm::MlDsa44).unwrap();
    let single = order(&ca, "root", KeyAlgorithm::EcdsaP256);
    let alternative_spki = device.spki().to_vec();
    let catalyst = IssuanceOrder { form: Form::Catalyst, alternative: Some(SignatureAlgorithm::MlDsa65), ..single.clone() };
    let register = Register::default();
    let crl = CrlSource::crl(&ca, "root", &register).await.unwrap();
    for order in [catalyst.clone(), IssuanceOrder { alternative_spki, ..catalyst.clone() }] {
        let leaf = issued(ca.submit(&order, &KEY).await);
        leaf.verify_signed_by(own.spki()).unwrap();
        leaf.verify_alternative(own.alternative_spki().unwrap()).unwrap();
        assert_eq!(leaf.alternative_signature_algorithm(), Some(SignatureAlgorithm::MlDsa65));
        assert_eq!(leaf.alternative_spki().unwrap_or_default(), order.alternative_spki);
        // Who knows nothing of it sees an ordinary certificate.
        if let Some(verdict) = openssl_verify(&own, &[], &crl, &leaf) {
            verdict.unwrap();
        }
    }
    assert!(!issued(ca.submit(&single, &KEY).await).has_alternative_signature());
    let two = [&single, &catalyst].map(|order| issued(ca.issue(order, &KEY)).serial().to_vec());
    assert_ne!(two[0], two[1], "two certificates, two serial numbers");

    crate::x509::crl::verify_crl(&crl, own.spki()).unwrap();
    crate::x509::alternative::verify_crl(&crl, own.alternative_spki().unwrap()).unwrap();
    let mut damaged = crl.clone();
    let at = damaged.windows(4).position(|window| window == b"Root").unwrap();
    damaged[at] ^= 1;
    assert!(crate::x509::alternative::verify_crl(&damaged, own.alternative_spki().unwrap()).is_err());

    for (wrong, says) in [
        (IssuanceOrder { alternative: Some(SignatureAlgorithm::MlDsa87), ..catalyst.clone() }, "ml-dsa-65 besides"),
        (IssuanceOrder { alternative: None, ..catalyst.clone() }, "form catalyst"),
        (IssuanceOrder { form: Form::Single, ..catalyst.clone() }, "ml-dsa-65 besides"),
        (IssuanceOrder { form: Form::Composite, ..single.clone() }, "form composite"),
        (
            IssuanceOrder { issuer: IssuerRef { upstream: "local".into(), ca: "plain-below".into() }, ..catalyst.clone() },
            "no key for an alternative signature",
        ),
    ] {
        let (reason, retryable) = rejected(ca.submit(&wrong, &KEY).await);
        assert!(reason.contains(says) && !retryable, "{reason}");
    }
}

#[tokio::test]
async fn an_alternative_key_rolls_over_with_the_other() {
    let dir = tempfile::tempdir().unwrap();
    let new = NewCa { alternative: Some(KeyAlgorithm::MlDsa44), ..new_ca("CN=Root", KeyAlgorithm::EcdsaP256) };
    LocalCa::create_ca(dir.path(), PASSPHRASE, "root", &new).unwrap();
    let ca = load(&dir);
    let first = ca.certificate("root").unwrap();
    let next = NextCa { key: None, alternative: Some(KeyAlgorithm::MlDsa65), not_before: hour_ago(), validity: 100 * DAY };
    let prepared = ca.prepare_next("root", &next).unwrap();
    assert_eq!(ca.activate_next("root").unwrap(), prepared);
    assert_eq!(load(&dir).capabilities("root").unwrap().alternatives, [SignatureAlgorithm::MlDsa65]);
    // The CRL by the earlier keys has both signatures still.
    let crl = ca.crl_of("root", &first, &Register::default()).await.unwrap().unwrap();
    crate::x509::alternative::verify_crl(&crl, first.alternative_spki().unwrap()).unwrap();

    // A power cut between the two keys: the next start ends it. This time to a certificate that an outsider made without one.
    let second = ca.certificate("root").unwrap();
    let place = dir.path().join("root");
    ca.prepare_next("root", &NextCa { alternative: None, ..next }).unwrap();
    files::keep_as(&place.join("key.pem"), &place.join("previous-2-key.pem")).unwrap();
    files::keep_as(&place.join("alternative-key.pem"), &place.join("previous-2-alternative-key.pem")).unwrap();
    files::keep_as(&place.join("certificate.pem"), &place.join("previous-2-certificate.pem")).unwrap();
    files::rename(&place.join("next-key.pem"), &place.join("key.pem")).unwrap();
    let ca = load(&dir);
    assert_ne!(ca.certificate("root").unwrap(), second);
    assert_eq!(ca.capabilities("root").unwrap().alternatives, [SignatureAlgorithm::MlDsa65], "the same kind as before");
    assert!(!place.join("next-alternative-key.pem").exists());
    assert_eq!(ca.previous_certificates("root"), [first, Arc::clone(&second)]);
    let crl = ca.crl_of("root", &second, &Register::default()).await.unwrap().unwrap();
    crate::x509::alternative::verify_crl(&crl, second.alternative_spki().unwrap()).unwrap();

    let failure = || LocalCa::load("local", dir.path(), PASSPHRASE, CryptoPool::start(1, 1)).err();
    std::fs::copy(place.join("previous-2-alternative-key.pem"), place.join("alternative-key.pem")).unwrap();
    assert!(matches!(failure(), Some(LocalCaError::KeyMismatch { .. })));
    std::fs::remove_file(place.join("alternative-key.pem")).unwrap();
    assert!(failure().is_some());
}

#[tokio::test]
async fn the_certificate_says_what_the_profile_adds() {
    let (_dir, ca) = with_root();
    let mut order = order(&ca, "root", KeyAlgorithm::EcdsaP256);
    order.extensions = crate::algorithm::ProfileExtensions {
        policies: vec!["1.3.6.1.4.1.99999.1.1".into(), "2.5.29.32.0".into()],
        crl_urls: vec!["http://crl.example.org/{key}.crl".into()],
        ca_issuers: vec!["http://ca.example.org/ca.cer".into()],
        ocsp: vec!["http://ocsp.example.org".into()],
    };
    let hash = vec![7; 32];
    order.related = Some(crate::upstream::RelatedCertificate { digest: crate::algorithm::Digest::Sha256, hash: hash.clone() });
    let leaf = issued(ca.submit(&order, &KEY).await);
    let related = leaf.extension(&crate::x509::related::RELATED_CERTIFICATE).unwrap();
    assert!(!related.critical);
    assert_eq!(crate::x509::related::read(&related.value).unwrap().1, hash);
    let Some(printed) = printed(&leaf) else { return };
    let key = crate::upstream::crl_key_name(&ca.certificate("root").unwrap());
    for said in [
        "Policy: 1.3.6.1.4.1.99999.1.1",
        "Policy: X509v3 Any Policy",
        &format!("URI:http://crl.example.org/{key}.crl"),
        "CA Issuers - URI:http://ca.example.org/ca.cer",
        "OCSP - URI:http://ocsp.example.org",
    ] {
        assert!(printed.contains(said), "{said} is not in\n{printed}");
    }
    assert!(!printed.contains("crl.example.net"), "the CA's own place gives way");
}

/// What `openssl x509 -text` makes of a certificate, if the command is there.
fn printed(certificate: &Certificate) -> Option<String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("certificate.pem");
    std::fs::write(&path, certificate.to_pem()).unwrap();
    let output = Command::new("openssl").args(["x509", "-noout", "-text", "-in"]).arg(&path).output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// An order is carried out by the key that it names, with the chain of that key, whatever happened to the CA and its parent since.
#[tokio::test]
async fn a_ca_and_its_parent_roll_over_and_back() {
    let (dir, ca) = with_root();
    let new = new_ca("CN=Issuing", KeyAlgorithm::EcdsaP256);
    let below = NewCa { parent: Some("root".into()), alternative: Some(KeyAlgorithm::MlDsa44), ..new };
    LocalCa::create_ca(dir.path(), PASSPHRASE, "issuing", &below).unwrap();
    ca.reload().unwrap();
    let order_of =
        |ca: &LocalCa| IssuanceOrder { issuer_key: ca.issuer_key("issuing"), ..order(ca, "issuing", KeyAlgorithm::EcdsaP256) };
    let (old, old_chain, before) = (ca.certificate("issuing").unwrap(), ca.chain("issuing").unwrap(), order_of(&ca));
    let first = issued(ca.submit(&before, &KEY).await);

    let next = NextCa { key: None, alternative: None, not_before: hour_ago(), validity: 1000 * DAY };
    ca.prepare_next("root", &next).unwrap();
    let root = ca.activate_next("root").unwrap();
    assert_eq!(ca.chain("issuing").unwrap(), old_chain, "it is as it was certified");
    // Beside a post-quantum key there is no alternative one.
    let prepared = ca.prepare_next("issuing", &NextCa { key: Some(KeyAlgorithm::MlDsa65), ..next.clone() }).unwrap();
    assert!(prepared.alternative_spki().is_none() && old.alternative_spki().is_some());
    let then = ca.as_if_activated("issuing").unwrap();
    assert_eq!(then.certificate("issuing").unwrap(), prepared);
    assert_eq!(ca.activate_next("issuing").unwrap(), prepared);
    assert_eq!(ca.chain("issuing").unwrap()[..], [Arc::clone(&prepared), root]);
    let after = order_of(&ca);
    assert_ne!(after.issuer_key, before.issuer_key);

    for ca in [&ca, &load(&dir)] {
        let Submission::Issued { certificate, chain } = ca.submit(&before, &KEY).await else { panic!("not issued") };
        certificate.verify_signed_by(old.spki()).unwrap();
        assert_eq!((certificate.serial(), &chain[..]), (first.serial(), &old_chain[..]));
        assert_eq!(ca.chain_above("issuing", &first).unwrap(), old_chain);
        let Submission::Issued { certificate, chain } = ca.submit(&after, &KEY).await else { panic!("not issued") };
        certificate.verify_signed_by(prepared.spki()).unwrap();
        assert_eq!((&chain[..], ca.chain_above("issuing", &certificate).unwrap()), (&chain[..], chain.clone().into()));
        assert_eq!(ca.generations(&old), [Arc::clone(&prepared), Arc::clone(&old)]);
    }
    let unknown = IssuanceOrder { issuer_key: Some("00".into()), ..after.clone() };
    assert!(rejected(ca.submit(&unknown, &KEY).await).0.contains("no key 00"));

    // Back, with chain and alternative key; orders of the time between still go. And forth.
    assert_eq!(ca.undo_activation("issuing").unwrap(), old);
    for ca in [&ca, &load(&dir)] {
        assert_eq!(
            (ca.chain("issuing").unwrap(), ca.previous_certificates("issuing")),
            (Arc::clone(&old_chain), vec![Arc::clone(&prepared)])
        );
        assert_eq!(ca.capabilities("issuing").unwrap().alternatives, [SignatureAlgorithm::MlDsa44]);
        issued(ca.submit(&after, &KEY).await).verify_signed_by(prepared.spki()).unwrap();
        issued(ca.submit(&before, &KEY).await).verify_signed_by(old.spki()).unwrap();
    }
    assert_eq!(ca.undo_activation("issuing").unwrap(), prepared);
    assert_eq!(ca.previous_certificates("issuing"), [Arc::clone(&old)]);

    // The end: no key, no orders, no CRL; the certificate stays.
    let phases = |ca: &LocalCa| ca.all_generations("issuing").unwrap().iter().map(|one| one.phase).collect::<Vec<_>>();
    assert_eq!(phases(&ca), [Phase::Current, Phase::Earlier]);
    let key = before.issuer_key.clone().unwrap();
    assert!(matches!(ca.retire("issuing", after.issuer_key.as_deref().unwrap()), Err(LocalCaError::NoSuchKey { .. })));
    ca.retire("issuing", &key).unwrap();
    assert!(matches!(ca.retire("issuing", &key), Err(LocalCaError::Retired { .. })));
    for ca in [&ca, &load(&dir)] {
        assert_eq!(phases(ca), [Phase::Current, Phase::Retired]);
        assert_eq!(
            rejected(ca.submit(&before, &KEY).await),
            (format!("the CA \"issuing\" cannot issue: its key {key}, which the order names, is retired"), false)
        );
        issued(ca.submit(&after, &KEY).await);
        assert_eq!(ca.crl_of("issuing", &old, &Register::default()).await.unwrap(), None);
        assert_eq!(ca.previous_certificates("issuing"), [Arc::clone(&old)]);
        assert_eq!(ca.generations(&prepared), [Arc::clone(&prepared)]);
    }
    assert!(matches!(ca.undo_activation("issuing"), Err(LocalCaError::Retired { .. })));
    assert_eq!(load(&dir).certificate("issuing").unwrap(), prepared);
    let left = files::numbered(&dir.path().join("issuing"), "previous-", "-key.pem").unwrap();
    let certificates = files::numbered(&dir.path().join("issuing"), "previous-", "-certificate.pem").unwrap();
    assert!(left.len() < certificates.len(), "{left:?} of {certificates:?}");
}
